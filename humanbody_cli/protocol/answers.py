"""An answer of the API: bytes -> values for the client, values -> bytes for the server."""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from humanbody_cli.protocol import codes

fast_base64: ModuleType
try:  # four times faster on answers of megabytes; the extra `fast` has it
    import pybase64 as fast_base64
except ImportError:
    fast_base64 = base64


@dataclass(frozen=True)
class Success:
    """A sound answer, still encoded: ``result`` is a PNG or JPEG, ``body_image`` a PNG."""

    request_id: str | None
    image_id: str | None
    time_used: int | None
    result: bytes | None
    body_image: bytes | None


@dataclass(frozen=True)
class Refusal:
    """An answer that is no success, with what is to be done about it."""

    code: str
    message: str
    treatment: codes.Treatment
    request_id: str | None = None
    time_used: int | None = None


_SHORTEST_IMAGE = 64  # characters of base64; anything shorter may as well go through JSON


def parse(status: int, body: bytes) -> Success | Refusal:
    """What a response says. Never raises: an answer that lies is a refusal worth a retry."""
    rest, images = _lift_images(body)
    try:
        fields = json.loads(rest)
    except (ValueError, RecursionError):
        return _not_json(status, body)
    if not isinstance(fields, dict):
        return lie(status, "the answer is no JSON object")
    if "error_message" in fields:
        return _refusal(status, fields)
    if status != 200:
        return _unnamed(status, "an error without error_message")
    try:
        return Success(
            request_id=_text(fields.get("request_id")),
            image_id=_text(fields.get("image_id")),
            time_used=_number(fields.get("time_used")),
            result=_image(fields, images, "result"),
            body_image=_image(fields, images, "body_image"),
        )
    except ValueError:  # binascii.Error is one
        return lie(status, "an image in the answer is no sound base64")


def _lift_images(body: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Take the base64 strings out before JSON sees the answer: most of its cost is scanning them.

    Base64 holds no quote, so a string ends at the next one; what is lifted leaves ``true`` behind.
    """
    images: dict[str, bytes] = {}
    rest = body
    for name in ("result", "body_image"):
        key = f'"{name}"'.encode()
        at = rest.find(key)
        if at < 0:
            continue
        start = at + len(key)
        opening = _OPENING.match(rest, start)
        end = rest.find(b'"', opening.end()) if opening else -1
        if opening is None or end - opening.end() < _SHORTEST_IMAGE:
            continue
        images[name] = rest[opening.end() : end]
        rest = rest[:start] + b":true" + rest[end + 1 :]
    # Looked for where little is left to search. Named twice: JSON has a rule for that.
    if any(rest.count(f'"{name}"'.encode()) > 1 for name in images):
        return body, {}
    return rest, images


_OPENING = re.compile(rb'\s*:\s*"')


def _refusal(status: int, fields: dict[str, Any]) -> Refusal:
    text = str(fields["error_message"])
    code, parameter = codes.split_message(text)
    row = codes.BY_CODE.get(code)
    if row is not None:
        treatment = row.treatment
    elif status >= 500 or status == 429:
        treatment = codes.Treatment.RETRY
    elif status in (401, 402, 403):
        # A refusal of the key in words that the document does not have: going on costs money.
        treatment = codes.Treatment.STOP
    else:
        treatment = codes.Treatment.PHOTO
    advice = codes.advice_for(code, parameter)
    return Refusal(
        code=code,
        message=f"the API answered {text!r}" + (f": {advice}" if advice else ""),
        treatment=treatment,
        request_id=_text(fields.get("request_id")),
        time_used=_number(fields.get("time_used")),
    )


def _not_json(status: int, body: bytes) -> Refusal:
    if status == 413:
        # Documented as plain text, seen as nginx's HTML page: never JSON.
        row = codes.BY_CODE[codes.ENTITY_TOO_LARGE]
        return Refusal(row.code, f"the API answered 413: {row.advice}", row.treatment)
    if status == 200:
        return lie(status, "the answer is not JSON or was cut short")
    text = body[:80].decode("ascii", "replace").strip().splitlines()
    return _unnamed(status, f"a page that is not JSON ({text[0][:60] if text else 'empty'})")


def _unnamed(status: int, what: str) -> Refusal:
    if status == 404:
        row = codes.BY_CODE[codes.API_NOT_FOUND]
        return Refusal(row.code, f"the server answered 404: {row.advice}", row.treatment)
    if status in (301, 302, 307, 308):
        row = codes.BY_CODE[codes.API_NOT_FOUND]
        message = f"the server answered {status}, a redirect elsewhere: check --endpoint"
        return Refusal(row.code, message, row.treatment)
    if status == 413:
        return _not_json(status, b"")
    if status >= 500 or status in (408, 425, 429):
        retry = codes.Treatment.RETRY
        return Refusal(codes.GATEWAY, f"the server answered {status}, {what}", retry)
    return lie(status, what)


def lie(status: int, what: str) -> Refusal:
    """An answer that is not what the document promises: worth a retry, then this photo failed."""
    return Refusal(
        codes.BAD_ANSWER, f"the answer (HTTP {status}) is unusable: {what}", codes.Treatment.RETRY
    )


def _image(fields: dict[str, Any], lifted: dict[str, bytes], name: str) -> bytes | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    if value is True and name in lifted:
        return _decode(_unescaped(lifted[name]))
    if not isinstance(value, str):
        raise ValueError(f"{name} is no string")
    return _decode(value.encode("ascii", "replace"))


def _unescaped(text: bytes) -> bytes:
    """JSON may write a slash as ``\\/``, ``=`` as ``\\u003d``, and break lines inside base64."""
    if b"\\" in text:
        plain: str = json.loads(b'"' + text + b'"')
        text = "".join(plain.split()).encode("ascii", "replace")
    return text


def _decode(text: bytes) -> bytes:
    decoded: bytes = fast_base64.b64decode(text, validate=True)
    return decoded


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return int(value) if abs(value) < 2**63 else None  # what a database takes


def success_body(answer: Success) -> bytes:
    """The body of a 200: base64 goes in as it is, never through the JSON encoder."""
    images = [
        b',"' + name + b'":"' + fast_base64.b64encode(data) + b'"'
        for name, data in ((b"result", answer.result), (b"body_image", answer.body_image))
        if data is not None
    ]
    ids = {
        "request_id": answer.request_id,
        "image_id": answer.image_id,
        "time_used": answer.time_used,
    }
    return json.dumps(ids).encode()[:-1] + b"".join(images) + b"}"


def error_body(
    error_message: str, *, request_id: str | None = None, time_used: int | None = None
) -> bytes:
    """The body of an error: bare where the gateway answers, with ids where the application does."""
    fields: dict[str, Any] = {}
    if request_id is not None:
        fields["time_used"] = time_used or 0
    fields["error_message"] = error_message
    if request_id is not None:
        fields["request_id"] = request_id
    return json.dumps(fields).encode()
