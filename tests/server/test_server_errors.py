"""The document's errors, row by row, against the running server on a real socket."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest
from server_fixture import (
    FORM,
    PATH,
    PORTRAIT,
    Server,
    assert_ids,
    is_bare,
    message,
    noise,
    padded,
    picture,
    serving_keys,
    site,
)

LIMIT = 2 * 1024 * 1024
MEGABYTES = noise((1700, 1500))  # more than 2 MB


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving_keys() as started:
        yield started


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    pages = {"/photo.jpg": PORTRAIT, "/big.png": MEGABYTES, "/page.html": b"<html>", "/slow": b""}
    with site(pages) as address:
        yield address


# --- this API's own errors ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image",
    [
        b"no picture",
        PORTRAIT[:20000],
        picture(kind="GIF"),
        picture(kind="WEBP"),
        b"",
        picture(kind="PNG")[:-20],
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
    ],
    ids=["text", "cut jpeg", "gif", "webp", "empty", "cut png", "png head", "jpeg head"],
)
def test_unsupported_format(server: Server, image: bytes) -> None:
    """IMAGE_ERROR_UNSUPPORTED_FORMAT: no image file, or a damaged one."""
    answer = server.post(image=image)
    text = "IMAGE_ERROR_UNSUPPORTED_FORMAT: image_file"
    assert (answer.status_code, message(answer)) == (400, text)
    assert_ids(answer)


@pytest.mark.parametrize("text", ["***", "data:image/jpeg;base64,/9j/", "abc", "aGVsbG8="])
def test_unsupported_base64(server: Server, text: str) -> None:
    """What is no base64, or no image in base64; a data: prefix is not base64."""
    answer = server.form(image_base64=text)
    expected = "IMAGE_ERROR_UNSUPPORTED_FORMAT: image_base64"
    assert (answer.status_code, message(answer)) == (400, expected)


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "ftp://127.0.0.1/a.jpg",
        "file:///etc/passwd",
        "http://",
        "http://127.0.0.1:1/a",
        "{web}/missing.jpg",
        "http://user:pass@127.0.0.1/",
        "http://[::1",
        "{web}/to/file:///etc/hosts",
        "{web}/to//to//to//to//to//to/x",
        "http://\u2603\u2603..com/",
        "\udcff".encode("utf-8", "replace").decode(),
    ],
)
def test_invalid_image_url(server: Server, web: str, url: str) -> None:
    """INVALID_IMAGE_URL: nothing can be downloaded from there."""
    answer = server.form(image_url=url.replace("{web}", web))
    assert (answer.status_code, message(answer)) == (400, "INVALID_IMAGE_URL")
    assert_ids(answer)


def test_bad_image_url(server: Server) -> None:
    """BAD_ARGUMENTS: an address longer than addresses are."""
    answer = server.form(image_url="http://127.0.0.1/" + "a" * 3000)
    assert (answer.status_code, message(answer)) == (400, "BAD_ARGUMENTS: image_url")


def test_page_behind_image_url(server: Server, web: str) -> None:
    """What is downloaded but no image is an image error of that parameter."""
    answer = server.form(image_url=f"{web}/page.html")
    assert message(answer) == "IMAGE_ERROR_UNSUPPORTED_FORMAT: image_url"


@pytest.mark.parametrize("path", ["/big.png", "/endless"])
def test_image_file_too_large(server: Server, web: str, path: str) -> None:
    """IMAGE_FILE_TOO_LARGE: more than 2 MB, announced or not. The request itself is small."""
    answer = server.form(image_url=web + path)
    assert (answer.status_code, message(answer)) == (400, "IMAGE_FILE_TOO_LARGE: image_url")
    assert_ids(answer)


def test_image_download_timeout(server: Server, web: str) -> None:
    """IMAGE_DOWNLOAD_TIMEOUT has a status of its own: 412."""
    answer = server.form(image_url=f"{web}/slow")
    assert (answer.status_code, message(answer)) == (412, "IMAGE_DOWNLOAD_TIMEOUT")
    assert_ids(answer)


# --- errors common to all APIs --------------------------------------------------------------------


@pytest.mark.parametrize("pair", [("good", "wrong"), ("nobody", "secret"), ("good", "\u79d8")])
def test_authentication_error(server: Server, pair: tuple[str, str]) -> None:
    """AUTHENTICATION_ERROR: key and secret do not match; which of both is not said."""
    data = {"api_key": pair[0], "api_secret": pair[1]}
    answer = httpx.post(server.url, data=data, trust_env=False)
    assert (answer.status_code, message(answer)) == (401, "AUTHENTICATION_ERROR")
    assert is_bare(answer)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("byclient", "Denied by Client"),
        ("byadmin", "Denied by Admin"),
        ("poor", "Insufficient Account Balance"),
    ],
)
def test_authorization_error(server: Server, key: str, reason: str) -> None:
    """AUTHORIZATION_ERROR with each of its three reasons."""
    data = {"api_key": key, "api_secret": "secret"}
    answer = httpx.post(server.url, data=data, trust_env=False)
    assert (answer.status_code, message(answer)) == (403, f"AUTHORIZATION_ERROR: {reason}")
    assert is_bare(answer)


def test_balance_runs_out(server: Server) -> None:
    """A key with a balance of two calls makes two calls."""
    answers = [server.post(api_key="prepaid", image=picture()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 403]
    assert message(answers[2]) == "AUTHORIZATION_ERROR: Insufficient Account Balance"


def _within_a_second(
    client: httpx.Client, server: Server, count: int
) -> list[httpx.Response] | None:
    """Calls of a key with 3 QPS; ``None`` where the machine was too busy to make them in time."""
    data = {"api_key": "slow", "api_secret": "secret"}
    began = time.monotonic()
    answers = [client.post(server.url, data=data) for _ in range(count)]
    return answers if time.monotonic() - began < 1 else None


def test_concurrency_limit_exceeded(server: Server) -> None:
    """CONCURRENCY_LIMIT_EXCEEDED: the fourth call within a second of a key with 3 QPS.

    Refused calls do not count: three more are taken a second after the first three.
    """
    with httpx.Client(trust_env=False) as client:
        while (answers := _within_a_second(client, server, 8)) is None:
            time.sleep(1.05)
        time.sleep(1.05)
        while (later := _within_a_second(client, server, 4)) is None:
            time.sleep(1.05)
    refused = [answer.status_code == 403 for answer in answers]
    assert refused == [False] * 3 + [True] * 5
    assert [answer.status_code == 403 for answer in later] == [False] * 3 + [True]
    assert message(answers[-1]) == "CONCURRENCY_LIMIT_EXCEEDED"
    assert is_bare(answers[-1])


def test_missing_arguments(server: Server) -> None:
    """MISSING_ARGUMENTS: as in the document's sample of a failure."""
    for answer in (server.form(), server.post(), server.form(image_file="text is no file")):
        text = "MISSING_ARGUMENTS: image_url, image_file, image_base64"
        assert (answer.status_code, message(answer)) == (400, text)
        assert_ids(answer)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_api_not_found_for_other_methods(server: Server, method: str) -> None:
    """API_NOT_FOUND: the API is called by POST."""
    answer = httpx.request(method, server.url, trust_env=False)
    assert (answer.status_code, message(answer)) == (404, "API_NOT_FOUND")
    assert is_bare(answer)


