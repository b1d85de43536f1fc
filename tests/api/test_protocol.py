"""The API's format: requests parse back, answers are understood, codes are the document's."""

from __future__ import annotations

import base64
import email
import email.policy
import json
import traceback
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import jpeg, png, quarters
from PIL import Image

from humanbody_cli.api.requests import Multipart, request_size, segment_request
from humanbody_cli.api.responses import Refusal, Success, error_body, parse, success_body
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
NGINX = b"<html>\r\n<head><title>%b</title></head>\r\n<body>nginx/1.14.0</body>\r\n</html>\r\n"


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


# Answers


def refusal(status: int, body: bytes) -> Refusal:
    """A refusal, and no success."""
    found = parse(status, body)
    assert isinstance(found, Refusal)
    return found


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


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
_fields = st.sampled_from("result body_image request_id image_id time_used error_message".split())


@given(st.sampled_from([200, 400, 500]), st.dictionaries(_fields, _values))
def test_fields_of_any_kind_never_raise(status: int, fields: dict[str, object]) -> None:
    """Fields of other types than documented are lies or nothing, never an exception."""
    found = parse(status, json.dumps(fields).encode())
    assert found.request_id is None or isinstance(found.request_id, str)
    assert found.time_used is None or isinstance(found.time_used, int)
    assert safe(found)


@pytest.mark.parametrize(
    "time_used",
    [
        "7",
        "7.9",
        '"7"',
        "null",
        "true",
        "[]",
        *(odd for odd in ("NaN", "Infinity", "1e999")),
    ],
)
def test_the_time_of_an_error_of_any_kind_never_raises(time_used: str) -> None:
    """An error whose time_used is no number is that error all the same."""
    body = b'{"error_message": "INTERNAL_ERROR", "time_used": %b}' % time_used.encode()
    found = refusal(500, body)
    assert found.code == "INTERNAL_ERROR"
    assert found.time_used in (7, None)


MASK = png(Image.linear_gradient("L"))
CUTOUT = png(quarters().convert("RGBA"))


# What is written comes back as it is where it is printable ASCII; the rest is cleaned (below).
_ascii = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


@settings(max_examples=60)
@given(
    st.one_of(st.none(), st.binary(min_size=1, max_size=3000)),
    st.one_of(st.none(), st.binary(min_size=1, max_size=3000)),
    st.one_of(st.none(), _ascii),
    st.one_of(st.none(), st.integers(0, 10**7)),
)
def test_a_success_comes_back_whole(
    result: bytes | None, body_image: bytes | None, identity: str | None, time_used: int | None
) -> None:
    """What the server writes is what the client reads."""
    answer = Success(identity, identity, time_used, result, body_image)
    assert parse(200, success_body(answer)) == answer
    json.loads(success_body(answer))


@given(_ascii, st.one_of(st.none(), _ascii), st.integers(0, 999))
def test_an_error_comes_back_whole(message: str, request_id: str | None, time_used: int) -> None:
    """An error's message, ids and time survive the way."""
    code = api_spec.split_message(message)[0]
    found = refusal(400, error_body(message, request_id=request_id, time_used=time_used))
    assert found.code == code or (not code and found.code == api_spec.GATEWAY)
    if code:
        assert found.request_id == request_id
        assert found.time_used == (time_used if request_id is not None else None)


# Text of a server, shown to people


def safe(found: Refusal | Success) -> bool:
    """Every text of an answer can be printed, stored and sent on, and has a bounded length."""
    ids = [found.request_id or ""]
    words = []
    if isinstance(found, Success):
        ids.append(found.image_id or "")
    else:
        ids.append(found.code)
        words.append(found.message)
    for text in ids:
        assert text.isascii() and text.isprintable() and len(text) <= 128
    for text in words:
        assert text.isprintable() and len(text) < 700
        text.encode()
    return True


HOSTILE = [
    "\x1b]0;owned\x07\x1b[2J\x1b[31m",
    "A\nhbseg: 0 photos failed\r",
    "\u202etxt.exe\u2066",
    "\ud800 alone",
    "\x00\x7f\x9b31m",
    "X" * 3_000_000,
    "\u4f59\u989d\u4e0d\u8db3",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:20])
