"""Which requests of browsers are taken: web pages of other origins must not use this server.

Any page that a person opens can send requests to an address of their machine, and the API's form
is of the kind that browsers send without asking the server first. What tells such a request apart
are headers that scripts cannot set (``Host``, ``Origin``, ``Sec-Fetch-*``); other programs send no
``Origin`` and no ``Sec-Fetch-*``, and are taken as before.

- A request of another origin is refused, unless ``--cors-origin`` names that origin.
- DNS rebinding makes a foreign page look like one of this server's own, except for its name in
  ``Host``. A server without ``--keys`` therefore answers to loopback names and addresses alone, and
  to those of ``--allow-host``. With ``--keys`` there is nothing that a foreign page could use.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from humanbody_cli.core.errors import UsageError

Headers = Mapping[bytes, bytes]
"""A request's headers, their names in lower case."""

PAGE_HEADER = b"hbseg-page"
"""Sent by the upload page. A page of another origin cannot send it without a preflight."""

EVERY_ORIGIN = "*"

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]{1,5})?")
_HOST = re.compile(r"\[[0-9a-f:.]+\]|[a-z0-9_.-]+|[0-9a-f:.]+")


@dataclass(frozen=True)
class Denial:
    """Why a request is refused: in a few words for the client, as a sentence for people."""

    words: str
    sentence: str


FOREIGN_ORIGIN = Denial(
    "Origin not allowed",
    "a web page of another origin sent this request; start the server with --cors-origin and that "
    "page's origin to allow it",
)
FOREIGN_HOST = Denial(
    "Host not allowed",
    "without --keys this server answers to names and addresses of this machine only; call it as "
    "http://127.0.0.1, or start it with --allow-host and the name",
)


@dataclass(frozen=True)
class BrowserRules:
    """What is taken. ``origins`` are those of ``--cors-origin``; ``hosts`` the names that a server
    without keys answers to, ``None`` for a server with keys."""

    origins: frozenset[str] = frozenset()
    hosts: frozenset[str] | None = None

    def denial(self, headers: Headers, *, page: bool = False) -> Denial | None:
        """Why a request is refused, if it is. A link on another site may lead to a ``page``."""
        if self.hosts is not None and not self._is_ours(headers):
            return FOREIGN_HOST
        if self._is_foreign(headers) and not (page and _is_navigation(headers)):
            return FOREIGN_ORIGIN
        return None

    def is_keyless(self, headers: Headers) -> bool:
        """Whether the upload page needs no key: the server has no ``--keys``, and was called by a
        loopback name or address."""
        return self.hosts is not None and _is_loopback(_host_name(headers))

    def is_keyless_upload(self, headers: Headers) -> bool:
        """Whether this is an upload of the page on a server where it needs no key."""
        is_own = PAGE_HEADER in headers and _is_own_origin(headers, _origin(headers))
        return is_own and self.is_keyless(headers)

    def _is_ours(self, headers: Headers) -> bool:
        name = _host_name(headers)
        assert self.hosts is not None
        # No browser leaves Host out.
        return b"host" not in headers or _is_loopback(name) or name in self.hosts

    def _is_foreign(self, headers: Headers) -> bool:
        origin, site = _origin(headers), headers.get(b"sec-fetch-site", b"")
        if origin and (origin in self.origins or EVERY_ORIGIN in self.origins):
            return False
        if site == b"same-origin":  # true behind a proxy too, which may change Host
            return False
        if origin:  # over http on a network, browsers send no Sec-Fetch-Site
            return bool(site) or not _is_own_origin(headers, origin)
        return site not in (b"", b"none")


def _origin(headers: Headers) -> str:
    return headers.get(b"origin", b"").decode("latin-1")


def _is_own_origin(headers: Headers, origin: str) -> bool:
    host = headers.get(b"host", b"").decode("latin-1").lower()
    return bool(host) and origin in (f"http://{host}", f"https://{host}")


def _is_navigation(headers: Headers) -> bool:
    """Whether a browser opens this in a tab of its own, not in a frame."""
    how = headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest")
    return how == (b"navigate", b"document")


def _host_name(headers: Headers) -> str:
    """The name or address in ``Host``, in lower case, without its port."""
    host = headers.get(b"host", b"").decode("latin-1").lower()
    name = re.sub(r":[0-9]*$", "", host) if not host.endswith("]") else host
    return name.strip("[]").removesuffix(".")


def _is_loopback(name: str) -> bool:
    # Not the names below localhost: some browsers ask the network's name server for them.
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def read_origins(origins: tuple[str, ...], *, has_keys: bool) -> frozenset[str]:
    """The origins of ``--cors-origin``.

    Raises:
        UsageError: one is not an origin, or all are allowed on a server without keys.
    """
    for origin in origins:
        if origin == EVERY_ORIGIN:
            if not has_keys:
                raise UsageError(
                    "--cors-origin '*' lets every web page call this server: give --keys FILE, or "
                    "name the origins"
                )
        elif not _ORIGIN.fullmatch(origin):
            raise UsageError(
                f"--cors-origin {origin!r} is not an origin: write it in lower case, with its "
                "scheme and without a path, as in https://example.org or http://localhost:3000"
            )
    return frozenset(origins)


def read_hosts(hosts: tuple[str, ...]) -> frozenset[str]:
    """The names of ``--allow-host``.

    Raises:
        UsageError: one is not a name or an address.
    """
    for host in hosts:
        if not _HOST.fullmatch(host.lower()):
            raise UsageError(
                f"--allow-host {host!r} is not a host name: write it without scheme, port and "
                "path, as in host.docker.internal"
            )
    return frozenset(host.lower().strip("[]").removesuffix(".") for host in hosts)
