"""One request and its answer on the wire: the body in, within limits, and the answer out."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from humanbody_cli.core import api_spec
from humanbody_cli.core.api_spec import MAX_BYTES
from humanbody_cli.server import metrics
from humanbody_cli.server.config import Patience
from humanbody_cli.server.connections import Door
from humanbody_cli.server.responses import Gone, Refused, Reply

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

log = logging.getLogger("humanbody_cli.server")

_PIECE = 256 * 1024
"""Bytes of an answer handed on at once: a client that does not read holds no more than this."""


class Ledger:
    """The bytes of bodies and answers in memory, of all requests together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._uploads: OrderedDict[Account, Upload] = OrderedDict()
        self.held = 0

    @contextmanager
    def upload(self, account: Account, upload: Upload) -> Iterator[None]:
        """An upload while it comes in: it may be given up for another's sake."""
        self._uploads[account] = upload
        try:
            yield
        finally:
            self._uploads.pop(account, None)

    def make_room(self) -> bool:
        """Give up uploads that are slow, the longest under way first, until a further body fits:
        a crowd that stalls must not keep the others out."""
        while self.full() and self._uploads:
            account, upload = next(iter(self._uploads.items()))
            if time.monotonic() < upload.slow_from:
                return False
            del self._uploads[account]
            upload.give_up()
            account.add(-account.held)
        return not self.full()

    @contextmanager
    def account(self) -> Iterator[Account]:
        """An account for one request, settled at its end."""
        account = Account(self)
        try:
            yield account
        finally:
            account.add(-account.held)

    def full(self) -> bool:
        """Whether no further body fits."""
        return self.held > self._most


@dataclass(frozen=True)
class Upload:
    """A body that is coming in: when it counts as slow (``time.monotonic()``), how to end it."""

    slow_from: float
    give_up: Callable[[], None]


