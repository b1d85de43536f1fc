"""What a whole run pays for answers that are not sound, and takes of those that are."""

from __future__ import annotations

import base64
import json
import socket
from pathlib import Path

import httpx
import pytest
import respx
from api_engine import (
    CUTOUT,
    MASK,
    SIZE,
    SOUND,
    body,
    encoded,
    outcome,
    page,
    refusal,
)
from conftest import Hbseg, files, photo
from fake_answers import Answers, Style
from fake_api import FakeApi
from fake_behaviour import Behaviour
from making import jpeg, noise, opened, png, quarters
from odd_servers import request, serving
from PIL import Image

from humanbody_cli.core.errors import (
    AccountError,
    FatalError,
    PhotoError,
)
from humanbody_cli.pipeline.engine import Segmentation


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


LARGER = Image.new("RGBA", (SIZE[0] + 1, SIZE[1]))
LIES = {
    "not-json": b"this is no JSON at all",
    "cut-short": SOUND[: len(SOUND) // 2],
    "cut-by-one": SOUND[:-1],
    "no-object": b"[]",
    "mask-missing": body(result=None),
    "cutout-missing": body(body_image=None),
    "both-missing": body(result=None, body_image=None),
    "mask-empty": body(result=""),
    "mask-no-base64": body(result="*" * 400),
    "cutout-no-base64": body(body_image="*" * 400),
    "mask-padding": body(result=encoded(MASK) + "="),
    "mask-a-number": body(result=7),
    "mask-no-image": body(result=encoded(b"no image" * 30)),
    "cutout-no-image": body(body_image=encoded(b"no image" * 30)),
    "mask-cut-short": body(result=encoded(MASK[:-20])),
    "cutout-cut-short": body(body_image=encoded(CUTOUT[:-20])),
    "mask-larger": body(result=encoded(png(LARGER.convert("L")))),
    "cutout-larger": body(body_image=encoded(png(LARGER))),
    "mask-turned": body(result=encoded(png(opened(MASK).transpose(Image.Transpose.ROTATE_90)))),
    "cutout-turned": body(body_image=encoded(png(Image.new("RGBA", SIZE[::-1])))),
    "cutout-jpeg": body(body_image=encoded(jpeg(quarters()))),
    "cutout-opaque": body(body_image=encoded(png(quarters()))),
    "cutout-flipped-byte": body(body_image=encoded(CUTOUT[:90] + b"\xff" + CUTOUT[91:])),
}


@pytest.mark.parametrize("name", LIES)
def test_lies_are_tried_once_more_and_never_taken(route: respx.Route, name: str) -> None:
    """An answer that is not what the document promises is paid twice at most, and then the photo
    has failed for good."""
    route.mock(side_effect=[page(200, LIES[name]), page(200, SOUND)])
    found, _ = outcome(retries=5)
    assert isinstance(found, Segmentation)
    assert found.attempts == 2
    route.mock(side_effect=None, return_value=page(200, LIES[name]))
    failed, api = outcome(retries=5)
    assert isinstance(failed, PhotoError)
    assert (failed.code, failed.transient) == ("BAD_ANSWER", False)
    assert (failed.attempts, route.call_count) == (2, 4)
    assert not api.stop.is_set


def test_a_lie_without_retries_is_paid_once(route: respx.Route) -> None:
    """``--retries 0`` pays once, and no further run pays again by itself."""
    route.mock(return_value=page(200, LIES["cut-short"]))
    failed, _ = outcome(retries=0)
    assert isinstance(failed, PhotoError)
    assert (failed.transient, failed.attempts, route.call_count) == (False, 1, 1)


def test_lies_between_other_failures_are_counted_together(route: respx.Route) -> None:
    """The second lie is the last, whatever came between; other failures keep their retries."""
    broken = httpx.ReadError("reset")
    lie, failure = page(200, LIES["cutout-larger"]), refusal(500, "INTERNAL_ERROR")
    route.mock(side_effect=[failure, lie, broken, failure, lie, page(200, SOUND)])
    failed, _ = outcome(retries=9)
    assert isinstance(failed, PhotoError)
    assert (failed.code, failed.transient, failed.attempts) == ("BAD_ANSWER", False, 5)
    route.mock(side_effect=[failure, lie, broken, failure, page(200, SOUND)])
    found, _ = outcome(retries=9)
    assert isinstance(found, Segmentation)
    assert found.attempts == 5


def test_a_lie_before_an_outage_leaves_the_photo_for_the_next_run(route: respx.Route) -> None:
    """One lie and then a server that fails: the last word was a failure that may pass."""
    route.mock(side_effect=[page(200, LIES["cut-short"]), *[refusal(500, "INTERNAL_ERROR")] * 2])
    failed, _ = outcome(retries=2)
    assert isinstance(failed, PhotoError)
    assert (failed.code, failed.transient, failed.attempts) == ("INTERNAL_ERROR", True, 3)


@pytest.mark.parametrize("empty", [None, "", "  ", False, 0, [], {}], ids=repr)
def test_an_empty_error_beside_sound_images_is_an_answer(route: respx.Route, empty: object) -> None:
    """Servers that always write error_message leave it empty in a success: it is paid and taken."""
    route.mock(
        return_value=page(200, json.dumps({**json.loads(SOUND), "error_message": empty}).encode())
    )
    found, _ = outcome()
    assert isinstance(found, Segmentation)
    assert (found.cutout, route.call_count) == (CUTOUT, 1)


def test_an_empty_error_without_images_is_unsound(route: respx.Route) -> None:
    """Nothing named and nothing sent: as any answer without its images."""
    route.mock(return_value=page(200, b'{"error_message": null, "request_id": "a"}'))
    failed, _ = outcome(retries=5)
    assert isinstance(failed, PhotoError)
    assert (failed.code, failed.attempts) == ("BAD_ANSWER", 2)


# Pages of whatever stands in between


@pytest.mark.parametrize("status", [401, 402, 403, 405, 407, 411, 421, 451, 501, 505, 511, 302])
@pytest.mark.parametrize(
    "text", [b"<html>Access denied</html>", b"", b'"Forbidden"', b'{"message": "Forbidden"}', b"[]"]
)
def test_a_page_that_never_gets_better_stops_the_run_at_once(status: int, text: bytes) -> None:
    """One call; the message names the endpoint without its password, and what to check."""
    endpoint = "https://user:hush@api.example.com"
    with respx.mock(assert_all_called=False) as mock:
        route = mock.post(host="api.example.com").mock(return_value=page(status, text))
        found, api = outcome(endpoint=endpoint, retries=5)
    assert isinstance(found, FatalError)
    assert not isinstance(found, AccountError)
    assert (route.call_count, found.attempts) == (1, 1)
    said = str(api.stop.reason)
    assert said.startswith("https://api.example.com: the server answered")
    assert str(status) in said
    assert any(word in said for word in ("check", "open a web page", "put them in"))
    assert "hush" not in said


@pytest.mark.parametrize("status", [400, 406, 409, 422])
def test_a_page_that_may_concern_one_photo_fails_it_for_now(
    route: respx.Route, status: int
) -> None:
    """A firewall may dislike one upload: one further try, then the next run may try again."""
    route.mock(return_value=page(status, b"<html>blocked</html>"))
    failed, api = outcome(retries=5)
    assert isinstance(failed, PhotoError)
    assert (failed.code, failed.transient, failed.attempts) == ("GATEWAY_ERROR", True, 2)
    assert not api.stop.is_set


def test_large_lies_are_found_in_the_parsers_thread(route: respx.Route) -> None:
    """Answers that are parsed off the loop meet the same treatment."""
    large = body(body_image=encoded(png(noise((300, 200)).convert("RGBA"), compress_level=0)))
    assert len(large) > 100_000
    route.mock(return_value=page(200, large))
    failed, _ = outcome()
    assert isinstance(failed, PhotoError)
    assert "300 x 200" in failed.message
    assert "96 x 64" in failed.message


@pytest.mark.parametrize("mask", [MASK, jpeg(opened(MASK)), png(opened(MASK).convert("RGB"))])
def test_a_mask_may_be_png_or_jpeg(route: respx.Route, mask: bytes) -> None:
    """The document's sample is a JPEG: both are taken, and become an 8-bit gray PNG."""
    route.mock(return_value=page(200, body(result=encoded(mask))))
    found, _ = outcome()
    assert isinstance(found, Segmentation)
    assert found.mask is not None
    image = opened(found.mask.png)
    assert (image.format, image.mode, image.size) == ("PNG", "L", SIZE)
