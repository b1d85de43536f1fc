"""Many photos at once: a bounded set of tasks over a lazy stream. Drains when the run ends.

A photo's task is made when there is room for it and not before: ten thousand photos cost no more
memory than twenty.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from humanbody_cli.errors import FatalError, Stopped
from humanbody_cli.outcomes import Outcome
from humanbody_cli.photos import Photo
from humanbody_cli.stopping import Stop

Process = Callable[[Photo], Awaitable[Outcome]]

_READ_AHEAD = 32
"""Photos taken from the walk at a time: one hop to its thread for all of them."""

_LOOK_AGAIN = 0.25
"""Seconds between looks at the capacity, which grows as the run learns."""


class Stream:
    """A lazy stream of photos, read ahead on a thread of its own."""

    def __init__(self, photos: Iterator[Photo]) -> None:
        self._photos = photos
        self._ready: list[Photo] = []
        self._ended = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="walk")

    async def next(self) -> Photo | None:
        """The next photo, ``None`` after the last."""
        if not self._ready and not self._ended:
            loop = asyncio.get_running_loop()
            block = await loop.run_in_executor(self._thread, self._block)
            self._ready = block[::-1]
            self._ended = not block
        return self._ready.pop() if self._ready else None

    def _block(self) -> list[Photo]:
        return list(islice(self._photos, _READ_AHEAD))

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False)


async def run(
    photos: Iterator[Photo],
    process: Process,
    capacity: Callable[[], int],
    stop: Stop,
    deliver: Callable[[Outcome], None],
) -> None:
    """Process photos until there are no more or the run is stopped; then let all under way land.

    Each outcome is handed to ``deliver`` as it comes. A photo that does not come to an outcome
    because the run ends is not delivered. A bug in ``process`` is raised, after all have landed.
    """
    stream = Stream(photos)
    stopping = asyncio.ensure_future(stop.wait())
    active: set[asyncio.Task[Outcome]] = set()
    landed: list[asyncio.Task[Outcome]] = []
    awake = asyncio.Event()
    bugs: list[BaseException] = []
    more = True

    def land(task: asyncio.Task[Outcome]) -> None:
        landed.append(task)
        awake.set()

    stopping.add_done_callback(lambda _: awake.set())
    try:
        while more or active:
            while more and not stop.is_set and not bugs and len(active) < capacity():
                photo = await stream.next()
                if photo is None:
                    more = False
                else:
                    task = asyncio.ensure_future(process(photo))
                    task.add_done_callback(land)
                    active.add(task)
            more = more and not stop.is_set and not bugs
            if active:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(awake.wait(), _LOOK_AGAIN)
                awake.clear()
            active.difference_update(landed)
            while landed:
                bugs += _outcome(landed.pop(0), stop, deliver)
    except asyncio.CancelledError:
        for task in active:
            task.cancel()
        await asyncio.gather(*active, return_exceptions=True)
        raise
    finally:
        stopping.cancel()
        stream.close()
    if bugs:
        raise bugs[0]


def _outcome(
    task: asyncio.Task[Outcome], stop: Stop, deliver: Callable[[Outcome], None]
) -> list[BaseException]:
    """Deliver what a task came to; the error, if it is a bug."""
    error = task.exception()
    if error is None:
        deliver(task.result())
    elif isinstance(error, FatalError):
        stop.set(error)
    elif not isinstance(error, Stopped):
        return [error]
    return []
