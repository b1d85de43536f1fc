"""A worker: one process of the server, with its services, until a signal stops it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, cast

import uvicorn

from humanbody_cli.discovery.fetch import is_any, is_public
from humanbody_cli.embedded.engine import LocalEngine, load_segmenter
from humanbody_cli.imaging.pictures import configure_pillow
from humanbody_cli.server.access.auth import Authenticator, Key, RateLimiter
from humanbody_cli.server.app import Services, application
from humanbody_cli.server.config import FaultInjector, ServeSettings
from humanbody_cli.server.metrics import Metrics
from humanbody_cli.server.photos.downloads import Downloads
from humanbody_cli.server.photos.inference import InferencePool
from humanbody_cli.server.wire.connections import (
    ClientConnection,
    OpenConnections,
    raise_file_limit,
)
from humanbody_cli.server.wire.exchange import MemoryBudget
from humanbody_cli.server.wire.request_log import SERVER_LOG

if TYPE_CHECKING:
    from humanbody_cli.embedded.segmenters import MaskMaker

log = logging.getLogger(SERVER_LOG)

_TO_RETURN = 0.5
"""Seconds that threads have to end after the last answer."""

_TO_END = 3.0
"""Seconds beyond the grace after which the process is ended by force."""


class Worker:
    """Answers calls from a listening socket that it may share with others."""

    def __init__(
        self, settings: ServeSettings, keys: tuple[Key, ...], limiter: RateLimiter, number: int
    ) -> None:
        self._settings = settings
        self._authenticator = Authenticator(keys, limiter)
        self._number = number

    def run(self, listener: socket.socket, ready: Callable[[], None]) -> None:
        """Serve until told to stop; ``ready`` is called once calls can be answered.

        Raises:
            FatalError: the engine cannot be loaded.
        """
        configure_pillow()
        segmenter = load_segmenter(self._settings.local)
        asyncio.run(self._serve(segmenter, listener, ready))
        _leave_threads()
        signal.setitimer(signal.ITIMER_REAL, 0)

    async def _serve(
        self, segmenter: MaskMaker, listener: socket.socket, ready: Callable[[], None]
    ) -> None:
        closing = asyncio.Event()
        app = application(lambda: self._services(segmenter, closing))
        timeouts = self._settings.timeouts
        open_connections = OpenConnections(
            min(self._settings.capacity.connections, raise_file_limit()), timeouts
        )
        protocol = partial(ClientConnection, open_connections=open_connections)
        config = uvicorn.Config(
            app,
            http=cast("type[asyncio.Protocol]", protocol),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,  # see `request_log`
            # Anyone can send X-Forwarded-For.
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=round(timeouts.idle),
            timeout_graceful_shutdown=round(timeouts.grace),
        )
        server = _Server(config, closing, ready, alone=self._settings.workers == 1)
        await server.serve(sockets=[listener])

    def _services(self, segmenter: MaskMaker, closing: asyncio.Event) -> Services:
        settings, capacity = self._settings, self._settings.capacity
        threads = settings.local.threads
        metrics = Metrics()
        return Services(
            authenticator=self._authenticator,
            faults=FaultInjector(settings.faults, worker=self._number),
            memory=MemoryBudget(capacity.held_bytes, metrics),
            downloads=Downloads(
                allowed=is_any if settings.allow_private_urls else is_public,
                seconds=settings.timeouts.fetch,
                at_once=capacity.fetches,
            ),
            inference=InferencePool(
                # Twice the threads: see `InferencePool`.
                LocalEngine(segmenter, threads=2 * threads),
                threads=threads,
                queue=capacity.queue,
                timeouts=settings.timeouts,
                metrics=metrics,
            ),
            metrics=metrics,
            timeouts=settings.timeouts,
            rules=settings.rules,
            closing=closing,
        )


def _leave_threads() -> None:
    """End the process if a thread is still at work: the interpreter would wait for it."""
    until = time.monotonic() + _TO_RETURN
    for thread in threading.enumerate():
        if thread is threading.current_thread() or thread.daemon:
            continue
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            log.warning("stopped with a busy thread that does not end")
            sys.stdout.flush()
            os._exit(0)


class _Server(uvicorn.Server):
    """uvicorn, except that a stop by a signal exits 0, and that the loss of the parent stops it."""

    def __init__(
        self,
        config: uvicorn.Config,
        closing: asyncio.Event,
        ready: Callable[[], None],
        *,
        alone: bool,
    ) -> None:
        super().__init__(config)
        # Ctrl-C reaches a whole group of processes; where there is a parent, it passes it on.
        self._signals = (signal.SIGTERM, signal.SIGINT) if alone else (signal.SIGTERM,)
        self._closing = closing
        self._ready = ready
        self._parent = os.getppid()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own handler raises the signal again once it has stopped, which is not exit 0.
        # The loop's own would wait for the loop, which may be what hangs.
        self._loop = asyncio.get_running_loop()
        before = {number: signal.signal(number, self.handle_exit) for number in self._signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal lets answers in flight finish, the second does not wait."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._loop.call_soon_threadsafe(self._closing.set)
        if not self.force_exit:
            # The last resort: SIGALRM, which nothing handles, ends the process even if its
            # threads or its loop hang.
            grace = self.config.timeout_graceful_shutdown or 0
            signal.setitimer(signal.ITIMER_REAL, grace + _TO_END)

    async def on_tick(self, counter: int) -> bool:
        orphaned = os.getppid() != self._parent
        return await super().on_tick(counter) or orphaned
