"""The adaptive rate: how fast calls start and how many are in flight, adjusted by how they end.

Pure: it is told when calls start and how they end. A quota is a rate, and a semaphore of N does not
hold one (its rate is N / latency): so starts are spaced in time, and the number in flight follows
from Little's law (rate x latency), so that slow answers do not leave quota unused.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile

EDGE = 0.982
"""The share of the quota to start at. At exactly 20/s, arrival jitter alone gets a call refused now
and then in a sliding window; at .982 none was, and 98 % of the quota is used."""

MAX_IN_FLIGHT = 256
"""Calls in flight unless the user says otherwise: 100 per second at 2.5 s of latency."""

AUTO_START = 2.0
AUTO_CEILING = 500.0
FLOOR = 0.1
"""Calls per second: the slowest that refusals can make a run."""

_LITTLE = 1.5  # headroom over rate x latency, for answers slower than the 95th percentile
_INSTANT = 0.15
_INSTANT_CAP = 16
"""Where answers are instant, the measured latency is the client's own queue and Little's law would
amplify it: below .15 s, more than 16 in flight gain nothing."""

_TRIAL_AFTER = 8
"""Calls let through before a higher number in flight is tried; three times as many after a trial
that failed, at most `_LONGEST_TRIAL_AFTER`."""

_LONGEST_TRIAL_AFTER = 512

_WINDOW = 1.0  # seconds: the quota counts calls per second
_LATENCIES = 64


class Fate(Enum):
    """How a call ended, as far as the quota is concerned."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    LOST = "lost"


@dataclass
class Call:
    """One attempt: when it started (seconds, monotonic) and how many were in flight with it."""

    start: float
    in_flight: int
    fate: Fate = Fate.OPEN


