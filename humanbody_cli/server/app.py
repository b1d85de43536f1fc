"""The API as an ASGI application: a request in, an answer out, in the order of a gateway.

Size, route, key, quota, arguments, image: each check stands before the next one's cost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from humanbody_cli import __version__
from humanbody_cli.api import responses
from humanbody_cli.core import api_spec
from humanbody_cli.core.api_spec import SEGMENT_PATH
from humanbody_cli.server import arguments, faults, forms, metrics
from humanbody_cli.server.arguments import Arguments
from humanbody_cli.server.auth import Gate
from humanbody_cli.server.config import Patience
from humanbody_cli.server.exchange import Account, Exchange, Ledger
from humanbody_cli.server.faults import Dice
from humanbody_cli.server.fetch import Fetcher
from humanbody_cli.server.inference import Commission, Results, Studio
from humanbody_cli.server.responses import (
    Gone,
    Refused,
    Reply,
    garbage,
    proxy_page,
    refusal,
    too_slow,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger("humanbody_cli.server")

T = TypeVar("T")

_GATEWAY = tuple(row.code for row in api_spec.ROWS if row.bare)


@dataclass(frozen=True)
class Parts:
    """What an answer takes. ``closing`` is set when the server is told to stop."""

    gate: Gate
    dice: Dice
    ledger: Ledger
    fetcher: Fetcher
    studio: Studio
    patience: Patience
    closing: asyncio.Event


def application(make_parts: Callable[[], Parts]) -> ASGIApp:
    """The ASGI application; its parts are made on the loop that they will run on."""
    api = SegmentApi()

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        api.parts = make_parts()
        yield
        await api.parts.fetcher.aclose()
        await api.parts.studio.aclose()
        api.pool.shutdown(wait=False)

    return Router(
        routes=[
            Route("/healthz", api.health),
            Route("/metrics", _metrics),
        ],
        default=api,
        redirect_slashes=False,
        lifespan=lifespan,
    )


async def _metrics(_: Request) -> Response:
    return Response(metrics.render(), media_type=metrics.CONTENT_TYPE)


class SegmentApi:
    """Everything but the pages for operators: the one API there is, and API_NOT_FOUND."""

    parts: Parts

    def __init__(self) -> None:
        # Megabytes are taken apart and put together off the loop: a body, or a large answer's
        # base64, may cost some 20 ms.
        self.pool = ThreadPoolExecutor(2, thread_name_prefix="form")

    async def health(self, _: Request) -> Response:
        """How this process is doing; 503 where it can do no photo any more."""
        studio = self.parts.studio
        state = {"status": "ok", "version": __version__}
        if studio.stuck:
            state["status"] = "down" if studio.is_down else "degraded"
            state["reason"] = f"{studio.stuck} photos past their time limit that do not end"
        return JSONResponse(state, 503 if studio.is_down else 200)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        exchange = Exchange(scope, receive, send, self.parts.patience)
        try:
            with self.parts.ledger.account() as account:
                reply = await self._reply(exchange, account, scope)
                account.add(len(reply.body))
                await exchange.reply(reply)
        except Gone as gone:
            exchange.note(0, gone.code, 0)
            await exchange.leave()
        except asyncio.CancelledError:
            # The grace is over. uvicorn would answer 500; no answer at all is the truth.
            exchange.door.abort()
            exchange.note(0, "stopped", 0)
            raise
        except Exception:  # a bug while an answer was written: too late for INTERNAL_ERROR
            log.exception("%s failed", exchange.request_id)
            await exchange.leave()

    async def _reply(self, exchange: Exchange, account: Account, scope: Scope) -> Reply:
        try:
            exchange.check_size()
            if scope["method"] != "POST" or scope["path"] != SEGMENT_PATH:
                raise Refused(api_spec.API_NOT_FOUND)
            return await self._segment(exchange, account)
        except Refused as refused:
            return _refusal(exchange, refused)
        except TimeoutError:
            return too_slow()
        except Gone:
            raise
        except Exception:  # a bug: the client gets INTERNAL_ERROR, the log the traceback
            log.exception("%s failed", exchange.request_id)
            return _refusal(exchange, Refused(api_spec.INTERNAL_ERROR))

    async def _segment(self, exchange: Exchange, account: Account) -> Reply:
        form = await self._form(exchange, account)
        fault = self._admit(form)
        await self._pause(exchange)
        if fault in api_spec.BY_CODE:
            raise Refused(fault, faults.PARAMETERS.get(fault, ""))
        if fault in (faults.RESET, faults.HTML502, faults.HANG):
            return await self._break(exchange, fault)
        wish = await self._aside(partial(arguments.read, form))
        reply = await self._work(exchange, wish, fault == faults.WRONG_SIZE)
        if fault == faults.GARBAGE:
            return garbage()
        return replace(reply, cut=True, code=fault) if fault == faults.HALF else reply

    async def _form(self, exchange: Exchange, account: Account) -> forms.Form:
        body = await exchange.body(account)
        kind = exchange.header(b"content-type").decode("latin-1")
        form = await self._aside(partial(forms.parse, kind, body))
        exchange.api_key = form.get("api_key") or b""
        return form

    def _admit(self, form: forms.Form) -> str | None:
        """Let a call in; the fault it is to meet."""
        gate = self.parts.gate
        key = gate.authenticate(form.get("api_key"), form.get("api_secret"))
        fault = self.parts.dice.fault()
        if fault in _GATEWAY:
            # The gateway refuses before it counts.
            raise Refused(fault, faults.PARAMETERS.get(fault, ""))
        gate.admit(key)
        return fault

    async def _pause(self, exchange: Exchange) -> None:
        delay = self.parts.dice.delay()
        if delay:
            await asyncio.sleep(delay)
            if not exchange.wanted():
                raise Gone

    async def _break(self, exchange: Exchange, fault: str) -> Reply:
        if fault == faults.HTML502:
            return proxy_page()
        if fault == faults.RESET:
            exchange.door.reset()
        else:
            await self._hang(exchange)
        raise Gone(fault)

    async def _hang(self, exchange: Exchange) -> None:
        tasks = [
            asyncio.ensure_future(exchange.hang()),
            asyncio.ensure_future(self.parts.closing.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _work(self, exchange: Exchange, wish: Arguments, shrunk: bool) -> Reply:
        with metrics.photos.time(), exchange.while_wanted():
            if wish.parameter == "image_url":
                data = await self.parts.fetcher.fetch(wish.url())
            else:
                data = await self._aside(wish.image)
            commission = Commission(data, wish.parameter, wish.ask, shrunk)
            results = await self.parts.studio.segment(commission)
        return await self._aside(partial(_success, exchange, results))

    async def _aside(self, task: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.pool, task)


def _success(exchange: Exchange, results: Results) -> Reply:
    answer = responses.Success(
        request_id=exchange.request_id,
        image_id=results.image_id,
        time_used=round(exchange.elapsed() * 1000),
        result=results.mask,
        body_image=results.cutout,
    )
    return Reply(200, responses.success_body(answer))


def _refusal(exchange: Exchange, refused: Refused) -> Reply:
    return refusal(refused, exchange.request_id, round(exchange.elapsed() * 1000))
