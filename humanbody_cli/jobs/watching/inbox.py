"""The watched folder: which files have come to rest and are to be done.

A file is at rest once its size and modification time have been the same for the settling time. It
is then handed out, and handed out again only after it has changed. What is handed out is looked at
a second time when it is read: a file that has changed since, or is damaged and may be half a copy,
goes on resting.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from humanbody_cli.core.errors import NotReady, PhotoError
from humanbody_cli.core.outcomes import Outcome
from humanbody_cli.core.paths import NO_TIME
from humanbody_cli.core.photo import Due, Kind, Photo
from humanbody_cli.discovery.tree import Part, upwards

Find = Callable[["Part | None"], Iterator[Photo]]
"""The photos of the folder or of a part of it, as a run would find and name them. Sources are
absolute paths, and so the same as keys."""

INCOMPLETE_REST = 60.0
"""Seconds that a file which would be rejected has to rest before it is: it may be half a copy."""

RETRY_REST = 900.0
"""Seconds after which a photo that failed temporarily is tried again."""

_LOOKS = 4
"""How often files are looked at within the settling time."""

_SHARE = 5
"""Looking through a large folder takes at most one part in so many of the time."""


@dataclass(frozen=True)
class _File:
    """A file as it was seen: size and modification time, output name; since when (on the clock) it
    has been so, and for how many seconds it has to be so."""

    stamp: tuple[int, int]
    name: str
    since: float
    rest: float


class Inbox:
    """Decides which photos are handed out. The whole folder is looked through every ``rescan``
    seconds, as reports of changes may get lost. ``put_back`` is called with a photo that was handed
    out too early.

    `ready` and `wait` are for one thread, the other methods for any.
    """

    def __init__(
        self,
        find: Find,
        put_back: Callable[[Due], None],
        *,
        settle: float,
        rescan: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._put_back = put_back
        self._settle = settle
        self._rescan = rescan
        self._clock = clock
        self._resting: dict[str, _File] = {}
        self._handed: dict[str, _File] = {}
        self._open: set[str] = set()  # those that were handed out and have not ended
        self._stirred: dict[str, float] = {}  # paths with recent changes, and when those came
        self._look_at = self._rescan_at = -math.inf
        self._news = threading.Condition()

    # -- what others report ----------------------------------------------------------------------

    def changed(self, paths: Iterable[str]) -> None:
        """Something happened to these absolute paths, of files or of folders."""
        with self._news:
            now = self._clock()
            self._stirred.update((path, now) for path in paths)
            self._news.notify_all()

    def look_through(self) -> None:
        """Anything may have happened."""
        with self._news:
            self._rescan_at = self._look_at
            self._news.notify_all()

    def settled(self, keys: Iterable[str]) -> None:
        """Photos that were handed out need nothing."""
        with self._news:
            for key in keys:
                self._close(key)

    def ended(self, outcome: Outcome) -> None:
        """A photo that was handed out has ended; one that may succeed later rests until then."""
        with self._news:
            key = outcome.source
            if outcome.transient:
                file = self._handed.pop(key)
                if key not in self._resting:  # else it has changed meanwhile
                    self._resting[key] = replace(file, since=self._clock(), rest=RETRY_REST)
            self._close(key)

    def admit(self, due: Due, error: PhotoError | None) -> None:
        """See `photo.Admit`.

        Raises:
            NotReady: the file is not as it was when it was handed out, or it would be rejected and
                has not rested long.
        """
        photo = due.photo
        stamp = _stamp(photo)
        with self._news:
            file, now = self._handed[photo.key], self._clock()
            is_same = file.stamp == stamp == (photo.size, photo.mtime)
            if is_same and (error is None or now - file.since >= INCOMPLETE_REST):
                return
            self._put_back(due)
            del self._handed[photo.key]
            self._resting[photo.key] = (
                replace(file, rest=INCOMPLETE_REST)
                if is_same
                else replace(file, stamp=stamp, since=now, rest=self._settle)
            )
            self._close(photo.key)
        raise NotReady(f"{photo.source} is still being written")

    def _close(self, key: str) -> None:
        self._open.discard(key)
        self._news.notify_all()

    # -- what is handed out ----------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether all that was handed out has ended, and nothing is about to be."""
        with self._news:
            settles = any(file.rest == self._settle for file in self._resting.values())
            return not (self._open or settles or self._stirred)

    def wait(self, most: float | None = None) -> None:
        """Wait until it is worth while to look, or a photo has ended; at most some seconds."""
        with self._news:
            seconds = min(self._next() - self._clock(), threading.TIMEOUT_MAX)
            if most is not None:
                seconds = min(seconds, most)
            if seconds > 0:
                self._news.wait(seconds)

    def ready(self) -> list[Photo]:
        """Look for photos that have come to rest, in the order of a walk, if it is time to."""
        with self._news:
            started = self._clock()
            if started < self._next():
                return []
            part = None if started >= self._rescan_at else self._part()
            stirred, before = set(self._stirred), set(self._resting)
            if part is None:
                self._rescan_at = started + self._rescan
        found = [(photo, _stamp(photo)) for photo in self._worth_a_look(part, stirred, before)]
        with self._news:
            ready = [photo for photo, stamp in found if self._is_ready(photo, stamp, started)]
            self._forget(before, {photo.key for photo, _ in found}, everything=part is None)
            self._plan_next(started, self._clock() - started)
        return ready

    def _next(self) -> float:
        """When to look next."""
        times = [self._rescan_at]
        if self._stirred:
            times.append(self._look_at)
        if self._resting:
            rested = min(file.since + file.rest for file in self._resting.values())
            times.append(max(self._look_at, rested))
        return min(times)

    def _part(self) -> Part:
        """Where there are changes or resting files."""
        paths = {*self._stirred, *self._resting}
        return Part(frozenset(map(os.path.dirname, paths)), frozenset(self._stirred))

    def _worth_a_look(
        self, part: Part | None, stirred: set[str], resting: set[str]
    ) -> Iterator[Photo]:
        """Photos that are resting, or may have changed: a report names them or a folder that
        contains them."""
        folder, has_changed = "", False
        for photo in self._find(part):
            handed = self._handed.get(photo.key)
            if part is not None and handed is not None and handed.name == photo.name:
                above = os.path.dirname(photo.key)
                if above != folder:
                    folder, has_changed = above, not stirred.isdisjoint(upwards(above))
                if not (has_changed or photo.key in stirred or photo.key in resting):
                    continue
            yield photo

    def _is_ready(self, photo: Photo, stamp: tuple[int, int], now: float) -> bool:
        """Note how a file is; whether it is handed out. One that is under way has to end first."""
        key, seen = photo.key, (stamp, photo.name)
        handed, resting = self._handed.get(key), self._resting.get(key)
        if handed is not None and seen == (handed.stamp, handed.name):
            self._resting.pop(key, None)
            return False
        if resting is None or seen != (resting.stamp, resting.name):
            self._resting[key] = _File(*seen, now, self._settle)
            return False
        if now - resting.since < resting.rest or key in self._open:
            return False
        self._handed[key] = self._resting.pop(key)
        self._open.add(key)
        return True

    def _forget(self, before: set[str], found: set[str], *, everything: bool) -> None:
        """Forget files that are gone; those that others have reported meanwhile are not."""
        for key in before - found:
            self._resting.pop(key, None)
        if everything:
            for key in self._handed.keys() - found - self._open:
                del self._handed[key]

    def _plan_next(self, started: float, took: float) -> None:
        pause = _SHARE * took
        self._look_at = started + max(self._settle / _LOOKS, pause)
        self._rescan_at = max(self._rescan_at, started + pause)
        recent = started - self._settle
        self._stirred = {path: when for path, when in self._stirred.items() if when > recent}


def _stamp(photo: Photo) -> tuple[int, int]:
    """Size and modification time as `Photo.seen` reads them."""
    if photo.kind is not Kind.FILE:
        return -1, NO_TIME
    seen = photo.seen()
    return seen.size, seen.mtime
