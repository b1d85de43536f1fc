"""Endpoints that cannot be reached, cannot be trusted, or never end an answer."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import KEY, SECRET, Hbseg, photo
from fake_api import FakeApi
from fake_behaviour import Behaviour
from odd_servers import over_tls, request, serving

HANDSHAKE = b"\x16"
"""The first byte of a TLS connection."""


@pytest.fixture
def refusing() -> Iterator[socket.socket]:
    """A port that refuses connections: bound, so that no other test's server gets it meanwhile, and
    not listening."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved


@pytest.mark.parametrize("endpoint", ["http://user:hush@127.0.0.1:{}", "http://no.such.invalid"])
def test_an_endpoint_that_cannot_be_reached_ends_the_run_soon(
    paid: Hbseg, photos: Path, refusing: socket.socket, endpoint: str
) -> None:
    """Exit 4 after three connections; one sentence with the endpoint, without its password; the
    photos stay pending and no call is counted."""
    endpoint = endpoint.format(refusing.getsockname()[1])
    began = time.monotonic()
    ended = paid("segment", photos, "-o", "out", "--endpoint", endpoint)
    assert time.monotonic() - began < 30  # its pauses: 4 s with this rule, 38 s without
    assert ended.code == 4, ended.err
    last = ended.err.splitlines()[-1]
    assert last.startswith(f"hbseg: {endpoint.replace('user:hush@', '')} cannot be reached: ")
    assert "check --endpoint" in last
    assert not any(word in ended.err for word in ("hush", KEY, SECRET))
    assert "Traceback" not in ended.err
    assert " done" not in ended.err
    status = json.loads(paid("status", "out", "--json").out)
    assert (status["failed"], status["pending"]) == (0, 4)


@pytest.mark.parametrize(
    "endpoint",
    ["http://256.1.1.1", "https://xn--", "http://xn--a.invalid", "http://a..invalid", "http://.",
     f"http://{'a' * 64}.invalid", "http://u:hush@256.1.1.1/facepp/v3", "http://[::1]:99999"],
)  # fmt: skip
@pytest.mark.parametrize("stdout", [False, True])
def test_an_endpoint_that_is_none_is_a_wrong_option(
    paid: Hbseg, photos: Path, endpoint: str, stdout: bool
) -> None:
    """Exit 2 and one sentence that names the option, without a password."""
    inputs, output = (photos / "a.jpg", "-") if stdout else (photos, "out")
    ended = paid("segment", inputs, "-o", output, "--endpoint", endpoint)
    assert ended.code == 2, ended.err
    shown = endpoint.replace("u:hush@", "")
    assert ended.err.splitlines()[-1].startswith(f"hbseg: --endpoint '{shown}' ")
    assert "Traceback" not in ended.err and "hush" not in ended.err


@pytest.mark.parametrize("is_reset", [False, True], ids=["alert", "reset"])
def test_plain_http_to_a_server_that_expects_tls(
    paid: Hbseg, photos: Path, tmp_path: Path, is_reset: bool
) -> None:
    """It answers with an alert or resets the connection. One call and one handshake later the run
    ends with what to do."""
    shakes_hands, _ = over_tls(tmp_path)

    def tls(connection: socket.socket) -> None:
        begins = connection.recv(1, socket.MSG_PEEK)
        if is_reset and begins != HANDSHAKE:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        shakes_hands(connection)

    with serving(tls) as server:
        arguments = ("segment", photos / "a.jpg", "-o", "out", "--endpoint", server.url())
        ended = paid(*arguments)
    assert ended.code == 4, ended.err
    assert ended.err.count("the server expects TLS; give --endpoint with https://") == 1
    assert server.connections == 2


def test_a_server_that_has_answered_is_not_taken_for_one_with_tls(
    paid: Hbseg, photos: Path
) -> None:
    """What breaks off after an answer in HTTP has another cause."""
    answered: list[bool] = []

    def breaks(connection: socket.socket) -> None:
        request(connection)
        if answered:
            return
        answered.append(True)
        body = b'{"error_message": "INVALID_IMAGE_SIZE"}'
        head = b"HTTP/1.1 400 X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        connection.sendall(head + body)

    with serving(breaks) as server:
        arguments = ("segment", photos, "-o", "out", "--endpoint", server.url(), "--retries", 0)
        ended = paid(*arguments, "--qps", 100)
    assert "does not speak HTTP" in ended.err
    assert "https://" not in ended.err