class RateController:
    """Rate and in-flight cap, adapted to how calls end.

    With ``qps`` ``None`` the quota is searched for: the rate doubles each second until the first
    refusal. ``rate`` is in calls per second; no call starts before ``not_before`` (seconds of the
    caller's clock).
    """

    def __init__(self, qps: float | None, concurrency: int | None) -> None:
        self.ceiling = EDGE * qps if qps is not None else AUTO_CEILING
        self.rate = self.ceiling if qps is not None else AUTO_START
        self.searching = qps is None
        self._qps = qps
        self.not_before = 0.0
        self._limit = concurrency or MAX_IN_FLIGHT
        self._calls: deque[Call] = deque(maxlen=8192)
        self._open: dict[int, Call] = {}
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._slow = self._quick = 0.0  # the 95th and 10th percentile of those
        self._in_flight = InFlightCap(self._limit)
        self._refused_at = -math.inf  # when the last refusal slowed the run
        self._refused_rate = math.inf  # the rate at which it did
        self._grown_at: float | None = None
        self._edge_cut = 0.005

    def cap(self, now: float) -> int:
        """Calls worth having in flight."""
        if not self._latencies:
            return min(self._limit, max(1, math.ceil(self.rate)))
        cap = max(math.ceil(self.rate * self._slow * _LITTLE), math.ceil(self.rate), 2)
        if self._quick < _INSTANT:
            cap = min(cap, _INSTANT_CAP)
        # A hung call must cost its own slot, not the run's pace. The oldest come first.
        before = now - max(1.0, 4 * self._slow)
        hung = sum(1 for _ in takewhile(lambda call: call.start < before, self._open.values()))
        return min(self._limit, self._in_flight.cap, cap + hung)

    def estimated_quota(self) -> float:
        """The quota as far as it is known, in calls per second."""
        return self.rate / EDGE

    def quota(self) -> tuple[float, bool]:
        """The quota in calls per second, and whether it is an estimate."""
        if self._qps is not None:
            return self._qps, False
        return self.estimated_quota(), True

    def started(self, now: float, in_flight: int) -> Call:
        """A call starts; ``in_flight`` are in flight with it."""
        call = Call(now, in_flight)
        self._calls.append(call)
        self._open[id(call)] = call
        return call

    def accepted(self, call: Call, now: float) -> None:
        """The quota allowed this call; the answer may still be an error."""
        self._end(call, Fate.ACCEPTED)
        self._latencies.append(now - call.start)
        ordered = sorted(self._latencies)
        self._slow = ordered[int(len(ordered) * 0.95)]
        self._quick = ordered[len(ordered) // 10]
        self._in_flight.accepted(call)
        self._grow(now)

    def lost(self, call: Call) -> None:
        """There was no answer, which says nothing about the quota."""
        self._end(call, Fate.LOST)

    def refused(self, call: Call, now: float) -> None:
        """CONCURRENCY_LIMIT_EXCEEDED: lower the rate for all calls, at most once per second.

        The true limit is about the number of calls let through in the second before. If that is
        nearly the present rate, the refusal is jitter at the edge: a small cut and no pause.
        """
        self._end(call, Fate.REFUSED)
        let_through = [other for other in self._before(call) if other.fate is not Fate.REFUSED]
        at_edge = len(let_through) + 1 >= 0.9 * self.rate
        known_cap = self._in_flight.cap < self._limit
        by_number = self._in_flight.refused(call, at_edge=at_edge)
        self.searching = False
        if (by_number and known_cap) or now - self._refused_at < _WINDOW:
            return
        calm = now - self._refused_at
        self._refused_at = now
        if at_edge:
            self._edge_cut = min(0.08, self._edge_cut * 2) if calm < 3 else 0.005
            self._slow_to(self.rate * (1 - self._edge_cut), self.rate)
        else:
            self._slow_to(min(0.7 * self.rate, EDGE * max(1, len(let_through))), len(let_through))
            if let_through:
                self.not_before = max(self.not_before, let_through[-1].start + _WINDOW + 0.02)
        if by_number:
            self._refused_rate = math.inf  # the number in flight may explain it alone

    def _slow_to(self, rate: float, refused_at: float) -> None:
        self.rate = max(FLOOR, rate)
        self._refused_rate = max(FLOOR, refused_at)

    def _grow(self, now: float) -> None:
        """Raise the rate again: slowly near the rate that was refused, faster away from it."""
        since = now - self._grown_at if self._grown_at is not None else 0.0
        if self._grown_at is None or since >= 0.1:
            self._grown_at = now
        if since < 0.1 or now - self._refused_at < _WINDOW:
            return
        since = min(since, 1.0)
        if self.searching:
            growth = 2.0**since
        elif 0.95 * self._refused_rate < self.rate < 1.1 * self._refused_rate:
            calm = now - self._refused_at
            growth = 1 + 0.001 * since * max(1.0, calm / 5)
        else:
            growth = 1 + 0.1 * since
        self.rate = min(self.ceiling, self.rate * growth)

    def _before(self, call: Call) -> Iterator[Call]:
        """The calls that started in the second before this one, latest first."""
        for other in reversed(self._calls):
            if other.start <= call.start - _WINDOW:
                return
            if other is not call and other.start <= call.start:
                yield other

    def _end(self, call: Call, fate: Fate) -> None:
        call.fate = fate
        self._open.pop(id(call), None)


class InFlightCap:
    """The limit of servers that count calls in flight rather than calls per second.

    A refusal sets the cap only if so many in flight were never let through before, and not if it is
    a single refusal that the rate explains as well. Higher numbers are then tried again: rarely
    where trials fail, in growing steps where they succeed.
    """

    def __init__(self, limit: int) -> None:
        self.cap = limit
        self._limit = limit
        self._best = 0
        self._edge_refusals = 0
        self._accepted = 0
        self._trying = False
        self._trial_after = _TRIAL_AFTER
        self._step = 1

    def accepted(self, call: Call) -> None:
        """A call was let through; ``call.in_flight`` were in flight with it."""
        self._edge_refusals = 0
        self._best = max(self._best, call.in_flight)
        if self.cap >= self._limit:
            return
        if self._trying and call.in_flight >= self.cap:
            self._trying = False
            self._trial_after = _TRIAL_AFTER
            self._step *= 2
        self._accepted += 1
        if self._accepted >= self._trial_after:
            self.cap = min(self._limit, self.cap + self._step)
            self._accepted = 0
            self._trying = True

    def refused(self, call: Call, *, at_edge: bool) -> bool:
        """A call was refused; returns whether the number in flight explains it."""
        if call.in_flight <= self._best or call.in_flight < 2:
            return False
        if self.cap >= self._limit:
            self._edge_refusals += 1
            if at_edge and self._edge_refusals < 2:
                return False
        if self._trying:
            self._trial_after = min(_LONGEST_TRIAL_AFTER, self._trial_after * 3)
        self.cap = min(self.cap, call.in_flight - 1)
        self._accepted = 0
        self._trying = False
        self._step = 1
        return True
