"""The fetcher: the bytes behind an http(s) address, within bounds on the whole.

One time limit covers everything from the look-up of the name to the last byte, redirects included:
a read that is bounded by itself lets a server send a byte a minute for ever. Who may be called is
the client's choice: `PinnedTransport` connects to addresses of an allowed kind only.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import ipaddress
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Container
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias, cast

import httpx

from humanbody_cli.core.network import MAX_PORT, content_length, explain, never_passes
from humanbody_cli.core.stop import within

_REDIRECT_BODY = 64 * 1024
"""Bytes that are read of a redirect's body, so that its connection can serve the next request."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last 32 bits

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class FetchFailed(Exception):
    """Nothing came from an address; the message says why, in the user's words, without the address,
    which may hold a password. ``advice`` is what to do about it, ``None`` where ``why`` says it."""

    def __init__(self, why: str, advice: str | None = "check the address") -> None:
        super().__init__(why)
        self.why = why
        self.advice = advice


class FetchTimedOut(FetchFailed):
    """Not everything came within the time."""


class Fetched(NamedTuple):
    """What came. Where ``size`` is greater than the limit, ``data`` is only a beginning; ``size``
    is then what the server announced, ``None`` where it announced nothing."""

    data: bytes
    size: int | None


@dataclass(frozen=True)
class FetchLimits:
    """The bounds of one download: ``most`` bytes and ``seconds`` for the whole.

    ``beginning`` bytes are read of what is announced as longer than ``most``. ``statuses`` are
    those whose body counts. ``decode`` unpacks one layer of gzip or deflate, which some servers
    send unasked; otherwise the bytes count as sent.
    """

    most: int
    seconds: float
    max_redirects: int
    beginning: int = 0
    statuses: Container[int] = range(200, 300)
    decode: bool = False


MakeClient: TypeAlias = Callable[[], AbstractAsyncContextManager[httpx.AsyncClient]]
"""Entering it is part of the download's time."""


async def fetch(make_client: MakeClient, url: str, limits: FetchLimits) -> Fetched:
    """The bytes behind an http(s) address and how many there are.

    Raises:
        FetchTimedOut: not everything came within the time.
        FetchFailed: nothing can be fetched from there.
    """
    try:
        return await within(limits.seconds, _fetch(make_client, url, limits))
    except TimeoutError:
        raise FetchTimedOut(f"not downloaded within {limits.seconds:g} s") from None
    except httpx.TimeoutException as error:
        raise FetchTimedOut(explain(error)) from error
    except httpx.TransportError as error:
        advice = never_passes(error) or "check the address"
        raise FetchFailed(explain(error), advice) from error
    except httpx.DecodingError as error:
        raise FetchFailed("what its server sent is damaged") from error
    except Exception as error:
        if not _is_address_fault(error):
            raise
        # Not in httpx's own words: they may quote the address.
        raise FetchFailed("it is not a usable address") from error


def _is_address_fault(error: BaseException) -> bool:
    """Whether an error means that nothing can be fetched from the address.

    Python's resolver and sockets refuse some addresses that httpx lets through, with a
    ``ValueError`` or ``OverflowError``. anyio, which tries the addresses of a name in parallel,
    raises them as an exception group; that type is recognised by its attribute, being new in
    Python 3.11.
    """
    inner = getattr(error, "exceptions", None)
    if isinstance(inner, tuple):
        return all(map(_is_address_fault, inner))
    return isinstance(error, (httpx.HTTPError, httpx.InvalidURL, ValueError, OverflowError))


async def _fetch(make_client: MakeClient, url: str, limits: FetchLimits) -> Fetched:
    async with make_client() as client:
        request: httpx.Request | None = client.build_request("GET", url)
        # httpx's own way with redirects reads the whole body of each, however long.
        for _ in range(limits.max_redirects + 1):
            assert request is not None
            answer = await client.send(request, stream=True, follow_redirects=False)
            async with contextlib.aclosing(answer):
                request = answer.next_request
                if request is None:
                    return await _read(answer, limits)
                await _beginning(answer.aiter_raw(), _REDIRECT_BODY)
    raise FetchFailed(f"it redirects more than {limits.max_redirects} times")


