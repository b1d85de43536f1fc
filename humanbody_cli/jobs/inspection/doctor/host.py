"""The API's host as ``hbseg doctor`` checks it: name, connection, certificate, clock."""

from __future__ import annotations

import asyncio
import socket
import time
from datetime import datetime
from email.utils import parsedate_to_datetime

import httpx

from humanbody_cli.api.transport.http import usable
from humanbody_cli.core import console, network
from humanbody_cli.core.errors import FatalError, HbsegError
from humanbody_cli.core.stop import within
from humanbody_cli.jobs.inspection.doctor.finding import Finding, Level
from humanbody_cli.pipeline.scheduler import run_loop

_SKEW = 300.0
"""Seconds by which the clock may differ from the host's: Kerberos and AWS allow as many."""

_EARLIEST = datetime(2025, 1, 1).timestamp()
"""Before hbseg's first release: a clock that shows less is wrong."""

_PATIENCE = 15.0
"""Seconds for the host to answer."""


def host(endpoint: str, *, needed: bool, patience: float = _PATIENCE) -> tuple[Finding, str | None]:
    """Whether the API's host answers, and the date that it gives (``None``: none).

    It gets a HEAD request without the key, which is no call.
    """
    bad = Level.bad(needed=needed)
    watch = console.Stopwatch()
    try:
        name = usable(endpoint).host
        answer = _head(endpoint, patience)
    except HbsegError as error:
        return Finding("host", bad, str(error)), None
    except socket.gaierror as error:
        advice = "check the name, and this machine's network and DNS"
        return Finding("host", bad, f"{name}: no address found: {error.strerror}", advice), None
    except httpx.TransportError as error:
        advice = network.never_passes(error) or "check the address, the network and firewalls"
        return Finding("host", bad, f"{name}: {network.explain(error)}", advice), None
    except TimeoutError:
        message = f"{name}: no complete answer within {patience:g} s"
        return Finding("host", bad, message, "check the address, the network and firewalls"), None
    return _judged(name, answer, watch.seconds()), answer.headers.get("Date")


def _judged(name: str, answer: httpx.Response, seconds: float) -> Finding:
    status = answer.status_code
    if answer.is_redirect:
        message = f"{name} redirects to another address (HTTP {status})"
        return Finding("host", Level.WARN, message, "check --endpoint")
    if answer.is_server_error:
        message = f"{name} answers with an error (HTTP {status})"
        return Finding("host", Level.WARN, message, "try again later")
    message = f"{name} answers after {seconds * 1000:.0f} ms; no call was made and no key sent"
    return Finding("host", Level.OK, message)


def _head(endpoint: str, patience: float) -> httpx.Response:
    """The answer to HEAD /, through the proxy of the environment if there is one.

    Raises:
        FatalError: the environment's certificates or proxy cannot be used.
        socket.gaierror: the host has no address, and no proxy looks it up.
        httpx.TransportError: no answer.
        TimeoutError: the answer did not end in time.
    """
    is_secure = endpoint.startswith("https")
    fault = network.certificates_fault() if is_secure else None
    if fault is not None:
        raise FatalError(fault)
    try:
        client = httpx.AsyncClient(
            verify=network.tls_context() if is_secure else False,
            timeout=patience,
            headers={"User-Agent": "hbseg"},
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise FatalError(f"{network.UNUSABLE_PROXY}: {error}; fix or unset it") from error
    answers: list[httpx.Response] = []
    run_loop(within(patience, _ask(client, httpx.URL(endpoint + "/"), answers)))
    return answers[0]


async def _ask(client: httpx.AsyncClient, url: httpx.URL, answers: list[httpx.Response]) -> None:
    async with client:
        if client._transport_for_url(url) is client._transport:  # not a proxy's
            loop = asyncio.get_running_loop()
            await loop.getaddrinfo(url.host, url.port or url.scheme)
        answers.append(await client.head(url))


def clock(now: float, date: str | None) -> Finding:
    """Whether a clock that shows ``now`` (seconds since 1970) fits a host's Date header."""
    advice = "set it: certificates and limits per day depend on it"
    shown = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    if now < _EARLIEST:
        return Finding("clock", Level.WARN, f"it shows {shown}, before hbseg existed", advice)
    if date is None:
        return Finding("clock", Level.OK, f"it shows {shown}")
    try:
        skew = now - parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return Finding("clock", Level.OK, f"it shows {shown}; the host's date cannot be read")
    if abs(skew) > _SKEW:
        side = "ahead of" if skew > 0 else "behind"
        message = f"it shows {shown}, {console.duration(abs(skew))} {side} the host's"
        return Finding("clock", Level.WARN, message, advice)
    return Finding("clock", Level.OK, f"it shows {shown}, like the host's")
