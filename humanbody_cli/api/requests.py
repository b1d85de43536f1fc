"""A request of the API: built by the client, parsed by the server.

Building: multipart/form-data with ``image_file``, as the document shows. Parsing: a body as fields
(multipart or url-encoded), and the fields as what is asked for.
"""

from __future__ import annotations

import binascii
import os
import re
from dataclasses import dataclass, field

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import HbsegError
from humanbody_cli.core.settings import Credentials

_BOUNDARY_LENGTH = 32
_KEY_LENGTH = 32
"""Characters of a key and of a secret as the provider hands them out; a rehearsal without a key
counts with them, so that it accepts exactly the photos that a run with a key accepts."""


@dataclass(frozen=True)
class Multipart:
    """A body ready to send. ``content_type`` names the boundary."""

    body: bytes
    content_type: str


def segment_request(
    credentials: Credentials, image: bytes, *, image_format: str, grayscale: int
) -> Multipart:
    """The request for one photo.

    ``image_format`` is ``JPEG`` or ``PNG``. ``grayscale`` is ``return_grayscale``: 0 cutout only,
    1 both, 2 mask only. The photo's own file name is not sent, for privacy.
    """
    boundary = os.urandom(_BOUNDARY_LENGTH // 2).hex()
    return Multipart(
        body=_body(credentials, image, image_format, grayscale, boundary),
        content_type=f"multipart/form-data; boundary={boundary}",
    )


def request_size(image_size: int, credentials: Credentials | None = None) -> int:
    """Bytes of the whole body for a photo of ``image_size`` bytes."""
    pair = credentials or Credentials("", "")
    padded = Credentials(
        pair.api_key.ljust(_KEY_LENGTH, "x"), pair.api_secret.ljust(_KEY_LENGTH, "x")
    )
    return image_size + len(_body(padded, b"", "JPEG", 1, "x" * _BOUNDARY_LENGTH))


def _body(
    credentials: Credentials, image: bytes, image_format: str, grayscale: int, boundary: str
) -> bytes:
    # Text fields first: hand-written servers that stop reading at a bad key save the upload.
    fields = (
        ("api_key", credentials.api_key),
        ("api_secret", credentials.api_secret),
        ("return_grayscale", str(grayscale)),
    )
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields
    )
    kind = "jpeg" if image_format == "JPEG" else "png"
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image_file"; '
        f'filename="image.{kind}"\r\nContent-Type: image/{kind}\r\n\r\n'
    )
    return b"".join((head.encode(), image, f"\r\n--{boundary}--\r\n".encode()))


class Refused(HbsegError):
    """A request that the server answers with one of the document's errors.

    ``bare`` answers come from the gateway and carry no ids; by default the error's own row says so.
    ``reason`` is a sentence for the server's log, which may say more than the client is told.
    """

    def __init__(
        self, code: str, parameter: str = "", *, bare: bool | None = None, reason: str = ""
    ) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason
        self.parameter = parameter
        self.bare = api_spec.BY_CODE[code].bare if bare is None else bare


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
_MAX_HEADERS = 16
_MAX_HEADER_BYTES = 4096
"""One header line of a part: it holds a name and a file name, which no real client makes longer."""

_MAX_TYPE = 1024
"""Characters of a Content-Type: a boundary has at most 70 (RFC 2046, 5.1.1)."""

_SHORT = dict.fromkeys(("api_key", "api_secret", "return_grayscale"), 4096) | {
    "image_url": 3 * 4096
}
"""Bytes, as sent, of the fields that are read before or besides the image. Anything longer is cut:
it is neither a key nor an address. Each byte of an address may be escaped."""


@dataclass
class Form:
    """A request's fields. ``files`` names those sent with a file name, ``escaped`` those whose
    value is still url-encoded: before the key is checked nothing but the key is decoded."""

    values: dict[str, bytes] = field(default_factory=dict, repr=False)
    files: set[str] = field(default_factory=set)
    escaped: set[str] = field(default_factory=set)

    def value(self, name: str) -> bytes | None:
        """A field's bytes, ``None`` where it was not sent."""
        value = self.values.get(name)
        return unescaped(value) if value and name in self.escaped else value

    def get(self, name: str) -> bytes | None:
        """The same, but an empty text field counts as not sent, and an empty file as sent."""
        value = self.value(name)
        return value if value or name in self.files else None

    def add(self, name: str, value: bytes) -> None:
        """Keep a field, cut to the length that it can have."""
        self.values[name] = value[: _SHORT.get(name)]

    def lacks(self, name: str) -> bool:
        """Whether this is the first field of its name, and one that the document knows."""
        return name in FIELDS and name not in self.values


