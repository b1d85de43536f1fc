"""Bodies that no one meant: never a 500, never a hang, and memory stays flat."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server_fixture import PATH, Server, picture, running, script

BODIES = 3000
SMALL = [picture((64, 48), "JPEG"), picture((50, 60), "PNG"), picture((48, 48), "PNG", "L")]
NAMES = ["api_key", "api_secret", "image_file", "image_base64", "image_url", "return_grayscale"]
ALLOWED = {200, 400, 401, 403, 404, 408, 412, 413}

QUICK = """
import humanbody_cli.server.worker as worker
worker.load_segmenter = lambda settings: lambda image: (image.convert("L"), None)
"""
"""An engine that takes no time: what is tried here are the bodies."""


class Line:
    """One kept-alive connection to the server, opened again where the server closed it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.slowest = 0.0
        self.statuses: dict[int, int] = {}
        self._connect()

    def _connect(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)

    def post(self, body: bytes, content_type: str) -> None:
        """Send a body and hold the answer against what may be answered."""
        before = self.server.cpu_seconds()
        headers = {"Content-Type": content_type}
        try:
            self.connection.request("POST", PATH, body, headers)
            response = self.connection.getresponse()
            answer = response.read()
        except (http.client.HTTPException, ConnectionError):
            # A kept-alive connection may end between two calls: once more on a fresh one.
            self._connect()
            self.connection.request("POST", PATH, body, headers)
            response = self.connection.getresponse()
            answer = response.read()
        self.slowest = max(self.slowest, self.server.cpu_seconds() - before)
        self.statuses[response.status] = self.statuses.get(response.status, 0) + 1
        assert response.status in ALLOWED, answer[:500]
        if response.status not in (408, 413):
            fields = json.loads(answer)
            assert ("error_message" in fields) == (response.status != 200)


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    with running(script=script("timeouts=ServerTimeouts(fetch=0.2)", before=QUICK)) as server:
        opened = Line(server)
        yield opened
        opened.connection.close()
        assert server.process.poll() is None
        assert "Traceback" not in server.log.read_text()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A small photo with bytes cut, flipped, put in or repeated."""
    data = bytearray(draw(st.sampled_from(SMALL)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                del data[at:]
            case 1 if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case 2:
                data[at:at] = draw(st.binary(max_size=20))
            case _:
                data += data[at : at + 200]
    return bytes(data)


values = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"0", b"1", b"2", b"", b"/9j/", b"http://127.0.0.1:1/", b"http://[::1]/x"]),
    damaged(),
    damaged(),
    damaged(),
)
noise = st.sampled_from(
    [b""] * 24 + [b"\r\n", b"--B", b"--B--", b"\n", b'"', b";", b"\x00", b"\xff"]
)


@st.composite
def part(draw: st.DrawFn) -> bytes:
    """A part of a multipart body that is nearly right."""
    known = st.sampled_from([*NAMES, *["image_file"] * 6])
    name = draw(st.one_of(known, known, known, st.text(max_size=8))).encode("utf-8", "replace")
    extra = draw(
        st.sampled_from(
            [b"", b'; filename="a.jpg"', b"; filename=a", b"; filename*=x", b'; filename="']
        )
    )
    head = b'Content-Disposition: form-data; name="%s"%s' % (name, extra)
    more = draw(
        st.sampled_from(
            [b""] * 6 + [b"\r\nContent-Type: image/jpeg"] * 3 + [b"\r\nX", b"\r\n: ", b"\n"]
        )
    )
    return b"--B\r\n" + head + more + draw(noise) + b"\r\n\r\n" + draw(values) + b"\r\n"


@st.composite
def multipart(draw: st.DrawFn, server_key: bytes) -> bytes:
    """A body with a key that opens, or not, parts in any order, and noise between them."""
    parts = draw(st.lists(part(), min_size=1, max_size=5))
    if draw(st.integers(0, 3)):
        parts = [server_key, *parts] if draw(st.integers(0, 3)) else [*parts, server_key]
    return b"".join(each + draw(noise) for each in parts) + draw(
        st.sampled_from([b"--B--\r\n", b"--B--", b"--B", b""])
    )


types = st.sampled_from(
    ["multipart/form-data; boundary=B"] * 60
    + ["multipart/form-data", 'multipart/form-data; boundary="', "multipart/form-data; boundary=",
       "multipart/form-data; boundary=" + "B" * 5000, "application/x-www-form-urlencoded", ";", "/"]
)  # fmt: skip


def key_parts(server: Server) -> bytes:
    pairs = ((b"api_key", server.key.encode()), (b"api_secret", server.secret.encode()))
    return b"".join(
        b'--B\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % pair for pair in pairs
    )


def fuzz(bodies: int) -> settings:
    return settings(
        max_examples=bodies,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


def test_warm_up(line: Line) -> None:
    """Every kind of work has been done once, so that memory has reached its level."""
    for image in SMALL * 20:
        body = key_parts(line.server) + (
            b'--B\r\nContent-Disposition: form-data; name="image_file"\r\n\r\n' + image
        )
        line.post(body + b"\r\n--B--\r\n", "multipart/form-data; boundary=B")
    assert line.statuses == {200: 60}


def test_fuzzed_multipart(line: Line) -> None:
    """Multipart bodies, from nearly sound to nonsense."""
    before = line.server.memory()
    keys = key_parts(line.server)

    @fuzz(BODIES * 2 // 3)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        line.post(data.draw(multipart(keys)), data.draw(types))

    check()
    assert line.server.memory() - before < 32 << 20
    assert line.slowest < 5
    assert {200, 400} <= set(line.statuses)


def test_fuzzed_forms(line: Line) -> None:
    """Url-encoded bodies, from nearly sound to nonsense."""
    before = line.server.memory()
    key = f"api_key={line.server.key}&api_secret={line.server.secret}&".encode()
    texts = st.one_of(
        st.binary(max_size=60),
        st.sampled_from([b"%", b"%zz", b"%00", b"+", b"&&", b"==", b"a=b&" * 200, b"%25" * 100]),
    )

    @fuzz(BODIES - BODIES * 2 // 3)
    @given(st.lists(st.tuples(st.sampled_from(NAMES), texts), max_size=6), st.booleans(), texts)
    def check(pairs: list[tuple[str, bytes]], known: bool, end: bytes) -> None:
        fields = b"&".join(name.encode() + b"=" + value for name, value in pairs)
        body = (key if known else b"") + fields + end
        line.post(body, "application/x-www-form-urlencoded")

    check()
    assert line.server.memory() - before < 32 << 20
    assert line.slowest < 5
    assert sum(line.statuses.values()) >= 2000
