"""The server's log on stderr, with one line per request.

A line holds neither a secret nor a whole key nor a query, in which a client may have put them.
uvicorn's own access log is off: it knows neither codes nor reasons.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from humanbody_cli.core.console import shown
from humanbody_cli.core.outcomes import json_line
from humanbody_cli.core.settings import LogFormat

if TYPE_CHECKING:
    from starlette.types import Scope

SERVER_LOG = "humanbody_cli.server"
OK = "ok"
"""The code of a request that was served."""

requests = logging.getLogger(f"{SERVER_LOG}.requests")

_MOST_PATH, _MOST_REASON = 200, 300
"""Characters; a stranger may send a path of 60,000."""

_REQUEST = "request"
"""The attribute of a log record that holds the request's `LogLine`."""


@dataclass(frozen=True)
class LogLine:
    """One request. ``status`` 0 means that nothing was answered; ``code`` is ``ok``, the API's
    error, or what else happened; ``key`` the first characters of the key; ``received`` and ``sent``
    count the bytes of bodies; ``ms`` milliseconds; ``client`` the address of the other end of the
    connection, which is a proxy's where there is one; ``reason`` why it was refused."""

    method: str
    path: str
    status: int
    code: str
    key: str
    received: int
    sent: int
    ms: int
    client: str
    request_id: str
    reason: str = ""

    def __str__(self) -> str:
        quoted = shown(json.dumps(self.reason, ensure_ascii=False))
        reason = f" reason={quoted}" if self.reason else ""
        return (
            f"{self.method} {self.path} {self.status} {self.code} key={self.key} "
            f"in={self.received} out={self.sent} ms={self.ms} client={self.client} "
            f"id={self.request_id or '-'}{reason}"
        )


def note(
    scope: Scope,
    status: int,
    code: str,
    *,
    seconds: float,
    key: str = "-",
    received: int = 0,
    sent: int = 0,
    request_id: str = "",
    reason: str = "",
) -> None:
    """Write the line of a request."""
    if not requests.isEnabledFor(logging.INFO):
        return
    line = LogLine(
        method=scope["method"],
        # As it was sent, with its escapes: it then holds no space and no line break.
        path=shown(scope["raw_path"].decode("latin-1")[:_MOST_PATH]),
        status=status,
        code=code.replace(" ", "_"),
        key=key,
        received=received,
        sent=sent,
        ms=round(seconds * 1000),
        client=(scope["client"] or ("-",))[0],
        request_id=request_id,
        reason=reason[:_MOST_REASON],
    )
    requests.info("%s", line, extra={_REQUEST: line})


class _TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.123Z`` and the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime


class _JsonFormatter(_TextFormatter):
    """One object per line: time, level, event, message; of a request its `LogLine` too."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: LogLine | None = getattr(record, _REQUEST, None)
        fields = {
            "time": f"{self.formatTime(record, self.datefmt)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": _REQUEST if line else "message",
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json_line({**fields, _REQUEST: asdict(line)} if line else fields)


def set_up_log(log_format: LogFormat, *, requests_too: bool) -> None:
    """Let the server's messages go to stderr, with a line for each request if ``requests_too``."""
    log = logging.getLogger(SERVER_LOG)
    handler = logging.StreamHandler(sys.stderr)
    is_json = log_format is LogFormat.JSON
    handler.setFormatter(_JsonFormatter() if is_json else _TextFormatter())
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
    requests.setLevel(logging.INFO if requests_too else logging.WARNING)
    # It only repeats what the lines of our own log say: broken requests, clients that left.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
