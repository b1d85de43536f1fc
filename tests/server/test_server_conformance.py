"""The API's document, row by row, against the running server on a real socket."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image, ImageChops
from server_fixture import (
    FORM,
    PATH,
    PORTRAIT,
    REQUEST_ID,
    SAMPLES,
    Server,
    assert_ids,
    decoded,
    is_bare,
    message,
    padded,
    picture,
    serving_keys,
    site,
)
from waiting import until


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving_keys() as started:
        yield started


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    with site({"/photo.jpg": PORTRAIT}) as address:
        yield address


# --- the picture's requirements -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_takes_jpg_and_png(server: Server, kind: str) -> None:
    """Both formats are taken."""
    assert server.post(image=picture(kind=kind)).status_code == 200


@pytest.mark.parametrize("size", [(48, 48), (48, 4096), (4096, 48)])
def test_takes_48_to_4096_pixels(server: Server, size: tuple[int, int]) -> None:
    """Both ends of the range are inside it."""
    answer = server.post(image=picture(size, "PNG"))
    assert answer.status_code == 200
    assert decoded(answer, "result").size == size


@pytest.mark.parametrize("size", [(47, 100), (100, 47), (4097, 100), (100, 4097)])
def test_invalid_image_size(server: Server, size: tuple[int, int]) -> None:
    """INVALID_IMAGE_SIZE: a pixel beyond either end."""
    answer = server.post(image=picture(size, "PNG"))
    assert (answer.status_code, message(answer)) == (400, "INVALID_IMAGE_SIZE: image_file")
    assert_ids(answer)


# --- request parameters ---------------------------------------------------------------------------


def test_document_sample_call(server: Server) -> None:
    """The document's curl call: three multipart fields, the file's part with name and type."""
    files = {"image_file": ("image_file.jpg", PORTRAIT, "image/jpeg")}
    data = {"api_key": "good", "api_secret": "secret"}
    answer = httpx.post(server.url, data=data, files=files, trust_env=False)
    assert answer.status_code == 200


def test_file_before_text_fields(server: Server) -> None:
    """The order of multipart fields does not matter."""
    files: dict[str, tuple[str | None, bytes | str]] = {
        "image_file": ("a.jpg", PORTRAIT),
        "api_key": (None, "good"),
        "api_secret": (None, "secret"),
    }
    assert httpx.post(server.url, files=files, trust_env=False).status_code == 200


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Disposition: form-data; name="image_file"; filename="a.jpg"',
        b'Content-Disposition: form-data; name="image_file"; filename=a.jpg',
        b'Content-Disposition: form-data; name=image_file; filename=""',
        b'Content-Disposition: form-data; name="image_file"',
        b'content-disposition: FORM-DATA; name="image_file"; filename="\xe7\x85\xa7.jpg"',
        b'Content-Type: image/jpeg\r\nContent-Disposition: form-data; name="image_file"',
        b'Content-Disposition: form-data; name="image_file"; filename="a"\r\n'
        b"Content-Transfer-Encoding: binary",
    ],
)
def test_hand_built_multipart(server: Server, head: bytes) -> None:
    """Text fields first, then the file, with Content-Length: as SDKs write it by hand."""
    fields = b"".join(
        b'--XX\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % pair
        for pair in ((b"api_key", b"good"), (b"api_secret", b"secret"))
    )
    body = fields + b"--XX\r\n" + head + b"\r\n\r\n" + PORTRAIT + b"\r\n--XX--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=XX"}
    answer = httpx.post(server.url, content=body, headers=headers, trust_env=False)
    assert answer.status_code == 200
    assert decoded(answer, "result").size == (512, 600)


def test_chunked_upload(server: Server) -> None:
    """A body without Content-Length is taken too."""
    request = httpx.Request(
        "POST",
        server.url,
        files={"image_file": ("a", PORTRAIT)},
        data={"api_key": "good", "api_secret": "secret"},
    )
    whole = request.read()
    parts = (whole[at : at + 7000] for at in range(0, len(whole), 7000))
    headers = {"Content-Type": request.headers["Content-Type"]}
    answer = httpx.post(server.url, content=parts, headers=headers, trust_env=False)
    assert answer.status_code == 200


def test_missing_api_key(server: Server) -> None:
    """api_key is required; the gateway says so, without ids."""
    answer = httpx.post(server.url, data={"api_secret": "secret"}, trust_env=False)
    assert (answer.status_code, message(answer)) == (400, "MISSING_ARGUMENTS: api_key")
    assert is_bare(answer)


def test_missing_api_secret(server: Server) -> None:
    """api_secret is required."""
    answer = httpx.post(server.url, data={"api_key": "good"}, trust_env=False)
    assert (answer.status_code, message(answer)) == (400, "MISSING_ARGUMENTS: api_secret")
    assert is_bare(answer)


def test_image_url(server: Server, web: str) -> None:
    """A photo is fetched from its address."""
    answer = server.form(image_url=f"{web}/photo.jpg")
    assert decoded(answer, "result").size == (512, 600)


def test_image_url_through_redirects(server: Server, web: str) -> None:
    """Redirects are followed."""
    assert server.form(image_url=f"{web}/to/{web}/photo.jpg").status_code == 200


@pytest.mark.parametrize("wrapped", [False, True], ids=["one line", "76 columns"])
def test_image_base64(server: Server, wrapped: bool) -> None:
    """The image as base64, in one line or as tools wrap it; with url-encoding and in multipart."""
    text = (base64.encodebytes if wrapped else base64.b64encode)(PORTRAIT).decode()
    for answer in (server.form(image_base64=text), server.post(image_base64=text)):
        assert decoded(answer, "result").size == (512, 600)


def test_image_file_before_image_base64(server: Server) -> None:
    """image_file has precedence, and COEXISTENCE_ARGUMENTS is not returned."""
    other = base64.b64encode(picture((60, 50))).decode()
    answer = server.post(image=PORTRAIT, image_base64=other, image_url="http://127.0.0.1:1/")
    assert decoded(answer, "result").size == (512, 600)


def test_image_base64_before_image_url(server: Server) -> None:
    """image_url comes last."""
    other = base64.b64encode(picture((60, 50))).decode()
    answer = server.form(image_base64=other, image_url="http://127.0.0.1:1/")
    assert decoded(answer, "result").size == (60, 50)


@pytest.mark.parametrize(
    ("value", "fields"),
    [("0", {"body_image"}), ("1", {"result", "body_image"}), ("2", {"result"})],
)
def test_return_grayscale(server: Server, value: str, fields: set[str]) -> None:
    """0 leaves the gray mask out; 2, seen but not documented, the cutout."""
    answer = server.post(image=PORTRAIT, return_grayscale=value)
    assert set(answer.json()) - {"request_id", "image_id", "time_used"} == fields


def test_return_grayscale_default(server: Server) -> None:
    """The default is 1."""
    assert {"result", "body_image"} <= set(server.post(image=PORTRAIT).json())


@pytest.mark.parametrize("value", ["3", "-1", "yes", "", "1.0", "9" * 5000])
def test_bad_return_grayscale(server: Server, value: str) -> None:
    """BAD_ARGUMENTS: what should be 0, 1 or 2 is something else."""
    answer = server.post(image=PORTRAIT, return_grayscale=value)
    assert (answer.status_code, message(answer)) == (400, "BAD_ARGUMENTS: return_grayscale")
    assert_ids(answer)


def test_unknown_fields_are_ignored(server: Server) -> None:
    """Fields that the document does not know do no harm."""
    assert server.post(image=PORTRAIT, beauty="11", lang="zh").status_code == 200


# --- the answer -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def portrait(server: Server) -> httpx.Response:
    return server.post(image=PORTRAIT)


def test_request_id(portrait: httpx.Response) -> None:
    """Unix seconds, a comma, a UUID."""
    text = portrait.json()["request_id"]
    assert REQUEST_ID.fullmatch(text)
    assert abs(int(text.partition(",")[0]) - time.time()) < 60


def test_request_ids_differ(server: Server, portrait: httpx.Response) -> None:
    """Each request has an id of its own; one image has one image_id."""
    again = server.post(image=PORTRAIT).json()
    assert again["request_id"] != portrait.json()["request_id"]
    assert again["image_id"] == portrait.json()["image_id"]


def test_image_id(portrait: httpx.Response) -> None:
    """Base64 of 16 bytes."""
    assert len(base64.b64decode(portrait.json()["image_id"], validate=True)) == 16


def test_time_used(portrait: httpx.Response) -> None:
    """Whole milliseconds."""
    assert isinstance(portrait.json()["time_used"], int)


def test_result(portrait: httpx.Response) -> None:
    """One gray channel of the photo's size."""
    mask = decoded(portrait, "result")
    assert (mask.mode, mask.size) == ("L", (512, 600))


