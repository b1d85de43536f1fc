"""One run: settings become an engine, a journal and a pipeline; outcomes become an exit code."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from humanbody_cli import __version__
from humanbody_cli.api.requests import request_size
from humanbody_cli.core import console
from humanbody_cli.core.console import Progress, Stopwatch, counted, duration
from humanbody_cli.core.errors import (
    FatalError,
    HbsegError,
    Interrupted,
    JournalError,
    StdoutError,
    output_error,
)
from humanbody_cli.core.outcomes import Outcome, Tally, json_line
from humanbody_cli.core.settings import RunSettings
from humanbody_cli.core.stop import Stop, interruptible
from humanbody_cli.discovery.find import check_inputs, find, is_piped, walk_order
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.imaging.decoding import readers
from humanbody_cli.pipeline import incremental
from humanbody_cli.pipeline.fingerprint import (
    Fingerprint,
    Selection,
    check_installed,
    engine_line,
    fingerprint_of,
    uses_api,
)
from humanbody_cli.storage import answer_spool
from humanbody_cli.storage.journal import CHUNK, Due, Journal, chunked
from humanbody_cli.storage.layout import LOCK, STATE
from humanbody_cli.storage.lock import OutputLock
from humanbody_cli.storage.publishing import Disk, Publisher

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
        self.selection = selection_for(settings, self.fingerprint)
        self.publisher = Publisher(
            self.root,
            durable=uses_api(settings) if output.durable is None else output.durable,
            disk=self.disk,
        )
        self.tally = Tally(ignore_known=settings.ignore_known)
        self.stop = Stop()
        self.watch = Stopwatch()
        self.walk = Walk()
        self.gate: Gate | None = None
        self.progress = Progress(verbosity=settings.verbosity)

    def run(self) -> int:
        if self.journal.rebuilt_from:
            self.progress.say(
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
            code = self._exit_code()
            if self.stop.reason is None and self.settings.inputs.shard.count == 1:
                self.publisher.clear_aside()
        except (FatalError, Interrupted) as error:
            self.stop.set(error)
            code = error.exit_code
        finally:
            self.progress.close()
            with contextlib.suppress(HbsegError):
                calls = self.gate.calls if self.gate else 0
                self.journal.end_run(calls=calls, done=self.tally.done, exit_code=code)
        if isinstance(self.stop.reason, JournalError) and self.stop.reason.damaged:
            self.journal.set_aside()
        self._summarise()
        return code

    def _tidy(self) -> None:
        """Remove what a killed run has left half written, before any output name changes."""
        if self.journal.was_lost:
            self.publisher.discard_leftovers()
        for name in self.journal.half_done():
            self.publisher.discard_leftover(name)

    def _due(self) -> Iterator[Due]:
        photos = find(self.settings.inputs, self.walk)
        piped = is_piped(self.settings.inputs)
        return incremental.due(
            chunked(photos, 1 if piped else CHUNK),
            self.journal,
            self.selection,
            self._passed,
            self.publisher,
            walk_order(self.settings.inputs),
            at_once=piped,
        )

    def _passed(self, status: str, keys: list[bytes]) -> None:
        self.tally.passed[status] += len(keys)
        self.progress.passed(len(keys))
        if self.settings.json:
            for key in keys:
                self._print({**self.journal.outcome(key).record(), "skipped": True})

    def _work(self, photos: Iterator[Due]) -> None:
        check_installed(self.settings)

        from humanbody_cli.jobs import event_loop
        from humanbody_cli.jobs.assembly import assemble
        from humanbody_cli.pipeline import scheduler

        self.journal.begin_run(self.fingerprint.engine)
        self.gate, pipeline = assemble(
            self.settings, self.selection, self.journal, self.publisher, self.stop, self.disk
        )
        self.progress.say(engine_line(self.settings))
        if self.gate is not None and self.gate.notice:
            self.progress.say(f"hbseg: {self.gate.notice}")
        # Names that come through a pipe are done as they come, and may never end.
        piped = is_piped(self.settings.inputs)
        event_loop.drive(
            photos,
            pipeline,
            self.stop,
            self._deliver,
            event_loop.Ending(
                grace=self.settings.grace,
                patience=self.settings.api.timeouts.whole_attempt + self.settings.grace,
                note_pending=not piped,
                ahead=1 if piped else scheduler.READ_AHEAD,
            ),
        )

    def _deliver(self, outcome: Outcome) -> None:
        self.tally.add(outcome)
        self.progress.add(outcome, self.tally)
        if self.settings.json:
            self._print(outcome.record())

    def _print(self, record: dict[str, object]) -> None:
        if isinstance(self.stop.reason, StdoutError):
            return
        try:
            console.write_line(json_line(record))
        except StdoutError as error:
            self.stop.set(error)

    def _exit_code(self) -> int:
        if self.stop.reason is not None:
            return self.stop.reason.exit_code
        return self.tally.exit_code()

    def _summarise(self) -> None:
        for note in self.walk.notes:
            self.progress.say(note, level=-1)
        for note in self.walk.quiet_notes:
            self.progress.say(note)
        calls = self.gate.calls if self.gate else 0
        if self.stop.reason is None or calls or self.tally.total or self.tally.passed:
            self._summarise_photos(calls)
        if self.stop.reason is not None:
            self.progress.say(f"hbseg: {self.stop.reason}", level=-1)

    def _summarise_photos(self, calls: int) -> None:
        seconds = self.watch.seconds()
        line = f"{self.tally.counts()} in {duration(seconds)}"
        if self.gate is not None:
            line += f", {counted(calls, 'call')}"
            if self.gate.refused:
                line += f" ({self.gate.refused:,} refused by the quota)"
        if self.walk.skipped:
            line += f"; {counted(self.walk.skipped, 'other file')} skipped"
        self.progress.say(line)
        if self.gate is not None and self.settings.api.qps is None and calls:
            self.progress.say(
                "the quota appears to be about "
                f"{self.gate.controller.estimated_quota():.1f} calls/s"
            )
        if self.tally.doubtful:
            self.progress.say(
                f"doubtful: {counted(self.tally.doubtful, 'mask')}, worth a look with "
                f"hbseg report {self.root}"
            )
        if self.tally.newly_left_out:
            self.progress.say(
                f"{counted(self.tally.newly_left_out, 'photo')} newly rejected or failed: "
                f"hbseg status {self.root} --failed",
                level=-1,
            )


def selection_for(settings: RunSettings, fingerprint: Fingerprint) -> Selection:
    """What decides which photos of a run are to be done."""
    return Selection(
        str(settings.output.folder),
        fingerprint,
        checked=rules_text(settings),
        force=settings.output.force,
        retry_failed=settings.output.retry_failed,
    )


def rules_text(settings: RunSettings) -> str:
    """The rules of pre-validation as text. A reject is looked at again once they change: other
    options, another version of hbseg, a reader for more formats, a longer key."""
    return (
        f"fit={int(settings.wanted.fit)};version={__version__};readers={readers()};"
        f"overhead={request_size(0, settings.api.credentials)}"
    )
