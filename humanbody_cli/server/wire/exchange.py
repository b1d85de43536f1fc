"""One request and its answer on the wire: the body in, within limits, and the answer out."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from humanbody_cli.api.requests import Refused
from humanbody_cli.core import api_spec
from humanbody_cli.core.api_spec import MAX_BYTES
from humanbody_cli.core.errors import HbsegError
from humanbody_cli.server.config import ServerTimeouts
from humanbody_cli.server.metrics import Metrics
from humanbody_cli.server.wire import request_log
from humanbody_cli.server.wire.connections import ClientConnection

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

_PIECE = 256 * 1024
"""Bytes of an answer handed on at once: a client that does not read holds no more than this."""


@dataclass(frozen=True)
class Reply:
    """What is sent. ``code`` and ``reason`` are for the log; ``close`` ends the connection after
    it; ``cut`` sends only half of the body."""

    status: int
    body: bytes = field(repr=False)
    content_type: str = "application/json"
    code: str = request_log.OK
    close: bool = False
    cut: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()
    reason: str = ""


class NoReply(HbsegError):
    """The request gets no answer: the client has left, or the connection is to be closed. ``code``
    is for the log."""

    def __init__(self, code: str = "disconnected") -> None:
        super().__init__(code)
        self.code = code


class MemoryBudget:
    """The bytes of bodies and answers in memory, of all requests of a worker together."""

    def __init__(self, most: int, metrics: Metrics) -> None:
        self._most = most
        self._metrics = metrics
        self._uploads: OrderedDict[RequestMemory, PendingUpload] = OrderedDict()
        self.held = 0

    @contextmanager
    def upload(self, memory: RequestMemory, upload: PendingUpload) -> Iterator[None]:
        """Within, the upload may be given up for the sake of another."""
        self._uploads[memory] = upload
        try:
            yield
        finally:
            self._uploads.pop(memory, None)

    def make_room(self) -> bool:
        """Give up uploads that are slow, the longest under way first, until a further body fits:
        a crowd that stalls must not keep the others out."""
        while self.full() and self._uploads:
            memory, upload = next(iter(self._uploads.items()))
            if time.monotonic() < upload.slow_from:
                return False
            del self._uploads[memory]
            upload.give_up()
            memory.add(-memory.held)
        return not self.full()

    @contextmanager
    def request(self) -> Iterator[RequestMemory]:
        """One request's part, given back at its end."""
        memory = RequestMemory(self)
        try:
            yield memory
        finally:
            memory.add(-memory.held)

    def add(self, count: int) -> None:
        """Note bytes taken or, below 0, given back."""
        self.held += count
        self._metrics.held.set(self.held)

    def full(self) -> bool:
        """Whether no further body fits."""
        return self.held > self._most


@dataclass(frozen=True)
class PendingUpload:
    """A body that is coming in: when it counts as slow (``time.monotonic()``), how to end it."""

    slow_from: float
    give_up: Callable[[], None]


