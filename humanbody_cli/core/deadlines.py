"""A time limit for a coroutine that never loses a cancellation, on every Python from 3.10 on.

`asyncio.wait_for` swallows the cancellation of its caller up to Python 3.11 where it arrives in the
same turn of the event loop as the result (CPython issues 86296 and 96764), and `asyncio.timeout`
is new in 3.11. `asyncio.wait` has neither problem.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled after ``seconds``.

    The work has ended, clean-up included, before this returns or raises. A result that comes while
    the work is being cancelled for lateness is returned: it may have been paid for.

    Raises:
        asyncio.TimeoutError: the time is over.
        asyncio.CancelledError: the caller was cancelled, whatever became of the work.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            await _end(task)
    except asyncio.CancelledError:
        await _end(task)
        if not task.cancelled():
            task.exception()  # seen, so that asyncio does not report it as never retrieved
        raise
    if task.cancelled():
        raise asyncio.TimeoutError
    return task.result()


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})
