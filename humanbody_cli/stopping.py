"""The one flag that ends a run: set once, with the reason; read before and after every wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from humanbody_cli.errors import HbsegError, Stopped

if TYPE_CHECKING:
    import asyncio


class Stop:
    """Tells everything under way that the run ends. The first reason wins.

    Work that was paid for goes on and lands; nothing new begins.
    """

    def __init__(self) -> None:
        self.reason: HbsegError | None = None
        self._event: asyncio.Event | None = None

    @property
    def is_set(self) -> bool:
        """Whether the run is to end."""
        return self.reason is not None

    def set(self, reason: HbsegError) -> None:
        """End the run; must be called on the event loop's thread once one is running."""
        if self.reason is None:
            self.reason = reason
            if self._event is not None:
                self._event.set()

    def check(self) -> None:
        """Raise ``Stopped`` once the run is to end."""
        if self.reason is not None:
            raise Stopped(str(self.reason))

    async def wait(self) -> None:
        """Return once the run is to end."""
        import asyncio  # not at the top: a run with nothing to do never gets here

        if self._event is None:
            self._event = asyncio.Event()
            if self.is_set:
                self._event.set()
        await self._event.wait()

    async def sleep(self, seconds: float) -> None:
        """Sleep, or raise ``Stopped`` as soon as the run is to end."""
        import asyncio

        self.check()
        if seconds > 0:
            try:
                await asyncio.wait_for(self.wait(), seconds)
            except asyncio.TimeoutError:
                return
        self.check()
