"""Photos by their address: bounded as a whole, ended really, and every fault is that photo's."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable

import pytest
from odd_servers import ODD_ADDRESSES, Handler, answer, request, serving

from humanbody_cli.core.errors import PhotoError
from humanbody_cli.discovery.download import BEGINNING, MAX_REDIRECTS, download

MOST = 1 << 20


def refused(url: str, *, seconds: float = 5.0) -> PhotoError:
    """What a download that fails raises."""
    with pytest.raises(PhotoError) as caught:
        download(url, MOST, seconds=seconds)
    assert caught.value.rejected and caught.value.transient
    return caught.value


def test_a_photo_comes_whole() -> None:
    """Its bytes and their number."""
    with serving(answer(b"200 OK", b"photo" * 999)) as server:
        assert download(server.url(), MOST) == (b"photo" * 999, 4995)


def test_a_redirect_is_followed() -> None:
    """To another path of the same server."""

    def handler(connection: socket.socket) -> None:
        if b"/there" in request(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        else:
            location = b"Location: /there\r\nConnection: close\r\n"
            connection.sendall(b"HTTP/1.1 302 X\r\nContent-Length: 0\r\n" + location + b"\r\n")

    with serving(handler) as server:
        assert download(server.url(), MOST) == (b"ok", 2)


def test_the_body_of_a_redirect_is_not_read_to_its_end() -> None:
    """A redirect that sends on and on is left for the address that it names."""

    def handler(connection: socket.socket) -> None:
        if b"/there" in request(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return
        connection.sendall(b"HTTP/1.1 302 X\r\nLocation: /there\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(bytes(1 << 16))

    with serving(handler) as server:
        assert download(server.url(), MOST) == (b"ok", 2)


def endless(head: bytes) -> Handler:
    """A server whose answer has no end."""

    def handler(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
        while True:
            connection.sendall(bytes(1 << 16))

    return handler


def test_of_a_photo_that_is_too_large_little_more_is_read() -> None:
    """The reading ends at the limit, whatever the server goes on to send; nobody knows the size."""
    with serving(endless(b"")) as server:
        data, size = download(server.url(), MOST)
        assert len(data) == MOST + 1 and size is None


def test_of_a_photo_that_is_announced_as_too_large_the_beginning_is_read() -> None:
    """The size is what its server says; the bytes are fewer, so they never pass for the photo."""
    with serving(endless(b"Content-Length: 4658218\r\n")) as server:
        data, size = download(server.url(), MOST)
    assert size == 4658218
    assert len(data) == BEGINNING


def test_a_photo_of_just_the_limit_is_whole() -> None:
    """The limit itself is allowed, announced or not."""
    with serving(answer(b"200 OK", bytes(MOST))) as server:
        assert download(server.url(), MOST) == (bytes(MOST), MOST)

    def unannounced(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(MOST))

    with serving(unannounced) as server:
        assert download(server.url(), MOST) == (bytes(MOST), MOST)


def test_a_long_photo_is_held_once() -> None:
    """With ``--fit`` a photo may have 256 MB: a second copy would double what a run takes."""
    most, block = 32 << 20, bytes(1 << 16)

    def handler(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % most)
        for _ in range(most // len(block)):
            connection.sendall(block)

    with serving(handler) as server:
        tracemalloc.start()
        try:
            data, _ = download(server.url(), most)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert len(data) == most
    assert peak < 1.5 * most  # a buffer that grows takes an eighth more than it holds


def test_an_address_that_httpx_lets_through_is_this_photos() -> None:
    """Each is rejected with a sentence, and nothing but a `PhotoError` is raised."""
    for address in ODD_ADDRESSES:
        assert refused(address).code in ("INVALID_IMAGE_URL", "IMAGE_DOWNLOAD_TIMEOUT"), address


def drip(before: bytes, piece: bytes) -> Handler:
    """A server that sends a piece every few milliseconds, for ever."""

    def handler(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(before)
        while True:
            connection.sendall(piece)
            time.sleep(0.02)

    return handler


def endless_redirects(connection: socket.socket) -> None:
    """Each redirect is quick by itself."""
    request(connection)
    time.sleep(0.1)
    connection.sendall(b"HTTP/1.1 302 X\r\nLocation: /on\r\nContent-Length: 0\r\n\r\n")


def silent(connection: socket.socket) -> None:
    """Takes the request and says nothing."""
    request(connection)
    connection.recv(1)


DRIPPING = {
    "body": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b"x"),
    "chunks": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "headers": drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "one-header": drip(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "informational": drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "error-page": drip(b"HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 999999\r\n\r\n", b"x"),
    "redirects": endless_redirects,
    "silence": silent,
}


@pytest.mark.parametrize("kind", DRIPPING)
def test_a_server_that_drips_is_left_when_the_time_is_over(kind: str) -> None:
    """Not a single read is late: the whole is. The connection is closed and no thread stays."""
    left = threading.Event()

    def handler(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            DRIPPING[kind](connection)
            connection.settimeout(10)
            while connection.recv(1 << 16):
                pass
        left.set()

    threads = threading.active_count()
    with serving(handler) as server:
        error = refused(server.url(), seconds=0.6)
        assert error.code == "IMAGE_DOWNLOAD_TIMEOUT"
        assert "0.6 s" in error.message
        assert left.wait(10)
    deadline = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= threads


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1/x.jpg", "data:image/png;base64,AAAA", "javascript:1",
     "http://127.0.0.1:99999/", "http://[bad/", "//", "http://", "http://a..b/", "\xff\xfe"],
)  # fmt: skip
def test_a_redirect_to_what_is_no_address_is_this_photos(location: str) -> None:
    """Other schemes are not followed, and nothing but a `PhotoError` is raised."""
    head = b"302 X\r\nLocation: " + location.encode("latin-1")
    with serving(answer(head)) as server:
        assert refused(server.url()).code == "INVALID_IMAGE_URL"


def test_redirects_have_an_end() -> None:
    """A server that leads on and on is left after twenty."""
    with serving(answer(b"302 X\r\nLocation: /on\r\nConnection: close")) as server:
        assert f"more than {MAX_REDIRECTS} times" in refused(server.url()).message
        assert server.connections == MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda url: url.replace("//", "//someone:hush@"), "answered 404"),
        (lambda _: "http://someone:hush@no.such.invalid/x.jpg", "no connection"),
        (lambda _: "http://someone:hush@[bad/x.jpg", "cannot be fetched"),
        (lambda _: "http://someone:hush@127.0.0.1:99999/x.jpg", "cannot be fetched"),
        (lambda _: "http://someone:hush@/x.jpg", "cannot be fetched"),
        (lambda _: "ftp://someone:hush@127.0.0.1/x.jpg", "only http and https"),
        (lambda _: "http://someone:hush@" + "a" * 70 + ".com/", "cannot be fetched"),
    ],
)
def test_no_error_shows_a_password(make: Callable[[str], str], words: str) -> None:
    """An address may hold a user and a password."""
    with serving(answer(b"404 Not Found")) as server:
        error = refused(make(server.url()))
    assert words in error.message
    assert "hush" not in error.message and "someone" not in error.message


def test_a_redirect_with_a_password_does_not_show_it() -> None:
    """Nor where it leads to nobody."""
    with serving(answer(b"302 X\r\nLocation: http://someone:hush@no.such.invalid/")) as server:
        error = refused(server.url())
    assert "hush" not in error.message


def test_encodings_inside_encodings_are_not_unpacked() -> None:
    """Kilobytes that would become gigabytes; one layer that nobody asked for is read."""
    once = gzip.compress(b"photo")
    with serving(answer(b"200 OK\r\nContent-Encoding: gzip", once)) as server:
        assert download(server.url(), MOST) == (b"photo", 5)
    with serving(answer(b"200 OK\r\nContent-Encoding: gzip, gzip", gzip.compress(once))) as server:
        assert "compressed" in refused(server.url()).message
    with serving(answer(b"200 OK\r\nContent-Encoding: gzip", b"nonsense")) as server:
        assert "damaged" in refused(server.url()).message


def test_a_download_inside_an_event_loop() -> None:
    """A caller whose thread runs an event loop may call it too, and waits."""
    import asyncio

    async def work() -> tuple[bytes, int | None]:
        return download(server.url(), MOST)

    with serving(answer(b"200 OK", b"photo")) as server:
        assert asyncio.run(work()) == (b"photo", 5)
