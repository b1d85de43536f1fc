"""Servers that misbehave below HTTP: each connection is handed to a function, in a thread."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

Handler = Callable[[socket.socket], None]

CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgwQjd0ePYTU+ZLkND
u8My67slsFxzA+HO6qHliYrut1ChRANCAATqhApOqpwoxKcX172WFZF5NE07sHLM
8eG/oFiUz/hQ3BiLv+T6geCjjk5h3TTY6ewAAB0QmTtLW7rSlXaOt8Dt
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBrzCCAVagAwIBAgIUS+q10WKRE5OIbaSrd5FKmQZ2KTswCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwScGhvdG9zLmV4YW1wbGUuY29tMCAXDTI2MTEyNTE4MTc0N1oY
DzIxMjYxMTAxMTgxNzQ3WjAdMRswGQYDVQQDDBJwaG90b3MuZXhhbXBsZS5jb20w
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATqhApOqpwoxKcX172WFZF5NE07sHLM
8eG/oFiUz/hQ3BiLv+T6geCjjk5h3TTY6ewAAB0QmTtLW7rSlXaOt8Dto3IwcDAd
BgNVHQ4EFgQUnOndJespY8gK0aeuU5lNaup2K5wwHwYDVR0jBBgwFoAUnOndJesp
Y8gK0aeuU5lNaup2K5wwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHREEFjAUghJwaG90
b3MuZXhhbXBsZS5jb20wCgYIKoZIzj0EAwIDRwAwRAIgYaJyc6apo7Hgi7r0rUKw
FFqiu4uKv20pk+HOY+uXXzkCIBFCIHkbBfibR71cH3jcvXYjfBCMwzHmfJzleJan
QVYT
-----END CERTIFICATE-----
"""
"""Made for these tests: self-signed, for photos.example.com, and trusted by nobody."""

EXPIRED = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg3ublITIfuP/3NSr0
IYtu/Cv5M33Ctc71RZUKR5XdTQahRANCAAR7JkzlbWpHc4sFbXECvRlkaj5+Y1F8
KCf3ybHtmMKn4X9qQFgRmHkWu60g7gtj5O68PrTHbxcTw8hOnPjlI7X4
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBYjCCAQigAwIBAgIUCuioSi7mb1JdM2rvrZDTaor2pxswCgYIKoZIzj0EAwIw
HjEcMBoGA1UEAwwTZXhwaXJlZC5leGFtcGxlLmNvbTAeFw0yMDAxMDEwMDAwMDBa
Fw0yMTAxMDEwMDAwMDBaMB4xHDAaBgNVBAMME2V4cGlyZWQuZXhhbXBsZS5jb20w
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAR7JkzlbWpHc4sFbXECvRlkaj5+Y1F8
KCf3ybHtmMKn4X9qQFgRmHkWu60g7gtj5O68PrTHbxcTw8hOnPjlI7X4oyQwIjAP
BgNVHRMBAf8EBTADAQH/MA8GA1UdEQQIMAaHBH8AAAEwCgYIKoZIzj0EAwIDSAAw
RQIhAI/EDY/sBz02M+lgGJIG7YM2tAY0Z3ROxxO5GPeuLJ1sAiAKHZUbBIkAD4qw
fQI4Q5nsxj/CrQIvqJpIrBo9ex4Gjw==
-----END CERTIFICATE-----
"""
"""The same for 127.0.0.1, valid until 2021."""


class Odd:
    """A running server: where it is, and how many connections have come."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0

    def url(self, scheme: str = "http") -> str:
        """Its address."""
        return f"{scheme}://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serving(handler: Handler) -> Iterator[Odd]:
    """Hand every connection to ``handler``; what it raises when the client has gone is expected."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        odd = Odd(listener.getsockname()[1])
        alive: list[socket.socket] = []
        answering: list[threading.Thread] = []

        def answer(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                handler(connection)

        def accept() -> None:
            with contextlib.suppress(OSError):  # the listener is closed at the end
                while True:
                    connection, _ = listener.accept()
                    odd.connections += 1
                    alive.append(connection)
                    answering.append(
                        threading.Thread(target=answer, args=(connection,), daemon=True)
                    )
                    answering[-1].start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield odd
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in alive:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in answering:  # none is left to end in the middle of another test
                thread.join(10)


def over_tls(folder: Path, certificate: str = CERTIFICATE) -> tuple[Handler, Path]:
    """A handler that shakes hands with a certificate nobody trusts; and that certificate's file."""
    path = folder / "certificate.pem"
    path.write_text(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)

    def handler(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            request(encrypted)
            encrypted.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    return handler, path


def request(connection: socket.socket) -> bytes:
    """Receive one request, head and body; its head. Raises OSError where there is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    missing = (int(length[1]) if length else 0) - len(body)
    while missing > 0:
        missing -= len(_some(connection))
    return head


def _some(connection: socket.socket) -> bytes:
    part = connection.recv(1 << 16)
    if not part:
        raise ConnectionResetError("the client has gone")
    return part


def answer(head: bytes, body: bytes = b"") -> Handler:
    """A server that gives every request this answer."""

    def handler(connection: socket.socket) -> None:
        request(connection)
        length = b"Content-Length: %d\r\n" % len(body)
        connection.sendall(b"HTTP/1.1 " + head + b"\r\n" + length + b"\r\n" + body)

    return handler


ODD_ADDRESSES = (
    "http://127.0.0.1:-1/x.jpg",
    "http://127.0.0.1:-99999/x.jpg",
    "http://127.0.0.1:0/x.jpg",
    "http://127.0.0.1:65536/x.jpg",
    "http://127.0.0.1:99999/x.jpg",
    "http://127.0.0.1:99999999999999999999/x.jpg",
    "http://127.0.0.1:abc/x.jpg",
    "http://127.0.0.1:1:2/x.jpg",
    "http://127.0.0.1:%31/x.jpg",
    "http://localhost:-1/x.jpg",
    "http://localhost:65536/x.jpg",
    "http://256.1.1.1/x.jpg",
    "http://[::1]:-1/x.jpg",
    "http://[::1]:65536/x.jpg",
    "http://[::1/x.jpg",
    "http://[::g]/x.jpg",
    "http://[fe80::1%25no-such]/x.jpg",
    "http://[]/x.jpg",
    "http:///x.jpg",
    "http://:80/x.jpg",
    "http://@/x.jpg",
    "http://./x.jpg",
    "http://../x.jpg",
    "http://a..invalid/x.jpg",
    "http://.invalid/x.jpg",
    "http://xn--/x.jpg",
    "http://xn--a.invalid/x.jpg",
    "http://" + "a" * 64 + ".invalid/x.jpg",
    "http://" + "a." * 200 + "invalid/x.jpg",
    "http://-a-.invalid/x.jpg",
    "http://a_b.invalid/x.jpg",
    "http://%00.invalid/x.jpg",
    "http://%/x.jpg",
    "http://ex ample.invalid/x.jpg",
    "http://\u2603.invalid/x.jpg",
    "http://\u00df\u200d.invalid/x.jpg",
    "http://\ufffd.invalid/x.jpg",
    "https://127.0.0.1:-1/x.jpg",
    "https://xn--/x.jpg",
)
"""Addresses that nothing can be fetched from: ports, hosts and names that do not exist."""
