"""The API's limits and error codes as its document states them, and hbseg's own error codes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Treatment(Enum):
    """What an error means for the run."""

    RETRY = "retry"  # worth another attempt, later
    ONCE_MORE = "once more"  # worth one more attempt, after which this photo has failed
    PHOTO = "photo"  # this photo has failed; others go on
    STOP = "stop"  # every further call would fail the same way


@dataclass(frozen=True)
class ErrorRow:
    """One row of the document's error tables.

    ``bare`` marks the gateway's answers: no ``request_id`` and no ``time_used`` in the body.
    """

    code: str
    http_status: int
    treatment: Treatment
    advice: str
    bare: bool = False


UNSUPPORTED_FORMAT = "IMAGE_ERROR_UNSUPPORTED_FORMAT"
INVALID_SIZE = "INVALID_IMAGE_SIZE"
INVALID_URL = "INVALID_IMAGE_URL"
FILE_TOO_LARGE = "IMAGE_FILE_TOO_LARGE"
DOWNLOAD_TIMEOUT = "IMAGE_DOWNLOAD_TIMEOUT"
AUTHENTICATION = "AUTHENTICATION_ERROR"
AUTHORIZATION = "AUTHORIZATION_ERROR"
CONCURRENCY = "CONCURRENCY_LIMIT_EXCEEDED"
MISSING_ARGUMENTS = "MISSING_ARGUMENTS"
BAD_ARGUMENTS = "BAD_ARGUMENTS"
COEXISTENCE = "COEXISTENCE_ARGUMENTS"
ENTITY_TOO_LARGE = "Request Entity Too Large"
API_NOT_FOUND = "API_NOT_FOUND"
INTERNAL_ERROR = "INTERNAL_ERROR"

# hbseg's own codes, for what the document has no name for.
BAD_ANSWER = "BAD_ANSWER"  # most likely charged, and not what the document promises
CONNECTION = "CONNECTION_ERROR"  # no answer: refused, reset, timed out
GATEWAY = "GATEWAY_ERROR"  # an answer that names no error of the API, mostly of a proxy
NOBODY_FOUND = "NOBODY_FOUND"  # no pixel of the photo's mask has confidence above .5
UNREADABLE = "UNREADABLE"  # the photo's file cannot be read
NOT_COMPOSED = "NOT_COMPOSED"  # a bug showed while the results were composed
OUTPUT_NAME_TAKEN = "OUTPUT_NAME_TAKEN"  # a file that is not hbseg's has the result's name
MASK_GONE = "MASK_GONE"  # recompose: the mask is missing or damaged
NOT_DONE = "NOT_DONE"  # recompose: the list names a photo that is not done
SOURCE_CHANGED = "SOURCE_CHANGED"  # recompose: the photo is not the one the mask was made from
TOO_LARGE_FOR_FORMAT = "TOO_LARGE_FOR_FORMAT"  # recompose: more pixels than the format can hold

_REPORT = "this is a bug in hbseg, or a proxy changed the request; please report it"

ROWS: tuple[ErrorRow, ...] = (
    # The table of errors of this API alone.
    ErrorRow(
        UNSUPPORTED_FORMAT,
        400,
        Treatment.PHOTO,
        "the file is damaged, or is not a JPG or PNG; replace it",
    ),
    ErrorRow(
        INVALID_SIZE, 400, Treatment.PHOTO, "each side must have 48 to 4096 pixels; use --fit"
    ),
    ErrorRow(INVALID_URL, 400, Treatment.PHOTO, "the address cannot be fetched; check it"),
    ErrorRow(FILE_TOO_LARGE, 400, Treatment.PHOTO, "at most 2 MB are allowed; use --fit"),
    ErrorRow(
        DOWNLOAD_TIMEOUT, 412, Treatment.RETRY, "the photo's own server is slow; try again later"
    ),
    # The table of errors common to all APIs.
    ErrorRow(
        AUTHENTICATION,
        401,
        Treatment.STOP,
        "check HBSEG_API_KEY and HBSEG_API_SECRET; keys are regional, so a key made for the other "
        "region needs --endpoint https://api-us.faceplusplus.com or "
        "https://api-cn.faceplusplus.com",
        bare=True,
    ),
    ErrorRow(
        AUTHORIZATION,
        403,
        Treatment.STOP,
        "this key may not call the API; check it in your account's console",
        bare=True,
    ),
    ErrorRow(
        CONCURRENCY, 403, Treatment.RETRY, "the key's quota is in use; lower --qps", bare=True
    ),
    ErrorRow(MISSING_ARGUMENTS, 400, Treatment.STOP, _REPORT),
    ErrorRow(BAD_ARGUMENTS, 400, Treatment.STOP, _REPORT),
    ErrorRow(COEXISTENCE, 400, Treatment.STOP, _REPORT),
    ErrorRow(
        ENTITY_TOO_LARGE,
        413,
        Treatment.PHOTO,
        "the whole request may be at most 2 MB; use --fit",
        bare=True,
    ),
    ErrorRow(
        API_NOT_FOUND,
        404,
        Treatment.STOP,
        "the endpoint does not offer this API; check --endpoint",
        bare=True,
    ),
    ErrorRow(INTERNAL_ERROR, 500, Treatment.RETRY, "the server failed; try again later"),
)

BY_CODE: dict[str, ErrorRow] = {row.code: row for row in ROWS}

AUTHORIZATION_REASONS: dict[str, str] = {
    "Denied by Client": "you have disabled this key yourself; enable it in your account's console",
    "Denied by Admin": "the provider has disabled this key; contact its support",
    "Denied": "this key is disabled; check it in your account's console",
    "Insufficient Account Balance": "the account's balance is used up; top it up and run again",
    "Limit reached": "the account's limit is used up; raise it or wait, and run again",
    "Host not allowed": "the local server does not answer to this name; put 127.0.0.1 into "
    "--endpoint, or start hbseg serve with --allow-host",
}
"""Reason after the colon -> what the user can do. The last is the local server's own; the two
before it and ``Denied`` were observed, the others are documented."""


def split_message(error_message: str) -> tuple[str, str]:
    """``"CODE: param"`` or ``"CODE:param"`` -> code and parameter; the API uses both forms."""
    code, _, parameter = error_message.partition(":")
    return code.strip(), parameter.strip()


def advice_for(code: str, parameter: str) -> str:
    """What the user can do about an error of the API; empty for an unknown code."""
    if code == AUTHORIZATION:
        known = AUTHORIZATION_REASONS.get(parameter.rstrip("."))
        if known:
            return known
    row = BY_CODE.get(code)
    return row.advice if row else ""


@dataclass(frozen=True)
class Page:
    """What to do about one HTTP status, and advice for the user (empty where none would help)."""

    treatment: Treatment
    advice: str = ""
    code: str = GATEWAY


_REFUSED = (
    "a proxy, firewall or portal refuses the call; check --endpoint, the proxy "
    "settings (HTTPS_PROXY, HTTP_PROXY) and what this network allows"
)
_ELSEWHERE = "this is not the API's address; check --endpoint"
_MANGLED = (
    "a proxy changes the request so that it cannot be served; check the proxy settings "
    "(HTTPS_PROXY, HTTP_PROXY) and --endpoint"
)
_LOGIN = "this network requires a login; open a web page in a browser, then run again"
_PROXY_LOGIN = (
    "the proxy requires a user and password; put them in HTTPS_PROXY or HTTP_PROXY "
    "(http://user:password@host:port)"
)

_RETRY = Page(Treatment.RETRY)
_ONCE_MORE = Page(Treatment.ONCE_MORE)


def _stop(advice: str, code: str = GATEWAY) -> Page:
    return Page(Treatment.STOP, advice, code)


_WRONG_PLACE = _stop(_ELSEWHERE, API_NOT_FOUND)

BY_STATUS: dict[int, Page] = {
    401: _stop(_REFUSED),  # the API itself says AUTHENTICATION_ERROR in JSON
    402: _stop(_REFUSED),
    403: _stop(_REFUSED),  # the API itself names its error; this is a firewall or an access list
    404: _WRONG_PLACE,
    405: _WRONG_PLACE,  # POST is what the API takes
    407: _stop(_PROXY_LOGIN),
    408: _RETRY,  # the server waited too long for the upload
    410: _WRONG_PLACE,
    411: _stop(_MANGLED),  # Content-Length is always sent
    414: _WRONG_PLACE,  # the address is short and the same for every photo
    415: _stop(_MANGLED),  # every photo is sent as multipart/form-data
    417: _stop(_MANGLED),  # hbseg sends no Expect
    421: _WRONG_PLACE,  # the host answers for other names
    425: _RETRY,
    426: _stop(_MANGLED),  # HTTP/1.1 is what the API speaks
    429: _RETRY,
    431: _stop(_MANGLED),  # the headers are short and the same for every photo
    451: _stop(_REFUSED),
    501: _WRONG_PLACE,  # this server does not know POST at all
    505: _stop(_MANGLED),
    508: _stop(_MANGLED),  # proxies that send the request round in a circle
    510: _stop(_MANGLED),
    511: _stop(_LOGIN),
}
"""Status -> what it means, where it differs from its class (`page_for`)."""


def page_for(status: int) -> Page:
    """What an answer that names no error of the API means.

    By class: 3xx stops the run (a POST is not redirected to an address that the user did not
    choose); 5xx may be temporary; everything else may concern this photo alone.
    """
    known = BY_STATUS.get(status)
    if known is not None:
        return known
    if 300 <= status < 400:
        return _WRONG_PLACE
    if 500 <= status < 600:
        return _RETRY
    return _ONCE_MORE


MIN_SIDE = 48
"""Pixels, each side."""

MAX_SIDE = 4096
"""Pixels, each side."""

MAX_BYTES = 2 * 1024 * 1024
"""Bytes of the photo, and of the whole request too: the gateway answers 413 above it."""

DEFAULT_ENDPOINT = "https://api-cn.faceplusplus.com"
OFFICIAL_HOSTS = frozenset({"api-cn.faceplusplus.com", "api-us.faceplusplus.com"})
"""The provider's own hosts. Keys are regional; the service is the same."""

SEGMENT_PATH = "/humanbodypp/v2/segment"

FREE_QPS = 3.0
"""Calls per second of a free key, as observed for other APIs of the same account."""