def test_a_server_that_comes_up_a_moment_later_is_found(
    paid: Hbseg, photos: Path, tmp_path: Path, refusing: socket.socket
) -> None:
    """As at boot: the first connection is refused, the second is not, and the run is whole."""
    endpoint = f"http://127.0.0.1:{refusing.getsockname()[1]}"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    arguments = ("segment", photos, "-o", "out", "--endpoint", endpoint, "--qps", 100)
    with paid.start(*arguments, **pipes) as command:
        time.sleep(1.2)
        with FakeApi.in_thread(Behaviour(), listener=refusing):
            _, err = command.communicate(timeout=30)
    assert command.returncode == 0, err.decode()
    assert len(list((tmp_path / "out/cutouts").rglob("*.png"))) == 4


def test_a_certificate_that_cannot_be_trusted_stops_the_run_at_once(
    paid: Hbseg, photos: Path, tmp_path: Path
) -> None:
    """One connection; the message says what to check, and that nothing was sent."""
    handler, _ = over_tls(tmp_path)
    with serving(handler) as server:
        ended = paid("segment", photos, "-o", "out", "--endpoint", server.url("https"))
        assert server.connections == 1
    assert ended.code == 4, ended.err
    assert "certificate cannot be trusted" in ended.err
    assert server.url("https") in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err


def test_the_certificate_of_another_host_stops_the_run_at_once(
    paid: Hbseg, photos: Path, tmp_path: Path
) -> None:
    """A certificate that is trusted, for another name."""
    handler, certificate = over_tls(tmp_path)
    with serving(handler) as server:
        arguments = ("segment", photos, "-o", "out", "--endpoint", server.url("https"))
        ended = paid(*arguments, env={"SSL_CERT_FILE": str(certificate)})
        assert server.connections == 1
    assert ended.code == 4, ended.err
    assert "certificate cannot be trusted" in ended.err


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize("stdout", [False, True])
def test_certificates_that_are_not_there_are_told_before_the_first_call(
    paid: Hbseg, photos: Path, tmp_path: Path, variable: str, stdout: bool
) -> None:
    """Exit 4, one sentence that names the variable; no connection is made."""
    handler, _ = over_tls(tmp_path)
    inputs, output = (photos / "a.jpg", "-") if stdout else (photos, "out")
    with serving(handler) as server:
        arguments = ("segment", inputs, "-o", output, "--endpoint", server.url("https"))
        ended = paid(*arguments, env={variable: str(tmp_path / "nowhere")})
        assert server.connections == 0
    assert ended.code == 4, ended.err
    assert f"{variable} names {tmp_path}/nowhere, which cannot be used" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("content", [b"", b"no certificate", None], ids=["empty", "text", "folder"])
def test_a_certificate_file_that_is_none(
    paid: Hbseg, photos: Path, tmp_path: Path, content: bytes | None
) -> None:
    """A file without a certificate, and a folder."""
    path = tmp_path / "certificates"
    path.mkdir() if content is None else path.write_bytes(content)
    arguments = ("segment", photos, "-o", "out", "--endpoint", "https://127.0.0.1:9")
    ended = paid(*arguments, env={"SSL_CERT_FILE": str(path)})
    assert ended.code == 4, ended.err
    assert "SSL_CERT_FILE names" in ended.err and "Traceback" not in ended.err


def test_of_several_certificate_folders_one_is_enough(tmp_path: Path) -> None:
    """A list may name folders that are absent on this machine."""
    from unittest import mock

    from humanbody_cli.core.network import certificates_fault

    folders = os.pathsep.join((str(tmp_path / "absent"), str(tmp_path)))
    with mock.patch.dict(os.environ, {"SSL_CERT_DIR": folders}):
        assert certificates_fault() is None