class Account:
    """One request's part of the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.held = 0

    def add(self, count: int) -> None:
        """Note bytes taken or, below 0, given back."""
        self.held += count
        self._ledger.held += count
        metrics.held.set(self._ledger.held)

    def take(self, count: int) -> None:
        """Note bytes of an upload.

        Raises:
            Refused: all bodies together are too many.
        """
        self.add(count)
        if not self._ledger.make_room():
            raise Refused(api_spec.CONCURRENCY)

    def upload(self, upload: Upload) -> AbstractContextManager[None]:
        """See `Ledger.upload`."""
        return self._ledger.upload(self, upload)


class Exchange:
    """One request, from its headers to its log line."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, patience: Patience) -> None:
        self._receive = receive
        self._send = send
        self._patience = patience
        self._started = time.monotonic()
        self._more = True
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self.door: Door = scope["state"]["door"]
        self.request_id = f"{int(time.time())},{uuid.uuid4()}"
        self.api_key = b""
        self.received = 0

    def header(self, name: bytes) -> bytes:
        """A header's value, empty where it was not sent. Of several the last counts."""
        return self._headers.get(name, b"")

    def elapsed(self) -> float:
        """Seconds since the headers were read."""
        return time.monotonic() - self._started

    def wanted(self) -> bool:
        """Whether the client still waits for its answer."""
        return not self.door.gone()

    @contextmanager
    def while_wanted(self) -> Iterator[None]:
        """Leave the block as soon as the client leaves.

        Raises:
            Gone: it has left.
        """
        with anyio.CancelScope() as scope, self.door.told(scope.cancel):
            if not self.wanted():
                raise Gone
            yield
        if scope.cancelled_caught:
            raise Gone

    def check_size(self) -> None:
        """Hold the announced size against the limit before anything is read.

        Raises:
            Refused: 413.
        """
        announced = self.header(b"content-length")
        # h11 has checked that it is a number; 20 digits are more than any.
        if announced and int(announced[:20]) > MAX_BYTES:
            raise Refused(api_spec.ENTITY_TOO_LARGE)

    async def body(self, account: Account) -> bytes:
        """The whole body.

        Raises:
            Refused: it has more than 2 MB, or memory is short.
            TimeoutError: it takes too long.
            Gone: the client left.
        """
        pieces: list[bytes] = []
        upload = Upload(time.monotonic() + self._patience.slow, self.door.abort)
        with anyio.fail_after(self._patience.body), account.upload(upload):
            while self._more:
                piece = await self._next()
                self.received += len(piece)
                if self.received > MAX_BYTES:
                    raise Refused(api_spec.ENTITY_TOO_LARGE)
                account.take(len(piece))
                pieces.append(piece)
        self.door.at_work()
        return b"".join(pieces)

    async def _next(self) -> bytes:
        message: Message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Gone
        self._more = message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece

    async def reply(self, reply: Reply) -> None:
        """Write the answer and the request's log line."""
        # Where the client still sends, closing at once would reset the connection under the answer.
        pending = self._more and self._sends_a_body()
        try:
            with anyio.fail_after(self._patience.answer):
                await self._write(reply, close=reply.close or pending, last=not pending)
            if pending:
                await self._linger()
        except (TimeoutError, Gone):
            await self.leave()
        self.note(reply.status, reply.code, len(reply.body))

    def _sends_a_body(self) -> bool:
        announced = self.header(b"content-length")
        return announced not in (b"", b"0") or bool(self.header(b"transfer-encoding"))

    async def _write(self, reply: Reply, *, close: bool, last: bool) -> None:
        headers = [
            (b"content-type", reply.content_type.encode()),
            (b"content-length", str(len(reply.body)).encode()),
        ]
        if close:
            headers.append((b"connection", b"close"))
        start: dict[str, Any] = {"type": "http.response.start", "status": reply.status}
        await self._emit({**start, "headers": headers})
        end = len(reply.body) // 2 if reply.cut else len(reply.body)
        for at in range(0, end, _PIECE):
            await self._put(reply.body[at : min(at + _PIECE, end)], more=True)
        if reply.cut:
            self.door.close()
        elif last:
            await self._put(b"", more=False)

    async def _put(self, piece: bytes, *, more: bool) -> None:
        await self._emit({"type": "http.response.body", "body": piece, "more_body": more})

    async def _emit(self, message: Message) -> None:
        # Also where what follows in the body is no HTTP: uvicorn has then answered 400 and closed.
        if self.door.gone():
            raise Gone
        await self._send(message)

    async def _linger(self) -> None:
        """Read on, into nothing, until the client has noticed the answer (as nginx does)."""
        if self.header(b"expect").lower() != b"100-continue" or self.received:
            with anyio.move_on_after(self._patience.linger):
                while self._more:
                    await self._next()
        await self._put(b"", more=False)

    async def leave(self) -> None:
        """Close the connection without a further word."""
        self.door.abort()
        # uvicorn answers 500 for whoever returns without an answer, unless it knows the client
        # gone, and that it is told in the loop's next round.
        await asyncio.sleep(0)

    async def hang(self) -> None:
        """Say nothing until the client gives up."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def note(self, status: int, code: str, sent: int) -> None:
        """Write the one log line of this request; status 0 says that nothing was answered."""
        elapsed = self.elapsed()
        metrics.requests.labels(status=str(status), code=code).inc()
        metrics.seconds.observe(elapsed)
        metrics.received.inc(self.received)
        metrics.sent.inc(sent)
        log.info(
            "%s %d %s key=%s in=%d out=%d ms=%d",
            self.request_id,
            status,
            code.replace(" ", "_"),
            _shown(self.api_key),
            self.received,
            sent,
            round(elapsed * 1000),
        )


def _shown(api_key: bytes) -> str:
    """A key's first 4 characters, harmless whatever a stranger sends for one."""
    head = api_key[:4].decode("latin-1")
    return "".join(c if c.isascii() and c.isalnum() else "?" for c in head) or "-"
