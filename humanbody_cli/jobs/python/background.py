"""The thread with the event loop that a `Segmenter` works on.

It is the Segmenter's own, so a caller may be a plain script, several threads, or a function that
runs on an event loop already (a notebook's cell, for one), which cannot run another inside.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from humanbody_cli.core.errors import UsageError, limits_told
from humanbody_cli.pipeline.scheduler import cancel_the_rest

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]


class Background:
    """An event loop in a thread of its own, which does not keep the process alive. ``last`` is
    done on it before it ends.

    Raises:
        FatalError: the system starts no more threads.
    """

    def __init__(self, last: Work[None]) -> None:
        self._last = last
        self._process = os.getpid()
        self._guard = threading.Lock()
        self._ended = False
        self._loop = asyncio.new_event_loop()
        self._loop.set_debug(False)  # a program's debug mode is for its own loops: it logs
        self._thread = threading.Thread(target=self._run, name="hbseg", daemon=True)
        with limits_told():
            self._thread.start()
        _running.add(self)

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    @property
    def has_ended(self) -> bool:
        """Whether no work is taken any more."""
        return self._ended or os.getpid() != self._process

    def start(self, work: Work[T]) -> Future[T]:
        """Begin some work; from any thread.

        Raises:
            UsageError: the loop has ended, or is that of another process.
        """
        with self._guard:
            if self._ended:
                raise closed()
            if os.getpid() != self._process:
                raise UsageError(
                    "this Segmenter was opened before the process was forked; open one in each "
                    "process"
                )
            return asyncio.run_coroutine_threadsafe(self._watched(work), self._loop)

    async def _watched(self, work: Work[T]) -> T:
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(_noted)
        try:
            return await work()
        except asyncio.CancelledError:
            if self._ended:  # its caller was not cancelled, and must not look like it
                raise closed() from None
            raise

    def end(self) -> Future[None] | None:
        """Cancel all work, do the last, and end the thread; ``None`` if that has begun."""
        with self._guard:
            if self.has_ended:
                return None
            self._ended = True
            return asyncio.run_coroutine_threadsafe(self._end(), self._loop)

    async def _end(self) -> None:
        try:
            await cancel_the_rest()
            await self._last()
        finally:
            self._loop.call_soon(self._loop.stop)

    def join(self) -> None:
        """Wait for the thread, which ends at once after `end`."""
        self._thread.join()


_running: weakref.WeakSet[Background] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """End what was not closed: the interpreter stops a thread wherever it is, and amid
    onnxruntime's code, which starts threads itself, that aborts the process."""
    for background in tuple(_running):
        background.end()
        background.join()


def _noted(task: asyncio.Task[Any]) -> None:
    """Take a task's error, which asyncio would log if its caller was cancelled or interrupted, and
    so never asked for it."""
    if not task.cancelled():
        task.exception()


def closed() -> UsageError:
    """The error of work that a closed Segmenter is asked for, or that was under way then."""
    return UsageError("this Segmenter was closed; open another")
