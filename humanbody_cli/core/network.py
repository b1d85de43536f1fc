"""Connections and what servers say: faults in words, certificates, text made safe to show."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator

import httpx

MAX_CODE = 64
"""Characters of an error code; the longest documented one has 31."""

MAX_ID = 128
"""Characters of a ``request_id`` (47 in the document's samples) or an ``image_id`` (24)."""

MAX_MESSAGE = 200
"""Characters of any other text of a server."""


def printable(text: str, most: int = MAX_MESSAGE) -> str:
    """Text of any language with unprintable characters replaced by ``?`` and ``...`` after
    ``most``."""
    shown = "".join(char if char.isprintable() else "?" for char in text[:most])
    return shown + "..." if len(text) > most else shown


def ascii_only(text: str, most: int) -> str:
    """Printable ASCII, at most ``most`` characters; everything else becomes ``?``."""
    return "".join(char if " " <= char <= "~" else "?" for char in text[:most])


MAX_PORT = 65535

FAULTS: tuple[tuple[type[httpx.TransportError], str], ...] = (
    (httpx.ConnectTimeout, "no connection within the time limit"),
    (httpx.ReadTimeout, "no answer within the time limit"),
    (httpx.WriteTimeout, "the photo could not be sent within the time limit"),
    (httpx.PoolTimeout, "no free connection"),
    (httpx.ConnectError, "no connection to the server"),
    (httpx.ReadError, "the connection broke while the answer was received"),
    (httpx.WriteError, "the connection broke while the photo was sent"),
    (httpx.CloseError, "the connection broke"),
    (httpx.RemoteProtocolError, "the server closed the connection or does not speak HTTP"),
    (httpx.LocalProtocolError, "the request could not be made"),
    (httpx.UnsupportedProtocol, "only http and https can be called"),
    (httpx.ProxyError, "the proxy refused the connection"),
    (httpx.TransportError, "the connection failed"),
)
"""Every transport fault of httpx in the user's words, the general ones last."""

UNCONNECTED = (
    httpx.ConnectTimeout,
    httpx.ConnectError,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""Faults that come before a connection is there: nothing was sent, so nothing can be paid for."""

_PROXY_REFUSES = re.compile(r"(?!408|429)4\d\d\b")
"""A proxy's answer to CONNECT that stays the same: wrong password, or this host is not allowed."""


def explain(error: httpx.TransportError) -> str:
    """One clause for a fault of the connection."""
    words = next(text for kind, text in FAULTS if isinstance(error, kind))
    detail = printable(str(error).strip())
    return f"{words} ({detail})" if detail else words


def never_passes(error: httpx.TransportError) -> str | None:
    """What to do about a fault that every further try would meet again; ``None`` for others."""
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return (
            "the server's certificate cannot be trusted; check the address, this machine's clock "
            "and its certificates (SSL_CERT_FILE)"
        )
    if isinstance(error, httpx.UnsupportedProtocol):
        return "check the address"
    if isinstance(error, httpx.ProxyError) and _PROXY_REFUSES.match(str(error)):
        return "check the proxy settings (HTTPS_PROXY, ALL_PROXY), its user and password included"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def content_length(headers: httpx.Headers) -> int:
    """Content-Length in bytes; 0 where it is missing or makes no sense."""
    text = headers.get("Content-Length", "")
    # Long runs of digits are slow to convert, and past any limit anyway.
    return int(text[:20]) if text.isascii() and text.isdigit() else 0


def certificates_fault() -> str | None:
    """What is wrong with the certificates that the environment names; ``None`` where nothing is.

    OpenSSL passes over a missing ``SSL_CERT_FILE`` without a word, and then trusts nobody.
    """
    file = os.environ.get("SSL_CERT_FILE")
    if file:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
        except OSError as error:  # ssl.SSLError is one: the file holds no certificate
            return _unusable("SSL_CERT_FILE", file, error)
    folders = os.environ.get("SSL_CERT_DIR")
    if folders:
        return _folders_fault(folders)
    return None


def _folders_fault(folders: str) -> str | None:
    """A fault where none of the folders can be listed; a list often names some that are absent."""
    faults = [_folder_fault(folder) for folder in folders.split(os.pathsep)]
    return None if None in faults else faults[0]


def _folder_fault(folder: str) -> str | None:
    try:
        os.listdir(folder)
    except OSError as error:
        return _unusable("SSL_CERT_DIR", folder, error)
    return None


def _unusable(variable: str, path: str, error: OSError) -> str:
    why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
    return f"{variable} names {printable(path)}, which cannot be used ({why}); correct or unset it"
