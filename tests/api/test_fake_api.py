"""The fake API does what it says: other tests and the benchmarks take their measure from it."""

from __future__ import annotations

import base64
import http.client
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import ROOT
from fake_answers import Style
from fake_api import PATH, FakeApi
from fake_behaviour import Behaviour
from PIL import Image


def photo(colour: int = 0, size: tuple[int, int] = (64, 80), orientation: int = 1) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size, (colour, 40, 40)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def form(image: bytes, **fields: str) -> tuple[bytes, dict[str, str]]:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in {"api_key": "key", "api_secret": "secret", **fields}.items()
    ]
    head = b'--b\r\nContent-Disposition: form-data; name="image_file"; filename="x.jpg"\r\n\r\n'
    body = b"".join((*parts, head, image, b"\r\n--b--\r\n"))
    return body, {"Content-Type": "multipart/form-data; boundary=b"}


def connect(api: FakeApi, timeout: float = 5) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(api.url).netloc, timeout=timeout)


def call(api: FakeApi, image: bytes, timeout: float = 5, **fields: str) -> tuple[int, Any]:
    with closing(connect(api, timeout)) as connection:
        connection.request("POST", PATH, *form(image, **fields))
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def picture(field: str) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(field, validate=True)))
    image.load()
    return image


def test_a_sound_answer_has_the_uploads_upright_size() -> None:
    with FakeApi.in_thread() as api:
        status, answer = call(api, photo(orientation=6))
        images = api.answers.images(photo(orientation=6))
    mask, cutout = picture(answer["result"]), picture(answer["body_image"])
    assert status == 200
    assert (mask.mode, mask.size) == ("L", (80, 64))
    assert (cutout.mode, cutout.size) == ("RGBA", (80, 64))
    assert set(cutout.getchannel("A").tobytes()) == {0, 255}
    assert base64.b64decode(answer["result"]) == images.result
    assert base64.b64decode(answer["body_image"]) == images.body_image
    assert {"request_id", "image_id", "time_used"} <= answer.keys()


@pytest.mark.parametrize(
    ("grayscale", "fields"),
    [("0", {"body_image"}), ("1", {"body_image", "result"}), ("2", {"result"})],
)
def test_return_grayscale_chooses_the_images(grayscale: str, fields: set[str]) -> None:
    with FakeApi.in_thread() as api:
        answer = call(api, photo(), return_grayscale=grayscale)[1]
    assert answer.keys() & {"body_image", "result"} == fields


def test_answers_can_be_large_be_jpeg_and_have_the_photos_colours() -> None:
    large = Style(answer_bytes=100_000, jpeg_mask=True)
    with FakeApi.in_thread(Behaviour(style=large)) as api:
        answer = call(api, photo(size=(300, 300)))[1]
    assert 90_000 < len(json.dumps(answer)) < 130_000
    assert picture(answer["result"]).format == "JPEG"
    with FakeApi.in_thread(Behaviour(style=Style(true_colours=True))) as api:
        cutout = picture(call(api, photo(colour=250))[1]["body_image"])
    assert cutout.getpixel((32, 40)) == pytest.approx((250, 40, 40, 255), abs=3)


def test_the_quota_is_a_sliding_window_of_one_second() -> None:
    """Hammered: no window of a second holds more, and nothing is refused too early."""
    quota = 25
    with FakeApi.in_thread(Behaviour(quota=quota)) as api, closing(connect(api)) as connection:
        while api.stats.refused <= 50 or len(api.stats.calls) - api.stats.refused <= 2 * quota:
            connection.request("POST", PATH, *form(photo()))
            connection.getresponse().read()
            time.sleep(0.002)
        calls = api.stats.calls
    times = [one.arrived for one in calls if one.accepted]
    assert all(late - early >= 1.0 for early, late in zip(times, times[quota:], strict=False))
    for refused in (one.arrived for one in calls if not one.accepted):
        assert sum(refused - 1.0 < time <= refused for time in times) == quota
    assert len(times) > quota
    assert api.stats.refused == api.stats.kinds["CONCURRENCY_LIMIT_EXCEEDED"] > 50


