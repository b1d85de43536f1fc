"""Answers of any kind: every status has its treatment, and text is cleaned."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest
from answering import NGINX, refusal
from hypothesis import given, settings
from hypothesis import strategies as st
from making import png, quarters
from PIL import Image

from humanbody_cli.api.responses import Refusal, Success, error_body, parse, success_body
from humanbody_cli.core import api_spec
from humanbody_cli.core.api_spec import Treatment

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