async def _read(answer: httpx.Response, limits: FetchLimits) -> Fetched:
    if answer.status_code not in limits.statuses:
        raise FetchFailed(f"its server answered {answer.status_code}")
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if not limits.decode:
        encoding = "identity"
    elif encoding not in ("identity", "gzip", "x-gzip", "deflate"):
        # Encodings inside encodings turn kilobytes into gigabytes.
        raise FetchFailed("its server sends it compressed")
    parts = answer.aiter_bytes() if limits.decode else answer.aiter_raw()
    # The length is that of what travels, compressed or not.
    announced = content_length(answer.headers) if encoding == "identity" else 0
    if announced > limits.most:
        return Fetched(await _beginning(parts, min(limits.beginning, limits.most)), announced)
    body = await _beginning(parts, limits.most + 1)
    return Fetched(body, len(body) if len(body) <= limits.most else None)


async def _beginning(parts: AsyncIterator[bytes], most: int) -> bytes:
    """The first ``most`` bytes of a body, or all of it where it has fewer."""
    body = io.BytesIO()  # hands its bytes over without a copy
    # httpx promises only an iterator, and an iterator cannot be closed.
    async with contextlib.aclosing(cast("AsyncGenerator[bytes, None]", parts)) as generator:
        while body.tell() < most:
            part = await anext(generator, None)
            if part is None:
                break
            body.write(part[: most - body.tell()])
    return body.getvalue()


def is_public(text: str) -> bool:
    """Whether an IP address is public, also when it is wrapped in an IPv6 address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    inner = _inner(address)
    if inner is not None:
        return is_public(str(inner))
    return address.is_global and not (
        address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or (address.version == 6 and address.is_site_local)
    )


def is_any(text: str) -> bool:
    """Allows every address: for photos in one's own network."""
    return bool(text)


def _inner(address: IPAddress) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one contains: mapped, 6to4, Teredo or NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


class PinnedTransport(httpx.AsyncBaseTransport):
    """Resolves a request's host once and connects to an IP address that it has judged.

    What the name resolves to a moment later does not count, and each redirect is judged again. The
    host's name stays in the request and in TLS. ``names`` runs the look-ups.
    """

    def __init__(
        self, allowed: Callable[[str], bool], names: Executor, certificates: ssl.SSLContext
    ) -> None:
        self._allowed = allowed
        self._names = names
        self._inner = httpx.AsyncHTTPTransport(verify=certificates, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the first allowed address to which a connection can be made.

        Raises:
            httpx.ConnectError: there is none.
        """
        failure: httpx.TransportError = httpx.ConnectError("no address that may be called")
        for address in await self._resolve(request.url):
            try:
                return await self._inner.handle_async_request(_pinned(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _resolve(self, url: httpx.URL) -> list[str]:
        host = url.raw_host.decode("ascii")
        resolve = partial(socket.getaddrinfo, host, url.port, type=socket.SOCK_STREAM)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._names, resolve)
        except (OSError, ValueError) as error:  # ValueError: IDNA does not accept the name
            raise httpx.ConnectError(str(error)) from error
        addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
        return [each for each in addresses if self._allowed(each)]

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()


def _pinned(request: httpx.Request, address: str) -> httpx.Request:
    """The same request, sent to an IP address; its Host header is set already."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.raw_host.decode("ascii")},
    )


async def check_port(request: httpx.Request) -> None:
    """A request hook of httpx, which lets through ports that do not exist.

    Raises:
        httpx.InvalidURL: there is no such port.
    """
    if not 0 <= (request.url.port or 0) <= MAX_PORT:
        raise httpx.InvalidURL("no such port")


async def check_plain(request: httpx.Request) -> None:
    """A request hook of httpx for strangers' addresses: http(s), a host, a port, no password.

    Raises:
        httpx.InvalidURL: the address is anything else.
    """
    url = request.url
    is_plain = url.scheme in ("http", "https") and bool(url.raw_host) and not url.userinfo
    if not is_plain or not (url.port is None or 0 < url.port <= MAX_PORT):
        raise httpx.InvalidURL("not a plain address")
