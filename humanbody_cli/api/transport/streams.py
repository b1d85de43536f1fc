"""Sockets for `connection.py`: a read hands on all that has arrived, a long body needs no reads.

They take the place of anyio's, which make a cancel scope, a context manager and a checkpoint for
each 64 KiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import ssl
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, TypeVar

import httpcore

from humanbody_cli.core.stop import within

T = TypeVar("T")

_MOST_UNREAD = 256 * 1024
"""Bytes received and not read yet at which the server has to wait; asyncio receives up to as many
at once, so a connection holds twice this at most."""

_NEXT_ADDRESS = 0.25
"""Seconds after which the next address of a host is tried beside the first (RFC 8305, 8)."""


class Sockets(httpcore.AsyncNetworkBackend):
    """Makes connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> Stream:
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
        self.wake()

    def eof_received(self) -> None:
        """See `asyncio.Protocol`."""
        self.has_ended = True
        self.wake()

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.has_ended, self.is_full, self.fault = True, False, error
        self.wake()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.is_full = True

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.is_full = False
        self.wake()

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
        timer = None if timeout is None else loop.call_later(timeout, self.wake, False)
        try:
            return await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def wake(self, happened: bool = True) -> None:
        """End the waiting: something has happened, or the time is over."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(happened)


class _Filling(asyncio.BufferedProtocol):
    """Receives into one buffer, in the place of `Received`, until it is full."""

    def __init__(self, received: Received, body: bytearray, filled: int) -> None:
        self.filled = filled
        self._received = received
        self._view = memoryview(body)
        self._last = asyncio.get_running_loop().time()

    @property
    def is_full(self) -> bool:
        """Whether all bytes are there."""
        return self.filled == len(self._view)

    async def complete(self, timeout: float | None) -> None:
        """Wait until the buffer is full or the connection has ended.

        Raises:
            httpcore.ReadTimeout: nothing arrives for so many seconds.
        """
        loop = asyncio.get_running_loop()
        while not self.is_full and not self._received.has_ended:
            left = None if timeout is None else self._last + timeout - loop.time()
            if left is not None and left <= 0:
                raise httpcore.ReadTimeout
            await self._received.news(left)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See `asyncio.BufferedProtocol`."""
        return self._view[self.filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        self.filled += nbytes
        self._last = asyncio.get_running_loop().time()
        if self.is_full:  # what comes now is not of this body
            self._received.transport.set_protocol(self._received)
            self._received.wake()

    def eof_received(self) -> None:
        """See `asyncio.BufferedProtocol`."""
        self._received.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.BufferedProtocol`."""
        self._received.connection_lost(error)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._received.pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._received.resume_writing()


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

    async def read_whole(
        self, beginning: bytes, length: int, timeout: float | None = None
    ) -> tuple[bytearray, bytes]:
        """A body of ``length`` bytes, and what came behind it; ``beginning`` was read already.

        Raises:
            httpcore.ReadTimeout: nothing arrives.
            httpcore.ReadError: the connection broke.
            httpcore.RemoteProtocolError: it ended before the body did.
        """
        received = self._received
        there = beginning + received.take()
        body = bytearray(length)
        filling = _Filling(received, body, min(length, len(there)))
        body[: filling.filled] = there[:length]
        if not filling.is_full and not received.has_ended:
            self._transport.set_protocol(filling)
            try:
                await filling.complete(timeout)
            finally:
                self._transport.set_protocol(received)
        if not filling.is_full:
            if received.fault is not None:
                raise httpcore.ReadError from received.fault
            raise httpcore.RemoteProtocolError(
                "peer closed connection without sending complete message body "
                f"(received {filling.filled} bytes, expected {length})"
            )
        return body, there[length:]

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

    def abort(self) -> None:
        """Close at once: there is nothing left to send."""
        self._transport.abort()

    async def aclose(self) -> None:
        """See `abort`."""
        self.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> Stream:
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
