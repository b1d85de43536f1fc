"""How far a command has come: what is done, what is left, and how long that takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from humanbody_cli.core.outcomes import Status, Tally
from humanbody_cli.jobs.progress.pace import Pace

T = TypeVar("T")

_CALLS_WINDOW = 10.0
"""Seconds over which calls are counted for the figure beside the quota."""


@dataclass(frozen=True)
class Figures:
    """Progress at one moment.

    ``done`` are photos that ended, ``settled`` ones included, of ``total``, which may still grow
    unless ``is_counted``. ``left`` photos are to be processed, which takes about ``seconds_left``.
    ``pace`` is in photos per second and ``calls`` in calls per second; ``quota``, in calls per
    second too, is what ``calls`` should come near, and was found if it is an estimate
    (``is_found``). ``left_out`` counts photos by why they were left out. ``is_stopping``: nothing
    new begins, and what is under way ends.
    """

    done: int
    total: int
    is_counted: bool
    left: int
    pace: float | None = None
    seconds_left: float | None = None
    calls: float | None = None
    quota: float | None = None
    is_found: bool = False
    left_out: dict[str, int] = field(default_factory=dict)
    is_stopping: bool = False


class Calls(Protocol):
    """What a gate tells of its calls."""

    calls: int

    def quota(self) -> tuple[float, bool]:
        """Calls per second that are allowed, and whether that is an estimate."""


class Ahead(Protocol):
    """What is known of the photos to come."""

    @property
    def found(self) -> int:
        """Photos counted so far."""

    @property
    def foreseen(self) -> int:
        """Those of them that are most likely settled already."""

    @property
    def has_ended(self) -> bool:
        """Whether all are counted."""


@dataclass(frozen=True)
class Exactly:
    """A number of photos that is known from the start."""

    found: int = 0
    foreseen: int = 0
    has_ended: bool = False


class Progress:
    """Follows one run. Pure but for its clock (seconds, monotonic)."""

    def __init__(self, tally: Tally, clock: Callable[[], float]) -> None:
        self.ahead: Ahead = Exactly()
        self.gate: Calls | None = None
        self._tally = tally
        self._clock = clock
        self._drawn = 0
        self._all_drawn = False
        self._ended = Pace(clock())
        self._started = Pace(clock(), _CALLS_WINDOW)

    def drawn(self, photos: Iterator[T]) -> Iterator[T]:
        """The same photos; they are counted as they are taken."""
        for photo in photos:
            self._drawn += 1
            yield photo
        self._all_drawn = True

    def begin(self) -> None:
        """The work on photos begins now: what came before does not count for the pace."""
        self._ended = Pace(self._clock())
        self._started = Pace(self._clock(), _CALLS_WINDOW)

    def note(self) -> None:
        """A photo has ended, or time has passed."""
        now = self._clock()
        self._ended.note(now, self._tally.total)
        if self.gate is not None:
            self._started.note(now, self.gate.calls)

    def figures(self, *, is_stopping: bool = False) -> Figures:
        """How far it has come."""
        now, tally, gate = self._clock(), self._tally, self.gate
        settled = tally.settled.total()
        done = settled + tally.total
        met = max(done, settled + self._drawn)
        total = met if self._all_drawn else max(met, self.ahead.found)
        left = met - done
        if not self._all_drawn:
            # Those that the walk has yet to come to, without those that it will skip.
            left = max(left, total - tally.total - max(settled, self.ahead.foreseen))
        quota, is_found = gate.quota() if gate is not None else (None, False)
        expected = self._ended.expected(now, quota)
        return Figures(
            done=done,
            total=total,
            is_counted=self._all_drawn or self.ahead.has_ended,
            left=left,
            pace=self._ended.rate(now),
            seconds_left=left / expected if expected else None,
            calls=self._started.rate(now) if gate is not None else None,
            quota=quota,
            is_found=is_found,
            left_out=self._left_out(),
            is_stopping=is_stopping,
        )

    def _left_out(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for (status, why), count in self._tally.reasons.most_common():
            if status in (Status.REJECTED, Status.FAILED):
                counts[why] = counts.get(why, 0) + count
        return counts
