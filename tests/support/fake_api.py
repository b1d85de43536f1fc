"""A fake of the HumanBody Segment API V2 on a real loopback socket: small, quick, and misbehaving.

Three ways to run it::

    async with FakeApi(Behaviour(quota=20)) as api:            # in this event loop
    with FakeApi.in_thread(Behaviour(latency=0.1)) as api:     # in a thread of its own
    python tests/support/fake_api.py --port 0 quota=20 latency=0.3     # a process; prints its URL

A process tells its counters at ``GET /stats`` and forgets them at ``POST /reset``, whose body may
hold another behaviour as JSON.

It shares the machine with the client under test, so it must cost next to nothing: an upload is
received straight into its buffer and never copied, answers are made once per picture size and
variant and sent with one write, latency is a timer.

What it decides, it decides at the instant at which the last byte of a request arrives; that is a
call's ``arrived``. Refusals (keys, balance, quota, calls in flight) are answered at once and do not
count into the quota's window; faults happen to accepted calls, after the latency.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import random
import re
import signal
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from types import TracebackType

from fake_answers import BODY_FAULTS, Answers
from fake_behaviour import ALIASES, ERRORS, Behaviour, Call, Stats
from fake_http import error_answer, form_fields, html_page, http_answer, new_request_id

PATH = "/humanbodypp/v2/segment"
MAX_REQUEST = 2 * 1024 * 1024


class FakeApi:
    """The server: what is accepted, when, and what is answered. ``stats`` says what happened."""

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        port: int = 0,
        listener: socket.socket | None = None,
    ) -> None:
        self._port = port
        self._listener = listener
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self.reset(behaviour or Behaviour())

    def reset(self, behaviour: Behaviour | None = None) -> None:
        """Forget everything; behave differently from now on, if told so."""
        if behaviour is not None:
            self.behaviour = behaviour
            self.answers = Answers(behaviour.style)
            for size in behaviour.prepare:
                self.answers.prepare(size)
        self.stats = Stats()
        self._random = random.Random(self.behaviour.seed)
        self._script = deque(self.behaviour.script)
        self._window: deque[float] = deque()  # arrivals of the accepted calls of the last second
        self._paid = 0

    @property
    def url(self) -> str:
        """What ``--endpoint`` takes."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> FakeApi:
        loop = asyncio.get_running_loop()
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self._port))
        server = await loop.create_server(
            lambda: _Connection(self), sock=self._listener, backlog=1024
        )
        self._server = server
        self._port = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        await self._server.wait_closed()

    @classmethod
    @contextlib.contextmanager
    def in_thread(
        cls, behaviour: Behaviour | None = None, *, listener: socket.socket | None = None
    ) -> Iterator[FakeApi]:
        """The fake in a thread of its own; ``stats`` may be read from any thread. A ``listener``
        that is bound and refuses connections until now accepts them from here on."""
        api = cls(behaviour, listener=listener)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(api.__aenter__())
        thread = threading.Thread(target=loop.run_forever, name="fake-api", daemon=True)
        thread.start()
        try:
            yield api
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(api.__aexit__(None, None, None))
            loop.close()

    def judge(self, call: Call, fields: Mapping[str, str]) -> str:
        """The kind of the answer. Accepting counts the call; a refusal names its error."""
        rules = self.behaviour
        pair = (fields.get("api_key", ""), fields.get("api_secret", ""))
        if not all(pair) or (rules.keys and pair not in rules.keys):
            return "AUTHENTICATION_ERROR"
        if rules.balance is not None and self._paid >= rules.balance:
            return "AUTHORIZATION_ERROR: Insufficient Account Balance"
        while self._window and self._window[0] <= call.arrived - 1.0:
            self._window.popleft()
        over = rules.quota is not None and len(self._window) >= rules.quota
        if over or (rules.in_flight is not None and self.stats.in_flight >= rules.in_flight):
            return "CONCURRENCY_LIMIT_EXCEEDED"
        kind = self._draw()
        code = kind.partition(":")[0]
        call.accepted = code not in ERRORS or not ERRORS[code][1]
        if call.accepted:
            self._paid += 1
            self._window.append(call.arrived)
        return kind

    def _draw(self) -> str:
        if self._script:
            kind = self._script.popleft()
        elif self.behaviour.always:
            kind = self.behaviour.always
        else:
            kind, dice = "ok", self._random.random()
            for name, share in self.behaviour.faults.items():
                dice -= share
                if dice < 0:
                    kind = name
                    break
        return ALIASES.get(kind, kind)

    def latency(self) -> float:
        latency = self.behaviour.latency
        return latency if isinstance(latency, (int, float)) else self._random.uniform(*latency)


