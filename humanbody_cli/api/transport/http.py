"""The HTTP client: one POST, bytes out, status and bytes back. The only user of httpx in `api`.

httpcore goes through its whole connection pool for each request, so 100 connections in one client
are slower than 30. Calls are therefore spread over small clients, the least loaded first: 0.7 ms of
processor time per call against 1.5 over one client (`benchmarks/bench_parts.py`). Its sockets are
ours (`connection.py`).
"""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
import zlib
from dataclasses import dataclass

import httpx

from humanbody_cli.api import responses
from humanbody_cli.api.answer_budget import Room
from humanbody_cli.api.requests import Multipart
from humanbody_cli.api.transport import connection
from humanbody_cli.core.api_spec import SEGMENT_PATH
from humanbody_cli.core.console import without_password
from humanbody_cli.core.errors import FatalError, UsageError
from humanbody_cli.core.network import (
    MAX_PORT,
    UNCONNECTED,
    UNUSABLE_PROXY,
    certificates_fault,
    content_length,
    explain,
    never_passes,
    printable,
    tls_context,
)
from humanbody_cli.core.settings import Timeouts
from humanbody_cli.core.stop import within

_CONNECTIONS = 4
"""Per client. With 16 a call takes as long, over proxies longer; with fewer than 4 no less."""

MAX_ERROR_PAGE = 64 * 1024
"""Bytes read of an answer that is not a success: the API's own errors have a few hundred."""

_BESIDES = 1024 * 1024
"""Bytes that a success may have besides its pixels: JSON, PNG headers, a colour profile."""

_BLOCK = 32 * 1024
"""Bytes per block of a body; httpcore hands on up to 64 KiB at a time."""


_GIVE_HTTPS = "the server expects TLS; give --endpoint with https://"


class NoAnswer(Exception):
    """No complete answer was received; the message says why, in the user's words.

    ``connected`` is false if no connection was made: nothing was sent, so nothing can be charged.
    ``advice`` is set if every further attempt would end the same way.
    """

    def __init__(self, message: str, *, connected: bool = True, advice: str | None = None) -> None:
        super().__init__(message)
        self.connected = connected
        self.advice = advice


