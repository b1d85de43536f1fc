"""The server as an ASGI application: one request through all checks to its answer.

Sender, size, route, key, quota, arguments, image: each check comes before the cost of the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from starlette.routing import Router

from humanbody_cli.api import responses
from humanbody_cli.api.requests import Arguments, Form, Refused, parse_form, read_arguments
from humanbody_cli.core import api_spec
from humanbody_cli.core.api_spec import NOBODY_FOUND, SEGMENT_PATH
from humanbody_cli.core.outcomes import is_nobody
from humanbody_cli.core.stop import in_thread
from humanbody_cli.pipeline.engine import Ask
from humanbody_cli.server import config
from humanbody_cli.server.access.auth import OWN_KEY, Authenticator
from humanbody_cli.server.access.browsers import PAGE_HEADER, BrowserRules
from humanbody_cli.server.access.cross_origin import (
    answer_preflight,
    cross_origin,
    is_preflight,
)
from humanbody_cli.server.config import FaultInjector, ServerTimeouts
from humanbody_cli.server.metrics import Metrics
from humanbody_cli.server.pages.serving import Pages
from humanbody_cli.server.photos.downloads import Downloads
from humanbody_cli.server.photos.inference import InferencePool, InferenceRequest, InferenceResult
from humanbody_cli.server.wire.exchange import Exchange, MemoryBudget, NoReply, Reply, RequestMemory
from humanbody_cli.server.wire.request_log import SERVER_LOG

if TYPE_CHECKING:
    from starlette.middleware.cors import CORSMiddleware
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(SERVER_LOG)

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
    rules: BrowserRules
    closing: asyncio.Event


def application(make_services: Callable[[], Services]) -> ASGIApp:
    """The ASGI application; its services are made on the event loop that they run on."""
    site = _Site()

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        site.open(make_services())
        yield
        await site.api.aclose()

    return Router(default=site, redirect_slashes=False, lifespan=lifespan)


class _Site:
    """Hands each request to the pages or to the API."""

    api: SegmentApi
    pages: Pages
    cross_origin: CORSMiddleware | None

    def open(self, services: Services) -> None:
        """Make both."""
        self.api = SegmentApi(services)
        self.pages = Pages(services.rules, services.inference, services.metrics)
        origins = services.rules.origins
        self.cross_origin = cross_origin(self.api, origins) if origins else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self.pages.has(scope):
            await self.pages(scope, receive, send)
        elif self.cross_origin is None or scope["path"] != SEGMENT_PATH:
            await self.api(scope, receive, send)
        elif is_preflight(scope):
            await answer_preflight(self.cross_origin, scope, receive, send)
        else:
            await self.cross_origin(scope, receive, send)


class SegmentApi:
    """The one API; API_NOT_FOUND for everything else."""

    def __init__(self, services: Services) -> None:
        self.services = services
        # Bodies are parsed and answers encoded off the event loop: megabytes may take 20 ms.
        self.pool = ThreadPoolExecutor(2, thread_name_prefix="form")

    async def aclose(self) -> None:
        """Stop what it uses, once it is idle."""
        self.services.downloads.close()
        await self.services.inference.aclose()
        self.pool.shutdown(wait=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or close its connection."""
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
            self._check_sender(exchange)
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

    def _check_sender(self, exchange: Exchange) -> None:
        denial = self.services.rules.denial(exchange.headers)
        if denial:
            raise Refused(api_spec.AUTHORIZATION, denial.words, reason=denial.sentence)

    async def _segment(self, exchange: Exchange, memory: RequestMemory) -> Reply:
        form = await self._form(exchange, memory)
        fault = self._admit(exchange, form)
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

    def _admit(self, exchange: Exchange, form: Form) -> str | None:
        """Admit a call; the fault to inject, if any."""
        authenticator = self.services.authenticator
        pair = form.get("api_key"), form.get("api_secret")
        if not any(pair) and self.services.rules.is_keyless_upload(exchange.headers):
            key, exchange.api_key = OWN_KEY, b"page"
        else:
            key = authenticator.authenticate(*pair)
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
                data,
                arguments.parameter,
                Ask(arguments.mask, arguments.cutout),
                shrunk=shrunk,
                measured=PAGE_HEADER in exchange.headers,
            )
            result = await self.services.inference.segment(request)
        return await in_thread(self.pool, _success, exchange, result)


def _success(exchange: Exchange, result: InferenceResult) -> Reply:
    answer = responses.Success(
        request_id=exchange.request_id,
        image_id=result.image_id,
        time_used=round(exchange.elapsed() * 1000),
        result=result.mask,
        body_image=result.cutout,
    )
    return Reply(200, responses.success_body(answer), headers=_measures(result))


def _measures(result: InferenceResult) -> tuple[tuple[bytes, bytes], ...]:
    """What the upload page shows of a result, as headers: the API's answer has no place for it."""
    if result.coverage is None or result.doubt is None:
        return ()
    measures = [
        (b"hbseg-coverage", b"%g" % result.coverage),
        (b"hbseg-doubt", b"%g" % result.doubt),
    ]
    if is_nobody(result.coverage):
        measures.append((b"hbseg-code", NOBODY_FOUND.encode()))
    return tuple(measures)


def _refusal(exchange: Exchange, refused: Refused) -> Reply:
    """The answer to a refused request: ``CODE: param``, with a space as seen."""
    row = api_spec.BY_CODE[refused.code]
    message = f"{row.code}: {refused.parameter}" if refused.parameter else row.code
    reason = ": ".join(filter(None, (refused.parameter, refused.reason)))
    if row.code == api_spec.ENTITY_TOO_LARGE:
        # The document: plain text, not JSON. What is left of the body is not read.
        return Reply(row.http_status, row.code.encode(), "text/plain", row.code, close=True)
    if refused.bare:
        body = responses.error_body(message)
    else:
        body = responses.error_body(
            message,
            request_id=exchange.request_id,
            time_used=round(exchange.elapsed() * 1000),
        )
    return Reply(row.http_status, body, code=row.code, reason=reason)
