"""How fast photos end, or calls start: an estimate from times and counts. Pure."""

from __future__ import annotations

from collections import deque

_FEWEST = 20
"""Events that an estimate looks back over even if they take longer than its window."""

_APART = 0.5
"""Seconds between two marks: bounds their number."""

_SOUND = 1.0
"""Seconds that an estimate needs: of marks, to leave out the start-up before the first event."""

_PATIENCE = 3.0
"""Mean distances between events that may pass before waiting for the next one lowers the rate."""

_TRUST, _TRUST_SECONDS = 20, 30.0
"""How many events an expected rate weighs at the start, and after how many seconds none."""


class Pace:
    """Events per second over the last ``window`` seconds, so that it follows a run that gets slower
    or faster. ``start``: when the work began, in the seconds of `note`'s ``now``."""

    def __init__(self, start: float, window: float = 60.0) -> None:
        self._start = start
        self._window = window
        self._marks: deque[tuple[float, int]] = deque()

    def note(self, now: float, count: int) -> None:
        """So many events have happened by now, all told."""
        if count <= (self._marks[-1][1] if self._marks else 0):
            return
        if len(self._marks) > 1 and now - self._marks[-2][0] < _APART:
            self._marks[-1] = (now, count)
            return
        self._marks.append((now, count))
        while (
            len(self._marks) > 2
            and self._marks[1][0] <= now - self._window
            and count - self._marks[1][1] >= _FEWEST
        ):
            self._marks.popleft()

    def rate(self, now: float) -> float | None:
        """Events per second, ``None`` before the first."""
        if not self._marks:
            return None
        gained, seconds = self._measured(now)
        return gained / seconds

    def expected(self, now: float, known: float | None) -> float | None:
        """Events per second that are to be expected, from those so far and from a ``known`` rate,
        which counts less and less; ``None`` if nothing is known."""
        trust = _TRUST * max(0.0, 1 - (now - self._start) / _TRUST_SECONDS) if known else 0.0
        if not self._marks:
            return known
        gained, seconds = self._measured(now)
        return (gained + trust) / (seconds + (trust / known if known else 0.0))

    def _measured(self, now: float) -> tuple[int, float]:
        """Events, and the seconds that they took.

        The time before the first event is start-up and latency: it is left out as soon as there
        is a second of events after it.
        """
        (first, before), (last, count) = self._marks[0], self._marks[-1]
        if last - first < _SOUND:
            return count, max(now - self._start, _SOUND)
        gained, span = count - before, last - first
        return gained, span + max(0.0, now - last - _PATIENCE * span / gained)