class Unsound(Exception):
    """A success that is unusable regardless of its body; ``status`` is a 2xx."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def longest_answer(size: tuple[int, int]) -> int:
    """The most bytes that a sound answer to a photo of ``size`` (width, height) can have.

    A cutout (RGBA, 8 bits) and a mask (gray, 8 bits) that do not compress at all have 5 bytes per
    pixel and 2 filter bytes per row. Base64 turns 3 bytes into 4, and JSON may escape slashes and
    break lines; 3/2 covers that and what DEFLATE adds to incompressible data.
    """
    width, height = size
    return _BESIDES + (5 * width + 2) * height * 3 // 2


@dataclass
class _Client:
    http: httpx.AsyncClient
    load: int = 0


class Http:
    """Posts to one URL over as many connections as are needed.

    Raises:
        UsageError: nothing can be called at the URL.
        FatalError: the environment's certificates or proxy cannot be used.
    """

    def __init__(self, url: str, timeouts: Timeouts) -> None:
        self._url = usable(url)
        self._timeouts = timeouts
        self._tls = _checked_tls() if self._url.scheme == "https" else None
        self._was_answered = self._was_asked_for_tls = False
        # Created at once, so that a fault of the environment shows before the first call.
        self._clients = [_Client(self._new_client())]

    async def post(self, request: Multipart, most: int, room: Room) -> tuple[int, bytes]:
        """Send ``request``; the status and body of the answer.

        The body takes its bytes from ``room``. The body of a success has at most ``most`` bytes; of
        any other answer only the first `MAX_ERROR_PAGE` bytes are read.

        Raises:
            NoAnswer: the connection failed, was reset or timed out.
            Unsound: a 2xx is longer than ``most``, or compressed in a way that cannot be read.
        """
        client = self._least_loaded()
        client.load += 1
        try:
            limit = self._timeouts.whole_attempt
            return await within(limit, self._exchange(client.http, request, most, room))
        except httpx.TransportError as error:
            connected = not isinstance(error, UNCONNECTED)
            expects_tls = connected and await self._expects_tls()
            raise NoAnswer(
                explain(error),
                connected=connected,
                advice=_GIVE_HTTPS if expects_tls else never_passes(error),
            ) from error
        except TimeoutError as error:
            raise NoAnswer("the answer did not end within the time limit") from error
        finally:
            client.load -= 1

    async def _exchange(
        self, http: httpx.AsyncClient, request: Multipart, most: int, room: Room
    ) -> tuple[int, bytes]:
        headers = {"Content-Type": request.content_type}
        async with http.stream(
            "POST",
            self._url,
            content=request.body,
            headers=headers,
            extensions={connection.IN_ONE: most},
        ) as response:
            self._was_answered = True
            status = response.status_code
            if not responses.is_success(response.status_code):
                return status, await _beginning(response, MAX_ERROR_PAGE, room)
            body = (
                None
                if content_length(response.headers) > most
                else await _read(response, most, room)
            )
            if body is None:
                raise _too_long(status, most)
            encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
            if encoding != "identity":
                await room.grow(most)
                body = _inflated(status, body, encoding, most)
            return status, body

    async def _expects_tls(self) -> bool:
        """Whether a server that broke off the first plain HTTP shakes hands for TLS. Asked once,
        and without a request; not where a proxy stands between."""
        if self._url.scheme != "http" or self._was_answered or self._was_asked_for_tls:
            return False
        self._was_asked_for_tls = True
        if "http" in (proxies := urllib.request.getproxies()) or "all" in proxies:
            return False
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # with the sole question: is it TLS?
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            _, writer = await within(
                self._timeouts.connect,
                asyncio.open_connection(self._url.host, self._url.port or 80, ssl=context),
            )
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    def _least_loaded(self) -> _Client:
        client = min(self._clients, key=lambda one: one.load)
        if client.load >= _CONNECTIONS:
            client = _Client(self._new_client())
            self._clients.append(client)
        return client

    def _new_client(self) -> httpx.AsyncClient:
        try:
            return self._configured()
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise FatalError(f"{UNUSABLE_PROXY}: {error}; fix or unset it") from error

    def _configured(self) -> httpx.AsyncClient:
        times = self._timeouts
        client = httpx.AsyncClient(
            verify=self._tls if self._tls is not None else False,
            timeout=httpx.Timeout(
                connect=times.connect, read=times.read, write=times.write, pool=None
            ),
            limits=httpx.Limits(
                max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS
            ),
            # Base64 of PNG hardly compresses; inflating it would cost more than it saves.
            headers={"Accept-Encoding": "identity", "User-Agent": "hbseg"},
        )
        connection.use(client)
        return client

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients:
            await client.http.aclose()


def usable(url: str) -> httpx.URL:
    """The URL, parsed once for all calls.

    Raises:
        UsageError: its host or port cannot be one, as httpx, IDNA or the resolver see it.
    """
    try:
        parsed = httpx.URL(url)
        if not parsed.host:  # decoded from IDNA here, as httpx does once it connects
            raise httpx.InvalidURL("no host")
        if parsed.port is not None and not 0 < parsed.port <= MAX_PORT:
            raise httpx.InvalidURL("no such port")
        parsed.raw_host.decode("ascii").encode("idna")  # what the resolver does
    except (httpx.InvalidURL, ValueError) as error:
        shown = without_password(url.removesuffix(SEGMENT_PATH))
        raise UsageError(
            f"--endpoint {shown!r} cannot be called: check its host and port"
        ) from error
    return parsed


def _checked_tls() -> ssl.SSLContext:
    fault = certificates_fault()
    if fault is not None:
        raise FatalError(fault)
    return tls_context()


async def _read(response: httpx.Response, most: int, room: Room) -> bytes | None:
    """The body as it was sent; ``None`` if it has more than ``most`` bytes."""
    if connection.IN_ONE in response.extensions:  # within `most` then
        await room.grow(content_length(response.headers))
        (whole,) = [part async for part in response.aiter_raw()]
        return whole
    body = _Body()
    async for part in response.aiter_raw():
        if body.size + len(part) > most:
            return None
        await room.grow(len(part))
        body.add(part)
    return body.whole()


async def _beginning(response: httpx.Response, most: int, room: Room) -> bytes:
    """The first ``most`` bytes of the body."""
    await room.grow(most)
    beginning = b""
    async for part in response.aiter_raw():
        beginning += part[: most - len(beginning)]
        if len(beginning) >= most:
            break
    return beginning


class _Body:
    """A growing body, in blocks of about the same size.

    Not a list of the parts received: a part may be a single byte, whose object takes 40. Not one
    buffer either: sixteen buffers that grow side by side fragment the heap by their own size.
    """

    def __init__(self) -> None:
        self.size = 0
        self._blocks: list[bytes] = []
        self._open = bytearray()

    def add(self, part: bytes) -> None:
        """Append."""
        self.size += len(part)
        if not self._open and len(part) >= _BLOCK:
            self._blocks.append(part)
            return
        self._open += part
        if len(self._open) >= _BLOCK:
            self._close()

    def whole(self) -> bytes:
        """All of it."""
        self._close()
        return b"".join(self._blocks)

    def _close(self) -> None:
        self._blocks.append(bytes(self._open))
        self._open.clear()


def _inflated(status: int, body: bytes, encoding: str, most: int) -> bytes:
    """The body of an answer that a proxy compressed unasked.

    The output is bounded while inflating, unlike in httpx's own decoders: a few kilobytes may hold
    gigabytes.
    """
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Unsound(status, f"its encoding is unknown ({printable(encoding, 40)})")
    try:
        plain = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(body, most + 1)
    except zlib.error:
        raise Unsound(status, f"its encoding ({encoding}) is damaged") from None
    if len(plain) > most:
        raise _too_long(status, most)
    return plain


def _too_long(status: int, most: int) -> Unsound:
    return Unsound(status, f"it is longer than {most:,} bytes, the most that this photo can need")
