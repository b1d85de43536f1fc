"""``hbseg segment``: one run from its settings to its exit code, and what it prints at its end."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from humanbody_cli import __version__
from humanbody_cli.api.requests import request_size
from humanbody_cli.core.console import Stopwatch, counted, duration
from humanbody_cli.core.errors import (
    FatalError,
    HbsegError,
    Interrupted,
    JournalError,
    output_error,
)
from humanbody_cli.core.outcomes import Reporter, passed_over
from humanbody_cli.core.photo import LOOKUP_SIZE, Due, chunked
from humanbody_cli.core.settings import RunSettings
from humanbody_cli.core.stop import interruptible
from humanbody_cli.discovery.find import check_inputs, find, waits_for_stdin, walk_order
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.imaging.decoding import readers
from humanbody_cli.pipeline import incremental
from humanbody_cli.pipeline.decision import Decider
from humanbody_cli.pipeline.earlier import unclaimed
from humanbody_cli.pipeline.engine import check_installed, engine_line
from humanbody_cli.pipeline.fingerprint import Fingerprint, fingerprint_of
from humanbody_cli.storage import answer_spool
from humanbody_cli.storage.disk import Disk
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.layout import LOCK, STATE, OutputLock
from humanbody_cli.storage.naming import OutputNames
from humanbody_cli.storage.publishing import Publisher

if TYPE_CHECKING:
    from humanbody_cli.api.gate import Gate


def segment(settings: RunSettings, disk: Disk | None = None) -> int:
    """Run ``hbseg segment``; the exit code. ``disk`` stands in for the real one in tests.

    Raises:
        HbsegError: the run could not begin.
    """
    root = str(settings.output.folder)
    check_inputs(settings.inputs)
    with interruptible():
        prepare_folder(root)
        with OutputLock(os.path.join(root, STATE, LOCK), wait=settings.output.lock_wait):
            journal = Journal(root)
            try:
                return _Run(settings, journal, disk).run()
            finally:
                journal.close()


def prepare_folder(root: str) -> None:
    """Make the output folder and its state folder.

    Raises:
        OutputError: they cannot be made.
    """
    try:
        os.makedirs(os.path.join(root, STATE), exist_ok=True)
    except OSError as error:
        raise output_error(root, error) from error


@dataclass
class _Run:
    """The parts of a run while it lasts."""

    settings: RunSettings
    journal: Journal
    disk: Disk | None = None

    def __post_init__(self) -> None:
        settings, output = self.settings, self.settings.output
        self.root = str(output.folder)
        self.fingerprint = fingerprint_of(settings, self.journal.engines())
        self.publisher = Publisher(
            self.root,
            durable=settings.uses_api if output.durable is None else output.durable,
            disk=self.disk,
        )
        self.reporter = Reporter(
            verbosity=settings.verbosity, json=settings.json, ignore_known=settings.ignore_known
        )
        self.stop, self.tally = self.reporter.stop, self.reporter.tally
        self.decider = decider_for(settings, self.fingerprint, self.journal, self.publisher)
        self.watch = Stopwatch()
        self.walk = Walk()
        self.gate: Gate | None = None

    def run(self) -> int:
        if self.journal.rebuilt_from:
            self.reporter.say(
                f"the journal was damaged and has been kept as {self.journal.rebuilt_from}; "
                "photos whose results are complete need no new call"
            )
        self.walk.avoid(self.root)
        code = 1
        try:
            self._tidy()
            due = self._due()
            first = next(due, None)
            if first is not None:
                self._work(itertools.chain([first], due))
            else:
                answer_spool.sweep(self.root, self.journal.is_settled)
            code = self.reporter.exit_code()
            if self.stop.reason is None:
                unclaimed.tidy(self.journal, self.publisher, self.fingerprint)
        except (FatalError, Interrupted) as error:
            self.stop.set(error)
            code = error.exit_code
        finally:
            self.reporter.close()
            with contextlib.suppress(HbsegError):
                calls = self.gate.calls if self.gate else 0
                self.journal.end_run(calls=calls, done=self.tally.done, exit_code=code)
        if isinstance(self.stop.reason, JournalError) and self.stop.reason.damaged:
            self.journal.set_aside()
        self._summarise()
        return code

    def _tidy(self) -> None:
        """Remove what a killed run left half written, before any output name changes."""
        if self.journal.was_lost:
            self.publisher.discard_leftovers()
        for name in self.journal.half_done():
            self.publisher.discard_leftover(name)

    def _due(self) -> Iterator[Due]:
        photos = find(self.settings.inputs, self.walk)
        piped = waits_for_stdin(self.settings.inputs)
        return incremental.due(
            chunked(photos, 1 if piped else LOOKUP_SIZE),
            self.journal,
            self.decider,
            self._skip,
            OutputNames(self.journal, self.publisher, walk_order(self.settings.inputs)),
            at_once=piped,
        )

    def _skip(self, status: str, keys: list[bytes]) -> None:
        self.reporter.skip(status, keys, self.journal.outcome)

    def _work(self, photos: Iterator[Due]) -> None:
        check_installed(self.settings)

        from humanbody_cli.jobs import event_loop
        from humanbody_cli.jobs.assembly import assemble
        from humanbody_cli.pipeline import scheduler

        if self.journal.was_lost:
            unclaimed.index(self.journal, self.publisher)
        self.journal.begin_run(self.fingerprint.engine)
        self.gate, pipeline = assemble(
            self.settings, self.decider, self.journal, self.publisher, self.stop, self.disk
        )
        self.reporter.say(engine_line(self.settings))
        if self.gate is not None and self.gate.notice:
            self.reporter.say(f"hbseg: {self.gate.notice}")
        # What comes through a pipe is processed as it arrives, and may never end.
        piped = waits_for_stdin(self.settings.inputs)
        event_loop.drive(
            photos,
            pipeline,
            self.stop,
            self.reporter.add,
            event_loop.Ending(
                grace=self.settings.grace,
                patience=self.settings.api.timeouts.whole_attempt + self.settings.grace,
                note_pending=not piped,
                ahead=1 if piped else scheduler.READ_AHEAD,
            ),
        )

    def _summarise(self) -> None:
        self.reporter.notes(self.walk.notes, self.walk.quiet_notes)
        calls = self.gate.calls if self.gate else 0
        if self.stop.reason is None or calls or self.tally.total or self.tally.settled:
            self._summarise_photos(calls)
        if self.stop.reason is not None:
            self.reporter.say(f"hbseg: {self.stop.reason}", level=-1)

    def _summarise_photos(self, calls: int) -> None:
        seconds = self.watch.seconds()
        line = f"{self.tally.counts()} in {duration(seconds)}"
        if self.gate is not None:
            line += f", {counted(calls, 'call')}"
            if self.gate.refused:
                line += f" ({self.gate.refused:,} refused by the quota)"
        self.reporter.say(line + passed_over(self.walk.skipped))
        if self.gate is not None and self.settings.api.qps is None and calls:
            self.reporter.say(
                "the quota appears to be about "
                f"{self.gate.controller.estimated_quota():.1f} calls/s"
            )
        if self.tally.doubtful:
            self.reporter.say(
                f"doubtful: {counted(self.tally.doubtful, 'mask')}, worth a look with "
                f"hbseg report {self.root}"
            )
        if self.tally.newly_left_out:
            self.reporter.say(
                f"{counted(self.tally.newly_left_out, 'photo')} newly rejected or failed: "
                f"hbseg status {self.root} --failed",
                level=-1,
            )


def decider_for(
    settings: RunSettings, fingerprint: Fingerprint, journal: Journal, publisher: Publisher
) -> Decider:
    """The decider for a run."""
    return Decider(
        journal,
        publisher,
        fingerprint,
        checked=rules_text(settings),
        force=settings.output.force,
        retry_failed=settings.output.retry_failed,
    )


def rules_text(settings: RunSettings) -> str:
    """The rules of pre-validation as text. Rejected photos are checked again once they change: by
    other options, another version of hbseg, a reader for more formats, a longer key."""
    return (
        f"fit={int(settings.wanted.fit)};version={__version__};readers={readers()};"
        f"overhead={request_size(0, settings.api.credentials)}"
    )
