"""The API's answers: parsed from bytes for the client, written as bytes for the server."""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from humanbody_cli.core import api_spec, network
from humanbody_cli.imaging import png_check
from humanbody_cli.imaging.masks import Mask
from humanbody_cli.imaging.uploads import Upload
from humanbody_cli.pipeline.engine import Ask, Segmentation

fast_base64: ModuleType
try:  # four times faster on answers of megabytes; the extra `fast` has it
    import pybase64 as fast_base64
except ImportError:
    fast_base64 = base64


@dataclass(frozen=True)
class Success:
    """A successful answer: ``result``, the mask as PNG or JPEG; ``body_image``, the cutout as PNG.

    ``time_used`` is in milliseconds.
    """

    request_id: str | None
    image_id: str | None
    time_used: int | None
    result: bytes | None
    body_image: bytes | None


@dataclass(frozen=True)
class Refusal:
    """An answer that is not a success, and what to do about it."""

    code: str
    message: str
    treatment: api_spec.Treatment
    request_id: str | None = None
    time_used: int | None = None


_SHORTEST_IMAGE = 64  # characters of base64; anything shorter may as well go through JSON


def parse(status: int, body: bytes) -> Success | Refusal:
    """An answer's contents. Never raises: a malformed answer is a refusal.

    All text in the result is printable and of bounded length (`core.network`).
    """
    rest, images = _lift_images(body)
    try:
        fields = json.loads(rest)
    except (ValueError, RecursionError):
        return _not_json(status, body)
    if not isinstance(fields, dict):
        return _unnamed(status, "the answer is not a JSON object")
    if _names_error(fields.get("error_message")):
        return _refusal(status, fields)
    if not is_success(status):
        return _unnamed(status, "an error without error_message")
    try:
        return Success(
            request_id=_id(fields.get("request_id")),
            image_id=_id(fields.get("image_id")),
            time_used=_number(fields.get("time_used")),
            result=_image(fields, images, "result"),
            body_image=_image(fields, images, "body_image"),
        )
    except ValueError:  # binascii.Error is one
        return unsound(status, "an image in the answer is not valid base64")


def is_success(status: int) -> bool:
    """Whether a status is a success. The document promises 200; any 2xx is accepted, since the
    images are checked anyway."""
    return 200 <= status < 300


def _names_error(error_message: object) -> bool:
    """Whether an error is named. By the document only failed requests have the field; servers that
    always write it leave it empty in a success: ``null``, ``""``, ``false``, ``0``."""
    return bool(error_message.strip() if isinstance(error_message, str) else error_message)


def _lift_images(body: bytes) -> tuple[bytes, dict[str, memoryview]]:
    """Take the base64 strings out of the answer before JSON parses it; each leaves ``true`` behind.

    Base64 contains no quotes, so a string ends at the next one. Parsing JSON is mostly scanning
    these strings: 1.5 ms against 7 for an answer of 9 MB (`benchmarks/bench_parts.py`). The strings
    are not copied.
    """
    found: list[tuple[int, int, int, str]] = []
    for name in ("result", "body_image"):
        key = f'"{name}"'.encode()
        at = body.find(key)
        opening = _OPENING.match(body, at + len(key)) if at >= 0 else None
        end = body.find(b'"', opening.end()) if opening else -1
        if opening is not None and end - opening.end() >= _SHORTEST_IMAGE:
            found.append((at + len(key), opening.end(), end, name))
    found.sort()
    view, kept = memoryview(body), 0
    parts: list[bytes | memoryview] = []
    for start, _, end, _ in found:
        parts += (view[kept:start], b":true")
        kept = end + 1
    rest = b"".join((*parts, view[kept:]))
    # A repeated name is left to JSON, which has a rule for it.
    if any(rest.count(f'"{name}"'.encode()) > 1 for *_, name in found):
        return body, {}
    return rest, {name: view[start:end] for _, start, end, name in found}


_OPENING = re.compile(rb'\s*:\s*"')


def _refusal(status: int, fields: dict[str, Any]) -> Refusal:
    raw = fields["error_message"]
    if not isinstance(raw, str):
        return _unnamed(status, f"error_message is not a string but a {type(raw).__name__}")
    code, parameter = api_spec.split_message(raw)
    code = network.ascii_only(code, network.MAX_CODE)
    if not code:
        return _unnamed(status, f"an error without a name: {network.printable(raw)!r}")
    row = api_spec.BY_CODE.get(code)
    advice = api_spec.advice_for(code, parameter)
    return Refusal(
        code=code,
        message=f"the API answered {network.printable(raw)!r}" + (f": {advice}" if advice else ""),
        treatment=row.treatment if row is not None else _unknown(status),
        request_id=_id(fields.get("request_id")),
        time_used=_number(fields.get("time_used")),
    )


