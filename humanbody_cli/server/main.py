"""The server's start and stop: keys, the listening socket, the log, and the workers' supervisor."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from types import FrameType
from typing import Any

from humanbody_cli.core.errors import FatalError, HbsegError, UsageError, limits_told
from humanbody_cli.core.settings import readable_by_others
from humanbody_cli.server.access.auth import Key, RateLimiter, make_key, read_keys
from humanbody_cli.server.config import ServeSettings
from humanbody_cli.server.metrics import forget_worker, shared_by_workers
from humanbody_cli.server.wire.request_log import SERVER_LOG, set_up_log

log = logging.getLogger(SERVER_LOG)


def serve(settings: ServeSettings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``announce`` gets the lines for stdout.

    The first line is the key pair, where one was made; the last is ``endpoint=http://...``. They
    are announced once calls can be answered.

    Raises:
        UsageError: the settings contradict each other, or the keys file cannot be used.
        FatalError: the address is taken, or the engine cannot be loaded.
    """
    set_up_log(settings.log.format, requests_too=settings.log.requests)
    _ = settings.rules  # said before anything starts
    keys = _keys(settings)
    listener = _listen(settings)

    def ready() -> None:
        if settings.keys is None:
            announce(f"api_key={keys[0].api_key} api_secret={keys[0].api_secret}")
        announce(f"endpoint={_endpoint(listener)}")
        log.info("open %s/ in a browser to try it with a photo", _page(listener))

    limiter = RateLimiter([(key.qps, key.balance) for key in keys])
    with contextlib.closing(limiter), listener:
        work = partial(_work, settings, keys, limiter, listener)
        if settings.workers == 1:
            work(0, ready)
        else:
            Supervisor(settings.workers, work, settings.timeouts.grace).run(ready)


def _work(
    settings: ServeSettings,
    keys: tuple[Key, ...],
    limiter: RateLimiter,
    listener: socket.socket,
    number: int,
    ready: Callable[[], None],
) -> None:
    # Imported in the worker: the parent of several must stay free of threads to fork safely.
    from humanbody_cli.server.worker import Worker

    Worker(settings, keys, limiter, number).run(listener, ready)


def _keys(settings: ServeSettings) -> tuple[Key, ...]:
    if settings.keys is not None:
        keys = read_keys(settings.keys, settings.qps)
        if readable_by_others(settings.keys):
            log.warning("%s can be read by others; run chmod 600 on it", settings.keys)
        return keys
    if not all(ipaddress.ip_address(each).is_loopback for _, each in _resolve(settings.host)):
        raise UsageError(
            f"--host {settings.host} can be reached from other machines: give --keys FILE, or "
            "listen on 127.0.0.1"
        )
    return (make_key(settings.qps),)


def _resolve(host: str) -> list[tuple[int, str]]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a host name"
        raise UsageError(
            f"--host {host!r} is not an address of this machine: {reason}; give one, such as "
            "127.0.0.1"
        ) from None
    return [(family, str(address[0]).partition("%")[0]) for family, *_, address in found]


def _listen(settings: ServeSettings) -> socket.socket:
    family, address = _resolve(settings.host)[0]
    # The protocol is named because asyncio sets TCP_NODELAY only on sockets that say they are TCP;
    # without it every answer on a kept-alive connection waits 40 ms for the client's delayed
    # acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, settings.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise FatalError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; choose "
            "another --port (0 picks a free one)"
        ) from None
    listener.setblocking(False)
    return listener


def _endpoint(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _page(listener: socket.socket) -> str:
    """The page's address on this machine: no browser opens the address that stands for all."""
    return _endpoint(listener).replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


Work = Callable[[int, Callable[[], None]], None]

_fork = multiprocessing.get_context("fork")

_STOPPING = (signal.SIGTERM, signal.SIGINT)
"""The signals that stop the server."""


class Supervisor:
    """Starts ``count`` workers, replaces those that are lost, and stops all on a signal.

    This process keeps to one thread and loads no model, so that forking is safe at any time.
    """

    def __init__(self, count: int, work: Work, grace: float) -> None:
        self._work = work
        self._grace = grace
        self._count = count
        self._stopping = False
        self._workers: dict[int, ForkProcess] = {}

    def run(self, ready: Callable[[], None]) -> None:
        """Run the workers until a signal, and return once all have stopped.

        Raises:
            FatalError: a worker cannot be started, or there is no folder for the shared metrics.
        """
        with shared_by_workers():
            for number in _STOPPING:
                signal.signal(number, self._stop)
            try:
                for index in range(self._count):
                    self._start(index)
                if not self._stopping:
                    ready()
                    self._watch()
            finally:
                self._end()

    def _start(self, index: int) -> None:
        """Start a worker and wait until it answers calls; while stopping none is started.

        Raises:
            FatalError: the worker cannot be started.
        """
        ours = self._fork(index)
        if ours is None:
            return
        try:
            failure = ours.recv()
        except EOFError:
            failure = "" if self._stopping else f"worker {index} died while it started"
        finally:
            ours.close()
        if failure:
            raise FatalError(failure)

    def _fork(self, index: int) -> Connection[Any, Any] | None:
        """Start a worker's process and return the pipe through which it tells its state; ``None``
        while the server is stopping.

        Signals wait until the process is registered: one that came in between would reach every
        worker but this one.
        """
        theirs: Connection[Any, Any]
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        try:
            if self._stopping:
                return None
            ours, theirs = _fork.Pipe(duplex=False)
            process = _fork.Process(target=_child, args=(self._work, index, theirs))
            with theirs:
                process.start()
            self._workers[index] = process
            return ours
        except OSError as error:
            reason = error.strerror or error
            raise FatalError(
                f"worker {index} cannot be started: {reason}; give fewer --workers, or raise the "
                "limits on processes (ulimit -u, a container's pids limit) and memory"
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)

    def _watch(self) -> None:
        while not self._stopping:
            wait([process.sentinel for process in self._workers.values()], timeout=0.5)
            for index, process in list(self._workers.items()):
                if not process.is_alive() and not self._stopping:
                    process.join()
                    forget_worker(process.pid)
                    time.sleep(0.5)  # a worker that dies at once must not become a fork bomb
                    self._start(index)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        for process in self._workers.values():
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGTERM)

    def _end(self) -> None:
        if not self._stopping:  # a second signal would not let answers in flight finish
            self._stop(signal.SIGTERM, None)
        until = time.monotonic() + self._grace + 5
        for process in self._workers.values():
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


def _child(work: Work, index: int, pipe: Connection[Any, Any]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Blocked since before the fork: the parent's handler must not run here.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)

    def ready() -> None:
        pipe.send("")
        pipe.close()

    try:
        with limits_told():
            work(index, ready)
    except HbsegError as error:
        if not pipe.closed:
            pipe.send(str(error))
        sys.exit(error.exit_code)
