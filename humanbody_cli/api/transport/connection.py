"""A direct connection for httpcore's pool: h11 reads the heads, a long body goes into one buffer.

httpcore hands every part of a body through h11 and nine layers of generators. A call answered with
1 MB takes 2.0 ms of processor time here and 3.5 over httpcore's own connections
(`benchmarks/bench_parts.py`).
"""

from __future__ import annotations

import contextlib
import functools
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import h11
import httpcore
import httpx

from humanbody_cli.api.transport.streams import Sockets, Stream

IN_ONE = "in_one"
"""Extension of a request: the most bytes that the body of a success may have to be handed on in
one part. Extension of a response: its body will be."""

_LONGEST_HEAD = 100 * 1024  # bytes, as httpcore has it
_END_OF_HEAD = b"\r\n\r\n"


class Connection(httpcore.AsyncConnectionInterface):
    """One connection, with one request at a time. ``tls`` is for an origin of https; after
    ``expiry`` seconds without a request it is not used again."""

    def __init__(
        self, origin: httpcore.Origin, tls: ssl.SSLContext | None, expiry: float | None
    ) -> None:
        self._origin = origin
        self._tls = tls
        self._expiry = expiry
        self._stream: Stream | None = None
        self._http = _new_state()
        self._received = memoryview(b"")  # behind what h11 was given
        self._is_busy = self._is_closed = self._is_whole = False
        self._idle_since = 0.0

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """See `httpcore.AsyncConnectionInterface`.

        Raises:
            httpcore.ConnectionNotAvailable: another request has it.
        """
        if self._is_busy or self._is_closed:
            raise httpcore.ConnectionNotAvailable
        self._is_busy, self._is_whole = True, False
        try:
            if self._stream is None:
                self._stream = await self._connected(request)
            with contextlib.suppress(httpcore.WriteError):  # it may have answered and closed
                await self._send(self._stream, request)
            head = await self._head(self._stream, request)
        except BaseException:
            self._finish(is_whole=False)
            raise
        length = _length_in_one(request, head)
        return httpcore.Response(
            status=head.status_code,
            headers=head.headers.raw_items(),
            content=_Body(self, _time(request, "read"), length),
            extensions={
                "http_version": b"HTTP/" + head.http_version,
                "reason_phrase": head.reason,
                **({IN_ONE: True} if length is not None else {}),
            },
        )

    async def _connected(self, request: httpcore.Request) -> Stream:
        timeout = _time(request, "connect")
        host = self._origin.host.decode("ascii")
        stream = await Sockets().connect_tcp(host, self._origin.port, timeout)
        if self._origin.scheme != b"https":
            return stream
        tls = self._tls or httpcore.default_ssl_context()
        tls.set_alpn_protocols(["http/1.1"])
        return await stream.start_tls(tls, host, timeout)

    async def _send(self, stream: Stream, request: httpcore.Request) -> None:
        self._http = _new_state()
        try:
            head = h11.Request(
                method=request.method, target=request.url.target, headers=request.headers
            )
            parts = [self._http.send(head)]
            assert not isinstance(request.stream, bytes)
            async for part in request.stream:  # type: ignore[union-attr] # an async client's
                parts += [self._http.send(h11.Data(data=part))]
            parts.append(self._http.send(h11.EndOfMessage()))
        except h11.LocalProtocolError as error:
            raise httpcore.LocalProtocolError(error) from error
        # Joined: a packet of its own for the head would wake the server once more.
        await stream.write(b"".join(filter(None, parts)), _time(request, "write"))

    async def _head(
        self, stream: Stream, request: httpcore.Request
    ) -> h11.Response | h11.InformationalResponse:
        timeout = _time(request, "read")
        while True:
            event = await self._next_event(stream, timeout)
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                return event

    async def _next_event(self, stream: Stream, seconds: float | None) -> Any:
        """What h11 reads next."""
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise httpcore.RemoteProtocolError(error) from error
            if event is not h11.NEED_DATA:
                return event
            await self._feed(stream, seconds)

    async def _feed(self, stream: Stream, seconds: float | None) -> None:
        """Give h11 what has arrived, of a head nothing that is behind it: h11 would copy it."""
        data = self._received or memoryview(await stream.read(0, seconds))
        is_head = self._http.their_state is h11.SEND_RESPONSE
        if not data and is_head:
            raise httpcore.RemoteProtocolError("Server disconnected without sending a response.")
        end = bytes(data[:_LONGEST_HEAD]).find(_END_OF_HEAD) if is_head else -1
        end = len(data) if end < 0 else end + len(_END_OF_HEAD)
        self._received = data[end:]
        self._http.receive_data(data[:end])  # type: ignore[arg-type] # takes any buffer

    async def body(self, seconds: float | None, length: int | None) -> AsyncIterator[bytes]:
        """The body of the answer whose head was read; of ``length`` bytes in one part if given."""
        stream = self._stream
        assert stream is not None
        if length is not None:
            trailing, _ = self._http.trailing_data
            beginning, self._received = trailing + bytes(self._received), memoryview(b"")
            body, rest = await stream.read_whole(beginning, length, seconds)
            self._received = memoryview(rest)
            self._is_whole = True
            yield body  # type: ignore[misc] # a bytearray, which httpx hands on as it is
            return
        while not isinstance(event := await self._next_event(stream, seconds), h11.EndOfMessage):
            if event is h11.PAUSED:
                break
            if isinstance(event, h11.Data):
                yield bytes(event.data)

    def end(self) -> None:
        """The answer is not read any further."""
        self._finish(is_whole=self._is_whole or self._http.their_state is h11.DONE)

    def _finish(self, *, is_whole: bool) -> None:
        """The exchange has ended. The connection is kept if it can be used once more: both sides
        agree, and nothing came behind the answer, which would be taken for the next one."""
        self._is_busy = False
        behind = bool(self._received)
        if not behind and self._http.their_state is h11.DONE:
            behind = bool(self._http.trailing_data[0])
        if is_whole and self._http.our_state is h11.DONE and not behind:
            self._idle_since = time.monotonic()
        else:
            self._close()

    def _close(self) -> None:
        self._is_closed = True
        if self._stream is not None:
            self._stream.abort()

    async def aclose(self) -> None:
        """See `httpcore.AsyncConnectionInterface`."""
        self._close()

    def can_handle_request(self, origin: httpcore.Origin) -> bool:
        """See `httpcore.AsyncConnectionInterface`."""
        return origin == self._origin

    def is_available(self) -> bool:
        """See `httpcore.AsyncConnectionInterface`. One that is being made is its request's own."""
        return self.is_idle()

    def is_idle(self) -> bool:
        """See `httpcore.AsyncConnectionInterface`."""
        return self._stream is not None and not self._is_busy and not self._is_closed

    def is_closed(self) -> bool:
        """See `httpcore.AsyncConnectionInterface`."""
        return self._is_closed

    def has_expired(self) -> bool:
        """See `httpcore.AsyncConnectionInterface`. Anything that arrives at an idle connection is
        its end, or an answer to nothing."""
        if not self.is_idle():
            return self._is_closed
        assert self._stream is not None
        is_old = self._expiry is not None and time.monotonic() > self._idle_since + self._expiry
        return is_old or bool(self._stream.get_extra_info("is_readable"))

    def info(self) -> str:
        """See `httpcore.AsyncConnectionInterface`."""
        return f"{self._origin}, {'IDLE' if self.is_idle() else 'CLOSED or ACTIVE'}"


