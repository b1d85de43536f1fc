"""Each photo on the server has its time; and the server ends, whatever its threads are doing."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from jpegs import EOI, progressive
from PIL import Image
from server_fixture import (
    PATH,
    Server,
    connect,
    message,
    noise,
    picture,
    running,
    script,
)
from waiting import until

STUCK = picture((99, 90))
"""A photo at which the engine of `slow` waits until a file is there."""

ENGINE = """
import logging, time
import humanbody_cli.server.photos.inference as inference
import humanbody_cli.server.worker as worker
log = logging.getLogger("humanbody_cli.server")
def segment(image):
    log.info("looks at %d", image.width)
    while image.width == 99 and not Path(GATE).exists():
        time.sleep(0.02)
    return image.convert("L"), None
worker.load_segmenter = lambda settings: segment
results = inference._results
def spoken(*arguments):
    log.info("composes")
    return results(*arguments)
inference._results = spoken
"""


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Once this file is there, the engine goes on."""
    return tmp_path / "gate"


def slow(gate: Path, timeouts: str = "", *, queue: int = 8, before: str = "") -> str:
    """A server of one thread whose engine waits at some photos, as C code waits: no exception
    reaches it."""
    engine = ENGINE.replace("GATE", repr(str(gate)))
    settings = (
        f"timeouts=ServerTimeouts({timeouts}), capacity=Capacity(queue={queue}), "
        "local=LocalSettings(threads=1)"
    )
    return script(settings, before=engine + before)


def request(server: Server, image: bytes) -> bytes:
    """A call as bytes, for a client that leaves."""
    fields = {"api_key": (None, server.key), "api_secret": (None, server.secret)}
    made = httpx.Request("POST", server.url, files={**fields, "image_file": ("a", image)})
    lines = [f"{name}: {value}" for name, value in made.headers.items()]
    return "\r\n".join([f"POST {PATH} HTTP/1.1", *lines, "", ""]).encode() + made.read()


def calls(server: Server, image: bytes) -> socket.socket:
    """A client that has sent a photo."""
    connection = connect(server)
    connection.sendall(request(server, image))
    return connection


def is_at_work(server: Server) -> bool:
    return until(lambda: "looks at 99" in server.log.read_text())