def test_body_image(portrait: httpx.Response) -> None:
    """RGBA: the photo's own colours where confidence > 0.5, transparent elsewhere."""
    mask, cutout = decoded(portrait, "result"), decoded(portrait, "body_image")
    assert (cutout.format, cutout.mode, cutout.size) == ("PNG", "RGBA", (512, 600))
    shown = mask.point(lambda value: 255 if value > 127 else 0)
    assert cutout.getchannel("A").tobytes() == shown.tobytes()
    assert 0 < sum(shown.histogram()[255:]) < 512 * 600
    with Image.open(SAMPLES / "portraits" / "grace_hopper.jpg") as photo:
        changed = ImageChops.difference(photo.convert("RGB"), cutout.convert("RGB"))
    changed.paste(0, mask=shown.point(lambda value: 255 - value))
    assert changed.getbbox() is None


def test_no_error_message_in_success(portrait: httpx.Response) -> None:
    """error_message exists in failures only; the answer is JSON."""
    assert portrait.headers["content-type"] == "application/json"
    assert set(portrait.json()) == {
        "request_id",
        "image_id",
        "time_used",
        "result",
        "body_image",
    }


def test_orientation_comes_first(server: Server) -> None:
    """A photo that lies on its side is turned upright, and so is the answer."""
    exif = Image.Exif()
    exif[0x0112] = 6
    answer = server.post(image=picture((120, 90), exif=exif))
    assert decoded(answer, "result").size == decoded(answer, "body_image").size == (90, 120)