@pytest.mark.parametrize("status", [b"401 Unauthorized", b"402 Payment Required", b"403 Forbidden"])
def test_a_portal_that_refuses_costs_one_call(paid: Hbseg, photos: Path, status: bytes) -> None:
    """A page that is no JSON: the run stops after it, and the message names the endpoint."""

    def refuse(connection: socket.socket) -> None:
        while True:
            request(connection)
            page = b"<html>\x1b[31mLog in</html>"
            head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n" % (status, len(page))
            connection.sendall(head + page)

    with serving(refuse) as server:
        ended = paid("segment", photos, "-o", "out", "--endpoint", server.url())
    assert ended.code == 4
    assert "1 call" in ended.err
    last = ended.err.splitlines()[-1]
    assert last.startswith(f"hbseg: {server.url()}: the server answered {status[:3].decode()}")
    assert "check --endpoint" in last
    assert "\x1b" not in ended.err


# Answers that never end

PEAK = 460_000  # KB: the budget of 256 MiB, one answer more, and the interpreter


def answers_without_end(head: bytes, block: bytes) -> Any:
    """A server that refuses its first call's photo, and never ends its other answers."""
    first = [True]

    def handler(connection: socket.socket) -> None:
        while True:
            request(connection)
            if first:
                first.clear()
                body = b'{"error_message": "INVALID_IMAGE_SIZE"}'
                connection.sendall(b"HTTP/1.1 400 X\r\nContent-Length: %d\r\n\r\n" % len(body))
                connection.sendall(body)
                continue
            connection.sendall(head)
            while True:
                connection.sendall(block)

    return handler


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"%x\r\n" % (1 << 20) + bytes(1 << 20) + b"\r\n"


@pytest.mark.parametrize(
    ("head", "block"),
    [
        (CHUNKED, CHUNK),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", bytes(1 << 20)),
        (b"HTTP/1.1 502 X\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK),
    ],
    ids=["chunks", "announced", "error-page"],
)
def test_answers_without_end_do_not_fill_the_memory(
    paid: Hbseg, tmp_path: Path, head: bytes, block: bytes
) -> None:
    """Sixteen at a time: memory stays bounded, each is given up, and the run ends by itself."""
    for number in range(17):
        photo(tmp_path / "photos" / f"{number}.jpg", seed=number, size=(2400, 1800))
    with serving(answers_without_end(head, block)) as server:
        arguments = ("segment", "photos", "-o", "out", "--endpoint", server.url())
        options = ("--qps", 500, "--concurrency", 16, "--retries", 0)
        command = paid.start(*arguments, *options)
        peak = 0
        while command.poll() is None:
            peak = max(peak, _peak(command.pid))
            time.sleep(0.01)
    assert command.returncode in (3, 4)
    assert 0 < peak < PEAK


def _peak(pid: int) -> int:
    """Peak KiB of a process. The kernel's account at its end would begin with the peak of the
    process that started it."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


def test_codes_of_a_hostile_server_reach_no_terminal(
    paid: Hbseg, photos: Path, tmp_path: Path
) -> None:
    """stderr, stdout, the journal and the report hold no control character of its making."""

    def hostile(connection: socket.socket) -> None:
        while True:
            request(connection)
            body = (
                b'{"error_message": "BAD\\u001b]0;owned\\u0007\\nX: \\u001b[2J\\u202e", '
                b'"request_id": "\\u001b[31m\\ud800"}'
            )
            connection.sendall(b"HTTP/1.1 400 X\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with serving(hostile) as server:
        arguments = ("segment", photos, "-o", "out", "--endpoint", server.url(), "--qps", 100)
        ended = paid(*arguments, "--json")
    assert ended.code == 3, ended.err
    texts = [ended.err]
    for record in ended.records:
        assert record["code"] == "BAD?]0;owned??X"
        texts += [str(record["message"]), str(record["request_id"])]
    texts.append(paid("status", "out", "--failed").out)
    for text in texts:
        assert not any(char in text for char in "\x1b\x07\u202e\ud800")
