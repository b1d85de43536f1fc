"""What an HTTP status means where the answer does not name an error of the API.

Such answers come from whatever stands between hbseg and the API: a proxy, a firewall, a captive
portal, a load balancer, or a server that is not the API at all. Three questions decide:

- Can the same request succeed later, without anybody changing anything? Then it is retried.
- Would every other photo be answered the same way? Then the run stops after this one call.
- Otherwise it may concern this photo's bytes alone (a firewall that inspects uploads): it is tried
  once more, and then this photo has failed for now. If all photos fail that way, the circuit
  breaker stops the run.

The statuses are those of RFC 9110 and the IANA registry, with the ones that nginx and Cloudflare
add.
"""

from __future__ import annotations

from dataclasses import dataclass

from humanbody_cli.core.api_errors import API_NOT_FOUND, GATEWAY, Treatment


@dataclass(frozen=True)
class Page:
    """What to do about one status, and the words for the user (empty where none would help)."""

    treatment: Treatment
    advice: str = ""
    code: str = GATEWAY


_REFUSED = (
    "a proxy, firewall or portal in between refuses the call; check --endpoint, the proxy "
    "settings (HTTPS_PROXY, HTTP_PROXY) and what this network allows"
)
_ELSEWHERE = "this is not the API's address; check --endpoint"
_MANGLED = (
    "a proxy in between changes the request so that it cannot be served; check the proxy settings "
    "(HTTPS_PROXY, HTTP_PROXY) and --endpoint"
)
_LOGIN = "this network wants a login first; open a web page in a browser, then run again"
_PROXY_LOGIN = (
    "the proxy wants a user and password; put them into HTTPS_PROXY or HTTP_PROXY "
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
"""Status -> what it means, where the rule for its class (`page_for`) is not right."""


def page_for(status: int) -> Page:
    """What an answer that names no error of the API means.

    Classes: 3xx leads elsewhere and stops the run (a POST is not sent on to an address that nobody
    chose); 5xx may pass; everything else may concern this photo alone.
    """
    known = BY_STATUS.get(status)
    if known is not None:
        return known
    if 300 <= status < 400:
        return _WRONG_PLACE
    if 500 <= status < 600:
        return _RETRY
    return _ONCE_MORE