def _unknown(status: int) -> api_spec.Treatment:
    """An undocumented error: a stop or a retry if its status means that, otherwise this photo has
    failed. The API has named its reason, so the same photo is not sent again."""
    treatment = api_spec.page_for(status).treatment
    return api_spec.Treatment.PHOTO if treatment is api_spec.Treatment.ONCE_MORE else treatment


def _not_json(status: int, body: bytes) -> Refusal:
    if is_success(status):
        return unsound(status, "it is not JSON or was cut short")
    shown = network.printable(" ".join(body[:80].decode("ascii", "replace").split()), 60)
    return _unnamed(status, f"a page that is not JSON ({shown or 'empty'})")


def _unnamed(status: int, what: str) -> Refusal:
    """An answer that names no error of the API: its status decides what to do."""
    if is_success(status):
        return unsound(status, what)
    if status == 413:
        # Documented as plain text, seen as nginx's HTML page: never JSON.
        row = api_spec.BY_CODE[api_spec.ENTITY_TOO_LARGE]
        return Refusal(row.code, f"the API answered 413: {row.advice}", row.treatment)
    page = api_spec.page_for(status)
    message = f"the server answered {status}, {what}"
    return Refusal(
        page.code, f"{message}: {page.advice}" if page.advice else message, page.treatment
    )


def unsound(status: int, what: str) -> Refusal:
    """A success that is not what the document promises.

    It was most likely charged, and a repeated call mostly gets the same broken answer: one more
    attempt, then this photo has failed.
    """
    return Refusal(
        api_spec.BAD_ANSWER,
        f"the answer (HTTP {status}) is unusable: {what}",
        api_spec.Treatment.ONCE_MORE,
    )


def _image(fields: dict[str, Any], lifted: dict[str, memoryview], name: str) -> bytes | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    if value is True and name in lifted:
        return _decode_lifted(lifted[name])
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a string")
    return _decode(value.encode("ascii", "replace"))


def _decode_lifted(encoded: memoryview) -> bytes:
    """Base64 as it stands in JSON, which may write ``/`` as ``\\/``, ``=`` as ``\\u003d``, and
    break it into lines. As a backslash is not base64, such a string fails at first."""
    try:
        return _decode(encoded)
    except ValueError:
        if b"\\" not in bytes(encoded):
            raise
        plain: str = json.loads(b'"' + encoded + b'"')
        return _decode("".join(plain.split()).encode("ascii", "replace"))


def _decode(encoded: bytes | memoryview) -> bytes:
    decoded: bytes = fast_base64.b64decode(encoded, validate=True)
    return decoded


def _id(value: object) -> str | None:
    return network.ascii_only(value, network.MAX_ID) if isinstance(value, str) else None


def _number(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return int(value) if abs(value) < 2**63 else None  # what a database takes


def success_body(answer: Success) -> bytes:
    """The body of a 200. The base64 is joined in as it is, without the JSON encoder."""
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
    """The body of an error: with a ``request_id`` as the application sends it, without as the
    gateway does."""
    fields: dict[str, Any] = {}
    if request_id is not None:
        fields["time_used"] = time_used or 0
    fields["error_message"] = error_message
    if request_id is not None:
        fields["request_id"] = request_id
    return json.dumps(fields).encode()


_SPOOLED_STATUS = 200  # only successes are spooled


def kept(body: bytes, upload: Upload, ask: Ask) -> Segmentation | None:
    """The segmentation in a spooled answer; ``None`` if a call is needed after all.

    That is so if the answer was cut short, or if the run that paid for it asked for less.
    """
    answer = understood(_SPOOLED_STATUS, body, upload, ask)
    return answer if isinstance(answer, Segmentation) else None


def understood(status: int, body: bytes, upload: Upload, ask: Ask) -> Segmentation | Refusal:
    """The segmentation in an answer, or what to do about an answer that has none."""
    answer = parse(status, body)
    if isinstance(answer, Refusal):
        return answer
    try:
        return _segmentation(answer, upload, ask)
    except ValueError as error:
        return unsound(status, str(error))


def _segmentation(answer: Success, upload: Upload, ask: Ask) -> Segmentation:
    """The images of an answer, checked to be what the document promises.

    Raises:
        ValueError: an image is missing, damaged or of another size.
    """
    mask = None
    if ask.mask:
        if answer.result is None:
            raise ValueError("result, the mask, is missing")
        mask = Mask.read(answer.result, upload.size)
    cutout = None
    if ask.cutout:
        if answer.body_image is None:
            raise ValueError("body_image, the cutout, is missing")
        cutout = answer.body_image
        head = png_check.verify(cutout)
        if (head.width, head.height) != upload.size:
            raise ValueError(
                f"the cutout has {head.width} x {head.height} pixels, "
                f"the photo {upload.size[0]} x {upload.size[1]}"
            )
        if not png_check.has_alpha(head, cutout):
            raise ValueError("body_image has no transparency")
    return Segmentation(
        mask=mask,
        cutout=cutout,
        request_id=answer.request_id,
        image_id=answer.image_id,
        time_used=answer.time_used,
    )