@pytest.mark.parametrize("status", [200, 400, 403, 500])
def test_nothing_of_a_server_reaches_the_terminal_unclean(text: str, status: int) -> None:
    """Code, message and ids are printable and short, wherever the server put what it put."""
    for message in (text, f"INTERNAL_ERROR: {text}", f"{text}: x", [text], {text: text}):
        fields = {"error_message": message, "request_id": text, "image_id": text}
        assert safe(parse(status, json.dumps(fields).encode()))
    assert safe(parse(status, json.dumps({"request_id": text, "image_id": text}).encode()))
    assert safe(parse(status, text.encode("utf-8", "surrogatepass")))


@given(st.sampled_from([200, 400, 403, 500]), st.text(), st.text())
def test_any_text_of_a_server_is_cleaned(status: int, message: str, identity: str) -> None:
    """Whatever Unicode there is."""
    fields = {"error_message": message, "request_id": identity, "image_id": identity}
    assert safe(parse(status, json.dumps(fields).encode()))


def test_the_reason_in_the_users_own_language_stays_readable() -> None:
    """Only what cannot be printed is replaced."""
    found = refusal(400, error_body("INVALID_IMAGE_URL: \u4f59\u989d\x1b[0m"))
    assert found.code == "INVALID_IMAGE_URL"
    assert "\u4f59\u989d?[0m" in found.message


# Answers that name no error of the API: every status

RETRY, ONCE_MORE, PHOTO, STOP = (
    Treatment.RETRY,
    Treatment.ONCE_MORE,
    Treatment.PHOTO,
    Treatment.STOP,
)
STATUSES: dict[int, Treatment] = {
    **dict.fromkeys(range(200, 300), ONCE_MORE),  # paid for, most likely, and not what it should be
    **dict.fromkeys(range(300, 400), STOP),  # leads elsewhere
    **dict.fromkeys(range(400, 500), ONCE_MORE),  # may concern this upload alone
    **dict.fromkeys((401, 402, 403, 451), STOP),  # a proxy, firewall or portal refuses
    **dict.fromkeys((404, 405, 410, 414, 421), STOP),  # not the API's address
    407: STOP,  # the proxy wants a password
    **dict.fromkeys((411, 415, 417, 426, 431), STOP),  # mangled on the way, as every request
    413: PHOTO,  # the document's own, as plain text or a page
    **dict.fromkeys((408, 425, 429), RETRY),
    **dict.fromkeys(range(500, 600), RETRY),
    501: STOP,
    **dict.fromkeys((505, 508, 510), STOP),
    511: STOP,  # a portal wants a login
    **dict.fromkeys((100, 101, 600, 999), ONCE_MORE),  # no such status
}


@pytest.mark.parametrize("body", [NGINX, b"", b"{}", b"[]", b'"no"', b'{"error_message": null}'])
def test_every_status_has_its_treatment(body: bytes) -> None:
    """The whole table is walked; whatever stops a run says what to check."""
    for status, treatment in STATUSES.items():
        if 200 <= status < 300 and body.startswith(b"{"):
            continue  # a success without images, which the engine refuses
        found = refusal(status, body)
        assert (status, found.treatment) == (status, treatment)
        assert str(status) in found.message
        if treatment is STOP:
            words = ("check", "put them in", "open a web page")
            assert any(word in found.message for word in words)


def test_an_unknown_error_goes_by_its_status_too() -> None:
    """An error that the document does not have: where its status speaks of one photo, the API has
    named the reason, and the photo is not sent again."""
    for status, treatment in STATUSES.items():
        found = refusal(status, error_body("SOMETHING_NEW: x"))
        expected = PHOTO if treatment is ONCE_MORE else treatment
        if status != 413:
            assert (status, found.treatment) == (status, expected)
        assert found.code == "SOMETHING_NEW"


@pytest.mark.parametrize("status", [200, 201, 203, 299])
@pytest.mark.parametrize("empty", [None, "", " ", False, 0, [], {}], ids=repr)
def test_an_empty_error_is_none(status: int, empty: object) -> None:
    """With a success an empty error_message is no error, images or not; images prove themselves."""
    image = base64.b64encode(MASK).decode()
    found = parse(status, json.dumps({"error_message": empty, "result": image}).encode())
    assert isinstance(found, Success)
    assert found.result == MASK
    bare = parse(status, json.dumps({"error_message": empty}).encode())
    assert isinstance(bare, Success)
    assert bare.result is None


