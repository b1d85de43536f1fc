"""What strangers do to a server: slow, endless, broken, too many, too large; and what it does."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from server_fixture import (
    IMPATIENT,
    PATH,
    Server,
    connect,
    decoded,
    message,
    noise,
    picture,
    running,
)
from waiting import PATIENCE, until


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Little patience and little room, so that each limit is met soon."""
    with running(script=IMPATIENT) as started:
        yield started


def closes_within(connection: socket.socket, seconds: float) -> bool:
    """Whether the server closes a connection, reading whatever it says before."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def sends(connection: socket.socket, pieces: list[bytes], *, pause: float = 0) -> bool:
    """Whether the server lets a client send all of this."""
    try:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
    except ConnectionError:
        return False
    return True


def head(length: int, *more: str) -> bytes:
    lines = [
        f"POST {PATH} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {length}",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def assert_serves(server: Server) -> None:
    """Others are served meanwhile; on a busy machine one may be slow enough to be cut off, too."""

    def served() -> bool:
        with contextlib.suppress(httpx.RemoteProtocolError):
            return server.post(image=picture()).status_code == 200
        return False

    assert until(served)


def test_silent_connection_is_closed(server: Server) -> None:
    """A connection on which no request comes is closed."""
    with connect(server) as connection:
        assert_serves(server)
        assert closes_within(connection, PATIENCE)


def test_trickling_headers_are_cut_off(server: Server) -> None:
    """Headers that come byte by byte have no longer than others."""
    with connect(server) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\n")
        lines = [b"X-%d: 1\r\n" % number for number in range(400)]  # 20 seconds of them
        assert not sends(connection, lines, pause=0.05)


def test_trickling_body_is_cut_off(server: Server) -> None:
    """An upload has its time as a whole: 408, and the connection is closed."""
    with connect(server) as connection:
        connection.sendall(head(1000))
        for _ in range(12):
            connection.sendall(b"x")
            time.sleep(0.1)
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")
        assert closes_within(connection, PATIENCE)
    assert_serves(server)


def test_endless_body_gets_413_and_a_closed_door(server: Server) -> None:
    """A chunked body without end is answered at 2 MB and is not read for ever."""
    with connect(server) as connection:
        lines = (f"POST {PATH} HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked", "", "")
        connection.sendall("\r\n".join(lines).encode())
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        assert not sends(connection, [chunk] * 100_000)
    assert_serves(server)


def test_expect_continue_is_refused_before_the_body(server: Server) -> None:
    """A client that asks first is told 413 without sending a byte."""
    with connect(server) as connection:
        connection.sendall(head(3_000_000, "Expect: 100-continue"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")
        assert closes_within(connection, 1)


def test_client_that_never_reads(server: Server) -> None:
    """An answer that nobody reads is dropped after its time, and its memory is given back."""
    image = noise((1150, 600), "PNG")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", server.port))
        fields = {"api_key": (None, server.key), "api_secret": (None, server.secret)}
        request = httpx.Request("POST", server.url, files={**fields, "image_file": ("a", image)})
        lines = [f"{name}: {value}" for name, value in request.headers.items()]
        start = "\r\n".join([f"POST {PATH} HTTP/1.1", *lines, "", ""]).encode()
        connection.sendall(start + request.read())
        assert until(lambda: server.metric("hbseg_held_bytes") > 100_000)
        assert until(lambda: server.metric("hbseg_held_bytes") == 0)


def test_crowd_of_idle_connections(server: Server) -> None:
    """Ten times more idle connections than there is room for: calls are answered all the same."""
    crowd = [connect(server) for _ in range(400)]
    try:
        for _ in range(3):
            assert_serves(server)
        files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        assert files < 100
    finally:
        for connection in crowd:
            connection.close()


def test_crowd_of_half_sent_bodies(server: Server) -> None:
    """Uploads that stop in the middle take the room of none that go on."""
    crowd = [connect(server) for _ in range(100)]
    try:
        for connection in crowd:
            sends(connection, [head(1000) + b"api_key="])  # some have had to make room already
        assert_serves(server)
    finally:
        for connection in crowd:
            connection.close()


def test_full_memory_refuses_bodies(server: Server) -> None:
    """Bodies beyond the cap of all together are refused, not held."""
    crowd = [connect(server) for _ in range(6)]
    try:
        for connection in crowd:
            connection.sendall(head(2_000_000) + b"x" * 1_600_000)
        starts = []
        for connection in crowd:
            connection.settimeout(3)
            starts.append(connection.recv(1000))
        assert any(b"CONCURRENCY_LIMIT_EXCEEDED" in start for start in starts)
    finally:
        for connection in crowd:
            connection.close()
    assert until(lambda: server.metric("hbseg_held_bytes") == 0)
    assert_serves(server)


def test_stalled_uploads_make_room_for_others(server: Server) -> None:
    """Clients that stop in the middle of their uploads fill the memory, but not for long: the
    others' photos take their place, and the stalled connections are closed."""
    crowd = [connect(server) for _ in range(5)]
    try:
        for connection in crowd:
            connection.sendall(head(2_000_000) + b"x" * 1_600_000)
        assert until(lambda: server.metric("hbseg_held_bytes") >= 5 * 1_600_000)
        time.sleep(0.4)  # as long as these clients are given before they count as slow
        photo = picture() + bytes(1_000_000)  # what follows a sound picture is no fault
        assert server.post(image=photo).status_code == 200
        assert closes_within(crowd[0], 0.1)
    finally:
        for connection in crowd:
            connection.close()
    assert until(lambda: server.metric("hbseg_held_bytes") == 0)