class _Body:
    """The body of an answer; closing it ends the exchange."""

    def __init__(self, connection: Connection, seconds: float | None, length: int | None) -> None:
        self._connection: Connection | None = connection
        self._seconds = seconds
        self._length = length

    def __aiter__(self) -> AsyncIterator[bytes]:
        assert self._connection is not None
        return self._connection.body(self._seconds, self._length)

    async def aclose(self) -> None:
        # Once only: the connection may have another request by then.
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.end()


def _new_state() -> h11.Connection:
    return h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)


def _time(request: httpcore.Request, what: str) -> float | None:
    limit: float | None = request.extensions.get("timeout", {}).get(what)
    return limit


def _length_in_one(
    request: httpcore.Request, head: h11.Response | h11.InformationalResponse
) -> int | None:
    """The bytes of a body that is to be received in one; ``None`` for any other body. h11 has
    checked that a length is one, and that there are no two."""
    most = request.extensions.get(IN_ONE)
    headers = dict(head.headers)
    text = headers.get(b"content-length")
    if most is None or text is None or b"transfer-encoding" in headers:
        return None
    if not 200 <= head.status_code < 300 or head.status_code == 204:
        return None
    return int(text) if 0 < int(text) <= most else None


def use(client: httpx.AsyncClient) -> None:
    """Have a client's direct connections made here. Those through a proxy stay httpcore's: few runs
    have one. None is used again on which more than an answer has come.

    Without effect on a transport of another kind, as a test may set it.
    """
    for transport in (client._transport, *client._mounts.values()):
        pool = getattr(transport, "_pool", None)
        if not isinstance(pool, httpcore.AsyncConnectionPool):
            continue
        if transport is client._transport:
            pool.create_connection = functools.partial(_direct, pool)  # type: ignore[method-assign]
        else:
            _expire_with_more(pool)


def _direct(pool: httpcore.AsyncConnectionPool, origin: httpcore.Origin) -> Connection:
    return Connection(origin, pool._ssl_context, pool._keepalive_expiry)


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
