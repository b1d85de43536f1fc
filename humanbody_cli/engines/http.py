"""One POST: bytes out, status and bytes back. The only place that knows httpx.

httpcore looks through its whole pool for each request, so that 100 connections in one client are
slower than 30; spread over clients of 16 they are not. Hence a few small clients, least loaded
first.
"""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
import sys
from dataclasses import dataclass

import httpx

from humanbody_cli.errors import FatalError
from humanbody_cli.protocol.requests import Multipart
from humanbody_cli.settings import Timeouts

_CONNECTIONS = 16
"""Per client. At .6 s of latency and 100 in flight: one client 29 photos a second, seven 102."""

MAX_ANSWER = 128 * 1024 * 1024
"""Bytes: a cutout and a mask of 4096 x 4096 pixels that do not compress, as base64."""

_WHOLE = 3
"""A whole attempt may take so many times the user's timeout: answers that trickle end too."""


class NoAnswer(Exception):
    """The connection gave no answer; the message says why, in the user's words."""


@dataclass
class _Client:
    http: httpx.AsyncClient
    load: int = 0


FAULTS: tuple[tuple[type[httpx.TransportError], str], ...] = (
    (httpx.ConnectTimeout, "no connection within the time limit"),
    (httpx.ReadTimeout, "no answer within the time limit"),
    (httpx.WriteTimeout, "the photo could not be sent within the time limit"),
    (httpx.PoolTimeout, "no free connection"),
    (httpx.ConnectError, "no connection to the server"),
    (httpx.ReadError, "the connection broke while the answer came"),
    (httpx.WriteError, "the connection broke while the photo was sent"),
    (httpx.CloseError, "the connection broke"),
    (httpx.RemoteProtocolError, "the server broke off or does not speak HTTP"),
    (httpx.LocalProtocolError, "the request could not be made"),
    (httpx.UnsupportedProtocol, "only http and https can be called"),
    (httpx.ProxyError, "the proxy refused"),
    (httpx.TransportError, "the connection failed"),
)
"""Every transport fault of httpx in the user's words, the general ones last."""


def explain(error: httpx.TransportError) -> str:
    """One clause for a fault of the connection."""
    words = next(text for kind, text in FAULTS if isinstance(error, kind))
    detail = str(error).strip()
    return f"{words} ({detail})" if detail else words


def _spare_failing_imports() -> None:
    """httpcore imports sniffio a dozen times a call. Since anyio does without it, it is mostly not
    there, and each import searches the disk in vain: a tenth of the loop's time. ``None`` in
    ``sys.modules`` is Python's own way to say "not there" without a search."""
    if importlib.util.find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment]


class Http:
    """Posts to one URL over as many connections as are needed."""

    def __init__(self, url: str, timeouts: Timeouts) -> None:
        _spare_failing_imports()
        self._url = url
        self._timeouts = timeouts
        self._clients: list[_Client] = []
        self._tls: ssl.SSLContext | None = None

    async def post(self, request: Multipart) -> tuple[int, bytes]:
        """Send; status and body of the answer.

        Raises:
            NoAnswer: the connection failed, was reset or timed out.
        """
        client = self._least_loaded()
        client.load += 1
        try:
            limit = self._timeouts.connect + _WHOLE * self._timeouts.read
            return await asyncio.wait_for(self._exchange(client.http, request), limit)
        except httpx.TransportError as error:
            raise NoAnswer(explain(error)) from error
        except asyncio.TimeoutError as error:
            raise NoAnswer("the answer did not end within the time limit") from error
        except httpx.DecodingError as error:
            raise NoAnswer("the answer's encoding is damaged") from error
        finally:
            client.load -= 1

    async def _exchange(self, http: httpx.AsyncClient, request: Multipart) -> tuple[int, bytes]:
        headers = {"Content-Type": request.content_type}
        async with http.stream(
            "POST", self._url, content=request.body, headers=headers
        ) as response:
            parts: list[bytes] = []
            size = 0
            async for part in response.aiter_bytes():
                size += len(part)
                if size > MAX_ANSWER:
                    raise NoAnswer("the answer does not end")
                parts.append(part)
            return response.status_code, b"".join(parts)

    def _least_loaded(self) -> _Client:
        client = min(self._clients, key=lambda one: one.load, default=None)
        if client is None or client.load >= _CONNECTIONS:
            client = _Client(self._new_client())
            self._clients.append(client)
        return client

    def _new_client(self) -> httpx.AsyncClient:
        if self._tls is None and self._url.startswith("https:"):
            self._tls = ssl.create_default_context()
        try:
            return self._configured()
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise FatalError(
                f"the proxy in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY cannot be used: {error}; "
                "mend or unset it"
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