class _Connection(asyncio.BufferedProtocol):
    """One keep-alive connection. Requests come one after the other, none is pipelined."""

    transport: asyncio.Transport

    def __init__(self, api: FakeApi) -> None:
        self._api = api
        self._buffer = bytearray(65536)
        self._filled = 0
        self._length = 0  # of the request being read, head and body; 0 while the head is incomplete
        self._head = b""
        self._call: Call | None = None
        self._stats = api.stats  # those of the call under way: a reset starts new ones
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._api.connections.add(self)
        # Room for a whole answer: one write is then one system call.
        self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

    def connection_lost(self, exc: Exception | None) -> None:
        self._api.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._end_call(answered=False)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if not self._length:
            self._read_head()
        if self._length and self._filled >= self._length:
            with memoryview(self._buffer)[len(self._head) : self._length] as body:
                self._dispatch(body)
            self._filled = self._length = 0

    def _read_head(self) -> None:
        end = self._buffer.find(b"\r\n\r\n", 0, self._filled)
        if end < 0:
            return
        self._head = bytes(self._buffer[: end + 4])
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", self._head)
        self._length = len(self._head) + (int(length[1]) if length else 0)
        if self._length > len(self._buffer):
            # A new one: the old cannot grow while the event loop holds a view of it.
            buffer = bytearray(self._length)
            buffer[: self._filled] = memoryview(self._buffer)[: self._filled]
            self._buffer = buffer

    def _dispatch(self, body: memoryview) -> None:
        method, path = self._head.split(b" ", 2)[:2]
        if path == b"/stats":
            self.transport.write(http_answer(200, json.dumps(self._api.stats.as_json()).encode()))
        elif path == b"/reset" and method == b"POST":
            values = json.loads(bytes(body)) if body else None
            self._api.reset(None if values is None else Behaviour.from_json(values))
            self.transport.write(http_answer(200, b"{}"))
        elif path != PATH.encode() or method != b"POST":
            self.transport.write(http_answer(404, error_answer("API_NOT_FOUND", "", 0)))
        elif len(body) > MAX_REQUEST:
            self.transport.write(html_page(413))
        else:
            self._segment(body)

    def _segment(self, body: memoryview) -> None:
        arrived = time.monotonic()
        fields, upload = form_fields(self._head, self._buffer, body)
        digest = hashlib.sha256(upload).digest()
        self._call = call = Call(arrived, digest.hex())
        self._stats = stats = self._api.stats
        call.kind = self._api.judge(call, fields)
        stats.calls.append(call)
        if call.accepted and not upload:
            call.kind = "MISSING_ARGUMENTS: image_url, image_file, image_base64"
        if not call.accepted:
            self._answer(self._refusal(call.kind, 0))
            return
        stats.in_flight += 1
        stats.max_in_flight = max(stats.max_in_flight, stats.in_flight)
        latency = self._api.latency()
        answer = self._prepare(call, upload, digest, fields, round(latency * 1000))
        if call.kind != "hang":
            loop = asyncio.get_running_loop()
            late = max(0.0, arrived + latency - time.monotonic())
            self._timer = loop.call_later(late, self._answer, answer)

    def _prepare(
        self, call: Call, upload: memoryview, digest: bytes, fields: Mapping[str, str], used: int
    ) -> bytes:
        """The whole answer in advance: the timer has only to write it."""
        if call.kind.partition(":")[0] in ERRORS:
            return self._refusal(call.kind, used)
        if call.kind == "html502":
            return html_page(502)
        if call.kind == "garbage":
            return http_answer(200, b"<!-- upstream -->\x00\xff{")
        grayscale = int(fields.get("return_grayscale", "1"))
        fault = call.kind if call.kind in BODY_FAULTS else "ok"
        images = self._api.answers.body(upload, digest, grayscale, fault)
        if images is None:
            call.kind = "IMAGE_ERROR_UNSUPPORTED_FORMAT: image_file"
            return self._refusal(call.kind, used)
        image_id = base64.b64encode(digest[:16]).decode()
        ids = {"time_used": used, "image_id": image_id, "request_id": new_request_id()}
        return http_answer(200, json.dumps(ids).encode()[:-1], images)

    @staticmethod
    def _refusal(message: str, time_used: int) -> bytes:
        status = ERRORS[message.partition(":")[0]][0]
        return http_answer(status, error_answer(message, new_request_id(), time_used))

    def _answer(self, answer: bytes) -> None:
        self._timer = None
        kind = self._call.kind if self._call else ""
        self._end_call(answered=kind != "reset")
        if kind == "reset":
            self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        elif kind == "half":
            self.transport.write(answer[: len(answer) // 2])
            self.transport.close()
        else:
            self.transport.write(answer)

    def _end_call(self, *, answered: bool) -> None:
        call, self._call = self._call, None
        if call is None:
            return
        call.ended = time.monotonic()
        call.answered = call.ended if answered else None
        self._stats.in_flight -= call.accepted

    def _socket(self) -> socket.socket:
        connection: socket.socket = self.transport.get_extra_info("socket")
        return connection


async def _serve(api: FakeApi) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with api:
        print(api.url, flush=True)  # noqa: T201 - for whoever started this process
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake of the API on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("rules", nargs="*", metavar="NAME=JSON", help="a field of Behaviour")
    options = parser.parse_args()
    rules = dict(rule.split("=", 1) for rule in options.rules)
    behaviour = Behaviour.from_json({name: json.loads(text) for name, text in rules.items()})
    asyncio.run(_serve(FakeApi(behaviour, port=options.port)))


if __name__ == "__main__":
    main()
