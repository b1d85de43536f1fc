"""Sockets for httpcore in place of anyio's: a read hands on all that has arrived.

httpcore reads 64 KiB at a time, and anyio makes a cancel scope, a context manager and a checkpoint
for each. An answer of 1 MB then takes 17 reads instead of 6, and a photo 3 ms more processor time
of 24 (`benchmarks/bench_parts.py`).

Connections through a proxy keep anyio's: TLS inside TLS needs Python 3.11 here.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import ssl
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, TypeVar

import httpcore
import httpx

from humanbody_cli.core.stop import within

T = TypeVar("T")

_MOST_UNREAD = 256 * 1024
"""Bytes received and not read yet at which the server has to wait; asyncio receives up to as many
at once, so a connection holds twice this at most."""

_NEXT_ADDRESS = 0.25
"""Seconds after which the next address of a host is tried beside the first (RFC 8305, 8)."""


def use(client: httpx.AsyncClient) -> None:
    """Have a client's direct connections made here, and close any of its connections on which more
    than an answer has come. Without effect on a transport of another kind, as a test may set it."""
    for transport in (client._transport, *client._mounts.values()):
        pool = getattr(transport, "_pool", None)
        if isinstance(pool, httpcore.AsyncConnectionPool):
            _expire_with_more(pool)
            if transport is client._transport:
                pool._network_backend = Sockets()


def _expire_with_more(pool: httpcore.AsyncConnectionPool) -> None:
    """Have a pool close an idle connection that bytes behind the last answer were read from.

    h11 keeps them and would take them for the next answer: another photo's. httpcore asks only
    whether there are bytes that nobody has read yet.
    """
    made_by_pool = pool.create_connection

    def create(origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        connection = made_by_pool(origin)
        has_expired = connection.has_expired

        def has_expired_or_more() -> bool:
            return has_expired() or (connection.is_idle() and bool(unasked(connection)))

        connection.has_expired = has_expired_or_more  # type: ignore[method-assign]
        return connection

    pool.create_connection = create  # type: ignore[method-assign]


def unasked(connection: httpcore.AsyncConnectionInterface) -> bytes:
    """What was read behind the last answer of an idle connection."""
    inner: Any = connection
    while hasattr(inner, "_connection"):
        inner = inner._connection
    if not isinstance(inner, httpcore.AsyncHTTP11Connection):  # not connected yet
        return b""
    data, _ = inner._h11_state.trailing_data
    return data


class Sockets(httpcore.AsyncNetworkBackend):
    """Makes connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See `httpcore.AsyncNetworkBackend`; the last two are never set."""
        loop = asyncio.get_running_loop()
        with _as_connecting():
            _, received = await _in_time(
                timeout,
                loop.create_connection(Received, host, port, happy_eyeballs_delay=_NEXT_ADDRESS),
            )
        return Stream(received)

    async def sleep(self, seconds: float) -> None:
        """See `httpcore.AsyncNetworkBackend`."""
        await asyncio.sleep(seconds)


class Received(asyncio.Protocol):
    """What has arrived on a connection, and who waits for it."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.unread = 0
        self.has_ended = False
        self.fault: Exception | None = None
        self.is_full = False  # more was written than the system takes for now
        self._waiter: asyncio.Future[bool] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self.parts.append(data)
        self.unread += len(data)
        if self.unread >= _MOST_UNREAD:
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """See `asyncio.Protocol`."""
        self.has_ended = True
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.has_ended, self.is_full, self.fault = True, False, error
        self._wake()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.is_full = True

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.is_full = False
        self._wake()

    def take(self) -> bytes:
        """All that is there."""
        parts, self.parts = self.parts, []
        if self.unread >= _MOST_UNREAD:
            self.transport.resume_reading()
        self.unread = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def news(self, timeout: float | None) -> bool:
        """Wait until something happens; false if the time is over. A timer alone costs less than
        a task and a scope, and this is called for every part of an answer."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiter = waiter
        timer = None if timeout is None else loop.call_later(timeout, self._wake, False)
        try:
            return await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self, happened: bool = True) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(happened)


class Stream(httpcore.AsyncNetworkStream):
    """A connection. One task uses it at a time."""

    def __init__(self, received: Received) -> None:
        self._received = received
        self._transport = received.transport

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """All that has arrived, even if that is more than ``max_bytes``: h11 takes any number.

        Raises:
            httpcore.ReadTimeout: nothing arrives.
            httpcore.ReadError: the connection broke.
        """
        received = self._received
        while not received.parts and not received.has_ended:
            if not await received.news(timeout):
                raise httpcore.ReadTimeout
        if not received.parts and received.fault is not None:
            raise httpcore.ReadError from received.fault
        return received.take()

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send, and wait until the system has taken nearly all of it.

        Raises:
            httpcore.WriteTimeout: it does not.
            httpcore.WriteError: the connection broke.
        """
        received = self._received
        if not self._transport.is_closing():
            self._transport.write(buffer)
        while received.is_full:
            if not await received.news(timeout):
                raise httpcore.WriteTimeout
        if self._transport.is_closing():
            raise httpcore.WriteError from received.fault

    async def aclose(self) -> None:
        """Close at once: there is nothing left to send."""
        self._transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Speak TLS from here on.

        Raises:
            httpcore.ConnectTimeout: the server takes too long.
            httpcore.ConnectError: it cannot be done, or the certificate is not trusted.
        """
        received = Received()
        coming = asyncio.get_running_loop().start_tls(
            self._transport, received, ssl_context, server_hostname=server_hostname
        )
        try:
            with _as_connecting():
                transport = await _in_time(timeout, coming)
        except BaseException:
            self._transport.abort()
            raise
        if transport is None:  # as typed: the connection was lost just now
            raise httpcore.ConnectError
        received.connection_made(transport)
        return Stream(received)

    def get_extra_info(self, info: str) -> Any:
        """``is_readable``: whether an idle connection was closed. Others as asyncio names them."""
        if info != "is_readable":
            return self._transport.get_extra_info(info)
        if self._received.has_ended or self._received.parts or self._transport.is_closing():
            return True
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket"), select.POLLIN)
        return bool(poll.poll(0))


async def _in_time(timeout: float | None, work: Coroutine[Any, Any, T]) -> T:
    return await (work if timeout is None else within(timeout, work))


@contextlib.contextmanager
def _as_connecting() -> Iterator[None]:
    """Turn a fault into the one that httpcore has for it: nothing was sent yet."""
    try:
        yield
    except TimeoutError as error:
        raise httpcore.ConnectTimeout from error
    except OSError as error:  # name lookup and TLS included
        raise httpcore.ConnectError(str(error)) from error
