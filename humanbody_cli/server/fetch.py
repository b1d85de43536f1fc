"""The download of an ``image_url``: http(s) only, public addresses only, 2 MB and a time at most.

An address is judged where the connection is made, on the very address that is connected to: what a
name resolves to a moment later does not count, and each redirect goes the same way again. The host
name stays in the request and in TLS.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import typing
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import anyio
import httpcore
import httpx

from humanbody_cli.core import api_spec
from humanbody_cli.core.api_spec import MAX_BYTES
from humanbody_cli.server.responses import Refused

MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last 32 bits
_PARAMETER = "image_url"
_MOST_PORT = 65535

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(text: str) -> bool:
    """Whether an IP address belongs to the internet at large, whatever it is wrapped in."""
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
    """Every address will do: for photos of one's own network."""
    return bool(text)


def _inner(address: IPAddress) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for: mapped, 6to4, Teredo or NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


class _PinnedBackend(httpcore.AsyncNetworkBackend):
    """Resolves a name once and connects to an address that it has judged."""

    def __init__(self, allowed: Callable[[str], bool], names: ThreadPoolExecutor) -> None:
        self._allowed = allowed
        self._names = names
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[typing.Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first allowed address that answers.

        Raises:
            httpcore.ConnectError: there is none.
        """
        error: Exception = httpcore.ConnectError("no public address")
        for address in await self._resolve(host, port):
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:  # noqa: PERF203
                error = failure
        raise error

    async def _resolve(self, host: str, port: int) -> list[str]:
        resolve = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._names, resolve)
        except (OSError, ValueError) as error:  # ValueError: no name at all, as IDNA sees it
            raise httpcore.ConnectError(str(error)) from error
        addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
        return [each for each in addresses if self._allowed(each)]


class Fetcher:
    """Downloads photos for calls. ``seconds`` bounds a download from its name to its last byte,
    ``at_once`` how many run; ``allowed`` judges the IP address of every connection."""

    def __init__(
        self, *, seconds: float, at_once: int, allowed: Callable[[str], bool] = is_public
    ) -> None:
        self._seconds = seconds
        self._slots = anyio.Semaphore(at_once)
        # Not the loop's own threads, which are few and are waited for at the end: a name server
        # that is silent holds one for half a minute.
        self._names = ThreadPoolExecutor(at_once, thread_name_prefix="name")
        self._pool = httpcore.AsyncConnectionPool(
            network_backend=_PinnedBackend(allowed, self._names),
            ssl_context=httpx.create_ssl_context(trust_env=False),
            max_connections=at_once,
            max_keepalive_connections=0,
        )

    async def fetch(self, url: str) -> bytes:
        """The bytes behind an address.

        Raises:
            Refused: INVALID_IMAGE_URL, IMAGE_FILE_TOO_LARGE or IMAGE_DOWNLOAD_TIMEOUT.
        """
        try:
            with anyio.fail_after(self._seconds):
                async with self._slots:
                    return await self._follow(_parse(url))
        except (TimeoutError, httpcore.TimeoutException):
            raise Refused(api_spec.DOWNLOAD_TIMEOUT) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol):
            raise Refused(api_spec.INVALID_URL) from None

    async def _follow(self, url: httpx.URL) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._get(url)
            if isinstance(answer, bytes):
                return answer
            url = _parse(answer, base=url)
        raise Refused(api_spec.INVALID_URL)

    async def _get(self, url: httpx.URL) -> bytes | str:
        """The body, or the address that the answer points to."""
        target = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        headers = [
            (b"Host", url.netloc),
            (b"Accept", b"image/jpeg, image/png, */*;q=0.1"),
            # What arrives is what counts against 2 MB: no compressed bombs.
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", b"hbseg"),
        ]
        async with self._pool.stream("GET", target, headers=headers) as response:
            fields = {name.lower(): value for name, value in response.headers}
            if response.status in _REDIRECTS and b"location" in fields:
                return _text(fields[b"location"])
            if response.status != 200:
                raise Refused(api_spec.INVALID_URL)
            return await _read(response, fields.get(b"content-length", b""))

    async def aclose(self) -> None:
        """Close what is still open."""
        self._names.shutdown(wait=False, cancel_futures=True)
        await self._pool.aclose()


def _parse(text: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        url = base.join(text) if base else httpx.URL(text)
        # A name that IDNA refuses shows up only where the host is asked for.
        usable = (
            url.scheme in ("http", "https")
            and bool(url.raw_host)
            and not url.userinfo
            and (url.port is None or 0 < url.port <= _MOST_PORT)
        )
    except (httpx.InvalidURL, ValueError):
        usable = False
    if not usable:
        raise Refused(api_spec.INVALID_URL)
    return url


def _text(location: bytes) -> str:
    # RFC 9110, 10.2.2, allows ASCII only; what is sent beyond it is UTF-8 mostly.
    try:
        return location.decode()
    except UnicodeDecodeError:
        return location.decode("latin-1")


async def _read(response: httpcore.Response, announced: bytes) -> bytes:
    if announced.isdigit() and int(announced[:20]) > MAX_BYTES:
        raise Refused(api_spec.FILE_TOO_LARGE, _PARAMETER)
    body = bytearray()
    async for chunk in response.aiter_stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise Refused(api_spec.FILE_TOO_LARGE, _PARAMETER)
    return bytes(body)