@pytest.mark.parametrize("status", [302, 400, 403, 500])
def test_images_of_an_error_are_not_taken(status: int) -> None:
    """A status that says error is believed, whatever comes with it."""
    image = base64.b64encode(MASK).decode()
    found = parse(status, json.dumps({"error_message": "", "result": image}).encode())
    assert isinstance(found, Refusal)
    assert found.treatment is STATUSES[status]


def _body(image: str, **ids: object) -> bytes:
    fields = json.dumps({"image_id": "7OO7N1dYiJjszvV38oKVpw==", **ids})
    return f'{fields[:-1]}, "result": "{image}"}}'.encode()


WIDE = base64.b64encode(b"\xff\xef\xbe" * 60 + b"\xff").decode()  # "/" and "+", ends in "=="


@pytest.mark.parametrize(
    "escape",
    [
        lambda text: text,
        lambda text: text.replace("/", r"\/"),
        lambda text: text.replace("v", "v\\n"),
        lambda text: "\\r\\n".join(text[n : n + 76] for n in range(0, len(text), 76)),
        pytest.param(lambda text: text.replace("=", r"\u003d")),
        pytest.param(lambda text: text.replace("+", r"\u002B")),
    ],
    ids="plain slashes newlines lines equals plus".split(),
)
@pytest.mark.parametrize("times", [1, 3001])
def test_base64_is_read_however_json_escapes_it(escape: Callable[[str], str], times: int) -> None:
    """Slashes, line ends and other characters may be escaped as JSON allows."""
    image = base64.b64encode(base64.b64decode(WIDE) * times).decode()
    found = parse(200, _body(escape(image)))
    assert isinstance(found, Success)
    assert found.result == base64.b64decode(WIDE) * times


@pytest.mark.parametrize(
    "body",
    [
        b'{"result":"%b","request_id":"a","time_used":5}',
        b'{ "time_used" : 5 , "result" :\n\t"%b", "request_id":"a" }',
        b'\xef\xbb\xbf{"request_id":"a","result":"%b","time_used":5.0}',
        b'{"other":{"result":7},"result":"%b","request_id":"a","time_used":5}',
    ],
    ids="tight loose bom nested".split(),
)
def test_white_space_order_and_further_fields_do_not_matter(body: bytes) -> None:
    """The same answer in another spelling is the same answer."""
    found = parse(200, body.replace(b"%b", base64.b64encode(MASK)))
    assert isinstance(found, Success)
    assert (found.result, found.request_id, found.time_used) == (MASK, "a", 5)


def test_short_and_empty_images() -> None:
    """Images of a few bytes take the way through JSON; an empty one is none."""
    found = parse(200, b'{"result": "AAAA", "body_image": ""}')
    assert isinstance(found, Success)
    assert (found.result, found.body_image) == (b"\0\0\0", None)


def test_large_answers_are_read() -> None:
    """An answer of 12 megabytes is read whole, and in well under a second."""
    import time

    image = bytes(range(256)) * 18_000
    body = success_body(Success("a", "b", 7, image, image))
    assert len(body) > 12_000_000
    began = time.process_time()
    found = parse(200, body)
    assert time.process_time() - began < 1
    assert isinstance(found, Success)
    assert found.result == found.body_image == image


@given(st.integers(0, 400))
def test_an_answer_that_is_cut_short_is_a_lie(missing: int) -> None:
    """A sound answer that lost its end is never taken for a whole one."""
    body = success_body(Success("a", "b", 7, MASK, CUTOUT))
    found = parse(200, body[: len(body) - 1 - missing])
    assert isinstance(found, Refusal)
    assert (found.code, found.treatment) == ("BAD_ANSWER", Treatment.ONCE_MORE)


@pytest.mark.parametrize("twice", ["result", "body_image"])
def test_an_image_named_twice_is_the_last_one(twice: str) -> None:
    """As in JSON: the quick way over the images of an answer reads it no other way."""
    first, last = (base64.b64encode(bytes([number]) * 99).decode() for number in (1, 2))
    other = ({"result", "body_image"} - {twice}).pop()
    body = f'{{"{twice}": "{first}", "{other}": "{first}", "{twice}": "{last}"}}'.encode()
    answer = parse(200, body)
    assert isinstance(answer, Success)
    assert getattr(answer, twice) == bytes([2]) * 99
    assert getattr(answer, other) == bytes([1]) * 99
