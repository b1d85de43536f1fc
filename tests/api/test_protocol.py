"""The API's format: requests parse back, answers are understood, codes are the document's."""

from __future__ import annotations

import email
import email.policy
import traceback

import pytest
from answering import NGINX, refusal
from hypothesis import given
from hypothesis import strategies as st
from making import jpeg, png

from humanbody_cli.api.requests import Multipart, request_size, segment_request
from humanbody_cli.api.responses import error_body
from humanbody_cli.core import api_spec
from humanbody_cli.core.api_spec import Treatment
from humanbody_cli.core.settings import Credentials

PAIR = Credentials("k" * 32, "s" * 32)

# The document's two tables: code, HTTP status, and what the client is to do about it.
TABLE = [
    ("IMAGE_ERROR_UNSUPPORTED_FORMAT", 400, Treatment.PHOTO),
    ("INVALID_IMAGE_SIZE", 400, Treatment.PHOTO),
    ("INVALID_IMAGE_URL", 400, Treatment.PHOTO),
    ("IMAGE_FILE_TOO_LARGE", 400, Treatment.PHOTO),
    ("IMAGE_DOWNLOAD_TIMEOUT", 412, Treatment.RETRY),
    ("AUTHENTICATION_ERROR", 401, Treatment.STOP),
    ("AUTHORIZATION_ERROR", 403, Treatment.STOP),
    ("CONCURRENCY_LIMIT_EXCEEDED", 403, Treatment.RETRY),
    ("MISSING_ARGUMENTS", 400, Treatment.STOP),
    ("BAD_ARGUMENTS", 400, Treatment.STOP),
    ("COEXISTENCE_ARGUMENTS", 400, Treatment.STOP),
    ("Request Entity Too Large", 413, Treatment.PHOTO),
    ("API_NOT_FOUND", 404, Treatment.STOP),
    ("INTERNAL_ERROR", 500, Treatment.RETRY),
]


# Requests


def parts_of(request: Multipart) -> dict[str, tuple[bytes, str | None, str]]:
    """A request's fields by Python's own mail parser: content, file name and type."""
    head = f"Content-Type: {request.content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + request.body, policy=email.policy.HTTP)
    found = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        found[str(name)] = (content, part.get_filename(), part.get_content_type())
    return found


@pytest.mark.parametrize(("kind", "data"), [("JPEG", jpeg()), ("PNG", png())])
@pytest.mark.parametrize("grayscale", [0, 1, 2])
def test_requests_parse_back(kind: str, data: bytes, grayscale: int) -> None:
    """A multipart parser finds key, secret, return_grayscale and the photo's own bytes."""
    found = parts_of(segment_request(PAIR, data, image_format=kind, grayscale=grayscale))
    assert list(found) == ["api_key", "api_secret", "return_grayscale", "image_file"]
    assert found["api_key"][0] == b"k" * 32
    assert found["api_secret"][0] == b"s" * 32
    assert found["return_grayscale"][0] == str(grayscale).encode()
    name = f"image.{kind.lower()}"
    assert found["image_file"][1:] == (name, f"image/{kind.lower()}")


@given(st.binary(max_size=3000))
def test_any_image_bytes_come_whole(data: bytes) -> None:
    """The image's bytes arrive as they are, whatever they look like, by a server's own parser."""
    multipart = pytest.importorskip("multipart")
    request = segment_request(PAIR, data, image_format="PNG", grayscale=1)
    parser = multipart.PushMultipartParser(request.content_type.partition("boundary=")[2])
    received: list[bytes] = []
    with parser:
        for event in parser.parse(request.body):
            if isinstance(event, bytes):
                received[-1] += event
            elif event is not None:
                received.append(b"")
    assert received == [b"k" * 32, b"s" * 32, b"1", data]


def test_boundaries_differ() -> None:
    """Each request has a boundary of its own: none can be guessed and planted in a photo."""
    types = {
        segment_request(PAIR, b"", image_format="PNG", grayscale=1).content_type for _ in range(9)
    }
    assert len(types) == 9


@pytest.mark.parametrize("size", [0, 1, 2_000_000])
def test_the_size_of_a_request_is_exact(size: int) -> None:
    """The size that pre-validation counts with is the size that is sent, for a JPEG."""
    request = segment_request(PAIR, bytes(size), image_format="JPEG", grayscale=1)
    assert len(request.body) == request_size(size, PAIR) == request_size(size)


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60),
    st.sampled_from(["JPEG", "PNG"]),
    st.sampled_from([0, 1, 2]),
)
def test_no_request_is_larger_than_was_counted(
    key: str, secret: str, kind: str, grayscale: int
) -> None:
    """Whatever the key, a photo that was let through makes no request beyond the limit."""
    pair = Credentials(key, secret)
    request = segment_request(pair, b"12345", image_format=kind, grayscale=grayscale)
    assert len(request.body) <= request_size(5, pair)


