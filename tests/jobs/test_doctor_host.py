"""hbseg doctor: what it finds about the API's host, and what leaves the machine."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest
from conftest import KEY, ROOT, SECRET, Hbseg
from odd_servers import EXPIRED, answer, over_tls, request, serving

from humanbody_cli.jobs.inspection.doctor.finding import Level
from humanbody_cli.jobs.inspection.doctor.host import clock, host

Line = Callable[..., str]


@pytest.fixture
def line(paid: Hbseg) -> Line:
    """The line of one check, with a key and this endpoint; the exit code follows from its level."""

    def line(check: str, endpoint: str, *more: str, **environment: str) -> str:
        ended = paid("doctor", "--endpoint", endpoint, *more, env=environment)
        assert "Traceback" not in ended.err
        assert KEY not in ended.out + ended.err and SECRET not in ended.out + ended.err
        lines = ended.out.splitlines()
        assert ended.code == (4 if any(one.startswith("fail") for one in lines) else 0)
        return next(one for one in lines if one.split()[1] == check)

    return line


def dated(seconds: float, heads: list[bytes]) -> Callable[[socket.socket], None]:
    """A server whose clock is off by so many seconds; it keeps the heads of requests."""

    def handler(connection: socket.socket) -> None:
        heads.append(request(connection))
        date = formatdate(time.time() + seconds, usegmt=True)
        connection.sendall(f"HTTP/1.1 404 Not Found\r\nDate: {date}\r\n\r\n".encode())

    return handler


def test_the_host_is_asked_without_the_key_and_without_a_call(line: Line) -> None:
    """One HEAD request for /, with nothing of the key; any answer shows that the host is there."""
    heads: list[bytes] = []
    with serving(dated(0, heads)) as server:
        assert line("host", server.url()).startswith("ok    host        127.0.0.1 answers")
    (head,) = heads
    assert head.startswith(b"HEAD / HTTP/1.1\r\n")
    names = {part.split(b":")[0].lower() for part in head.split(b"\r\n")[1:]}
    assert names <= {b"host", b"accept", b"accept-encoding", b"connection", b"user-agent"}


def test_a_clock_that_is_off_by_an_hour_is_a_warning(line: Line) -> None:
    """By the host's Date header; a run would go on, so the exit code is 0."""
    heads: list[bytes] = []
    with serving(dated(-3600, heads)) as server:
        told = line("clock", server.url())
    assert told.startswith("warn") and "1 h 00 min ahead of the host's; set it" in told
    with serving(dated(0, heads)) as server:
        assert line("clock", server.url()).endswith("like the host's")


def test_a_certificate_that_nobody_trusts(line: Line, tmp_path: Path) -> None:
    """Self-signed: a run would stop, and the certificate is named as the reason."""
    handler, _ = over_tls(tmp_path)
    with serving(handler) as server:
        told = line("host", server.url("https"))
    assert told.startswith("fail")
    assert "self-signed certificate" in told and "SSL_CERT_FILE" in told


def test_a_certificate_that_has_expired(line: Line, tmp_path: Path) -> None:
    """It is trusted, and its time is over."""
    handler, path = over_tls(tmp_path, EXPIRED)
    with serving(handler) as server:
        told = line("host", server.url("https"), SSL_CERT_FILE=str(path))
    assert told.startswith("fail")
    assert "certificate has expired" in told


def test_certificates_that_cannot_be_read(line: Line) -> None:
    """OpenSSL would pass over a missing file without a word, and trust nobody."""
    told = line("host", "https://127.0.0.1:9", SSL_CERT_FILE="no-such-file.pem")
    assert told.startswith("fail") and "SSL_CERT_FILE names no-such-file.pem" in told


