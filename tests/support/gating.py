"""A gate in virtual time, for the tests of the gate and of the timeline that gates share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from virtual_loop import clock

from humanbody_cli.api.adaptive_rate import RateController
from humanbody_cli.api.gate import Gate
from humanbody_cli.api.slots import OwnSlots, Slots
from humanbody_cli.core.errors import Stopped
from humanbody_cli.core.settings import MaxCalls
from humanbody_cli.core.stop import Stop
from humanbody_cli.storage.tables.calls import CallLimit


class Client:
    """A gate in virtual time, and what was sent through it."""

    def __init__(
        self,
        qps: float = 10,
        *,
        max_calls: int | None = None,
        limit: CallLimit | None = None,
        slots: Slots | None = None,
    ) -> None:
        self.stop = Stop()
        self.gate = Gate(
            RateController(qps, None),
            slots or OwnSlots(),
            self.stop,
            limit=limit or CallLimit(None if max_calls is None else MaxCalls(max_calls)),
            clock=clock,
        )
        self.sent: list[float] = []

    async def send(self, *, seconds: float = 0.5, sound: Callable[[], bool] = lambda: True) -> bool:
        """One attempt at a server that takes its time; whether it was sent and sound."""
        try:
            async with self.gate.attempt() as call:
                self.sent.append(clock())
                await asyncio.sleep(seconds)
                if sound():
                    self.gate.succeeded(call)
                    return True
                self.gate.failed(call, "the server broke off", answered=False)
                return False
        except Stopped:
            return False

    async def reach(self, *, seconds: float = 0.0) -> bool | None:
        """One attempt that finds no connection; whether the server is given up, ``None`` where it
        was not made."""
        try:
            async with self.gate.attempt() as call:
                self.sent.append(clock())
                await asyncio.sleep(seconds)
                return self.gate.unconnected(call, "no connection")
        except Stopped:
            return None

    async def photo(self, sound: Callable[[], bool], *, seconds: float = 0.5) -> bool:
        """One photo: up to six attempts, with rests between."""
        for attempt in range(6):
            if await self.send(seconds=seconds, sound=sound):
                return True
            try:
                await self.gate.rest(0.2 * 2**attempt)
            except Stopped:
                return False
        return False


async def all_of(*work: Awaitable[object]) -> list[object]:
    """Everything at once, to its end."""
    return await asyncio.gather(*work)