def parse_form(content_type: str, body: bytes) -> Form:
    """The fields of a body; a body of another type has none.

    A body that breaks off or is malformed gives the fields before the break: the check of the
    arguments then says what is missing. Of equally named fields the first counts; unknown ones are
    ignored.
    """
    kind, boundary = _content_type(content_type[:_MAX_TYPE])
    if kind == "multipart/form-data" and boundary:
        return _multipart(boundary, body)
    if kind == "application/x-www-form-urlencoded":
        return _urlencoded(body)
    return Form()


def _content_type(text: str) -> tuple[str, bytes]:
    """A Content-Type's kind and boundary, quoted or not."""
    from multipart import parse_options_header  # of the extra `serve`

    kind, options = parse_options_header(text)
    return kind, options.get("boundary", "").encode("latin-1", "replace")


def _multipart(boundary: bytes, body: bytes) -> Form:
    from multipart import MultipartError, PushMultipartParser  # of the extra `serve`

    form = Form()
    value: list[bytes] = []
    try:
        parser = PushMultipartParser(
            boundary,
            max_header_size=_MAX_HEADER_BYTES,
            max_header_count=_MAX_HEADERS,
            max_segment_count=_MAX_PARTS,
            header_charset="latin-1",
        )
        for event in parser.parse(body):
            if isinstance(event, bytes):
                value.append(event)
            elif event is not None:  # a part's headers
                part = event
                value.clear()
            elif form.lacks(part.name):  # a part's end
                form.add(part.name, b"".join(value))
                if part.filename is not None:
                    form.files.add(part.name)
    except MultipartError:
        pass  # the parts before the break are kept
    return form


def _urlencoded(body: bytes) -> Form:
    form = Form()
    for pair in body.split(b"&", _MAX_PARTS)[:_MAX_PARTS]:
        raw, _, value = pair.partition(b"=")
        name = unescaped(raw[:64]).decode("latin-1")
        # image_file is documented for multipart only: text is not a file.
        if name != "image_file" and form.lacks(name):
            form.add(name, value)
            form.escaped.add(name)
    return form


_ESCAPE = re.compile(rb"%([0-9a-fA-F]{2})")


def unescaped(value: bytes) -> bytes:
    """A url-encoded value's bytes, in time linear in its length: a megabyte of lone ``%`` takes
    `urllib.parse.unquote_to_bytes`, which splits there, one second, and this function 20 ms."""
    return _ESCAPE.sub(_byte, value.replace(b"+", b" "))


def _byte(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode("ascii"))


_RESULTS = {b"0": (False, True), b"1": (True, True), b"2": (True, False)}
"""``return_grayscale`` as (mask, cutout): 0 and 1 are the document's, 2 was seen."""

MAX_URL = 2048
"""Characters: browsers and proxies cut longer addresses too."""


@dataclass(frozen=True)
class Arguments:
    """What a call asks for. ``parameter`` names the field that has the image; ``source`` is that
    field's bytes, still encoded; ``mask`` and ``cutout`` say which results are wanted."""

    parameter: str
    source: bytes = field(repr=False)
    mask: bool
    cutout: bool

    def image(self) -> bytes:
        """The image's bytes, where the request itself has them.

        Line breaks in base64 are allowed, as tools write them (RFC 2045). A ``data:`` prefix is
        not: nothing shows that the real API accepts it, and a rehearsal must not be laxer.

        Raises:
            Refused: the base64 is malformed.
        """
        if self.parameter == "image_file":
            return self.source
        try:
            text = self.source.translate(None, b"\r\n")
            import base64  # not at the top: a client needs none

            return base64.b64decode(text, validate=True)
        except binascii.Error:
            raise Refused(api_spec.UNSUPPORTED_FORMAT, self.parameter) from None

    def url(self) -> str:
        """The address of an ``image_url``.

        Raises:
            Refused: it is longer than an address can be, or is not text.
        """
        if len(self.source) > MAX_URL:
            raise Refused(api_spec.BAD_ARGUMENTS, "image_url")
        try:
            return self.source.strip().decode()
        except UnicodeDecodeError:
            raise Refused(api_spec.INVALID_URL) from None


def read_arguments(form: Form) -> Arguments:
    """The arguments of an admitted call; image_file comes before image_base64 before image_url.

    Raises:
        Refused: an argument is missing or makes no sense.
    """
    grayscale = form.value("return_grayscale")
    results = _RESULTS.get(b"1" if grayscale is None else grayscale.strip())
    if results is None:
        raise Refused(api_spec.BAD_ARGUMENTS, "return_grayscale")
    for parameter in ("image_file", "image_base64", "image_url"):
        source = form.get(parameter)
        if source is not None:
            return Arguments(parameter, source, *results)
    # The document's own sample names them in this order.
    raise Refused(api_spec.MISSING_ARGUMENTS, "image_url, image_file, image_base64")
