"""A photo by its address, within a time that bounds the whole: name, redirects and last byte.

Called in a worker thread, and runs on an event loop of its own: a blocking read can be bounded only
one read at a time, and a server that sends a byte a minute would keep the thread for ever. When the
time is over the connection is closed and the thread is free again.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncGenerator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, cast

import httpx

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import PhotoError
from humanbody_cli.core.network import (
    MAX_PORT,
    UNUSABLE_PROXY,
    certificates_fault,
    content_length,
    explain,
    never_passes,
    tls_context,
)
from humanbody_cli.core.stop import within

SECONDS = 30.0
"""From the look-up of the name to the last byte, redirects included."""

MAX_REDIRECTS = 20

BEGINNING = 256 * 1024
"""Bytes that are read of a photo whose server announces too many: enough for the header."""

_END = 1.0  # seconds for what is left of a download, such as a generator, to close

_Fetched: TypeAlias = tuple[bytes, "int | None"]


def download(url: str, most: int, *, seconds: float = SECONDS) -> _Fetched:
    """The bytes behind an http(s) address and how many there are.

    Where there are more than ``most``, only a beginning is returned, with the size that the server
    announces; ``None`` where it announces none.

    Raises:
        PhotoError: rejected for now: INVALID_IMAGE_URL, or IMAGE_DOWNLOAD_TIMEOUT after
            ``seconds``. No message shows the address, which may hold a password.
    """
    try:
        return _run(within(seconds, _fetch(url, most)))
    except asyncio.TimeoutError:
        raise _timeout(f"not downloaded within {seconds:g} s") from None
    except httpx.TimeoutException as error:
        raise _timeout(explain(error)) from error
    except httpx.TransportError as error:
        advice = never_passes(error) or "check the address"
        raise _unfetched(explain(error), advice) from error
    except httpx.TooManyRedirects as error:
        raise _unfetched(f"it redirects more than {MAX_REDIRECTS} times") from error
    except httpx.DecodingError as error:
        raise _unfetched("what its server sent is damaged") from error
    except Exception as error:
        if not _is_address_fault(error):
            raise
        # Not in words of httpx's own: they may quote the address.
        raise _unfetched("it is not a usable address") from error


def _is_address_fault(error: BaseException) -> bool:
    """Whether an error comes of an address that nothing can be fetched from.

    Python's own resolver and sockets refuse some addresses that httpx lets through, with a
    ``ValueError`` or ``OverflowError``. anyio, which tries the addresses of a name in parallel,
    raises them as an exception group; that type is known by its attribute, being new in Python
    3.11.
    """
    inner = getattr(error, "exceptions", None)
    if isinstance(inner, tuple):
        return all(map(_is_address_fault, inner))
    return isinstance(error, (httpx.HTTPError, httpx.InvalidURL, ValueError, OverflowError))


async def _fetch(url: str, most: int) -> _Fetched:
    async with _client() as client, client.stream("GET", url) as answer:
        if not answer.is_success:
            raise _unfetched(f"its server answered {answer.status_code}")
        encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
            # Unasked for; encodings inside encodings turn kilobytes into gigabytes.
            raise _unfetched("its server sends it compressed")
        # The length is that of what travels, compressed or not.
        announced = content_length(answer.headers) if encoding == "identity" else 0
        if announced > most:
            return await _beginning(answer, min(BEGINNING, most)), announced
        body = await _beginning(answer, most + 1)
        return body, len(body) if len(body) <= most else None


async def _beginning(answer: httpx.Response, most: int) -> bytes:
    """The first ``most`` bytes of the body, all of it where it has fewer."""
    body = io.BytesIO()  # hands its bytes over without a copy
    # httpx promises an iterator only, and an iterator cannot be closed.
    generator = cast("AsyncGenerator[bytes, None]", answer.aiter_bytes())
    async with contextlib.aclosing(generator) as parts:
        async for part in parts:
            body.write(part[: most - body.tell()])
            if body.tell() >= most:
                break
    return body.getvalue()


async def _check(request: httpx.Request) -> None:
    """Before each request, that of a redirect too: httpx lets ports through that do not exist."""
    if not 0 <= (request.url.port or 0) <= MAX_PORT:
        raise httpx.InvalidURL("no such port")


def _client() -> httpx.AsyncClient:
    fault = certificates_fault()
    if fault is not None:
        raise _unfetched(fault, advice=None)
    try:
        return httpx.AsyncClient(
            verify=tls_context(),
            timeout=None,  # noqa: S113 - the whole is bounded
            follow_redirects=True,
            max_redirects=MAX_REDIRECTS,
            headers={"Accept-Encoding": "identity", "User-Agent": "hbseg"},
            event_hooks={"request": [_check]},
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise _unfetched(UNUSABLE_PROXY, "fix or unset it") from error


def _run(work: Coroutine[Any, Any, _Fetched]) -> _Fetched:
    """As `asyncio.run`, which would also wait for a look-up of a name that nobody waits for, and
    which cannot be called where an event loop runs in this thread already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # none: the usual case
        return _run_here(work)
    with ThreadPoolExecutor(1, thread_name_prefix="download") as thread:
        return thread.submit(_run_here, work).result()


def _run_here(work: Coroutine[Any, Any, _Fetched]) -> _Fetched:
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(_wind_up())
        loop.close()


async def _wind_up() -> None:
    """Let the generators of httpx that were left open close, which takes tasks of its own: the
    loop would report those that outlive it."""
    await asyncio.sleep(0)  # the loop makes such a task in its next turn
    closing = asyncio.ensure_future(asyncio.get_running_loop().shutdown_asyncgens())
    rest = {closing, *asyncio.all_tasks()} - {asyncio.current_task()}
    _, late = await asyncio.wait(rest, timeout=_END)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=_END)


def _timeout(why: str) -> PhotoError:
    return PhotoError(
        api_spec.DOWNLOAD_TIMEOUT,
        f"cannot be fetched: {why}; try again later",
        rejected=True,
        transient=True,
    )


def _unfetched(why: str, advice: str | None = "check the address") -> PhotoError:
    return PhotoError(
        api_spec.INVALID_URL,
        f"cannot be fetched: {why}" + (f"; {advice}" if advice else ""),
        rejected=True,
        transient=True,
    )