def test_the_secret_never_shows() -> None:
    """Neither repr, str, formatting nor a traceback of a failure shows the secret."""
    pair = Credentials("public-key-0123", "THE-SECRET")
    for shown in (repr(pair), str(pair), f"{pair}", f"{[pair]!r}"):
        assert "THE-SECRET" not in shown
        assert "public-key" not in shown
    try:
        raise ValueError(pair)
    except ValueError:
        assert "THE-SECRET" not in traceback.format_exc()


def test_the_limits_are_the_documents() -> None:
    """48 to 4096 pixels, 2 MB, and the address of the document."""
    assert (api_spec.MIN_SIDE, api_spec.MAX_SIDE, api_spec.MAX_BYTES) == (48, 4096, 2_097_152)
    url = api_spec.DEFAULT_ENDPOINT + api_spec.SEGMENT_PATH
    assert url == "https://api-cn.faceplusplus.com/humanbodypp/v2/segment"


# Codes


def test_the_rows_are_those_of_the_document() -> None:
    """Every row of both tables is there once, with its HTTP status and its treatment."""
    assert [(row.code, row.http_status, row.treatment) for row in api_spec.ROWS] == TABLE


def test_the_gateways_rows_are_bare() -> None:
    """Gateway errors carry no request_id; those of the application do."""
    bare = {row.code for row in api_spec.ROWS if row.bare}
    assert {"AUTHENTICATION_ERROR", "CONCURRENCY_LIMIT_EXCEEDED"} <= bare
    assert not bare & {"IMAGE_ERROR_UNSUPPORTED_FORMAT", "INVALID_IMAGE_SIZE", "INTERNAL_ERROR"}


def test_every_row_says_what_to_do() -> None:
    """No row leaves the user alone with a code."""
    assert all(len(row.advice) > 15 for row in api_spec.ROWS)


@pytest.mark.parametrize(
    ("message", "code", "parameter"),
    [
        ("INVALID_IMAGE_SIZE:image_file", "INVALID_IMAGE_SIZE", "image_file"),
        ("INVALID_IMAGE_SIZE: image_file", "INVALID_IMAGE_SIZE", "image_file"),
        ("CONCURRENCY_LIMIT_EXCEEDED", "CONCURRENCY_LIMIT_EXCEEDED", ""),
        ("AUTHORIZATION_ERROR:Denied by Client", "AUTHORIZATION_ERROR", "Denied by Client"),
        ("BAD_ARGUMENTS: a: b", "BAD_ARGUMENTS", "a: b"),
        ("", "", ""),
        (" : ", "", ""),
    ],
)
def test_messages_are_split_at_their_first_colon(message: str, code: str, parameter: str) -> None:
    """Code and parameter are told apart in both printed forms."""
    assert api_spec.split_message(message) == (code, parameter)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Denied by Client", "disabled this key yourself"),
        ("Denied by Admin", "provider has disabled"),
        ("Insufficient Account Balance", "top it up"),
        ("Limit reached.", "limit is used up"),
        ("Denied.", "disabled"),
        ("Something new", "may not call"),
    ],
)
@pytest.mark.parametrize("colon", [":", ": "])
def test_each_reason_of_a_refused_key_has_its_advice(reason: str, words: str, colon: str) -> None:
    """A refused key stops the run with words for its own reason, seen or documented."""
    found = refusal(403, error_body(f"AUTHORIZATION_ERROR{colon}{reason}"))
    assert words in found.message
    assert found.treatment is Treatment.STOP


@pytest.mark.parametrize(("code", "status", "treatment"), TABLE)
@pytest.mark.parametrize("form", ["{}", "{}:image_file", "{}: image_file"])
@pytest.mark.parametrize("ids", [True, False])
def test_every_documented_error_is_understood(
    code: str, status: int, treatment: Treatment, form: str, ids: bool
) -> None:
    """Bare or with ids, with a parameter or without: the row decides what is to be done."""
    identity, time_used = ("1,a", 3) if ids else (None, None)
    body = error_body(form.format(code), request_id=identity, time_used=time_used)
    found = refusal(status, body)
    assert (found.code, found.treatment) == (code, treatment)
    assert (found.request_id, found.time_used) == (identity, time_used)
    assert code in found.message


@pytest.mark.parametrize(("code", "status", "treatment"), TABLE)
@pytest.mark.parametrize("other", [200, 400, 403, 418, 500])
def test_the_message_decides_and_not_the_status(
    code: str, status: int, treatment: Treatment, other: int
) -> None:
    """A known error means the same under any HTTP status."""
    found = refusal(other, error_body(code))
    assert (found.code, found.treatment) == (code, treatment)


@pytest.mark.parametrize(
    ("status", "treatment"),
    [
        (400, Treatment.PHOTO),
        (401, Treatment.STOP),
        (402, Treatment.STOP),
        (403, Treatment.STOP),
        (429, Treatment.RETRY),
        (500, Treatment.RETRY),
        (503, Treatment.RETRY),
    ],
)
def test_unknown_errors_go_by_their_status(status: int, treatment: Treatment) -> None:
    """An error that the document does not have is judged by its status, and costs no key."""
    found = refusal(status, error_body("SOMETHING_NEW: x"))
    assert (found.code, found.treatment) == ("SOMETHING_NEW", treatment)


