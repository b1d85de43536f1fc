"""The server's log: a line for each request, why it was refused, and nothing that is secret."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from server_fixture import PATH, Server, message, picture, running, serving_keys
from waiting import until

LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?P<method>\S+) (?P<path>\S+) (?P<status>\d+) "
    r"(?P<code>\S+) key=(?P<key>\S+) in=\d+ out=\d+ ms=\d+ client=(?P<client>\S+) id=\S+"
    r"( reason=(?P<reason>\".*\"))?"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving_keys() as started:
        yield started


def line_of(server: Server, path: str) -> dict[str, str]:
    """The parts of the one line about a path."""
    assert until(lambda: f" {path} " in server.log.read_text())
    (line,) = [line for line in server.log.read_text().splitlines() if f" {path} " in line]
    found = LINE.fullmatch(line)
    assert found, line
    return found.groupdict(default="")


def last(server: Server, code: str) -> dict[str, str]:
    """The parts of the last line with a code."""
    assert until(lambda: f" {code} " in server.log.read_text())
    line = [line for line in server.log.read_text().splitlines() if f" {code} " in line][-1]
    found = LINE.fullmatch(line)
    assert found, line
    return found.groupdict(default="")


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics"])
def test_pages_are_logged(path: str) -> None:
    """Method, path, status and the client's address, once."""
    with running() as server:
        assert httpx.get(server.endpoint + path, trust_env=False).status_code == 200
        said = line_of(server, path)
    assert (said["method"], said["status"], said["code"]) == ("GET", "200", "ok")
    assert said["client"] == "127.0.0.1"


def test_refusals_are_logged_with_their_reason(server: Server) -> None:
    """The API's code, and a sentence that says more than the client is told."""
    server.form(api_secret="wrong")
    assert last(server, "AUTHENTICATION_ERROR")["reason"] == '"the pair does not match"'
    server.form(api_key="nobody")
    assert until(lambda: '"no such key"' in server.log.read_text())
    server.form(api_key="byadmin")
    assert last(server, "AUTHORIZATION_ERROR")["reason"] == '"Denied by Admin"'
    server.post(image=picture((47, 100)))
    assert "47" in last(server, "INVALID_IMAGE_SIZE")["reason"]
    server.form(image_url="http://127.0.0.1:1/a.jpg")
    assert "no connection" in last(server, "INVALID_IMAGE_URL")["reason"]


def test_a_quota_is_told_from_a_full_queue(server: Server) -> None:
    """CONCURRENCY_LIMIT_EXCEEDED has several causes; the log says which it was."""
    with ThreadPoolExecutor(12) as pool:  # together: one by one, a busy machine may not exceed 3/s
        answers = list(pool.map(lambda _: server.form(api_key="slow"), range(12)))
    assert "CONCURRENCY_LIMIT_EXCEEDED" in map(message, answers)
    assert "quota" in last(server, "CONCURRENCY_LIMIT_EXCEEDED")["reason"]


def test_neither_key_nor_secret_nor_query_is_logged(server: Server) -> None:
    """Wherever a client puts them: the form, the query, a header, or the path of a proxy."""
    key, hidden = "k" * 32, "topsecret" * 3
    fields = {"api_key": key, "api_secret": hidden}
    httpx.post(server.url, params=fields, data=fields, auth=(key, hidden), trust_env=False)
    httpx.get(f"{server.endpoint}/query?api_key={key}&x={hidden}", trust_env=False)
    assert line_of(server, "/query")["status"] == "404"
    log = server.log.read_text()
    assert "key=kkkk " in log
    assert "kkkkk" not in log
    assert hidden not in log
    assert "topsecret" not in log


@pytest.mark.parametrize(
    "target",
    [b"/a\x1b[31mb", b"/a\rb", b"/%0a%1b[2Jb", b"/\xe4\xb8\xad", b"/" + b"x" * 5000, b"/a%20b c"],
)
def test_a_path_cannot_forge_a_line(target: bytes) -> None:
    """Control characters, escapes, other letters, length: each line is one request's, and is
    printable."""
    with running() as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.recv(1000)
        httpx.get(server.endpoint + "/healthz", trust_env=False)
        line_of(server, "/healthz")
        for line in server.log.read_text().splitlines()[1:]:
            assert LINE.fullmatch(line)
            assert len(line) < 500
            assert line.isascii()
            assert line.isprintable()


def test_the_log_as_json() -> None:
    """One object per line, a request's with its parts."""
    with running("--log-format", "json") as server:
        server.form(api_secret="wrong")
        assert until(lambda: "AUTHENTICATION_ERROR" in server.log.read_text())
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["message", "request"]
    assert {"time", "level", "message"} <= set(lines[1])
    request = lines[1]["request"]
    assert (request["method"], request["path"], request["status"]) == ("POST", PATH, 401)
    assert (request["code"], request["client"]) == ("AUTHENTICATION_ERROR", "127.0.0.1")
    assert request["reason"] == "the pair does not match"


def test_the_request_log_can_be_switched_off() -> None:
    """What else the server says stays; the figures count all the same."""
    with running("--no-access-log") as server:
        server.form(api_secret="wrong")
        counted = 'hbseg_requests_total{code="AUTHENTICATION_ERROR",status="401"}'
        assert until(lambda: server.metric(counted) == 1)
        (line,) = server.log.read_text().splitlines()
    assert "in a browser" in line


def test_preflights_are_logged() -> None:
    """Allowed and refused ones, each with one line."""
    asked = {"Access-Control-Request-Method": "POST"}
    with running("--cors-origin", "https://a.example") as server:
        for origin in ("https://a.example", "https://b.example"):
            httpx.options(server.url, headers={**asked, "Origin": origin}, trust_env=False)
        assert last(server, "PREFLIGHT_REFUSED")["reason"] == '"Disallowed CORS origin"'
        assert server.log.read_text().count("OPTIONS") == 2
