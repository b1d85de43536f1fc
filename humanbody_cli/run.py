"""One run: settings become an engine, a journal and a pipeline; outcomes become an exit code."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from humanbody_cli import intake
from humanbody_cli.errors import (
    FatalError,
    HbsegError,
    JournalError,
    StdoutError,
    output_error,
    stdout_error,
)
from humanbody_cli.journal import CHUNK, Journal, chunked
from humanbody_cli.lock import OutputLock
from humanbody_cli.outcomes import Outcome, json_line
from humanbody_cli.photos import STATE, Photo, Walk, check_inputs, find, is_piped
from humanbody_cli.progress import Progress, Stopwatch, duration
from humanbody_cli.publish import Disk
from humanbody_cli.selection import Selection, Shape
from humanbody_cli.settings import EngineChoice, RunSettings
from humanbody_cli.stopping import Stop
from humanbody_cli.tally import Tally

if TYPE_CHECKING:
    from humanbody_cli.quota.gate import Gate

LOCK = "lock"


def segment(settings: RunSettings, disk: Disk | None = None) -> int:
    """Run ``hbseg segment``; the exit code. ``disk`` stands in for the real one in tests.

    Raises:
        HbsegError: the run could not begin.
    """
    root = str(settings.output.folder)
    check_inputs(settings.inputs)
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


def chosen_engine(settings: RunSettings) -> EngineChoice:
    """The API when a key is configured, else the embedded engine; or what was asked for."""
    if settings.engine is not EngineChoice.AUTO:
        return settings.engine
    return EngineChoice.API if settings.api.credentials else EngineChoice.LOCAL


def shape_of(settings: RunSettings) -> Shape:
    """The options that shape this run's results."""
    engine = engine_name(settings)
    chosen_by_itself = settings.engine is EngineChoice.AUTO and engine != "api"
    return Shape(engine, settings.wanted, also=("api",) if chosen_by_itself else ())


def engine_name(settings: RunSettings) -> str:
    """How the engine is called in records: a model of the user's own by its file's name."""
    if chosen_engine(settings) is EngineChoice.API:
        return "api"
    model = settings.local.model
    return f"local:{model.name}" if model is not None else "local"


@dataclass
class _Run:
    """The parts of a run while it lasts."""

    settings: RunSettings
    journal: Journal
    disk: Disk | None = None

    def __post_init__(self) -> None:
        self.root = str(self.settings.output.folder)
        self.shape = shape_of(self.settings)
        self.tally = Tally()
        self.stop = Stop()
        self.watch = Stopwatch()
        self.walk = Walk()
        self.gate: Gate | None = None
        self.progress = Progress(verbosity=self.settings.verbosity)

    def run(self) -> int:
        if self.journal.rebuilt_from:
            self.progress.say(
                f"the journal was damaged and is kept as {self.journal.rebuilt_from}; "
                "photos whose outputs are whole are taken up from them without a call"
            )
        self.walk.avoid(self.root)
        code = 1
        try:
            due = self._due()
            first = next(due, None)
            if first is not None:
                self._work(itertools.chain([first], due))
            code = self._exit_code()
        except FatalError as error:
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

    def _due(self) -> Iterator[Photo]:
        output = self.settings.output
        selection = Selection(self.root, self.shape, output.force, output.retry_failed)
        photos = find(self.settings.inputs, self.walk)
        piped = is_piped(self.settings.inputs)
        chunks = chunked(photos, 1 if piped else CHUNK)
        return intake.due(chunks, self.journal, selection, self._passed, at_once=piped)

    def _passed(self, status: str, keys: list[bytes]) -> None:
        self.tally.passed[status] += len(keys)
        self.progress.passed(len(keys))
        if self.settings.json:
            for key in keys:
                self._print({**self.journal.outcome(key).record(), "skipped": True})

    def _work(self, photos: Iterator[Photo]) -> None:
        from humanbody_cli import batch, drive
        from humanbody_cli.assembly import assemble

        leftovers = self.journal.begin_run(self.shape.engine)
        _, self.gate, pipeline = assemble(
            self.settings, self.shape, self.journal, self.stop, self.disk
        )
        self.progress.say(engine_line(self.settings))
        if self.gate is not None and self.gate.notice:
            self.progress.say(f"hbseg: {self.gate.notice}")
        for name in leftovers:
            pipeline.publisher.discard_leftover(name)
        # Names that come through a pipe are done as they come, and may never end.
        piped = is_piped(self.settings.inputs)
        drive.drive(
            photos,
            pipeline,
            self.stop,
            self._deliver,
            drive.Ending(
                grace=self.settings.grace,
                note_pending=not piped,
                ahead=1 if piped else batch.READ_AHEAD,
            ),
        )

    def _deliver(self, outcome: Outcome) -> None:
        self.tally.add(outcome)
        self.progress.add(outcome, self.tally)
        if self.settings.json:
            self._print(outcome.record())

    def _print(self, record: dict[str, object]) -> None:
        if self.stop.is_set and isinstance(self.stop.reason, StdoutError):
            return
        try:
            sys.stdout.write(json_line(record) + "\n")
            sys.stdout.flush()
        except OSError as error:
            self.stop.set(stdout_error(error))
            # What Python would flush at exit has nowhere to go.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def _exit_code(self) -> int:
        if self.stop.reason is not None:
            return self.stop.reason.exit_code
        return self.tally.exit_code()

    def _summarise(self) -> None:
        seconds = self.watch.seconds()
        calls = self.gate.calls if self.gate else 0
        line = f"{self.tally.counts()} in {duration(seconds)}"
        if self.gate is not None:
            line += f", {calls:,} calls"
            if self.gate.refused:
                line += f" ({self.gate.refused:,} refused by the quota)"
        if self.walk.skipped:
            line += f"; {self.walk.skipped:,} other files passed over"
        self.progress.say(line)
        if self.gate is not None and self.settings.api.qps is None and calls:
            self.progress.say(f"the quota found is about {self.gate.learner.found():.1f} calls/s")
        if self.tally.doubtful:
            self.progress.say(
                f"{self.tally.doubtful:,} masks are doubtful and worth a look: "
                f"hbseg report {self.root}"
            )
        if self.stop.reason is not None:
            self.progress.say(f"hbseg: {self.stop.reason}", level=-1)


def engine_line(settings: RunSettings) -> str:
    """Which engine runs, in one line."""
    if chosen_engine(settings) is EngineChoice.API:
        qps = settings.api.qps
        pace = f"{qps:g} calls/s" if qps is not None else "finding the quota"
        return f"engine: API at {settings.api.shown_endpoint} ({pace})"
    why = "" if settings.engine is EngineChoice.LOCAL else ", as no API key is set"
    model = settings.local.model
    what = f"model {model.name}" if model is not None else "embedded model"
    return f"engine: {what} on this machine{why}"