def health(server: Server) -> tuple[int, dict[str, Any]]:
    answer = httpx.get(f"{server.endpoint}/healthz", trust_env=False)
    return answer.status_code, answer.json()


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A progressive JPEG of thousands of scans: half a minute of decoding."""
    return progressive(3000, Image.new("RGB", (4096, 4096)))


def test_bombs_of_scans_silence_nobody(bomb: bytes) -> None:
    """More bombs than there are threads: each is refused, and others are served at once after."""
    with running() as server, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: server.post(image=bomb), range(6)))
        assert {message(answer) for answer in answers} == {
            "IMAGE_ERROR_UNSUPPORTED_FORMAT: image_file"
        }
        assert server.post(image=picture()).status_code == 200


def test_a_bomb_does_not_outlive_a_signal(bomb: bytes) -> None:
    """SIGTERM with bombs at work, whose clients have left: the server ends in good order."""
    with running() as server:
        for _ in range(4):
            calls(server, bomb).close()
        assert server.post(image=picture()).status_code == 200
        assert server.stop() == 0


def test_decoding_has_its_time() -> None:
    """As many scans as are let through take longer than this server gives: refused, while an
    ordinary photo of the same size is done."""
    costly = progressive(99, Image.new("RGB", (4096, 4096))) + EOI
    # A second of work for the one and a fortieth of it for the other, on a machine of 2020.
    settings = "timeouts=ServerTimeouts(decode=0.3), local=LocalSettings(threads=1)"
    with running(script=script(settings)) as server:
        assert message(server.post(image=costly)) == "IMAGE_ERROR_UNSUPPORTED_FORMAT: image_file"
        assert server.post(image=picture((4096, 4096))).status_code == 200


def test_a_stuck_photo_gives_way_to_others(gate: Path) -> None:
    """A photo whose thread does not come back: its client is answered, others are done by another
    thread, /healthz says so; a second one, and the server says that it is down; once they are back
    all is as before."""
    # An ordinary photo is done within its time on a busy machine too.
    with running(script=slow(gate, "photo=1.5, queue=0.4")) as server:
        assert health(server)[0] == 200
        answer = server.post(image=STUCK)
        assert (answer.status_code, message(answer)) == (500, "INTERNAL_ERROR")
        assert server.post(image=picture()).status_code == 200
        status, said = health(server)
        assert (status, said["status"]) == (200, "degraded")
        assert said["reason"].startswith("1 photos past their time limit")
        assert server.metric("hbseg_stuck_photos") == 1

        assert message(server.post(image=STUCK)) == "INTERNAL_ERROR"
        assert health(server)[0] == 503
        assert health(server)[1]["status"] == "down"
        assert message(server.post(image=picture())) == "CONCURRENCY_LIMIT_EXCEEDED"
        assert server.form().status_code == 400  # what needs no engine is answered all the same

        gate.touch()
        assert until(lambda: health(server)[1]["status"] == "ok")
        assert server.post(image=picture()).status_code == 200
        assert server.metric("hbseg_stuck_photos") == 0
        assert server.stop() == 0


def test_as_many_photos_at_once_as_threads_after_threads_came_back(gate: Path) -> None:
    """A turn that was lent to another is not given twice: one thread, one photo at work."""
    with running(script=slow(gate, "photo=1.5", queue=0)) as server:
        for _ in range(2):
            assert message(server.post(image=STUCK)) == "INTERNAL_ERROR"
        gate.touch()
        assert until(lambda: health(server)[1]["status"] == "ok")
        gate.unlink()
        with calls(server, STUCK):
            assert until(lambda: server.log.read_text().count("looks at 99") == 3)
            assert message(server.post(image=picture())) == "CONCURRENCY_LIMIT_EXCEEDED"
        gate.touch()


def test_a_wait_for_a_turn_has_its_time(gate: Path) -> None:
    """A photo that waits too long for another is refused as one too many."""
    with running(script=slow(gate, "queue=0.3")) as server, calls(server, STUCK):
        assert is_at_work(server)
        assert message(server.post(image=picture())) == "CONCURRENCY_LIMIT_EXCEEDED"
        gate.touch()


def test_a_client_that_left_is_not_in_the_queue(gate: Path) -> None:
    """Its place is free at once: the next client is let in, and is answered."""
    with (
        running(script=slow(gate, queue=1)) as server,
        calls(server, STUCK),
        ThreadPoolExecutor(1) as pool,
    ):
        assert is_at_work(server)
        waits = calls(server, picture())
        assert until(lambda: server.metric("hbseg_queued_photos") == 1)
        assert message(server.post(image=picture())) == "CONCURRENCY_LIMIT_EXCEEDED"
        waits.close()
        assert until(lambda: server.metric("hbseg_queued_photos") == 0)
        call = pool.submit(server.post, image=picture())
        assert until(lambda: server.metric("hbseg_queued_photos") == 1)
        gate.touch()
        assert call.result().status_code == 200


def test_a_client_that_left_is_worked_for_no_further(gate: Path) -> None:
    """Its photo ends with the step that it is in: it is looked at, and nothing is composed."""
    with running(script=slow(gate)) as server:
        with calls(server, STUCK):
            assert is_at_work(server)
        assert until(lambda: " 0 disconnected " in server.log.read_text())
        gate.touch()
        assert server.post(image=picture((98, 90))).status_code == 200
        log = server.log.read_text()
    assert log.count("composes") == 1
    assert "Traceback" not in log


@pytest.mark.parametrize("leaves", [False, True])
def test_a_signal_ends_a_server_with_a_stuck_photo(gate: Path, leaves: bool) -> None:
    """After the grace the process ends, although a thread of it does not, whether or not the
    client is still there."""
    with running(script=slow(gate, "grace=0")) as server:
        client = calls(server, STUCK)
        assert is_at_work(server)
        if leaves:
            client.close()
        assert server.stop() == 0
        client.close()
        assert "does not end" in server.log.read_text()


def test_a_signal_ends_workers_with_stuck_photos(gate: Path) -> None:
    """The same behind a parent."""
    several = slow(gate, "grace=0").replace("port=0,", "port=0, workers=2,")
    with running(script=several) as server, calls(server, STUCK):
        assert is_at_work(server)
        assert server.stop() == 0


def test_a_signal_ends_a_server_whose_loop_hangs(gate: Path) -> None:
    """Where nothing moves any more, SIGALRM ends the process soon after the grace."""
    before = (
        "from humanbody_cli.server.access.auth import Authenticator\n"
        "def hang(*pair):\n"
        "    log.info('hangs')\n"
        "    while True: time.sleep(9)\n"
        "Authenticator.authenticate = hang\n"
        "worker._TO_END = 0.2\n"
    )
    with running(script=slow(gate, "grace=0", before=before)) as server, calls(server, picture()):
        assert until(lambda: "hangs" in server.log.read_text())
        assert server.stop() == -signal.SIGALRM


def test_a_silent_name_server_keeps_nobody_waiting() -> None:
    """A look-up of a name that hangs: the call is answered in its time, and the server ends."""
    before = (
        "import socket, time\n"
        "real = socket.getaddrinfo\n"
        "def silent(host, *rest, **more):\n"
        "    while host == 'silent.example': time.sleep(9)\n"
        "    return real(host, *rest, **more)\n"
        "socket.getaddrinfo = silent\n"
    )
    settings = "timeouts=ServerTimeouts(fetch=0.3, grace=0)"
    with running(script=script(settings, before=before)) as server:
        answer = server.form(image_url="http://silent.example/a.jpg")
        assert message(answer) == "IMAGE_DOWNLOAD_TIMEOUT"
        assert server.stop() == 0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as started:
        yield started


def test_a_body_of_crumbs_is_refused(server: Server) -> None:
    """Chunks of one byte, each of which costs the loop some microseconds, end at some thousands:
    the client is cut off long before its last."""
    with connect(server) as connection:
        lines = (f"POST {PATH} HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked", "", "")
        connection.sendall("\r\n".join(lines).encode())
        with pytest.raises(ConnectionError):
            connection.sendall(b"1\r\nx\r\n" * 2_000_000)
    assert server.post(image=picture()).status_code == 200


def test_a_chunked_body_of_ordinary_pieces_is_taken(server: Server) -> None:
    """A client that streams a large photo by lines of some hundred bytes is answered."""
    body = noise((700, 700))
    fields = {"api_key": (None, server.key), "api_secret": (None, server.secret)}
    whole = httpx.Request("POST", server.url, files={**fields, "image_file": ("a", body)})
    data = whole.read()
    pieces = (data[at : at + 256] for at in range(0, len(data), 256))
    kind = {"Content-Type": whole.headers["Content-Type"]}
    answer = httpx.post(server.url, content=pieces, headers=kind, trust_env=False, timeout=20)
    assert answer.status_code == 200
