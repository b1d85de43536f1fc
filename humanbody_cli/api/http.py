"""One POST: bytes out, status and bytes back. The only part of the engine that knows httpx.

httpcore looks through its whole pool for each request, so that 100 connections in one client are
slower than 30; spread over clients of 16 they are not. Hence a few small clients, least loaded
first.
"""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
import sys
import zlib
from dataclasses import dataclass

import httpx

from humanbody_cli.api import responses
from humanbody_cli.api.answer_budget import Room
from humanbody_cli.api.requests import Multipart
from humanbody_cli.core.api_spec import SEGMENT_PATH
from humanbody_cli.core.errors import FatalError, UsageError
from humanbody_cli.core.network import (
    MAX_PORT,
    UNCONNECTED,
    certificates_fault,
    content_length,
    explain,
    never_passes,
    printable,
)
from humanbody_cli.core.settings import Timeouts, without_password
from humanbody_cli.core.stop import within

_CONNECTIONS = 16
"""Per client. At .6 s of latency and 100 in flight: one client 29 photos a second, seven 102."""

MOST_OF_A_PAGE = 64 * 1024
"""Bytes that are read of an answer that is not a success: the API's errors have a few hundred."""

_BESIDES = 1024 * 1024
"""Bytes that a success may have besides its pixels: JSON, PNG headers, a colour profile."""

_BLOCK = 32 * 1024
"""Bytes; httpcore hands on up to 64 KiB at a time."""


class NoAnswer(Exception):
    """No whole answer came; the message says why, in the user's words.

    ``connected`` is false where not even a connection came about: nothing was sent, nothing can be
    paid for. ``advice`` is set where every further try would end the same way.
    """

    def __init__(self, message: str, *, connected: bool = True, advice: str | None = None) -> None:
        super().__init__(message)
        self.connected = connected
        self.advice = advice


class Unsound(Exception):
    """A success that is known to be useless before its body is looked into; ``status`` is a 2xx."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def longest_answer(size: tuple[int, int]) -> int:
    """Bytes that a sound answer to a photo of ``size`` pixels can have.

    A cutout (RGBA, 8 bits) and a mask (gray, 8 bits) that do not compress at all are 5 bytes a
    pixel and 2 filter bytes a row. Base64 makes 4 bytes of 3, and JSON may escape its slashes and
    break its lines; 3/2 covers that and what DEFLATE adds to incompressible data.
    """
    width, height = size
    return _BESIDES + (5 * width + 2) * height * 3 // 2


@dataclass
class _Client:
    http: httpx.AsyncClient
    load: int = 0


def _spare_failing_imports() -> None:
    """httpcore imports sniffio a dozen times a call. Since anyio does without it, it is mostly not
    there, and each import searches the disk in vain: a tenth of the loop's time. ``None`` in
    ``sys.modules`` is Python's own way to say "not there" without a search."""
    if importlib.util.find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment]


class Http:
    """Posts to one URL over as many connections as are needed.

    Raises:
        UsageError: nothing can be called at the URL.
        FatalError: the environment's certificates or proxy cannot be used.
    """

    def __init__(self, url: str, timeouts: Timeouts) -> None:
        _spare_failing_imports()
        self._url = _usable(url)
        self._timeouts = timeouts
        self._tls = _tls_context() if self._url.scheme == "https" else None
        self._was_answered = False
        # Made at once: what is wrong with the environment shows before the first call.
        self._clients = [_Client(self._new_client())]

    async def post(self, request: Multipart, most: int, room: Room) -> tuple[int, bytes]:
        """Send; status and body of the answer, of a success at most ``most`` bytes.

        The body takes its bytes from ``room``. Of an answer that is not a 2xx only the beginning
        is read (`MOST_OF_A_PAGE`).

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
            raise NoAnswer(
                self._in_words(error),
                connected=not isinstance(error, UNCONNECTED),
                advice=never_passes(error),
            ) from error
        except asyncio.TimeoutError as error:
            raise NoAnswer("the answer did not end within the time limit") from error
        finally:
            client.load -= 1

    async def _exchange(
        self, http: httpx.AsyncClient, request: Multipart, most: int, room: Room
    ) -> tuple[int, bytes]:
        headers = {"Content-Type": request.content_type}
        async with http.stream(
            "POST", self._url, content=request.body, headers=headers
        ) as response:
            self._was_answered = True
            status = response.status_code
            if not responses.is_success(response.status_code):
                return status, await _beginning(response, MOST_OF_A_PAGE, room)
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

    def _in_words(self, error: httpx.TransportError) -> str:
        """The fault. A server that expects TLS answers plain HTTP with bytes that are none."""
        words = explain(error)
        is_garbled = isinstance(error, httpx.RemoteProtocolError) and not self._was_answered
        if is_garbled and self._url.scheme == "http":
            words += "; if the server expects TLS, give --endpoint with https://"
        return words

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
            raise FatalError(
                f"the proxy in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY cannot be used: {error}; "
                "fix or unset it"
            ) from error

    def _configured(self) -> httpx.AsyncClient:
        times = self._timeouts
        return httpx.AsyncClient(
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

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients:
            await client.http.aclose()


def _usable(url: str) -> httpx.URL:
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


def _tls_context() -> ssl.SSLContext:
    """One for all clients: making it takes tens of milliseconds."""
    fault = certificates_fault()
    if fault is not None:
        raise FatalError(fault)
    return ssl.create_default_context()


async def _read(response: httpx.Response, most: int, room: Room) -> bytes | None:
    """The body as it was sent; ``None`` where it has more than ``most`` bytes."""
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
    """A body that grows, in blocks of about the same size.

    Not a list of parts as they come: a part may be a single byte, whose object takes 40. Not one
    buffer either: sixteen that grow side by side leave holes in the heap as large as themselves.
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
    """A body that a proxy compressed although nobody asked for it.

    Bounded while it is inflated, which httpx's own decoders are not: a few kilobytes may hold
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
