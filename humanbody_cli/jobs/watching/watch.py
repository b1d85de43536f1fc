"""``hbseg watch``: a run whose photos never end: those of a folder, as they come to rest in it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from humanbody_cli.core.api_spec import NOBODY_FOUND
from humanbody_cli.core.console import Stopwatch, counted, duration
from humanbody_cli.core.errors import (
    HbsegError,
    PhotoError,
    UsageError,
    how_to_install,
    time_is_over,
)
from humanbody_cli.core.outcomes import Outcome, Status, Tally
from humanbody_cli.core.paths import NO_TIME, absolute, to_bytes, to_text
from humanbody_cli.core.photo import Due, Group, Photo, chunked
from humanbody_cli.core.settings import ProgressChoice, RunSettings
from humanbody_cli.discovery.find import find
from humanbody_cli.discovery.inputs import is_within
from humanbody_cli.discovery.tree import OwnOutput, Part
from humanbody_cli.imaging.decoding import is_installed
from humanbody_cli.jobs.progress.counting import Counting
from humanbody_cli.jobs.progress.log import local_time, stamp
from humanbody_cli.jobs.segment import Run, held
from humanbody_cli.jobs.watching.inbox import Inbox
from humanbody_cli.jobs.watching.reports import reported
from humanbody_cli.pipeline.decision import Settled
from humanbody_cli.pipeline.earlier import unclaimed
from humanbody_cli.pipeline.engine import check_installed
from humanbody_cli.storage.disk import Disk

_RESCAN = 60.0
"""Seconds after which the whole folder is looked through although the system reports changes."""

_LONG_BATCH = 60.0
"""Seconds after which a batch is summed up although it has not ended."""


@dataclass(frozen=True)
class Watched:
    """A file is at rest after ``settle`` seconds without a change. ``polls``: the folder is looked
    through as often, because the system does not report changes there."""

    folder: str
    settle: float
    polls: bool


def watch(settings: RunSettings, watched: Watched, disk: Disk | None = None) -> int:
    """Run ``hbseg watch`` until it is stopped; the exit code. ``disk`` stands in for the real one
    in tests.

    Raises:
        HbsegError: the run could not begin.
    """
    folder = absolute(watched.folder)
    _check(settings, watched)
    check_installed(settings)
    most, telling = settings.api.max_calls, settings.telling
    if telling.progress is ProgressChoice.AUTO:  # without a total there is little to show
        telling = replace(telling, progress=ProgressChoice.NONE)
    settings = replace(
        settings,
        telling=telling,
        inputs=replace(settings.inputs, inputs=(folder,)),
        api=replace(settings.api, max_calls=replace(most, waits=True) if most else None),
    )
    with held(settings) as (journal, log):
        run = WatchRun(settings, journal, disk, log, replace(watched, folder=folder))
        return run.run()


def _check(settings: RunSettings, watched: Watched) -> None:
    if not os.path.isdir(watched.folder):
        raise UsageError(f"{watched.folder}: there is no such folder; check the path")
    if settings.output.force:
        raise UsageError(
            "--force would process every photo again at each start; run hbseg segment --force once"
        )
    if not watched.polls and not is_installed("watchfiles"):
        raise UsageError(
            f"hbseg watch needs watchfiles: {how_to_install('watch')}, or use --poll to look "
            "through the folder every few seconds"
        )


@dataclass
class WatchRun(Run):
    """The parts of the run."""

    watched: Watched = Watched("", 0.0, polls=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_once = True
        self.inbox = Inbox(
            self._found,
            self.names.put_back,
            settle=self.watched.settle,
            rescan=self.watched.settle if self.watched.polls else _RESCAN,
        )
        self.batch = _Batch()
        self._own = OwnOutput.of(self.root)
        self._was_gone = False

    def _found(self, part: Part | None) -> Iterator[Photo]:
        """The folder's photos; none while it is gone, as its disk may be mounted again."""
        is_gone = not os.path.isdir(self.watched.folder)
        if is_gone and not self._was_gone:
            self._tell(f"{self.watched.folder} is gone; waiting for it")
        self._was_gone = is_gone
        if is_gone:
            return iter(())
        walk = self._new_walk()
        walk.part = part
        return find(self.settings.inputs, walk)

    def _tidy(self) -> None:
        """Photos that a killed watcher had before it and that have been moved away since are not
        pending any more: nothing would ever find them again."""
        super()._tidy()
        pending = [one.source for one in self.journal.outcomes("pending", absolute=True)]
        for key in pending:
            if is_within(key, self.watched.folder) and not os.path.lexists(key):
                (known,) = self.journal.known([to_bytes(key)]).values()
                photo = Photo(key, key, to_text(known.name), -1, NO_TIME)
                if known.sha256 is None:
                    self.names.put_back(Due(photo, None))
                elif known.code is None or (known.code == NOBODY_FOUND and known.has_files):
                    # It was done: a photo that was rejected with this code has no files.
                    self.names.put_back(Due(photo, known._replace(status=Status.DONE.value)))

    def _chunks(self) -> Iterator[Group]:
        with contextlib.ExitStack() as stack:
            if not self.watched.polls:
                paths = self._changed, self.inbox.look_through
                stack.enter_context(reported(self.watched.folder, *paths, self._fail))
            self._tell(f"watching {self.watched.folder}")
            while not self.stop.is_set:
                ready = self.inbox.ready()
                if ready:
                    self.batch.begin(self._calls())
                yield from chunked([ready])
                if not ready and self.inbox.is_idle:
                    self._end_batch()
                left = self._seconds_left()
                if left == 0:
                    self.stop.set(time_is_over())
                self.inbox.wait(left)

    def _fail(self, error: HbsegError) -> None:
        self.stop.set(error)
        self.inbox.look_through()  # wakes it

    def _changed(self, paths: Iterable[str]) -> None:
        """Changes that the run itself makes are none, where its output is in the folder."""
        self.inbox.changed(path for path in paths if not self._own.names(path))

    def _counting(self) -> Counting | None:
        """There is no total."""
        return None

    def _skip(self, settled: Settled, keys: list[bytes]) -> None:
        super()._skip(settled, keys)
        self.batch.skip(settled.status, len(keys))
        self.inbox.settled(map(to_text, keys))

    def _admit(self, due: Due, error: PhotoError | None) -> None:
        self.inbox.admit(due, error)

    def _deliver(self, outcome: Outcome) -> None:
        super()._deliver(outcome)
        self.batch.add(outcome)
        if self.batch.seconds() > _LONG_BATCH:
            self._sum_up()
        self.inbox.ended(outcome)

    def _end_batch(self) -> None:
        """Nothing is under way: what was set aside for photos of this batch may be tidied."""
        if not self.batch.is_empty:
            self._sum_up()
            unclaimed.tidy(self.journal, self.publisher, self.fingerprint)

    def _sum_up(self) -> None:
        line = self.batch.end(self._calls(), paid=self.settings.uses_api)
        self.reporter.say(f"{stamp(local_time())} {line}")

    def _calls(self) -> int:
        return self.gate.calls if self.gate else 0


class _Batch:
    """The photos of some time, for a line about them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._tally = Tally()
        self._watch: Stopwatch | None = None
        self._calls = 0

    @property
    def is_empty(self) -> bool:
        """Whether no photo has ended."""
        return not (self._tally.total or self._tally.settled)

    def begin(self, calls: int) -> None:
        """Photos are handed out, after so many calls of the run."""
        with self._guard:
            if self._watch is None:
                self._watch, self._calls = Stopwatch(), calls

    def add(self, outcome: Outcome) -> None:
        """A photo has ended."""
        with self._guard:
            self._tally.add(outcome)

    def skip(self, status: str, photos: int) -> None:
        """Photos were settled before."""
        with self._guard:
            self._tally.settled[status] += photos

    def seconds(self) -> float:
        """Seconds since the first photo was handed out."""
        return self._watch.seconds() if self._watch else 0.0

    def end(self, calls: int, *, paid: bool) -> str:
        """What is said about the batch; the next one begins."""
        with self._guard:
            line = f"{self._tally.counts()} in {duration(self.seconds())}"
            if paid:
                line += f", {counted(calls - self._calls, 'call')}"
            self._tally, self._watch, self._calls = Tally(), None, calls
            return line
