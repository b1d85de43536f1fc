"""Many photos at once: a bounded set of tasks over a lazy stream. Drains when the run ends.

A photo's task is made when there is room for it and not before: ten thousand photos cost no more
memory than twenty.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar

from humanbody_cli.core.errors import HbsegError, Stopped
from humanbody_cli.core.stop import Stop

T = TypeVar("T")
R = TypeVar("R")

READ_AHEAD = 32
"""Photos taken from the walk at a time: one hop to its thread for all of them."""

_CAPACITY_POLL = 0.25
"""Seconds between checks of the capacity, which grows during the run."""


class Stream(Generic[T]):
    """A lazy stream of photos, read ahead on a thread that a blocked source cannot hold up."""

    def __init__(self, photos: Iterator[T], ahead: int = READ_AHEAD) -> None:
        self._photos = photos
        self._ahead = ahead
        self._ready: list[T] = []
        self._ended = False

    @property
    def is_ready(self) -> bool:
        """Whether `next` need not wait."""
        return bool(self._ready)

    async def next(self) -> T | None:
        """The next photo, ``None`` after the last."""
        if not self._ready and not self._ended:
            block = await in_daemon(lambda: list(islice(self._photos, self._ahead)))
            self._ready = block[::-1]
            self._ended = not block
        return self._ready.pop() if self._ready else None


async def in_daemon(function: Callable[[], T]) -> T:
    """Run a function in a thread that the interpreter does not wait for when it exits: a list that
    never ends must not keep a stopped run alive."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type] # T may be None itself

    def work() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - handed on, not swallowed
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, name="walk", daemon=True).start()
    return await future


async def run(
    photos: Iterator[T],
    process: Callable[[T], Awaitable[R]],
    capacity: Callable[[], int],
    stop: Stop,
    deliver: Callable[[R], None],
    *,
    ahead: int = READ_AHEAD,
) -> None:
    """Process photos until there are no more or the run is stopped; then wait for those under way.

    Each outcome is passed to ``deliver`` at once. A photo without an outcome because the run ends
    is not delivered. A bug, in ``process`` or ``deliver``, is raised after all photos have ended.
    """
    scheduler = _Scheduler(Stream(photos, ahead), process, capacity, stop, deliver)
    await scheduler.run()
    if scheduler.bugs:
        raise scheduler.bugs[0]


def run_loop(work: Coroutine[Any, Any, None]) -> None:
    """``asyncio.run`` that does not wait for the default executor: a name lookup may hold one of
    its threads for a minute after everything else has ended."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.run_until_complete(cancel_the_rest())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def cancel_the_rest() -> None:
    """Cancel every other task of the running loop, and wait for its end."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


class _Scheduler(Generic[T, R]):
    """Starts photos while there is capacity, and delivers their outcomes."""

    def __init__(
        self,
        stream: Stream[T],
        process: Callable[[T], Awaitable[R]],
        capacity: Callable[[], int],
        stop: Stop,
        deliver: Callable[[R], None],
    ) -> None:
        self.bugs: list[BaseException] = []
        self._stream = stream
        self._process = process
        self._capacity = capacity
        self._stop = stop
        self._deliver = deliver
        self._active: set[asyncio.Task[R]] = set()
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stopping = stop.stopped()

    async def run(self) -> None:
        """Run until there are no more photos and all have ended."""
        more = True
        self._stopping.add_done_callback(self._wake)
        try:
            while more or self._active:
                more = more and await self._fill()
                if self._active:
                    # Not wait_for, which may lose the cancellation at the end of the grace.
                    await asyncio.wait({self._news}, timeout=_CAPACITY_POLL)
                    self._news = asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            for task in self._active:
                task.cancel()
            await asyncio.gather(*self._active, return_exceptions=True)
            raise
        finally:
            self._stopping.remove_done_callback(self._wake)

    def _wake(self, _: object = None) -> None:
        if not self._news.done():
            self._news.set_result(None)

    async def _fill(self) -> bool:
        """Start photos while there is capacity; whether there may be more."""
        while not self._stop.is_set and not self.bugs and len(self._active) < self._capacity():
            try:
                photo = await _unless_stopped(self._stream, self._stopping)
            except Exception as error:  # noqa: BLE001 - calls in flight must end first
                self._judge(error)
                return False
            if photo is None:
                return False
            task = asyncio.ensure_future(self._process(photo))
            task.add_done_callback(self._land)
            self._active.add(task)
        return not self._stop.is_set and not self.bugs

    def _land(self, task: asyncio.Task[R]) -> None:
        """A photo has ended: deliver its outcome at once."""
        self._active.discard(task)
        self._wake()
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._judge(error)
            return
        try:
            self._deliver(task.result())
        except Exception as failure:  # noqa: BLE001 - calls in flight must end first
            self._judge(failure)

    def _judge(self, error: BaseException) -> None:
        """Errors raised on purpose end the run; the rest are bugs."""
        if isinstance(error, Stopped):
            return
        if isinstance(error, HbsegError):
            self._stop.set(error)
        else:
            self.bugs.append(error)


class Turns:
    """Photos with the same key take turns; the others do not wait."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    @contextlib.asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Wait for the turn of a photo with this key, and keep it for the block."""
        turn = self._turns.setdefault(key, _Turn())
        turn.photos += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.photos -= 1
            if not turn.photos:
                del self._turns[key]


@dataclass
class _Turn:
    """Whose turn it is, and how many photos have it or wait for it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    photos: int = 0


async def _unless_stopped(stream: Stream[T], stopping: asyncio.Future[None]) -> T | None:
    """The next photo, or ``None`` once the run is to end: the source of photos may never answer."""
    if stream.is_ready:  # no task and no waiting for each photo
        return await stream.next()
    coming = asyncio.ensure_future(stream.next())
    both: set[asyncio.Future[Any]] = {coming, stopping}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return coming.result() if coming.done() else None
    finally:
        coming.cancel()