def test_keep_alive(server: Server) -> None:
    """One connection carries many calls, errors included."""
    with httpx.Client(trust_env=False) as client:
        for _ in range(3):
            assert client.post(server.url, data={"api_key": "x"}).status_code == 400
            data = {"api_key": "good", "api_secret": "secret"}
            files = {"image_file": ("a", picture())}
            assert client.post(server.url, data=data, files=files).status_code == 200


def test_kept_alive_answers_are_not_delayed(server: Server) -> None:
    """Headers and body of an answer do not wait for each other (Nagle and delayed ACK: 40 ms)."""
    with httpx.Client(trust_env=False) as client:
        calls = (client.post(server.url, data={"api_key": "x"}) for _ in range(100))
        assert any(call.elapsed.total_seconds() < 0.03 for call in calls)


def test_continue_is_said(server: Server) -> None:
    """A client that asks before it sends (curl, beyond 1 MB) is told to go on."""
    body = padded(1_200_000)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        lines = [f"POST {PATH} HTTP/1.1", "Host: x", f"Content-Type: {FORM['Content-Type']}"]
        lines += [f"Content-Length: {len(body)}", "Expect: 100-continue", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")


# --- for operators --------------------------------------------------------------------------------


def test_health_and_metrics(server: Server) -> None:
    """/healthz answers JSON, /metrics counts requests by status and code."""
    assert httpx.get(f"{server.endpoint}/healthz", trust_env=False).json()["status"] == "ok"
    before = server.metric('hbseg_requests_total{code="AUTHENTICATION_ERROR",status="401"}')
    server.post(api_secret="wrong")
    after = server.metric('hbseg_requests_total{code="AUTHENTICATION_ERROR",status="401"}')
    assert after == before + 1


def test_one_log_line_a_request(server: Server) -> None:
    """Request id, status, code, the key's first 4 characters, bytes and time; never the secret."""
    answer = server.post(image=PORTRAIT, api_secret="secret")
    request_id = answer.json()["request_id"]
    # The line follows the answer's last byte.
    assert until(lambda: request_id in server.log.read_text())
    (line,) = [line for line in server.log.read_text().splitlines() if request_id in line]
    assert " 200 ok key=good in=" in line
    assert f" out={len(answer.content)} ms=" in line
    # The name of the field may be the reason of a refusal.
    assert "secret" not in server.log.read_text().replace('"api_secret"', "")


def test_json_is_whole(portrait: httpx.Response) -> None:
    """The body is one JSON object of the announced length."""
    assert int(portrait.headers["content-length"]) == len(portrait.content)
    json.loads(portrait.content)
