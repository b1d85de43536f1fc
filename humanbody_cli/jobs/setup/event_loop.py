"""The event loop of a run: photos through the pipeline, and the ways in which it ends early."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from humanbody_cli.core.errors import HbsegError, Interrupted, time_is_over
from humanbody_cli.core.outcomes import Outcome
from humanbody_cli.core.photo import Due
from humanbody_cli.core.stop import Stop, caught_signals
from humanbody_cli.pipeline import scheduler
from humanbody_cli.pipeline.pipeline import Pipeline

_LAST_RESORT = 5.0
"""Seconds that cancelled work has to end before the process exits without it."""


@dataclass(frozen=True)
class Ending:
    """How a run ends early.

    Photos under way may take ``grace`` seconds after a signal, and ``patience`` seconds after any
    other reason to stop: by then every call has reached its own time limit. ``note_pending`` says
    whether the photos that were not started are written down as pending. ``ahead`` photos are taken
    from the walk at a time. After ``seconds`` (``None``: never) the run stops as at a signal.
    """

    grace: float
    patience: float
    note_pending: bool
    ahead: int
    seconds: float | None = None


def drive(
    photos: Iterator[Due],
    pipeline: Pipeline,
    stop: Stop,
    deliver: Callable[[Outcome], None],
    ending: Ending,
) -> None:
    """Run every photo through the pipeline, until there are no more or the run is stopped."""
    scheduler.run_loop(_drive(photos, pipeline, stop, deliver, ending))


async def _drive(
    photos: Iterator[Due],
    pipeline: Pipeline,
    stop: Stop,
    deliver: Callable[[Outcome], None],
    ending: Ending,
) -> None:
    work = asyncio.ensure_future(
        scheduler.run(
            photos, pipeline.process, pipeline.engine.capacity, stop, deliver, ahead=ending.ahead
        )
    )
    deadline = _Deadline(work, stop)
    stop.stopped().add_done_callback(lambda _: deadline.within(ending.patience))
    if ending.seconds is not None:
        asyncio.get_running_loop().call_later(ending.seconds, _time_is_over, stop, deadline, ending)
    with _signals(stop, deadline, ending.grace):
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await work
            if stop.is_set and ending.note_pending:
                await _exhaust(photos, ending.grace)
        finally:
            await pipeline.engine.aclose()
            pipeline.close()
            deadline.lift()


def _time_is_over(stop: Stop, deadline: _Deadline, ending: Ending) -> None:
    stop.set(time_is_over())
    deadline.within(ending.grace)


async def _exhaust(photos: Iterator[Due], seconds: float) -> None:
    """Take the rest of the walk, which records it in the journal as pending, for `status`."""

    def drain() -> None:
        with contextlib.suppress(HbsegError, ValueError):
            for _ in photos:
                pass

    rest = asyncio.ensure_future(scheduler.in_daemon(drain))
    await asyncio.wait({rest}, timeout=max(1.0, seconds))
    rest.cancel()


class _Deadline:
    """The time limit for photos under way once the run is to end: a read that never returns must
    not keep the process alive."""

    def __init__(self, work: asyncio.Future[None], stop: Stop) -> None:
        self._work = work
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._last_resort: threading.Timer | None = None

    def within(self, seconds: float) -> None:
        """Cancel the work after so many seconds; the earliest deadline counts."""
        self._loop.call_later(seconds, self._end)

    def _end(self) -> None:
        self._work.cancel()
        if self._last_resort is None:
            code = self._stop.reason.exit_code if self._stop.reason else 1
            self._last_resort = threading.Timer(_LAST_RESORT, os._exit, (code,))
            self._last_resort.daemon = True
            self._last_resort.start()

    def lift(self) -> None:
        """Remove the limit: everything has ended by itself."""
        if self._last_resort is not None:
            self._last_resort.cancel()


@contextlib.contextmanager
def _signals(stop: Stop, deadline: _Deadline, grace: float) -> Iterator[None]:
    """First SIGINT or SIGTERM: start nothing more, let calls in flight end. Second: exit at once.

    A signal that was ignored when the run began (nohup, ``&``) stays ignored.
    """
    loop = asyncio.get_running_loop()
    caught = caught_signals()
    seen: list[int] = []

    def handle(number: int) -> None:
        if seen:
            # asyncio and the interpreter would wait for running threads.
            os._exit(128 + number)
        seen.append(number)
        stop.set(Interrupted(number))
        deadline.within(grace)

    before = [signal.getsignal(number) for number in caught]
    for number in caught:
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number, handler in zip(caught, before, strict=True):
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