@pytest.mark.parametrize("path", ["/", "/humanbodypp/v1/segment", PATH + "/", "/x?y=z"])
def test_api_not_found_for_other_paths(server: Server, path: str) -> None:
    """API_NOT_FOUND: there is no such API here."""
    answer = httpx.post(server.endpoint + path, content=b"x" * 1000, trust_env=False)
    assert (answer.status_code, message(answer)) == (404, "API_NOT_FOUND")
    assert is_bare(answer)


def test_request_of_2_mb(server: Server) -> None:
    """A request of exactly 2 MB is read."""
    answer = httpx.post(server.url, content=padded(LIMIT), headers=FORM, trust_env=False)
    assert message(answer).startswith("MISSING_ARGUMENTS")


@pytest.mark.parametrize("chunked", [False, True])
def test_request_entity_too_large(server: Server, chunked: bool) -> None:
    """413 in plain text, a byte beyond 2 MB; the client can read it while it still sends."""
    body = padded(LIMIT + 1)
    content = iter([body[:1000000], body[1000000:]]) if chunked else body
    answer = httpx.post(server.url, content=content, headers=FORM, trust_env=False)
    assert (answer.status_code, answer.text) == (413, "Request Entity Too Large")
    assert answer.headers["content-type"].startswith("text/plain")


def test_file_just_under_2_mb_is_too_large_a_request(server: Server) -> None:
    """The gateway counts the request, not the file."""
    answer = server.post(image=PORTRAIT + b"\0" * (LIMIT - len(PORTRAIT)))
    assert answer.status_code == 413


def test_size_is_checked_before_the_key(server: Server) -> None:
    """The gateway looks at the size before it knows who calls."""
    answer = httpx.post(server.url, content=b"x" * (LIMIT + 1), headers=FORM, trust_env=False)
    assert answer.status_code == 413
