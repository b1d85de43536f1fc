"""``hbseg segment``: one run from its settings to its exit code, and what it prints at its end."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from humanbody_cli import __version__
from humanbody_cli.api.requests import request_size
from humanbody_cli.core.console import Stopwatch
from humanbody_cli.core.errors import (
    FatalError,
    HbsegError,
    Interrupted,
    JournalError,
    PhotoError,
    output_error,
)
from humanbody_cli.core.outcomes import Outcome
from humanbody_cli.core.paths import Digests
from humanbody_cli.core.photo import LOOKUP_SIZE, Due, Group, admit_all, chunked
from humanbody_cli.core.settings import Look, RunSettings
from humanbody_cli.core.stop import interruptible
from humanbody_cli.discovery.find import check_inputs, find_groups, waits_for_stdin, walk_order
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.imaging.decoding import readers
from humanbody_cli.jobs.progress import log as logs
from humanbody_cli.jobs.progress.counting import Counting
from humanbody_cli.jobs.progress.course import NoAnswers, Recording
from humanbody_cli.jobs.progress.reporter import Reporter
from humanbody_cli.jobs.progress.summary import Ended, summary
from humanbody_cli.pipeline import incremental
from humanbody_cli.pipeline.decision import Decider, Settled
from humanbody_cli.pipeline.earlier import unclaimed
from humanbody_cli.pipeline.engine import check_installed, engine_line
from humanbody_cli.pipeline.fingerprint import Fingerprint, fingerprint_of
from humanbody_cli.storage import answer_spool
from humanbody_cli.storage.disk import Disk
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.layout import LOCK, STATE, OutputLock
from humanbody_cli.storage.naming import OutputNames
from humanbody_cli.storage.publishing import Publisher
from humanbody_cli.storage.tables.runs import BUG, FINISHED

if TYPE_CHECKING:
    from humanbody_cli.api.gate import Gate
    from humanbody_cli.jobs.recompose.after_run import Composer


def segment(settings: RunSettings, disk: Disk | None = None) -> int:
    """Run ``hbseg segment``; the exit code. ``disk`` stands in for the real one in tests.

    Raises:
        HbsegError: the run could not begin.
    """
    check_inputs(settings.inputs)
    composer = composer_for(settings)
    with held(settings) as (journal, log):
        run = Run(settings, journal, disk, log, met=composer.met if composer else None)
        code = run.run()
    return code if composer is None else composer.compose(settings, code, run.stop.reason)


@contextlib.contextmanager
def held(settings: RunSettings) -> Iterator[tuple[Journal, logs.Log]]:
    """The journal of the output folder, which is made if need be and locked for the block; the log.

    Raises:
        HbsegError: the folder cannot be used, or another run uses it.
    """
    root = str(settings.output.folder)
    with interruptible():
        prepare_folder(root)
        lock = OutputLock(os.path.join(root, STATE, LOCK), wait=settings.output.lock_wait)
        with logs.opened(settings.telling) as log, lock:
            journal = Journal(root)
            try:
                yield journal, log
            finally:
                journal.close()


def composer_for(settings: RunSettings) -> Composer | None:
    """What composes pictures after the run; ``None`` where no option asks for them.

    Raises:
        UsageError: they cannot be made as the options say.
    """
    if settings.look in (Look(), Look(format="png")):  # as the cutouts are anyway
        return None
    from humanbody_cli.jobs.recompose.after_run import Composer  # loads Pillow

    return Composer.of(settings)


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
class Run:
    """The parts of a run while it lasts."""

    settings: RunSettings
    journal: Journal
    disk: Disk | None = None
    log: logs.Log = field(default_factory=logs.Log)
    met: Digests | None = field(default=None, kw_only=True)
    """Collects the keys of all photos, for what comes after the run."""

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
            settings.telling, json=settings.json, ignore_known=settings.ignore_known, log=self.log
        )
        self.stop, self.tally = self.reporter.stop, self.reporter.tally
        self.decider = decider_for(settings, self.fingerprint, self.journal, self.publisher)
        self.names = OutputNames(self.journal, self.publisher, walk_order(settings.inputs))
        # What comes through a pipe is processed as it arrives, and may never end.
        self.at_once = waits_for_stdin(settings.inputs)
        self.watch = Stopwatch()
        self.walk = self._new_walk()
        self.gate: Gate | None = None
        self.local = NoAnswers()
        self.recording = Recording(self.journal, self.tally)
        self.recording.answers = self.local

    def _new_walk(self) -> Walk:
        return Walk.of_run(self.root, self.settings.telling.log_file)

    def run(self) -> int:
        if self.journal.rebuilt_from:
            self.reporter.say(
                f"the journal was damaged and has been kept as {self.journal.rebuilt_from}; "
                "photos whose results are complete need no new call"
            )
        code, ending, message = 1, BUG, None
        try:
            self._tidy()
            due = self.reporter.progress.drawn(self._due())
            first = next(due, None)
            if first is not None:
                self._work(itertools.chain([first], due))
            else:
                answer_spool.sweep(self.root, self.journal.is_settled)
            code, ending = self.reporter.exit_code(), FINISHED
            if self.stop.reason is None:
                unclaimed.tidy(self.journal, self.publisher, self.fingerprint)
        except (FatalError, Interrupted) as error:
            self.stop.set(error)
            code = error.exit_code
        except HbsegError as error:
            code, ending, message = error.exit_code, error.ending, str(error)
            raise
        finally:
            self.reporter.close()
            if reason := self.stop.reason:
                ending, message = reason.ending, str(reason)
            with contextlib.suppress(HbsegError):
                self.recording.end(code, ending, message)
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
        return incremental.due(
            self._chunks(),
            self.journal,
            self.decider,
            self._skip,
            self.names,
            at_once=self.at_once,
        )

    def _chunks(self) -> Iterator[Group]:
        groups = find_groups(self.settings.inputs, self.walk)
        if self.met is not None:
            groups = _noted(groups, self.met)
        return chunked(groups, 1 if self.at_once else LOOKUP_SIZE)

    def _counting(self) -> Counting | None:
        settled = partial(incremental.foreseen, journal=self.journal, decider=self.decider)
        tally = self.reporter.tally
        return Counting.of(self.settings.inputs, self._new_walk(), settled, lambda: tally.total)

    def _skip(self, settled: Settled, keys: list[bytes]) -> None:
        find = self.journal.outcome
        self.reporter.skip(settled.status, keys, find, nobody=settled.nobody)

    def _work(self, photos: Iterator[Due]) -> None:
        check_installed(self.settings)

        from humanbody_cli.jobs.setup import event_loop
        from humanbody_cli.jobs.setup.assembly import assemble
        from humanbody_cli.pipeline import scheduler

        if self.journal.was_lost:
            unclaimed.index(self.journal, self.publisher)
        self.journal.begin_run(self.fingerprint.engine)
        self.gate, pipeline = assemble(
            *(self.settings, self.decider, self.journal, self.publisher, self.stop),
            admit=self._admit,
            disk=self.disk,
        )
        self.reporter.say(engine_line(self.settings))
        if self.gate is not None:
            self.reporter.progress.gate = self.recording.answers = self.gate
            self.gate.tell = self._tell
            if self.gate.notice:
                self._tell(self.gate.notice)
        ending = event_loop.Ending(
            grace=self.settings.grace,
            patience=self.settings.api.timeouts.whole_attempt + self.settings.grace,
            note_pending=not self.at_once,
            ahead=1 if self.at_once else scheduler.READ_AHEAD,
            seconds=self._seconds_left(),
        )
        with self.reporter.at_work(self._counting, self.recording.tick):
            event_loop.drive(photos, pipeline, self.stop, self._deliver, ending)

    def _deliver(self, outcome: Outcome) -> None:
        if outcome.time_used is not None:
            self.local.answered += 1
            self.local.latency += outcome.time_used / 1000
        self.reporter.add(outcome)

    def _tell(self, line: str) -> None:
        self.reporter.say(f"hbseg: {line}")

    def _admit(self, due: Due, error: PhotoError | None) -> None:
        admit_all(due, error)

    def _seconds_left(self) -> float | None:
        most = self.settings.max_duration
        return None if most is None else max(0.0, most - self.watch.seconds())

    def _summarise(self) -> None:
        self.reporter.notes(self.walk.notes, self.walk.quiet_notes)
        calls = self.gate.calls if self.gate else 0
        if self.stop.reason is None or calls or self.tally.total or self.tally.settled:
            for line, level in summary(self.tally, self._ended()):
                self.reporter.say(line, level=level)
        if self.stop.reason is not None:
            self.reporter.error(f"hbseg: {self.stop.reason}")

    def _ended(self) -> Ended:
        gate, output = self.gate, self.settings.output
        was_searched = gate is not None and self.settings.api.qps is None and gate.calls
        return Ended(
            out=self.root,
            seconds=self.watch.seconds(),
            skipped=self.walk.skipped,
            calls=gate.calls if gate else None,
            price=self.settings.price,
            refused=gate.refused if gate else 0,
            found_quota=gate.controller.estimated_quota() if gate and was_searched else None,
            is_whole=self.stop.reason is None,
            fit=self.settings.wanted.fit,
            retry_failed=output.retry_failed,
        )


def _noted(groups: Iterator[Group], keys: Digests) -> Iterator[Group]:
    for group in groups:
        for photo in group:
            keys.add(photo.key)
        yield group


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
