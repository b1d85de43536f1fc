"""The one gate before every attempt, retries too: in-flight cap, pacer, stop flag, send.

The first call goes alone: a bad key then costs one call and not one for each slot. The same state
serves a server that only fails: pause, one call as a probe, and then everyone or no one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from humanbody_cli.api.adaptive_rate import Call, Fate, RateController
from humanbody_cli.api.circuit_breaker import Breaker, FirstContact
from humanbody_cli.api.slots import Slots
from humanbody_cli.core.errors import CallLimitReached, FatalError
from humanbody_cli.core.stop import Stop

_LATE = 0.005
"""Seconds that a late timer may catch up: the mean rate holds, and no burst comes of it."""

_LOOK_AGAIN = 0.25
"""Seconds between looks at the room in flight where nothing else wakes a waiter."""

_LOOKAHEAD = 8
"""Photos made ready beyond those in flight, so that a free slot never waits for the disk."""


class Gate:
    """Lets attempts through at the quota. One for a run; clock and stop flag are injected.

    ``calls`` counts what was sent, and ``max_calls`` bounds that: an attempt for which not even a
    connection came about (`unconnected`) cannot cost anything and does not count. ``notice`` is a
    line for the user about what bounds the calls in flight.
    """

    def __init__(
        self,
        controller: RateController,
        slots: Slots,
        stop: Stop,
        *,
        max_calls: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        most_photos: int | None = None,
        notice: str | None = None,
    ) -> None:
        self.controller = controller
        self.notice = notice
        self._most_photos = most_photos
        self.calls = 0
        self.refused = 0
        self.in_flight = 0
        self.connected = False  # whether any connection has come about in this run
        self._breaker = Breaker()
        self._first_contact = FirstContact()
        self._slots = slots
        self._stop = stop
        self._max_calls = max_calls
        self._clock = clock
        self._alone = True
        self._resting = 0
        self._closings = 0
        self._closed_at = float("-inf")
        self._room: asyncio.Future[None] | None = None
        self._turn: asyncio.Lock | None = None

    def cap(self) -> int:
        """Calls that may be in flight now."""
        return 1 if self._alone else self.controller.cap(self._clock())

    def capacity(self) -> int:
        """Photos worth having under way: in flight, resting before a retry, or being made ready."""
        cap = self.cap()
        photos = cap + self._resting + _LOOKAHEAD + cap // 4
        return photos if self._most_photos is None else min(photos, self._most_photos)

    async def rest(self, seconds: float) -> None:
        """Wait before a retry, outside the gate.

        Raises:
            Stopped: the run ends meanwhile.
        """
        self._resting += 1
        try:
            await self._stop.sleep(seconds)
        finally:
            self._resting -= 1

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[Call]:
        """One attempt: wait for its turn, and tell what became of it before leaving.

        Raises:
            Stopped: the run ends before this attempt began; it was not sent.
        """
        call = await self._begin()
        try:
            yield call
        finally:
            self.in_flight -= 1
            if call.fate is Fate.OPEN:
                self.controller.lost(call)
            if self._room is not None and not self._room.done():
                self._room.set_result(None)

    async def _begin(self) -> Call:
        """Wait for room and a slot, one attempt at a time: what counts as in flight was sent."""
        turn = self._turn = self._turn or asyncio.Lock()
        async with turn:
            slot_of = None
            while slot_of != self._closings:  # the breaker may close meanwhile: then anew
                slot_of = self._closings
                await self._wait_for_room()
                await self._wait_for_slot()
            self._count()
            self.in_flight += 1
            return self.controller.started(self._clock(), self.in_flight)

    async def _wait_for_room(self) -> None:
        """Wait until one more may be in flight; with time too, as hung calls stop counting."""
        while True:
            self._stop.check()
            if self.in_flight < self.cap():
                return
            self._room = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._room}, timeout=_LOOK_AGAIN)

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
        """A failure worth a retry. ``answered``: the quota let the call through at least."""
        self.connected = True
        if answered:
            self.controller.accepted(call, self._clock())
        else:
            self.controller.lost(call)
        self._failure(call, why)

    def unconnected(self, call: Call, why: str) -> bool:
        """No connection came about: nothing was sent. Whether the server must be given up as one
        that cannot be reached; that is so only where none has ever come about in this run."""
        self.calls -= 1
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
        if call.start < self._closed_at:
            return  # one outage takes all calls in flight with it: they say nothing new
        pause = self._breaker.failure()
        if pause is None:
            self._stop.set(FatalError(f"the server keeps failing, so the run stopped: {why}"))
        elif pause:
            self._alone = True
            self._closings += 1
            self._closed_at = self._clock()
            self.controller.not_before = max(self.controller.not_before, self._clock() + pause)

    def _count(self) -> None:
        self._stop.check()
        if self._max_calls is not None and self.calls >= self._max_calls:
            self._stop.set(
                CallLimitReached(
                    f"the call limit of {self._max_calls} (--max-calls) is reached; "
                    "run the same command again to continue"
                )
            )
            self._stop.check()
        self.calls += 1
