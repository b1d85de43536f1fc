"""CORS: lets pages of the origins of ``--cors-origin`` call the API and read its answers.

Starlette's middleware writes the headers. It answers preflights itself and says nothing, so those
are handed to it here, and logged.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware

from humanbody_cli.server.access.browsers import EVERY_ORIGIN
from humanbody_cli.server.wire import request_log

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


def cross_origin(app: ASGIApp, origins: frozenset[str]) -> CORSMiddleware:
    """``app``, whose answers pages of these origins may read. A browser's cookies and passwords are
    never asked for: the API has none."""
    return CORSMiddleware(
        app,
        allow_origins=sorted(origins),
        allow_methods=("POST",),
        # A public page may call this server on a private network only if it was named.
        allow_private_network=EVERY_ORIGIN not in origins,
    )


def is_preflight(scope: Scope) -> bool:
    """Whether a browser asks if a page may send a request."""
    names = {name for name, _ in scope["headers"]}
    return scope["method"] == "OPTIONS" and {b"origin", b"access-control-request-method"} <= names


async def answer_preflight(
    middleware: CORSMiddleware, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer it, and write its log line."""
    began = time.monotonic()
    answer = middleware.preflight_response(Headers(scope=scope))
    await answer(scope, receive, send)
    is_allowed = answer.status_code < 400
    request_log.note(
        scope,
        answer.status_code,
        request_log.OK if is_allowed else "PREFLIGHT_REFUSED",
        seconds=time.monotonic() - began,
        sent=len(answer.body),
        reason="" if is_allowed else bytes(answer.body).decode(),
    )
