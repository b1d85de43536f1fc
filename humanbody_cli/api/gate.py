"""The gate that every attempt passes, retries included: in-flight cap, pacing, stop flag.

The first call goes alone, so a bad key costs one call rather than one per slot. The same state
serves an open circuit breaker: after the pause one call goes as a probe, and its result decides
whether the others follow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from humanbody_cli.api.adaptive_rate import Call, Fate, RateController
from humanbody_cli.api.circuit_breaker import CircuitBreaker, FirstContact
from humanbody_cli.api.slots import Slots
from humanbody_cli.core.errors import FatalError
from humanbody_cli.core.stop import Stop
from humanbody_cli.storage.tables.calls import CallLimit

_LATE = 0.005
"""Seconds that a late timer may catch up: this keeps the mean rate without causing bursts."""

_RECHECK = 0.25
"""Seconds after which a waiter checks the in-flight cap again if nothing else wakes it."""

_PERIOD_RECHECK = 30.0
"""Seconds between looks at the time of day while the calls of an hour or day are used up: the clock
may be set, and the machine may sleep."""

_LOOKAHEAD = 8
"""Photos prepared beyond those in flight, so that a free slot never waits for the disk."""


class Gate:
    """Lets attempts through at the quota's rate. One per run; clock and stop flag are injected.

    ``calls`` counts the calls sent, as many as ``limit`` allows; an attempt that never got a
    connection (`unconnected`) cannot cost anything and is not counted. ``latency`` is the sum, in
    seconds, of the latencies of ``answered`` calls that the quota allowed. ``notice`` is a line for
    the user about what limits the calls in flight, if anything does; ``tell`` receives further
    ones.
    """

    def __init__(
        self,
        controller: RateController,
        slots: Slots,
        stop: Stop,
        *,
        limit: CallLimit | None = None,
        clock: Callable[[], float] = time.monotonic,
        most_photos: int | None = None,
        notice: str | None = None,
    ) -> None:
        self.controller = controller
        self.notice = notice
        self._most_photos = most_photos
        self.calls = 0
        self.refused = 0
        self.answered = 0
        self.latency = 0.0
        self.in_flight = 0
        self.connected = False  # whether any connection was made in this run
        self._breaker = CircuitBreaker()
        self._first_contact = FirstContact()
        self._slots = slots
        self._stop = stop
        self._limit = limit or CallLimit()
        self.tell: Callable[[str], None] = lambda line: None
        self._clock = clock
        self._alone = True
        self._resting = 0
        self._openings = 0  # how often the breaker has opened or asked for another probe
        self._opened_at = float("-inf")
        self._room: asyncio.Future[None] | None = None
        self._turn: asyncio.Lock | None = None

    def cap(self) -> int:
        """Calls that may be in flight now."""
        return 1 if self._alone else self.controller.cap(self._clock())

    def capacity(self) -> int:
        """Photos worth having in progress: in flight, waiting for a retry, or being prepared."""
        cap = self.cap()
        photos = cap + self._resting + _LOOKAHEAD + cap // 4
        return photos if self._most_photos is None else min(photos, self._most_photos)

    def quota(self) -> tuple[float, bool]:
        """The quota in calls per second, and whether it is an estimate."""
        return self.controller.quota()

    async def rest(self, seconds: float) -> None:
        """Wait before a retry, without occupying a slot.

        Raises:
            Stopped: the run ended meanwhile.
        """
        self._resting += 1
        try:
            await self._stop.sleep(seconds)
        finally:
            self._resting -= 1

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[Call]:
        """One attempt: waits for its turn. The caller reports how it ended before leaving.

        Raises:
            Stopped: the run ended before this attempt began; it was not sent.
        """
        call = await self._begin()
        try:
            yield call
        finally:
            self.in_flight -= 1
            if call.fate is Fate.OPEN:
                self.controller.lost(call)
            elif call.fate is Fate.ACCEPTED:
                self.answered += 1
                self.latency += self._clock() - call.start
            if self._room is not None and not self._room.done():
                self._room.set_result(None)

    async def _begin(self) -> Call:
        """Wait for room and a start time, one attempt at a time, so that all counted as in flight
        have been sent."""
        turn = self._turn = self._turn or asyncio.Lock()
        async with turn:
            await self._wait()
            while not self._take_call():
                await self._wait_for_next_period()
                await self._wait()
            self.in_flight += 1
            return self.controller.started(self._clock(), self.in_flight)

    async def _wait(self) -> None:
        """Wait for room and a start time, and again if the breaker opened meanwhile."""
        waited_at = None
        while waited_at != self._openings:
            waited_at = self._openings
            await self._wait_for_room()
            await self._wait_for_slot()

    async def _wait_for_room(self) -> None:
        """Wait until one more call may be in flight. Time alone can allow it: hung calls stop
        counting."""
        while True:
            self._stop.check()
            if self.in_flight < self.cap():
                return
            self._room = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._room}, timeout=_RECHECK)

    async def _wait_for_slot(self) -> None:
        while True:
            self._stop.check()
            now = self._clock()
            earliest = max(now - _LATE, self.controller.not_before)
            start = self._slots.reserve(earliest, 1 / self.controller.rate)
            if start is not None:
                break
            await self._stop.sleep(0.001)
        await self._stop.sleep(start - now)
        # A refusal or the breaker may have asked for a pause meanwhile, and again for another.
        while (pause := self.controller.not_before - self._clock()) > 0:
            await self._stop.sleep(pause)

    def succeeded(self, call: Call) -> None:
        """The server is healthy, even if it rejected this photo."""
        self.connected = True
        self._alone = False
        self._breaker.success()
        self.controller.accepted(call, self._clock())

    def was_refused(self, call: Call) -> None:
        """CONCURRENCY_LIMIT_EXCEEDED."""
        self.connected = True
        self.refused += 1
        self.controller.refused(call, self._clock())
        why = "the quota remains used up; is another program using the same key?"
        self._failure(call, why)

    def failed(self, call: Call, why: str, *, answered: bool) -> None:
        """A failure worth a retry. ``answered``: there was an answer, so the quota allowed it."""
        self.connected = True
        if answered:
            self.controller.accepted(call, self._clock())
        else:
            self.controller.lost(call)
        self._failure(call, why)

    def unconnected(self, call: Call, why: str) -> bool:
        """No connection was made, so nothing was sent. Returns whether to give the server up as
        unreachable, which happens only if no connection was ever made in this run."""
        self.calls -= 1
        self._limit.give_back()
        self.controller.lost(call)
        if self.connected:
            self._failure(call, why)
            return False
        now = self._clock()
        pause = self._first_contact.failure(call.start, now)
        if pause is not None:
            self.controller.not_before = max(self.controller.not_before, now + pause)
        return pause is None

    def _failure(self, call: Call, why: str) -> None:
        if call.start < self._opened_at:
            return  # it was in flight when the breaker opened: the same outage, counted already
        pause = self._breaker.failure()
        if pause is None:
            self._stop.set(FatalError(f"the server keeps failing, so the run stopped: {why}"))
        elif pause:
            self._alone = True
            self._openings += 1
            self._opened_at = self._clock()
            self.controller.not_before = max(self.controller.not_before, self._clock() + pause)

    def _take_call(self) -> bool:
        """Count one call; false if the limit allows none before the next hour or day."""
        self._stop.check()
        if not self._limit.take():
            if not self._limit.waits:
                self._stop.set(self._limit.error())
                self._stop.check()
            return False
        self.calls += 1
        return True

    async def _wait_for_next_period(self) -> None:
        self.tell(self._limit.pause())
        while self._limit.is_reached():
            await self._stop.sleep(_PERIOD_RECHECK)
