"""Photos counted ahead of the run, on a thread of their own: names only.

The run's own walk is lazy, and reading it ahead would keep every photo in memory. A second walk of
100,000 photos takes about half a second of one core, so it begins when a total is about to be
shown: a run that ends before does without. It gives way to the run after each chunk.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from humanbody_cli.core.photo import Group, chunked
from humanbody_cli.core.settings import InputSettings
from humanbody_cli.discovery.find import find_to_count
from humanbody_cli.discovery.walk import Walk

Chunks = Iterator[Group]

_PAUSE = 0.001
"""Seconds between two chunks, in which other threads get the interpreter."""


def none_settled(photos: Group) -> int:
    """For a command that skips nothing."""
    return 0


def none_ended() -> int:
    """For a command that writes no rows."""
    return 0


class Counting:
    """Counts photos in the background; see `figures.Ahead`.

    ``settled`` tells how many of a chunk are most likely settled. Photos that the run itself has
    ended by the time the count begins are settled too, but not by an earlier run: ``ended`` is
    their number. A walk that fails is not reported: the run's own walk comes to the same place.
    """

    def __init__(
        self,
        chunks: Chunks,
        settled: Callable[[Group], int] = none_settled,
        ended: Callable[[], int] = none_ended,
    ) -> None:
        self.found = 0
        self.foreseen = 0
        self.has_ended = False
        self._chunks = chunks
        self._settled = settled
        self._ended = ended
        self._cancelled = threading.Event()

    @classmethod
    def of(
        cls,
        inputs: InputSettings,
        walk: Walk,
        settled: Callable[[Group], int] = none_settled,
        ended: Callable[[], int] = none_ended,
    ) -> Counting | None:
        """A count of the photos of a command's inputs, by a walk of its own; ``None`` where they
        cannot be counted ahead."""
        groups = find_to_count(inputs, walk)
        return None if groups is None else cls(chunked(groups), settled, ended)

    def start(self, seconds: float) -> None:
        """Count after so many seconds, in a thread that the interpreter does not wait for; where
        the system grants none, nothing is counted ahead."""

        def work() -> None:
            if not self._cancelled.wait(seconds):
                self.count()

        with contextlib.suppress(RuntimeError):
            threading.Thread(target=work, name="count", daemon=True).start()

    def count(self) -> None:
        """Count to the end, or until it is cancelled."""
        try:
            self.foreseen = -self._ended()  # the rows of a chunk count them
            for chunk in self._chunks:
                self.foreseen += self._settled(chunk)
                self.found += len(chunk)
                if self._cancelled.wait(_PAUSE):
                    return
            self.has_ended = True
        except Exception:  # noqa: BLE001 - a count must never end a run
            self.cancel()

    def cancel(self) -> None:
        """The run has ended."""
        self._cancelled.set()