def test_nothing_listens(line: Line) -> None:
    """The port is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    told = line("host", f"http://127.0.0.1:{port}")
    assert told.startswith("fail") and "no connection to the server" in told
    assert "firewalls" in told


def test_a_name_without_an_address() -> None:
    """RFC 6761 keeps .invalid free of hosts. Where no run would call it, it is a warning."""
    for needed, level in ((True, Level.FAIL), (False, Level.WARN)):
        finding, date = host("https://no-such-host.invalid", needed=needed)
        assert (finding.level, date) == (level, None)
        assert "no address found" in finding.message and "DNS" in finding.advice


@pytest.mark.parametrize("endpoint", ["https://a..b", "http://" + "a" * 70 + ".com"])
def test_an_address_that_is_none(endpoint: str) -> None:
    """Neither IDNA nor the resolver takes it."""
    finding, _ = host(endpoint, needed=True)
    assert finding.level is Level.FAIL and "--endpoint" in finding.message


def test_an_endpoint_that_is_none(line: Line) -> None:
    """It is told like any other fault, and the other checks are made."""
    told = line("host", "nonsense")
    assert told.startswith("fail") and "--endpoint 'nonsense' is not an address" in told


def test_a_host_that_keeps_silent(tmp_path: Path) -> None:
    """Neither silence nor an answer byte by byte holds the check up for long."""

    def trickle(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-More: 1\r\n")
            time.sleep(0.05)

    def silence(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.recv(1 << 16)

    for handler in (trickle, silence):
        with serving(handler) as server:
            finding, date = host(server.url(), needed=True, patience=0.3)
        assert (finding.level, date) == (Level.FAIL, None), finding
        assert "within" in finding.message


def test_a_proxy_is_used_as_by_a_run(line: Line) -> None:
    """The proxy looks the name up; a proxy that cannot be used is named."""
    heads: list[bytes] = []
    with serving(dated(0, heads)) as server:
        told = line("host", "http://no-such-host.invalid", HTTP_PROXY=server.url())
    assert told.startswith("ok")
    assert heads[0].startswith(b"HEAD http://no-such-host.invalid/ ")
    told = line("host", "http://no-such-host.invalid", HTTP_PROXY="socks9://x")
    assert told.startswith("fail") and "the proxy in HTTP_PROXY" in told


def test_errors_and_redirects_of_the_host() -> None:
    """Both are warnings: the host is there, and a run would retry."""
    for head, words in ((b"503 Busy", "HTTP 503"), (b"301 Moved\r\nLocation: /x", "redirects")):
        with serving(answer(head)) as server:
            finding, _ = host(server.url(), needed=True)
        assert finding.level is Level.WARN and words in finding.message


def test_the_host_is_left_alone_unless_a_run_would_call_it(line: Line, hbseg: Hbseg) -> None:
    """Not with --offline, not without a key, not with a model of one's own; but with --network."""
    heads: list[bytes] = []
    with serving(dated(0, heads)) as server:
        assert "not contacted (--offline)" in line("host", server.url(), "--offline")
        assert "not contacted" in line("host", server.url(), "--engine", "local")
        assert hbseg("doctor", "--endpoint", server.url()).code == 0
        assert server.connections == 0
        assert hbseg("doctor", "--endpoint", server.url(), "--network").code == 0
        assert server.connections == 1


def test_without_a_key_nothing_reaches_for_the_network(hbseg: Hbseg) -> None:
    """The kernel would kill the process at its first connection or look-up."""
    support = ROOT / "tests" / "support" / "no_network.py"
    command = [sys.executable, str(support), sys.executable, "-m", "humanbody_cli", "doctor"]
    ended = subprocess.run(
        command, cwd=hbseg.cwd, env=hbseg.environment(), capture_output=True, check=False
    )
    if ended.returncode == 77:
        pytest.skip("needs seccomp")
    assert ended.returncode == 0, ended.stderr


def test_the_clock_alone() -> None:
    """A clock from before hbseg is wrong by itself; a date that is none says nothing."""
    assert clock(0.0, None).level is Level.WARN
    assert clock(time.time(), None).level is Level.OK
    assert clock(time.time(), "yesterday").level is Level.OK
    assert "behind" in clock(time.time() - 7200, formatdate(usegmt=True)).message