def test_full_queue_refuses_photos(server: Server) -> None:
    """One photo at work and one in the queue: the others are refused at once."""
    image = picture((4000, 4000), "PNG")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: server.post(image=image), range(6)))
    refused = [answer for answer in answers if answer.status_code == 403]
    assert 1 <= len(refused) <= 4
    assert {message(answer) for answer in refused} == {"CONCURRENCY_LIMIT_EXCEEDED"}
    assert {answer.status_code for answer in answers} == {200, 403}


def chunk(kind: bytes, payload: bytes) -> bytes:
    body = kind + payload
    return struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))


def bomb(width: int, height: int, pixels: int) -> bytes:
    """A PNG of a few kilobytes that says it is large, with ``pixels`` bytes behind it."""
    # One megabyte of zeros, compressed once: a full flush makes it stand alone, again and again.
    raw = zlib.compressobj(9, wbits=-15)
    megabyte = raw.compress(bytes(1 << 20)) + raw.flush(zlib.Z_FULL_FLUSH)
    adler = ((pixels >> 20 << 20) % 65521) << 16 | 1
    data = b"\x78\xda" + megabyte * (pixels >> 20) + b"\x03\x00" + struct.pack(">I", adler)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (bomb(60000, 60000, 1 << 20), "INVALID_IMAGE_SIZE"),
        (bomb(4096, 4096, 1 << 20), "IMAGE_ERROR_UNSUPPORTED_FORMAT"),
        (bomb(0, 4096, 1 << 20), "IMAGE_ERROR_UNSUPPORTED_FORMAT"),
    ],
    ids=["60000 px", "empty 4096 px", "0 px"],
)
def test_decompression_bombs(server: Server, image: bytes, code: str) -> None:
    """Pictures that promise more than they are are refused soon and cost no memory."""
    before, used = server.memory(), server.cpu_seconds()
    assert message(server.post(image=image)) == f"{code}: image_file"
    assert server.cpu_seconds() - used < 2
    assert server.memory() - before < 120 << 20


def test_bomb_behind_the_pixels(server: Server) -> None:
    """A gigabyte behind a small picture's last pixel costs seconds at most, and no memory."""
    image = bomb(100, 100, 1 << 30)
    used, before = server.cpu_seconds(), server.memory()
    assert server.post(image=image).status_code in (200, 400)
    assert server.cpu_seconds() - used < 10
    assert server.memory() - before < 120 << 20


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 100,
        b"GET\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 400 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000,
    ],
    ids=["zeros", "no version", "HTTP/9.9", "below 0", "two lengths", "huge", "zz", "long header"],
)
def test_broken_http(server: Server, data: bytes) -> None:
    """What is no HTTP gets a 4xx or a closed door."""
    with connect(server) as connection:
        try:
            connection.sendall(data)
            answer = connection.recv(1000)
        except ConnectionError:
            answer = b""
    assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert_serves(server)


def test_many_parts_and_long_headers(server: Server) -> None:
    """Hostile multipart is an error within seconds."""
    part = b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    long = b"--X\r\n" + b"A" * 1_900_000
    near = (
        b'--X\r\nContent-Disposition: form-data; name="image_file"\r\n\r\n' + b"\r\n--Y" * 300_000
    )
    for body in (part * 35_000, long, near, b"--X" * 600_000, b"\r\n" * 900_000):
        used = server.cpu_seconds()
        answer = httpx.post(
            server.url,
            content=body,
            headers={"Content-Type": "multipart/form-data; boundary=X"},
            trust_env=False,
        )
        assert message(answer) == "MISSING_ARGUMENTS: api_key"
        assert server.cpu_seconds() - used < 4


def test_client_that_leaves(server: Server) -> None:
    """A client that leaves before its answer costs no traceback, and others are served."""
    for _ in range(5):
        with connect(server) as connection:
            connection.sendall(head(1000) + b"x")
    assert until(lambda: server.log.read_text().count(" 0 disconnected ") >= 5)
    assert_serves(server)
    assert "Traceback" not in (log := server.log.read_text()), log[log.index("Traceback") :][:3000]


def test_many_clients_at_once() -> None:
    """Sixteen clients at once: every answer is right, and each is for its own photo."""
    sizes = [(100 + 10 * number, 90) for number in range(16)]
    with running("--queue", "64") as server, ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(server.post, image=picture(size)) for size in sizes * 3]
        answers = [job.result() for job in jobs]
        assert threading.active_count() < 40
    assert [decoded(answer, "result").size for answer in answers] == sizes * 3
