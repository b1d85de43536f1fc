"""What a whole run pays for answers that are not sound, and takes of those that are."""

from __future__ import annotations

import base64
import json
import socket
from pathlib import Path

import pytest
from conftest import Hbseg, files, photo
from fake_answers import Answers, Style
from fake_api import Behaviour, FakeApi
from odd_servers import request, serving


@pytest.mark.parametrize("lie", ["garbage", "wrongsize", "missing"])
def test_an_answer_that_never_proves_sound_is_paid_for_twice(
    paid: Hbseg, tmp_path: Path, lie: str
) -> None:
    """Two calls in the first run, none in the second, and again with ``--retry-failed``."""
    photo(tmp_path / "photos/a.jpg")
    with FakeApi.in_thread(Behaviour(always=lie)) as api:
        arguments = ("segment", "photos", "-o", "out", "--endpoint", api.url, "--qps", 100)
        calls = []
        for option in ((), (), ("--retry-failed",)):
            assert paid(*arguments, *option).code == 3
            calls.append(len(api.stats.calls))
    assert calls == [2, 2, 4]


@pytest.mark.parametrize("message", [None, ""])
def test_an_empty_error_beside_sound_images_is_a_success(
    paid: Hbseg, tmp_path: Path, message: str | None
) -> None:
    """A server that always writes error_message, and nothing in it: its images are published."""
    images = Answers(Style()).images(photo(tmp_path / "photos/a.jpg").read_bytes())
    body = json.dumps(
        {
            "error_message": message,
            "result": base64.b64encode(images.result).decode(),
            "body_image": base64.b64encode(images.body_image).decode(),
        }
    ).encode()
    calls = []

    def answer(connection: socket.socket) -> None:
        while True:
            calls.append(request(connection))
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)

    with serving(answer) as server:
        ended = paid("segment", "photos", "-o", "out", "--endpoint", server.url())
    assert (ended.code, len(calls)) == (0, 1), ended.err
    assert set(files(tmp_path / "out")) == {"masks/a.png", "cutouts/a.png"}