def test_the_limit_of_calls_in_flight() -> None:
    with (
        FakeApi.in_thread(Behaviour(in_flight=3, latency=0.3)) as api,
        ThreadPoolExecutor(8) as pool,
    ):
        answers = list(pool.map(lambda number: call(api, photo(number)), range(8)))
        assert sorted(status for status, _ in answers) == [200] * 3 + [403] * 5
        assert call(api, photo())[0] == 200
    assert (api.stats.max_in_flight, api.stats.in_flight) == (3, 0)
    refused = next(answer for status, answer in answers if status == 403)
    assert refused == {"error_message": "CONCURRENCY_LIMIT_EXCEEDED"}


def test_keys_and_balance() -> None:
    rules = Behaviour(keys=(("key", "secret"),), balance=2)
    with FakeApi.in_thread(rules) as api:
        assert call(api, photo(), api_secret="wrong") == (
            401,
            {"error_message": "AUTHENTICATION_ERROR"},
        )
        assert [call(api, photo(1))[0] for _ in range(3)] == [200, 200, 403]
    assert list(api.stats.uploads.values()) == [2]
    assert api.stats.kinds["AUTHORIZATION_ERROR: Insufficient Account Balance"] == 1


def test_faults_of_the_connection() -> None:
    with FakeApi.in_thread(Behaviour(script=("reset", "half", "hang", "ok"))) as api:
        with pytest.raises(ConnectionResetError):
            call(api, photo())
        with pytest.raises(http.client.IncompleteRead):
            call(api, photo())
        with pytest.raises(TimeoutError):
            call(api, photo(), timeout=0.2)
        assert call(api, photo())[0] == 200
    assert api.stats.in_flight == 0
    assert [one.answered is not None for one in api.stats.calls] == [False, True, False, True]


def test_faults_of_the_answer() -> None:
    kinds = ("wrongsize", "notimage", "missing", "brokenpng", "badbase64", "internal")
    with FakeApi.in_thread(Behaviour(script=(*kinds, "garbage", "html502"))) as api:
        wrong, no_image, missing, broken, base, internal = (call(api, photo()) for _ in kinds)
        for _ in ("garbage", "html502"):
            with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
                call(api, photo())
        assert call(api, b"no picture")[1]["error_message"].startswith("IMAGE_ERROR_UNSUPPORTED")
    assert picture(wrong[1]["result"]).size == (66, 81)
    assert not base64.b64decode(no_image[1]["result"]).startswith(b"\x89PNG")
    assert "result" not in missing[1]
    with pytest.raises((OSError, SyntaxError)):
        picture(broken[1]["body_image"])
    with pytest.raises(ValueError, match="base64"):
        base64.b64decode(base[1]["result"], validate=True)
    assert internal[0] == 500
    assert internal[1].keys() == {"error_message", "request_id", "time_used"}


def test_fault_rates_are_drawn_by_seed() -> None:
    rules = Behaviour(faults={"internal": 0.2, "missing": 0.2}, seed=7)
    with FakeApi.in_thread(rules) as api:
        runs = []
        for _ in range(2):
            api.reset(rules)
            for _ in range(100):
                call(api, photo())
            runs.append([one.kind for one in api.stats.calls])
    assert runs[0] == runs[1]
    assert 10 < api.stats.kinds["INTERNAL_ERROR"] < 30
    assert 10 < api.stats.kinds["missing"] < 30


def test_a_misspelt_fault_is_an_error() -> None:
    with pytest.raises(ValueError, match="no such kind: rest"):
        Behaviour(faults={"rest": 0.1})


@contextmanager
def process(*rules: str) -> Iterator[http.client.HTTPConnection]:
    command = [sys.executable, str(ROOT / "tests" / "support" / "fake_api.py"), *rules]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        url = running.stdout.readline().strip()
        with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)) as connection:
            yield connection
        running.terminate()


def test_as_a_process_it_tells_and_forgets_its_counters() -> None:
    with process("latency=[0.01, 0.05]", 'faults={"internal": 1}') as connection:

        def ask(method: str, path: str, *rest: Any) -> Any:
            connection.request(method, path, *rest)
            return json.loads(connection.getresponse().read())

        before = time.monotonic()
        assert ask("POST", PATH, *form(photo()))["error_message"] == "INTERNAL_ERROR"
        stats = ask("GET", "/stats")
        assert (stats["accepted"], stats["kinds"]) == (1, {"INTERNAL_ERROR": 1})
        assert before < stats["calls"][0]["arrived"] < time.monotonic()
        ask("POST", "/reset", b'{"script": ["ok"]}')
        assert "result" in ask("POST", PATH, *form(photo()))
        assert ask("GET", "/stats")["kinds"] == {"ok": 1}
