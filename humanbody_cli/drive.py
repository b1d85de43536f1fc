"""The event loop of a run: photos through the pipeline, and the ways in which it ends early."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from humanbody_cli import batch
from humanbody_cli.errors import HbsegError, Interrupted
from humanbody_cli.outcomes import Outcome
from humanbody_cli.photos import Photo
from humanbody_cli.pipeline import Pipeline
from humanbody_cli.stopping import Stop


@dataclass(frozen=True)
class Ending:
    """How a run ends early: seconds of ``grace`` after a signal, and whether the photos that were
    not come to are noted as pending. ``ahead`` photos are taken from the walk at a time."""

    grace: float
    note_pending: bool
    ahead: int


def drive(
    photos: Iterator[Photo],
    pipeline: Pipeline,
    stop: Stop,
    deliver: Callable[[Outcome], None],
    ending: Ending,
) -> None:
    """Run every photo through the pipeline, until there are no more or the run is stopped."""
    asyncio.run(_drive(photos, pipeline, stop, deliver, ending))


async def _drive(
    photos: Iterator[Photo],
    pipeline: Pipeline,
    stop: Stop,
    deliver: Callable[[Outcome], None],
    ending: Ending,
) -> None:
    with _signals(stop, ending.grace) as grace:
        try:
            grace.work = asyncio.ensure_future(
                batch.run(
                    photos,
                    pipeline.process,
                    pipeline.engine.capacity,
                    stop,
                    deliver,
                    ahead=ending.ahead,
                )
            )
            with contextlib.suppress(asyncio.CancelledError):
                await grace.work
            if stop.is_set and ending.note_pending:
                await _exhaust(photos, ending.grace)
        finally:
            await pipeline.engine.aclose()
            pipeline.close()


async def _exhaust(photos: Iterator[Photo], seconds: float) -> None:
    """Take the rest of the walk: it then stands in the journal as pending, for `status`."""

    def drain() -> None:
        for _ in photos:
            pass

    with contextlib.suppress(HbsegError, ValueError, asyncio.TimeoutError):
        await asyncio.wait_for(batch.in_daemon(drain), max(1.0, seconds))


class _Grace:
    """Cancels what is still under way when the grace after a signal is over."""

    def __init__(self, seconds: float) -> None:
        self.is_running = False
        self.work: asyncio.Future[None] | None = None
        self._seconds = seconds

    def start(self) -> None:
        self.is_running = True
        asyncio.get_running_loop().call_later(self._seconds, self._end)

    def _end(self) -> None:
        if self.work is not None:
            self.work.cancel()


@contextlib.contextmanager
def _signals(stop: Stop, seconds: float) -> Iterator[_Grace]:
    """First SIGINT or SIGTERM: start nothing more, let calls in flight land. Second: out at once.

    A signal that was ignored when the run began (nohup, ``&``) stays ignored.
    """
    loop = asyncio.get_running_loop()
    grace = _Grace(seconds)

    def handle(number: int) -> None:
        if grace.is_running:
            # asyncio and the interpreter would wait for running threads.
            os._exit(128 + number)
        stop.set(Interrupted(number))
        grace.start()

    caught = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    for number in caught:
        loop.add_signal_handler(number, handle, number)
    try:
        yield grace
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
