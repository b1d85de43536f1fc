"""Downloads of the photos behind ``image_url``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import anyio
import httpx

from humanbody_cli.api.requests import Refused
from humanbody_cli.core import api_spec
from humanbody_cli.core.api_spec import MAX_BYTES
from humanbody_cli.discovery.fetch import (
    FetchFailed,
    FetchLimits,
    FetchTimedOut,
    PinnedTransport,
    check_plain,
    fetch,
)

_MOST_REDIRECTS = 3

_DOWNLOAD_HEADERS = {
    "Accept": "image/jpeg, image/png, */*;q=0.1",
    # What arrives is what counts for the limit of 2 MB: no compressed bombs.
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "hbseg",
}


class Downloads:
    """Downloads photos for calls: http(s) only, from ``allowed`` IP addresses only.

    ``seconds`` bounds a download from the wait for its turn to its last byte, ``at_once`` how many
    run.
    """

    def __init__(self, *, seconds: float, at_once: int, allowed: Callable[[str], bool]) -> None:
        self._limits = FetchLimits(MAX_BYTES, seconds, _MOST_REDIRECTS, statuses=(200,))
        self._allowed = allowed
        self._turns = anyio.Semaphore(at_once)
        # Not the loop's own threads, which are few and are waited for at the end: a name server
        # that does not answer holds one for half a minute.
        self._names = ThreadPoolExecutor(at_once, thread_name_prefix="name")
        self._certificates = httpx.create_ssl_context(trust_env=False)

    async def fetch(self, url: str) -> bytes:
        """The bytes behind an address.

        Raises:
            Refused: INVALID_IMAGE_URL, IMAGE_FILE_TOO_LARGE or IMAGE_DOWNLOAD_TIMEOUT.
        """
        try:
            fetched = await fetch(self._client, url, self._limits)
        except FetchTimedOut as error:
            raise Refused(api_spec.DOWNLOAD_TIMEOUT, reason=str(error)) from None
        except FetchFailed as error:
            raise Refused(api_spec.INVALID_URL, reason=str(error)) from None
        if fetched.size is None or fetched.size > MAX_BYTES:
            raise Refused(api_spec.FILE_TOO_LARGE, "image_url")
        return fetched.data

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client for one download, once it is its turn."""
        transport = PinnedTransport(self._allowed, self._names, self._certificates)
        async with (
            self._turns,
            httpx.AsyncClient(
                transport=transport,
                trust_env=False,
                timeout=None,  # noqa: S113 - the whole is bounded
                headers=_DOWNLOAD_HEADERS,
                event_hooks={"request": [check_plain]},
            ) as client,
        ):
            yield client

    def close(self) -> None:
        """Start no further name look-ups."""
        self._names.shutdown(wait=False, cancel_futures=True)
