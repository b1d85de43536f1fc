"""The API as an ASGI application: one request through all checks to its answer.

Size, route, key, quota, arguments, image: each check comes before the cost of the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio
import httpx
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from humanbody_cli import __version__
from humanbody_cli.api import responses
from humanbody_cli.api.requests import Arguments, Form, Refused, parse_form, read_arguments
from humanbody_cli.core import api_spec
from humanbody_cli.core.api_spec import MAX_BYTES, SEGMENT_PATH
from humanbody_cli.core.stop import in_thread
from humanbody_cli.discovery.fetch import (
    FetchFailed,
    FetchLimits,
    FetchTimedOut,
    PinnedTransport,
    check_plain,
    fetch,
)
from humanbody_cli.pipeline.engine import Ask
from humanbody_cli.server import config
from humanbody_cli.server.auth import Authenticator
from humanbody_cli.server.config import FaultInjector, ServerTimeouts
from humanbody_cli.server.exchange import Exchange, MemoryBudget, NoReply, Reply, RequestMemory
from humanbody_cli.server.inference import InferencePool, InferenceRequest, InferenceResult
from humanbody_cli.server.metrics import Metrics

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger("humanbody_cli.server")

_MOST_REDIRECTS = 3

_DOWNLOAD_HEADERS = {
    "Accept": "image/jpeg, image/png, */*;q=0.1",
    # What arrives is what counts for the limit of 2 MB: no compressed bombs.
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "hbseg",
}

_TOO_SLOW = Reply(408, b"Request Timeout", "text/plain", "TIMEOUT", close=True)
"""The answer to an upload that takes too long: RFC 9110, 15.5.9. Not a row of the document."""

_PROXY_PAGE = Reply(
    502,
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n",
    "text/html",
    "html502",
)
"""A 502 as nginx words it: what a client gets when the machine behind a proxy is down."""

_GARBAGE = Reply(200, b"\xff\xfe{<not json>", code="garbage")

_GATEWAY = tuple(row.code for row in api_spec.ROWS if row.bare)


@dataclass(frozen=True)
class Services:
    """What answering a request needs. ``closing`` is set when the server is told to stop."""

    authenticator: Authenticator
    faults: FaultInjector
    memory: MemoryBudget
    downloads: Downloads
    inference: InferencePool
    metrics: Metrics
    timeouts: ServerTimeouts
    closing: asyncio.Event


def application(make_services: Callable[[], Services]) -> ASGIApp:
    """The ASGI application; its services are made on the event loop that they run on."""
    api = SegmentApi()

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        api.services = make_services()
        yield
        api.services.downloads.close()
        await api.services.inference.aclose()
        api.pool.shutdown(wait=False)

    return Router(
        routes=[
            Route("/healthz", api.health),
            Route("/metrics", api.metrics),
        ],
        default=api,
        redirect_slashes=False,
        lifespan=lifespan,
    )


class SegmentApi:
    """The pages for operators, and the one API that there is; API_NOT_FOUND for all else."""

    services: Services

    def __init__(self) -> None:
        # Bodies are parsed and answers encoded off the event loop: megabytes may take 20 ms.
        self.pool = ThreadPoolExecutor(2, thread_name_prefix="form")

    async def metrics(self, _: Request) -> Response:
        """The figures for Prometheus."""
        figures, media_type = self.services.metrics.render()
        return Response(figures, media_type=media_type)

    async def health(self, _: Request) -> Response:
        """The state of this process; 503 where it can process no more photos."""
        inference = self.services.inference
        state = {"status": "ok", "version": __version__}
        if inference.stuck:
            state["status"] = "down" if inference.is_down else "degraded"
            state["reason"] = f"{inference.stuck} photos past their time limit that do not end"
        return JSONResponse(state, 503 if inference.is_down else 200)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        services = self.services
        exchange = Exchange(
            scope, receive, send, timeouts=services.timeouts, metrics=services.metrics
        )
        try:
            with services.memory.request() as memory:
                reply = await self._reply(exchange, memory, scope)
                memory.add(len(reply.body))
                await exchange.reply(reply)
        except NoReply as reason:
            exchange.note(0, reason.code, 0)
            await exchange.leave()
        except asyncio.CancelledError:
            # The grace period is over. uvicorn would answer 500, which would be untrue.
            exchange.connection.abort()
            exchange.note(0, "stopped", 0)
            raise
        except Exception:  # a bug while an answer was written: too late for INTERNAL_ERROR
            log.exception("%s failed", exchange.request_id)
            await exchange.leave()

    async def _reply(self, exchange: Exchange, memory: RequestMemory, scope: Scope) -> Reply:
        try:
            exchange.check_size()
            if scope["method"] != "POST" or scope["path"] != SEGMENT_PATH:
                raise Refused(api_spec.API_NOT_FOUND)
            return await self._segment(exchange, memory)
        except Refused as refused:
            return _refusal(exchange, refused)
        except TimeoutError:
            return _TOO_SLOW
        except NoReply:
            raise
        except Exception:  # a bug: the client gets INTERNAL_ERROR, the log the traceback
            log.exception("%s failed", exchange.request_id)
            return _refusal(exchange, Refused(api_spec.INTERNAL_ERROR))

    async def _segment(self, exchange: Exchange, memory: RequestMemory) -> Reply:
        form = await self._form(exchange, memory)
        fault = self._admit(form)
        await self._pause(exchange)
        if fault in api_spec.BY_CODE:
            raise Refused(fault, config.PARAMETERS.get(fault, ""))
        if fault in (config.RESET, config.HTML502, config.HANG):
            return await self._break(exchange, fault)
        arguments = await in_thread(self.pool, read_arguments, form)
        reply = await self._work(exchange, arguments, fault == config.WRONG_SIZE)
        if fault == config.GARBAGE:
            return _GARBAGE
        return replace(reply, cut=True, code=fault) if fault == config.HALF else reply

    async def _form(self, exchange: Exchange, memory: RequestMemory) -> Form:
        body = await exchange.body(memory)
        kind = exchange.header(b"content-type").decode("latin-1")
        form = await in_thread(self.pool, parse_form, kind, body)
        exchange.api_key = form.get("api_key") or b""
        return form

    def _admit(self, form: Form) -> str | None:
        """Admit a call; the fault that it is to meet."""
        authenticator = self.services.authenticator
        key = authenticator.authenticate(form.get("api_key"), form.get("api_secret"))
        fault = self.services.faults.fault()
        if fault in _GATEWAY:
            # The gateway refuses before it counts.
            raise Refused(fault, config.PARAMETERS.get(fault, ""))
        authenticator.admit(key)
        return fault

    async def _pause(self, exchange: Exchange) -> None:
        delay = self.services.faults.delay()
        if delay:
            await asyncio.sleep(delay)
            if not exchange.wanted():
                raise NoReply

    async def _break(self, exchange: Exchange, fault: str) -> Reply:
        if fault == config.HTML502:
            return _PROXY_PAGE
        if fault == config.RESET:
            exchange.connection.reset()
        else:
            await self._hang(exchange)
        raise NoReply(fault)

    async def _hang(self, exchange: Exchange) -> None:
        tasks = [
            asyncio.ensure_future(exchange.hang()),
            asyncio.ensure_future(self.services.closing.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _work(self, exchange: Exchange, arguments: Arguments, shrunk: bool) -> Reply:
        with self.services.metrics.photos.time(), exchange.while_wanted():
            if arguments.parameter == "image_url":
                data = await self.services.downloads.fetch(arguments.url())
            else:
                data = await in_thread(self.pool, arguments.image)
            request = InferenceRequest(
                data, arguments.parameter, Ask(arguments.mask, arguments.cutout), shrunk
            )
            result = await self.services.inference.segment(request)
        return await in_thread(self.pool, _success, exchange, result)


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
        except FetchTimedOut:
            raise Refused(api_spec.DOWNLOAD_TIMEOUT) from None
        except FetchFailed:
            raise Refused(api_spec.INVALID_URL) from None
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
        """Start no further look-up of a name."""
        self._names.shutdown(wait=False, cancel_futures=True)


def _success(exchange: Exchange, result: InferenceResult) -> Reply:
    answer = responses.Success(
        request_id=exchange.request_id,
        image_id=result.image_id,
        time_used=round(exchange.elapsed() * 1000),
        result=result.mask,
        body_image=result.cutout,
    )
    return Reply(200, responses.success_body(answer))


def _refusal(exchange: Exchange, refused: Refused) -> Reply:
    """The answer to a refused request: ``CODE: param``, with a space as seen."""
    row = api_spec.BY_CODE[refused.code]
    if row.code == api_spec.ENTITY_TOO_LARGE:
        # The document: plain text, not JSON. What is left of the body is not read.
        return Reply(row.http_status, row.code.encode(), "text/plain", row.code, close=True)
    message = f"{row.code}: {refused.parameter}" if refused.parameter else row.code
    if refused.bare:
        return Reply(row.http_status, responses.error_body(message), code=row.code)
    body = responses.error_body(
        message,
        request_id=exchange.request_id,
        time_used=round(exchange.elapsed() * 1000),
    )
    return Reply(row.http_status, body, code=row.code)
