"""A server of our own in a process of its own, on a real socket."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
from PIL import Image
from waiting import cpu_seconds, until

PATH = "/humanbodypp/v2/segment"
SAMPLES = Path(__file__).resolve().parents[2] / "sample_images"
PORTRAIT = (SAMPLES / "portraits" / "grace_hopper.jpg").read_bytes()
REQUEST_ID = re.compile(
    r"\d{10},[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)


@dataclass
class Server:
    """A running server: where it listens, its first key pair and what it said."""

    process: subprocess.Popen[str]
    endpoint: str
    log: Path
    said: list[str] = field(default_factory=list)
    key: str = ""
    secret: str = ""

    @property
    def url(self) -> str:
        return self.endpoint + PATH

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def post(self, **fields: Any) -> httpx.Response:
        """A multipart call with this server's key; ``image`` is sent as ``image_file``."""
        image = fields.pop("image", None)
        files = {"image_file": ("photo.jpg", image)} if image is not None else {}
        data = {"api_key": self.key, "api_secret": self.secret, **fields}
        # A text field without a file name makes httpx send multipart even without a photo.
        parts = {name: (None, value) for name, value in data.items()} | files
        return httpx.post(self.url, files=parts, timeout=20, trust_env=False)

    def form(self, **fields: Any) -> httpx.Response:
        """A url-encoded call with this server's key."""
        data = {"api_key": self.key, "api_secret": self.secret, **fields}
        return httpx.post(self.url, data=data, timeout=20, trust_env=False)

    def metric(self, name: str) -> float:
        """One figure of ``/metrics``."""
        text = httpx.get(f"{self.endpoint}/metrics", trust_env=False).text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def memory(self) -> int:
        """Bytes of memory that the process holds (VmRSS)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024

    def cpu_seconds(self) -> float:
        """Processor time that the process has used."""
        return cpu_seconds(self.process.pid)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "humanbody_cli", "serve", "--port", "0", *options]


@contextlib.contextmanager
def running(
    *options: str, script: str = "", arguments: Sequence[str] = (), **popen: Any
) -> Iterator[Server]:
    """A server started with command line options, by a script that calls ``serve`` itself, or by
    whatever ``arguments`` run."""
    arguments = arguments or ([sys.executable, "-c", script] if script else command(*options))
    environment = popen.pop("env", os.environ)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("w") as stderr:
            process = subprocess.Popen(
                arguments,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**environment, "OMP_NUM_THREADS": "1"},
                **popen,
            )
        try:
            yield _greet(process, log)
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _greet(process: subprocess.Popen[str], log: Path) -> Server:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line.strip())
        if line.startswith("endpoint="):
            break
    else:
        raise AssertionError(f"the server did not start: {log.read_text()}")
    server = Server(process, said[-1].removeprefix("endpoint="), log, said)
    if said[0].startswith("api_key="):
        server.key, server.secret = (word.partition("=")[2] for word in said[0].split())
    return server


SCRIPT = """
import sys
from pathlib import Path
from humanbody_cli.server.config import *
from humanbody_cli.server.main import serve
from humanbody_cli.core.settings import LocalSettings
{before}
serve(ServeSettings(port=0, {settings}), lambda line: print(line, flush=True))
"""


def script(settings: str, before: str = "") -> str:
    """A server with settings that have no option."""
    return SCRIPT.format(settings=settings, before=before)


IMPATIENT = script(
    "timeouts=ServerTimeouts("
    "headers=0.6, idle=0.6, body=0.8, slow=0.3, answer=1.0, linger=0.5, fetch=0.5),"
    "capacity=Capacity(queue=1, connections=40, held_bytes=8 << 20),"
    "local=LocalSettings(threads=1)"
)
"""A server with short timeouts and little room, so that each limit is met soon."""


def picture(
    size: tuple[int, int] = (120, 90), kind: str = "JPEG", mode: str = "RGB", **options: Any
) -> bytes:
    """A photo with some structure: a bright figure on a dark ground."""
    image = Image.new(mode, size)
    wide, high = size
    image.paste("white", (wide // 3, high // 5, wide * 2 // 3, high))
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(size: tuple[int, int], kind: str = "PNG") -> bytes:
    """A photo that does not compress."""
    buffer = io.BytesIO()
    Image.effect_noise(size, 200).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def decoded(answer: httpx.Response, name: str) -> Image.Image:
    """An image of an answer."""
    image = Image.open(io.BytesIO(base64.b64decode(answer.json()[name], validate=True)))
    image.load()
    return image


def assert_ids(answer: httpx.Response) -> None:
    """The application's errors carry both ids."""
    fields = answer.json()
    assert set(fields) == {"request_id", "time_used", "error_message"}
    assert REQUEST_ID.fullmatch(fields["request_id"])
    assert isinstance(fields["time_used"], int)


def padded(size: int) -> bytes:
    """A sound url-encoded request of exactly ``size`` bytes."""
    head = b"api_key=good&api_secret=secret&padding="
    return head + b"x" * (size - len(head))


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def message(answer: httpx.Response) -> str:
    """An answer's error, which must be JSON."""
    assert answer.headers["content-type"] == "application/json"
    return str(json.loads(answer.content)["error_message"])


def is_bare(answer: httpx.Response) -> bool:
    """Whether nothing but the error stands in the answer: it comes from the gateway."""
    return set(answer.json()) == {"error_message"}


class _Site(http.server.BaseHTTPRequestHandler):
    """Where photos are fetched from: the path says what happens."""

    pages: dict[str, bytes]

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", unquote(self.path.removeprefix("/to/"), "latin-1"))
            self.end_headers()
            return
        if self.path == "/slow":
            time.sleep(1.5)
        if self.path == "/endless":
            self._endless()
            return
        page = self.pages.get(self.path)
        self.send_response(404 if page is None else 200)
        self.send_header("Content-Length", str(len(page or b"")))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(page or b"")

    def _endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b"\xff" * 65536)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@contextlib.contextmanager
def site(pages: dict[str, bytes]) -> Iterator[str]:
    """A web site on this machine; its address."""
    handler = type("Site", (_Site,), {"pages": pages})
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler))
    web.daemon_threads = True
    thread = threading.Thread(target=web.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{web.server_port}"
    finally:
        web.shutdown()
        thread.join()
        web.server_close()


def connect(server: Server) -> socket.socket:
    """A bare connection."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def takes_calls(server: Server) -> bool:
    """Whether anybody still listens."""
    try:
        connect(server).close()
    except ConnectionRefusedError:
        return False
    return True


def is_in_flight(server: Server) -> bool:
    """Whether a call's body has come and is not answered yet, in whichever worker."""
    return until(lambda: server.metric("hbseg_held_bytes") > 0)


KEYS = (
    "# the keys of these tests\n"
    "good secret\n"
    "byclient secret denied-by-client\n"
    "byadmin secret denied-by-admin\n"
    "poor secret no-balance\n"
    "prepaid secret balance=2\n"
    "slow secret qps=3\n"
)


@contextlib.contextmanager
def serving_keys() -> Iterator[Server]:
    """A server with a key in each state, and with addresses of this machine allowed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys"
        path.write_text(KEYS)
        path.chmod(0o600)
        options = ("--keys", str(path), "--allow-private-urls", "--fetch-timeout", "0.7")
        with running(*options) as started:
            started.key, started.secret = "good", "secret"
            yield started
