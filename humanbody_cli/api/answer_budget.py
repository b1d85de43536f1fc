"""The memory that all answers being received may use together.

An answer takes room as it grows and gives it back once it has been parsed. When the budget is used
up, receiving waits and the bytes stay with the server. Only the oldest unfinished answer goes on,
so one always ends and gives its room back: there is no deadlock, and memory is bounded by the
budget plus one answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

BUDGET = 256 * 1024 * 1024
"""Bytes. Answers to ordinary photos have a few megabytes and are held briefly: this is enough for
more of them than are ever received at once, and a hostile server gets no more."""


class Budget:
    """The bytes that all answers of a run may use. For one event loop."""

    def __init__(self, most: int = BUDGET) -> None:
        self.held = 0
        self._most = most
        self._rooms: dict[Room, None] = {}  # in order of age
        self._waiting: list[asyncio.Future[None]] = []

    @contextlib.contextmanager
    def room(self) -> Iterator[Room]:
        """Room for one answer, given back at the end."""
        room = Room(self)
        try:
            yield room
        finally:
            self._give_back(room)

    async def grow(self, room: Room, size: int) -> None:
        """Give ``room`` ``size`` bytes more, as soon as that is possible."""
        self._rooms.setdefault(room)
        while self.held + size > self._most and room is not next(iter(self._rooms)):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        self.held += size
        room.size += size

    def received(self, room: Room) -> None:
        """An answer is complete and waits for nothing: the next one is now the oldest."""
        self._rooms.pop(room, None)
        self._wake()

    def _give_back(self, room: Room) -> None:
        self.held -= room.size
        room.size = 0
        self.received(room)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


class Room:
    """What one answer holds, in bytes."""

    def __init__(self, budget: Budget) -> None:
        self.size = 0
        self._budget = budget

    async def grow(self, size: int) -> None:
        """Wait until ``size`` more bytes may be received."""
        await self._budget.grow(self, size)

    def received(self) -> None:
        """The answer is complete."""
        self._budget.received(self)
