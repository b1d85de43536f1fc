"""An answer as status, type and bytes; and the refusals that become one."""

from __future__ import annotations

from dataclasses import dataclass, field

from humanbody_cli.api import responses
from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import HbsegError

OK = "ok"

_PROXY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)


@dataclass(frozen=True)
class Reply:
    """What is sent. ``code`` is for the log; ``close`` ends the connection after it; ``cut`` sends
    half of the body only."""

    status: int
    body: bytes = field(repr=False)
    content_type: str = "application/json"
    code: str = OK
    close: bool = False
    cut: bool = False


class Refused(HbsegError):
    """A request gets one of the document's errors.

    ``bare`` answers come from the gateway and carry no ids; by default the error's own row says so.
    """

    def __init__(self, code: str, parameter: str = "", *, bare: bool | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.parameter = parameter
        self.bare = api_spec.BY_CODE[code].bare if bare is None else bare


class Gone(HbsegError):
    """The client has left, or is to be left, without an answer."""

    def __init__(self, code: str = "disconnected") -> None:
        super().__init__(code)
        self.code = code


def refusal(refused: Refused, request_id: str, time_used: int) -> Reply:
    """The answer to a refused request: ``CODE: param``, with a space as seen."""
    row = api_spec.BY_CODE[refused.code]
    if row.code == api_spec.ENTITY_TOO_LARGE:
        # The document: plain text, not JSON. What is left of the body is not read.
        return Reply(row.http_status, row.code.encode(), "text/plain", row.code, close=True)
    message = f"{row.code}: {refused.parameter}" if refused.parameter else row.code
    if refused.bare:
        return Reply(row.http_status, responses.error_body(message), code=row.code)
    body = responses.error_body(message, request_id=request_id, time_used=time_used)
    return Reply(row.http_status, body, code=row.code)


def too_slow() -> Reply:
    """The answer to an upload that takes too long: RFC 9110, 15.5.9. No row of the document."""
    return Reply(408, b"Request Timeout", "text/plain", "TIMEOUT", close=True)


def proxy_page() -> Reply:
    """A 502 as nginx words it: what a client meets when the machine behind is away."""
    return Reply(502, _PROXY_PAGE, "text/html", "html502")


def garbage() -> Reply:
    """A 200 whose body is not JSON."""
    return Reply(200, b"\xff\xfe{<not json>", code="garbage")
