"""A photo by its address, for a run: the fetcher called from a worker thread.

It runs on an event loop of its own, so that a download can be ended at its deadline, whatever it
waits for: the connection is then closed, and the thread is free again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import PhotoError
from humanbody_cli.core.network import UNUSABLE_PROXY, certificates_fault, tls_context
from humanbody_cli.discovery.fetch import (
    Fetched,
    FetchFailed,
    FetchLimits,
    FetchTimedOut,
    check_port,
    fetch,
)

SECONDS = 30.0
"""From the look-up of the name to the last byte, redirects included."""

MAX_REDIRECTS = 20

BEGINNING = 256 * 1024
"""Bytes that are read of a photo whose server announces too many: enough for the header."""

_END = 1.0  # seconds for what is left of a download, such as a generator, to close


def download(url: str, most: int, *, seconds: float = SECONDS) -> Fetched:
    """The bytes behind an http(s) address and how many there are.

    Where there are more than ``most``, only a beginning is returned, with the size that the server
    announces; ``None`` where it announces none.

    Raises:
        PhotoError: rejected for now: INVALID_IMAGE_URL, or IMAGE_DOWNLOAD_TIMEOUT after
            ``seconds``. No message shows the address, which may hold a password.
    """
    limits = FetchLimits(most, seconds, MAX_REDIRECTS, beginning=BEGINNING, decode=True)
    try:
        return _run(fetch(_client, url, limits))
    except FetchFailed as failed:
        is_late = isinstance(failed, FetchTimedOut)
        advice = "try again later" if is_late else failed.advice
        raise PhotoError(
            api_spec.DOWNLOAD_TIMEOUT if is_late else api_spec.INVALID_URL,
            f"cannot be fetched: {failed.why}" + (f"; {advice}" if advice else ""),
            rejected=True,
            transient=True,
        ) from failed


def _client() -> httpx.AsyncClient:
    fault = certificates_fault()
    if fault is not None:
        raise FetchFailed(fault, advice=None)
    try:
        return httpx.AsyncClient(
            verify=tls_context(),
            timeout=None,  # noqa: S113 - the whole is bounded
            headers={"Accept-Encoding": "identity", "User-Agent": "hbseg"},
            event_hooks={"request": [check_port]},
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise FetchFailed(UNUSABLE_PROXY, "correct or unset it") from error


def _run(work: Coroutine[Any, Any, Fetched]) -> Fetched:
    """As `asyncio.run`, which would also wait for a look-up of a name that nobody waits for, and
    which cannot be called where an event loop runs in this thread already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # none: the usual case
        return _run_here(work)
    with ThreadPoolExecutor(1, thread_name_prefix="download") as thread:
        return thread.submit(_run_here, work).result()


def _run_here(work: Coroutine[Any, Any, Fetched]) -> Fetched:
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
