"""What a browser gets: the upload page at ``/``, its files, ``/healthz`` and ``/metrics``.

The page's HTML, CSS and JavaScript are in ``files/``. Style and script have their digest in their
address, so that a browser keeps them for good and still never mixes two versions; the page itself,
which names them, is asked for each time. Its Content-Security-Policy lets nothing run or load but
these files, and nobody frame it.
"""

from __future__ import annotations

import hashlib
import html
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from humanbody_cli import __version__
from humanbody_cli.core import api_spec
from humanbody_cli.core.outcomes import DOUBTFUL
from humanbody_cli.pipeline.fingerprint import BUNDLED
from humanbody_cli.server.access.browsers import BrowserRules, Headers
from humanbody_cli.server.metrics import Metrics
from humanbody_cli.server.photos.inference import InferencePool
from humanbody_cli.server.wire import request_log

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

log = logging.getLogger(request_log.SERVER_LOG)

_FILES = Path(__file__).with_name("files")

SCRIPTS = ("words.js", "fitting.js", "page.js")
"""In this order they make one script; the last one starts it."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

_ALWAYS = {
    "Content-Security-Policy": _POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not no-referrer, with which some browsers send "Origin: null" to this very server.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_FOR_GOOD = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class _File:
    """A file of the page, as it is served at ``path``."""

    path: str
    content: bytes
    media_type: str

    @classmethod
    def of(cls, content: bytes, suffix: str, media_type: str) -> _File:
        """Named by its content."""
        return cls(f"/page/{_digest(content)}.{suffix}", content, media_type)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


class Pages:
    """Everything that is asked for by GET."""

    def __init__(self, rules: BrowserRules, inference: InferencePool, metrics: Metrics) -> None:
        self._rules = rules
        self._inference = inference
        self._metrics = metrics
        style = _File.of((_FILES / "page.css").read_bytes(), "css", "text/css")
        script = b"".join((_FILES / name).read_bytes() for name in SCRIPTS)
        code = _File.of(script, "js", "text/javascript")
        icon = _File.of((_FILES / "icon.svg").read_bytes(), "svg", "image/svg+xml")
        self._template = Template((_FILES / "page.html").read_text("utf-8"))
        self._facts = {
            "style": style.path,
            "script": code.path,
            "icon": icon.path,
            "version": html.escape(__version__),
            "models": html.escape(BUNDLED),
            "path": api_spec.SEGMENT_PATH,
            "doubtful": str(DOUBTFUL),
            "max_bytes": str(api_spec.MAX_BYTES),
            "min_side": str(api_spec.MIN_SIDE),
            "max_side": str(api_spec.MAX_SIDE),
        }
        self._pages: dict[str, Callable[[Headers], Response]] = {
            "/": self._home,
            "/healthz": self._health,
            "/metrics": self._figures,
            **{file.path: partial(_asset, file) for file in (style, code, icon)},
        }

    def has(self, scope: Scope) -> bool:
        """Whether a request is for one of them."""
        return scope["path"] in self._pages and scope["method"] in ("GET", "HEAD")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is for one of them."""
        began = time.monotonic()
        answer, code, reason = self._answer(scope)
        for name, value in _ALWAYS.items():
            answer.headers.setdefault(name, value)
        await answer(scope, receive, send)
        request_log.note(
            scope,
            answer.status_code,
            code,
            seconds=time.monotonic() - began,
            sent=0 if scope["method"] == "HEAD" else len(answer.body),
            reason=reason,
        )

    def _answer(self, scope: Scope) -> tuple[Response, str, str]:
        """The answer, and for the log a code and why it is a refusal, if it is."""
        headers: Headers = dict(scope["headers"])
        denial = self._rules.denial(headers, page=True)
        if denial:
            reason = f"{denial.words}: {denial.sentence}"
            return _said(403, reason), api_spec.AUTHORIZATION, reason
        try:
            return self._pages[scope["path"]](headers), request_log.OK, ""
        except Exception:  # a bug: the log gets the traceback
            log.exception("%s failed", scope["path"])
            return _said(500, "the server failed"), api_spec.INTERNAL_ERROR, ""

    def _home(self, headers: Headers) -> Response:
        """The upload page. Whether it needs a key depends on the name it is called by."""
        host = headers.get(b"host", b"").decode("latin-1")
        page = self._template.substitute(
            self._facts,
            origin=html.escape(f"http://{host}"),
            keyless="yes" if self._rules.is_keyless(headers) else "no",
        ).encode()
        known = {"ETag": f'"{_digest(page)}"', "Cache-Control": "no-cache"}
        if headers.get(b"if-none-match", b"").decode("latin-1") == known["ETag"]:
            return Response(status_code=304, headers=known)
        return Response(page, headers=known, media_type="text/html")

    def _health(self, _: Headers) -> Response:
        """The state of this process; 503 where it can process no more photos."""
        inference = self._inference
        state = {"status": "ok", "version": __version__}
        if inference.stuck:
            state["status"] = "down" if inference.is_down else "degraded"
            state["reason"] = f"{inference.stuck} photos past their time limit that do not end"
        return JSONResponse(state, 503 if inference.is_down else 200)

    def _figures(self, _: Headers) -> Response:
        """The figures for Prometheus."""
        figures, media_type = self._metrics.render()
        return Response(figures, media_type=media_type)


def _asset(file: _File, _: Headers) -> Response:
    return Response(file.content, headers={"Cache-Control": _FOR_GOOD}, media_type=file.media_type)


def _said(status: int, sentence: str) -> Response:
    return Response(f"{sentence}.\n", status, media_type="text/plain")
