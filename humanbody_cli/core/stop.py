"""Stopping: the stop flag of a run, signals, time limits; and pools of threads."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

from humanbody_cli.core.errors import FatalError, HbsegError, Interrupted, Stopped, limits_told

# asyncio and concurrent.futures are imported where they are needed: a run with nothing to do never
# gets there.
if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor


class Stop:
    """The stop flag of a run, with its reason; the first reason wins.

    Paid work continues and is published; nothing new begins.
    """

    def __init__(self) -> None:
        self.reason: HbsegError | None = None
        self._stopped: asyncio.Future[None] | None = None

    @property
    def is_set(self) -> bool:
        """Whether the run is to end."""
        return self.reason is not None

    def set(self, reason: HbsegError) -> None:
        """End the run. Safe from any thread: the walk runs on one of its own."""
        if self.reason is None:
            self.reason = reason
            if self._stopped is not None:
                with contextlib.suppress(RuntimeError):  # the loop has ended: nothing waits
                    self._stopped.get_loop().call_soon_threadsafe(_resolve, self._stopped)

    def check(self) -> None:
        """Raise ``Stopped`` once the run is to end."""
        if self.reason is not None:
            raise Stopped(str(self.reason))

    def stopped(self) -> asyncio.Future[None]:
        """A future of the running loop that is done once the run is to end. Do not cancel it."""
        import asyncio

        loop = asyncio.get_running_loop()
        if self._stopped is None or self._stopped.get_loop() is not loop:
            self._stopped = loop.create_future()
            if self.is_set:
                _resolve(self._stopped)
        return self._stopped

    async def sleep(self, seconds: float) -> None:
        """Sleep, or raise ``Stopped`` as soon as the run is to end."""
        import asyncio

        self.check()
        if seconds > 0:
            # Not wait_for: on Python 3.11 it loses a cancellation that arrives together
            # with the result (CPython issue 86296), and a cancelled attempt would be sent.
            await asyncio.wait({self.stopped()}, timeout=seconds)
        self.check()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def caught_signals() -> list[signal.Signals]:
    """The signals that end a run, except those that were ignored when it began (nohup, ``&``)."""
    return [number for number in ENDING_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Outside an event loop SIGINT and SIGTERM raise `Interrupted`, out of a blocked read too.

    Python gives signal handlers to the main thread only; on another thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _interrupt) for number in caught_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)


def started_pool(count: int, name: str) -> ThreadPoolExecutor:
    """A pool of ``count`` threads, all of them running.

    `ThreadPoolExecutor` starts its threads when work comes. Where the system then refuses one,
    ``submit`` raises although the work is in the queue, and a paid answer might be lost or
    processed twice. A pool whose threads all run never starts another.

    Raises:
        FatalError: the system starts no more threads.
    """
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    # Each thread waits for the others: one that is idle would be given the next one's work.
    met = threading.Barrier(count + 1)
    try:
        with limits_told():
            for _ in range(count):
                pool.submit(met.wait)
        met.wait()
    except FatalError:
        met.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    return pool


P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(
    pool: ThreadPoolExecutor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call a function in a thread of ``pool`` and wait for its result, off the event loop."""
    import asyncio

    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(pool, lambda: function(*args, **kwargs))


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled after ``seconds``.

    The work has ended, clean-up included, before this returns or raises, unless the caller is
    cancelled a second time. A result that comes while the work is being cancelled for lateness is
    returned: it may have been paid for. `asyncio.wait_for` may lose a cancellation up to Python
    3.11 (CPython issues 86296 and 96764).

    Raises:
        asyncio.TimeoutError: the time is over.
        asyncio.CancelledError: the caller was cancelled; a result of the work is lost.
    """
    import asyncio

    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            await _end(task)
    except asyncio.CancelledError:
        task.add_done_callback(_take_note)
        await _end(task)  # anyio's scopes cancel again and again, and so end this wait too
        raise
    if task.cancelled():
        raise TimeoutError
    return task.result()


def _take_note(task: asyncio.Task[Any]) -> None:
    """See an exception, which asyncio reports otherwise as never retrieved."""
    if not task.cancelled():
        task.exception()


async def _end(task: asyncio.Task[Any]) -> None:
    import asyncio

    task.cancel()
    await asyncio.wait({task})
