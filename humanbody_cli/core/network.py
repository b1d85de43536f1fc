"""Connections: transport faults in words, trusted certificates, and text of servers made safe."""

from __future__ import annotations

import functools
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

TRANSPORT_FAULTS: tuple[tuple[type[httpx.TransportError], str], ...] = (
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

UNUSABLE_PROXY = "the proxy in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY cannot be used"

UNCONNECTED = (
    httpx.ConnectTimeout,
    httpx.ConnectError,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""Faults before a connection is made: nothing was sent, so nothing can be charged."""

_PROXY_REFUSES = re.compile(r"(?!408|429)4\d\d\b")
"""A proxy's answer to CONNECT that a retry does not change: a wrong password, a forbidden host."""


_NUMBER = re.compile(r"\[Errno -?\d+\] ")
"""What the system's messages begin with, of no use to a user."""


def explain(error: httpx.TransportError) -> str:
    """One clause that describes a fault of the connection."""
    words = next(text for kind, text in TRANSPORT_FAULTS if isinstance(error, kind))
    detail = printable(_NUMBER.sub("", str(error)).strip())
    return f"{words} ({detail})" if detail else words


def never_passes(error: httpx.TransportError) -> str | None:
    """What to do about a fault that every retry would meet again; ``None`` for other faults."""
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
    """Content-Length in bytes; 0 if it is missing or not a number."""
    text = headers.get("Content-Length", "")
    # Long runs of digits are slow to convert, and beyond any limit anyway.
    return int(text[:20]) if text.isascii() and text.isdigit() else 0


def tls_context() -> ssl.SSLContext:
    """The certificates that calls and downloads trust.

    These are the system's, as OpenSSL finds them, with ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` in
    the place of its default file and folder. If neither is set, certifi's are trusted as well: a
    container may have no others. Ask `certificates_fault` first. The context is shared, because
    creating it takes tens of milliseconds.
    """
    return _tls_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.cache
def _tls_context(file: str | None, folder: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not file and not folder:
        import certifi

        context.load_verify_locations(cafile=certifi.where())
    return context


def certificates_fault() -> str | None:
    """What is wrong with the certificates that the environment names; ``None`` if nothing is.

    OpenSSL silently ignores a missing ``SSL_CERT_FILE``, and then trusts no certificate.
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
    """A fault if none of the folders can be listed; such lists often name some that are absent."""
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
    return f"{variable} names {printable(path)}, which cannot be used ({why}); fix or unset it"
