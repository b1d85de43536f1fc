"""Photos by their address in a run: every fault is that photo's, and the others are done."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from conftest import Hbseg, photo
from fake_api import FakeApi
from odd_servers import ODD_ADDRESSES, answer, over_tls, request, serving


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_missing_certificates_are_the_photos_trouble(
    paid: Hbseg, api: FakeApi, photos: Path, tmp_path: Path, variable: str
) -> None:
    """One sentence that names the variable, exit 3; photos that are files are done."""
    arguments = ("segment", photos, "https://127.0.0.1:9/x.jpg", "-o", "out", "--endpoint", api.url)
    ended = paid(*arguments, "--qps", 100, env={variable: str(tmp_path / "nowhere")})
    assert ended.code == 3, ended.err
    assert "Traceback" not in ended.err
    assert f"{variable} names {tmp_path}/nowhere, which cannot be used" in ended.err
    assert api.stats.accepted == 4


def test_a_certificate_that_cannot_be_trusted_is_the_photos_trouble(
    paid: Hbseg, api: FakeApi, tmp_path: Path
) -> None:
    """Said as such, and nothing is sent."""
    handler, _ = over_tls(tmp_path)
    with serving(handler) as server:
        address = f"{server.url('https')}/x.jpg"
        ended = paid("segment", address, "-o", "out", "--endpoint", api.url)
    assert ended.code == 3
    assert "certificate cannot be trusted" in ended.err


def test_no_address_ends_the_run(paid: Hbseg, api: FakeApi, photos: Path, tmp_path: Path) -> None:
    """However odd it is, it is that photo's rejection, with a row; photos that are files are done.

    None of it reaches anything, so nothing is paid for it."""
    (tmp_path / "list.txt").write_text("\n".join(ODD_ADDRESSES) + "\n", "utf-8")
    arguments = ("segment", photos, "--from-file", "list.txt", "-o", "out", "--endpoint", api.url)
    ended = paid(*arguments, "--qps", 100)
    assert ended.code == 3, ended.err
    assert "Traceback" not in ended.err
    status = json.loads(paid("status", "out", "--json").out)
    assert (status["done"], status["pending"]) == (4, 0)
    assert status["rejected"] == len(ODD_ADDRESSES)
    assert api.stats.accepted == 4


@pytest.mark.parametrize("announced", [True, False])
def test_a_photo_that_is_too_large_is_rejected_in_true_words(
    paid: Hbseg, api: FakeApi, tmp_path: Path, announced: bool
) -> None:
    """The size that the server announces, or that there is more than is taken; and nothing else,
    such as asyncio's own words, on stderr."""
    data = photo(tmp_path / "a.jpg").read_bytes() + bytes(4_658_218)

    def handler(connection: socket.socket) -> None:
        request(connection)
        length = b"Content-Length: %d\r\n" % len(data) if announced else b""
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n" + data)

    with serving(handler) as server:
        ended = paid("segment", f"{server.url()}/a.jpg", "-o", "out", "--endpoint", api.url)
    assert ended.code == 3, ended.err
    said = f"{len(data):,} bytes: at most" if announced else "larger than 2,097,152 bytes"
    assert said in ended.err
    assert "use --fit" in ended.err
    assert "Task was destroyed" not in ended.err and "asyncio" not in ended.err
    assert not api.stats.calls


@pytest.mark.parametrize("stdout", [False, True])
def test_a_photo_by_its_address_is_done(
    paid: Hbseg, api: FakeApi, tmp_path: Path, stdout: bool
) -> None:
    """Into a folder and to stdout."""
    data = photo(tmp_path / "a.jpg").read_bytes()
    with serving(answer(b"200 OK", data)) as server:
        address = f"{server.url()}/a.jpg"
        output = "-" if stdout else "out"
        ended = paid("segment", address, "-o", output, "--endpoint", api.url)
    assert ended.code == 0, ended.err