class RequestMemory:
    """One request's part of the budget."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.held = 0

    def add(self, count: int) -> None:
        """Note bytes taken or, below 0, given back."""
        self.held += count
        self._budget.add(count)

    def take(self, count: int) -> None:
        """Note bytes of an upload.

        Raises:
            Refused: all bodies together are too many.
        """
        self.add(count)
        if not self._budget.make_room():
            raise Refused(api_spec.CONCURRENCY, reason="all requests together need too much memory")

    def upload(self, upload: PendingUpload) -> AbstractContextManager[None]:
        """As `MemoryBudget.upload`, for this request."""
        return self._budget.upload(self, upload)


class Exchange:
    """One request, from its headers to its log line."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        timeouts: ServerTimeouts,
        metrics: Metrics,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._timeouts = timeouts
        self._metrics = metrics
        self._started = time.monotonic()
        self._more = True
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.connection: ClientConnection = scope["state"]["connection"]
        self.request_id = f"{int(time.time())},{uuid.uuid4()}"
        self.api_key = b""
        self.received = 0

    def header(self, name: bytes) -> bytes:
        """A header's value, empty where it was not sent. Of several the last counts."""
        return self.headers.get(name, b"")

    def elapsed(self) -> float:
        """Seconds since the headers were read."""
        return time.monotonic() - self._started

    def wanted(self) -> bool:
        """Whether the client is still waiting for its answer."""
        return not self.connection.gone()

    @contextmanager
    def while_wanted(self) -> Iterator[None]:
        """Leave the block as soon as the client leaves.

        Raises:
            NoReply: it has left.
        """
        with anyio.CancelScope() as scope, self.connection.told(scope.cancel):
            if not self.wanted():
                raise NoReply
            yield
        if scope.cancelled_caught:
            raise NoReply

    def check_size(self) -> None:
        """Check the announced size against the limit before anything is read.

        Raises:
            Refused: 413.
        """
        announced = self.header(b"content-length")
        # h11 has checked that it is a number; 20 digits are more than any.
        if announced and int(announced[:20]) > MAX_BYTES:
            raise Refused(api_spec.ENTITY_TOO_LARGE)

    async def body(self, memory: RequestMemory) -> bytes:
        """The whole body, its bytes noted in ``memory``.

        Raises:
            Refused: it has more than 2 MB, or memory is short.
            TimeoutError: it takes too long.
            NoReply: the client has left.
        """
        pieces: list[bytes] = []
        upload = PendingUpload(time.monotonic() + self._timeouts.slow, self.connection.abort)
        with anyio.fail_after(self._timeouts.body), memory.upload(upload):
            while self._more:
                piece = await self._next()
                self.received += len(piece)
                if self.received > MAX_BYTES:
                    raise Refused(api_spec.ENTITY_TOO_LARGE)
                memory.take(len(piece))
                pieces.append(piece)
        self.connection.at_work()
        return b"".join(pieces)

    async def _next(self) -> bytes:
        message: Message = await self._receive()
        if message["type"] == "http.disconnect":
            raise NoReply
        self._more = message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece

    async def reply(self, reply: Reply) -> None:
        """Write the answer and the request's log line."""
        # Where the client still sends, closing at once would reset the connection under the answer.
        pending = self._more and self._sends_a_body()
        try:
            with anyio.fail_after(self._timeouts.answer):
                await self._write(reply, close=reply.close or pending, last=not pending)
            if pending:
                await self._linger()
        except (TimeoutError, NoReply):
            await self.leave()
        self.note(reply.status, reply.code, len(reply.body), reply.reason)

    def _sends_a_body(self) -> bool:
        announced = self.header(b"content-length")
        return announced not in (b"", b"0") or bool(self.header(b"transfer-encoding"))

    async def _write(self, reply: Reply, *, close: bool, last: bool) -> None:
        headers = [
            (b"content-type", reply.content_type.encode()),
            (b"content-length", str(len(reply.body)).encode()),
            *reply.headers,
        ]
        if close:
            headers.append((b"connection", b"close"))
        start: dict[str, Any] = {"type": "http.response.start", "status": reply.status}
        await self._emit({**start, "headers": headers})
        end = len(reply.body) // 2 if reply.cut else len(reply.body)
        for at in range(0, end, _PIECE):
            await self._put(reply.body[at : min(at + _PIECE, end)], more=True)
        if reply.cut:
            self.connection.close()
        elif last:
            await self._put(b"", more=False)

    async def _put(self, piece: bytes, *, more: bool) -> None:
        await self._emit({"type": "http.response.body", "body": piece, "more_body": more})

    async def _emit(self, message: Message) -> None:
        # Also where the body is followed by something that is not HTTP: uvicorn has then answered
        # 400 and closed.
        if self.connection.gone():
            raise NoReply
        await self._send(message)

    async def _linger(self) -> None:
        """Read on, into nothing, until the client has noticed the answer (as nginx does)."""
        if self.header(b"expect").lower() != b"100-continue" or self.received:
            with anyio.move_on_after(self._timeouts.linger):
                while self._more:
                    await self._next()
        await self._put(b"", more=False)

    async def leave(self) -> None:
        """Close the connection without another byte."""
        self.connection.abort()
        # uvicorn answers 500 for an application that returns without an answer, unless it knows
        # that the client is gone, which it is told in the loop's next turn.
        await asyncio.sleep(0)

    async def hang(self) -> None:
        """Send nothing until the client gives up."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def note(self, status: int, code: str, sent: int, reason: str = "") -> None:
        """Write this request's log line; status 0 means that nothing was answered."""
        elapsed = self.elapsed()
        self._metrics.requests.labels(status=str(status), code=code).inc()
        self._metrics.seconds.observe(elapsed)
        self._metrics.received.inc(self.received)
        self._metrics.sent.inc(sent)
        request_log.note(
            self._scope,
            status,
            code,
            seconds=elapsed,
            key=_shown(self.api_key),
            received=self.received,
            sent=sent,
            request_id=self.request_id,
            reason=reason,
        )


def _shown(api_key: bytes) -> str:
    """A key's first 4 characters, made harmless: a stranger may send anything as a key."""
    head = api_key[:4].decode("latin-1")
    return "".join(c if c.isascii() and c.isalnum() else "?" for c in head) or "-"