@pytest.mark.parametrize(
    ("status", "body", "code", "treatment"),
    [
        (413, b"Request Entity Too Large", "Request Entity Too Large", Treatment.PHOTO),
        (413, NGINX % b"413", "Request Entity Too Large", Treatment.PHOTO),
        (413, b"", "Request Entity Too Large", Treatment.PHOTO),
        (413, b"{}", "Request Entity Too Large", Treatment.PHOTO),
        (404, NGINX % b"404", "API_NOT_FOUND", Treatment.STOP),
        (301, NGINX % b"301", "API_NOT_FOUND", Treatment.STOP),
        (500, NGINX % b"500", "GATEWAY_ERROR", Treatment.RETRY),
        (502, NGINX % b"502", "GATEWAY_ERROR", Treatment.RETRY),
        (503, b"", "GATEWAY_ERROR", Treatment.RETRY),
        (504, b"\xff\xfe\xff", "GATEWAY_ERROR", Treatment.RETRY),
        (429, b"slow down", "GATEWAY_ERROR", Treatment.RETRY),
        (408, b"", "GATEWAY_ERROR", Treatment.RETRY),
        (200, NGINX % b"200", "BAD_ANSWER", Treatment.ONCE_MORE),
        (200, b"", "BAD_ANSWER", Treatment.ONCE_MORE),
        (200, b"[1, 2]", "BAD_ANSWER", Treatment.ONCE_MORE),
        (200, b'"text"', "BAD_ANSWER", Treatment.ONCE_MORE),
        (200, b"null", "BAD_ANSWER", Treatment.ONCE_MORE),
        (200, b'{"result": 7}', "BAD_ANSWER", Treatment.ONCE_MORE),
        (200, b'{"result": true}', "BAD_ANSWER", Treatment.ONCE_MORE),
        (200, b'{"result": ["x"]}', "BAD_ANSWER", Treatment.ONCE_MORE),
        (200, b'{"result": "no base64"}', "BAD_ANSWER", Treatment.ONCE_MORE),
        (200, b'{"result": "AAAA', "BAD_ANSWER", Treatment.ONCE_MORE),
        (204, b"", "BAD_ANSWER", Treatment.ONCE_MORE),
        (400, b"{}", "GATEWAY_ERROR", Treatment.ONCE_MORE),
        (500, b"{}", "GATEWAY_ERROR", Treatment.RETRY),
        (403, NGINX % b"403", "GATEWAY_ERROR", Treatment.STOP),
        (403, b"{}", "GATEWAY_ERROR", Treatment.STOP),
        (403, b'"Forbidden"', "GATEWAY_ERROR", Treatment.STOP),
        (403, b'{"error_message": null}', "GATEWAY_ERROR", Treatment.STOP),
        (403, b'{"error_message": ":x"}', "GATEWAY_ERROR", Treatment.STOP),
        (500, b'{"error_message": ""}', "GATEWAY_ERROR", Treatment.RETRY),
        (400, b'{"error_message": 7}', "GATEWAY_ERROR", Treatment.ONCE_MORE),
        (200, b'{"error_message": 7}', "BAD_ANSWER", Treatment.ONCE_MORE),
        (200, b'{"error_message": ["INTERNAL_ERROR"]}', "BAD_ANSWER", Treatment.ONCE_MORE),
        (200, b'{"error_message": {"code": 1}}', "BAD_ANSWER", Treatment.ONCE_MORE),
        (
            200,
            b'{"error_message": ' + b"[" * 500 + b"1" + b"]" * 500 + b"}",
            "BAD_ANSWER",
            Treatment.ONCE_MORE,
        ),
        (200, b'{"error_message": " : x"}', "BAD_ANSWER", Treatment.ONCE_MORE),
        (200, b"[" * 100_000, "BAD_ANSWER", Treatment.ONCE_MORE),
        (200, b'{"time_used": ' + b"9" * 9000 + b"}", "BAD_ANSWER", Treatment.ONCE_MORE),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_pages_and_nonsense_are_refusals(
    status: int, body: bytes, code: str, treatment: Treatment
) -> None:
    """Gateway pages, empty bodies and answers of other shapes each have their treatment."""
    found = refusal(status, body)
    assert (found.code, found.treatment) == (code, treatment)
    assert len(found.message) < 300


def test_another_region_is_hinted_at() -> None:
    """Keys are regional: a key that does not match may be at the wrong host."""
    found = refusal(401, error_body("AUTHENTICATION_ERROR"))
    assert "api-us.faceplusplus.com" in found.message


@given(st.sampled_from([200, 204, 301, 400, 403, 404, 413, 500, 502, 999]), st.binary(max_size=400))
def test_arbitrary_bytes_never_raise(status: int, body: bytes) -> None:
    """Whatever the bytes and the status, the answer is a refusal with a message."""
    assert refusal(status, body).message
