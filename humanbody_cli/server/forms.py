"""A request's body as fields: multipart/form-data or application/x-www-form-urlencoded.

Pure: bytes in, fields out. A body that breaks off or makes no sense gives the fields before the
break: what is missing then is for the arguments' check to say. The first of equally named fields
counts, unknown ones are ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELDS = (
    "api_key",
    "api_secret",
    "image_file",
    "image_base64",
    "image_url",
    "return_grayscale",
)
"""The document's request parameters."""

_MAX_PARTS = 64
_MAX_HEADER_BYTES = 4096
"""A part's own headers: a name and a file name; beyond it nobody means well."""

_MAX_TYPE = 1024
"""Characters of a Content-Type: a boundary has 70 at most (RFC 2046, 5.1.1)."""

_SHORT = dict.fromkeys(("api_key", "api_secret", "return_grayscale"), 4096) | {
    "image_url": 3 * 4096
}
"""Bytes, as sent, of the fields that are read before or besides the image. What is longer is cut:
it is neither a key nor an address. An address may have each of its bytes escaped."""


@dataclass
class Form:
    """A request's fields. ``files`` names those that came with a file name, ``escaped`` those whose
    value is still url-encoded: before a key is known no more than the key is decoded."""

    values: dict[str, bytes] = field(default_factory=dict, repr=False)
    files: set[str] = field(default_factory=set)
    escaped: set[str] = field(default_factory=set)

    def value(self, name: str) -> bytes | None:
        """A field's bytes, ``None`` where it was not sent."""
        value = self.values.get(name)
        return unescaped(value) if value and name in self.escaped else value

    def get(self, name: str) -> bytes | None:
        """The same, where an empty text field counts as not sent, and an empty file as sent."""
        value = self.value(name)
        return value if value or name in self.files else None


def parse(content_type: str, body: bytes) -> Form:
    """The fields of a body, whatever state it is in. Bodies of other types have none."""
    kind, options = parse_options_header(_latin(content_type[:_MAX_TYPE]))
    if kind == b"multipart/form-data" and options.get(b"boundary"):
        return _Parts().parse(options[b"boundary"], body)
    if kind == b"application/x-www-form-urlencoded":
        return _urlencoded(body)
    return Form()


def _latin(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")


def _urlencoded(body: bytes) -> Form:
    form = Form()
    for pair in body.split(b"&", _MAX_PARTS)[:_MAX_PARTS]:
        raw, _, value = pair.partition(b"=")
        name = unescaped(raw[:64]).decode("latin-1")
        # image_file is documented for multipart only: text is no file.
        if name in FIELDS and name != "image_file" and name not in form.values:
            form.values[name] = _cut(name, value)
            form.escaped.add(name)
    return form


def _cut(name: str, value: bytes) -> bytes:
    return value[: _SHORT.get(name)]


_ESCAPE = re.compile(rb"%([0-9a-fA-F]{2})")


def unescaped(value: bytes) -> bytes:
    """A url-encoded value's bytes, in time that grows with their number: a megabyte of lone ``%``
    costs `urllib.parse.unquote_to_bytes`, which splits there, a second, and this 20 ms."""
    return _ESCAPE.sub(_byte, value.replace(b"+", b" "))


def _byte(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode("ascii"))


class _TooMuch(ValueError):
    """More parts or longer headers than any client sends."""


class _Parts:
    """Multipart to a form, by the callbacks of python-multipart."""

    def __init__(self) -> None:
        self.form = Form()
        self._count = 0
        self._header: dict[str, bytes] = {}
        self._name = self._value = b""
        self._chunks: list[bytes] | None = None

    def parse(self, boundary: bytes, body: bytes) -> Form:
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._start_data,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }
        try:
            parser = MultipartParser(boundary, callbacks)
            parser.write(body)
        except (FormParserError, ValueError):
            pass  # the parts before the break stand
        return self.form

    def _begin(self) -> None:
        self._count += 1
        if self._count > _MAX_PARTS:
            raise _TooMuch
        self._header, self._chunks = {}, None
        self._name = self._value = b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name = _within(self._name + data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value = _within(self._value + data[start:end])

    def _header_end(self) -> None:
        if len(self._header) >= 16:
            raise _TooMuch
        self._header[self._name.decode("latin-1").lower()] = self._value
        self._name = self._value = b""

    def _start_data(self) -> None:
        disposition = self._header.get("content-disposition", b"").decode("latin-1")
        _, options = parse_options_header(disposition)
        name = options.get(b"name", b"").decode("latin-1")
        self._field = name
        self._is_file = b"filename" in options
        wanted = name in FIELDS and name not in self.form.values
        self._chunks = [] if wanted else None

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._chunks is not None:
            self._chunks.append(data[start:end])

    def _end(self) -> None:
        if self._chunks is None:
            return
        self.form.values[self._field] = _cut(self._field, b"".join(self._chunks))
        if self._is_file:
            self.form.files.add(self._field)
        self._chunks = None


def _within(text: bytes) -> bytes:
    if len(text) > _MAX_HEADER_BYTES:
        raise _TooMuch
    return text
