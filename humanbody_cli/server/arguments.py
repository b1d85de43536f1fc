"""A form's fields as what is asked for: which image, and which results."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from humanbody_cli.core import api_spec
from humanbody_cli.pipeline.engine import Ask
from humanbody_cli.server.forms import Form
from humanbody_cli.server.responses import Refused

_ASKS = {
    b"0": Ask(mask=False, cutout=True),
    b"1": Ask(mask=True, cutout=True),
    b"2": Ask(mask=True, cutout=False),
}
"""``return_grayscale``: 0 and 1 are the document's, 2 was seen."""

MAX_URL = 2048
"""Characters: beyond it browsers and proxies cut addresses too."""


@dataclass(frozen=True)
class Arguments:
    """What a call asks for. ``parameter`` names the field that the image comes by; ``source`` is
    that field's bytes, still encoded."""

    parameter: str
    source: bytes = field(repr=False)
    ask: Ask

    def image(self) -> bytes:
        """The image's bytes, where the request brought them itself.

        Line breaks in base64 are taken, as tools write them (RFC 2045). A ``data:`` prefix is not:
        nothing shows that the real API takes it, and a rehearsal must not be laxer.

        Raises:
            Refused: the base64 is none.
        """
        if self.parameter == "image_file":
            return self.source
        try:
            text = self.source.translate(None, b"\r\n")
            return base64.b64decode(text, validate=True)
        except binascii.Error:
            raise Refused(api_spec.UNSUPPORTED_FORMAT, self.parameter) from None

    def url(self) -> str:
        """The address of an ``image_url``.

        Raises:
            Refused: longer than an address can be, or no text.
        """
        if len(self.source) > MAX_URL:
            raise Refused(api_spec.BAD_ARGUMENTS, "image_url")
        try:
            return self.source.strip().decode()
        except UnicodeDecodeError:
            raise Refused(api_spec.INVALID_URL) from None


def read(form: Form) -> Arguments:
    """The arguments of an admitted call; image_file comes before image_base64 before image_url.

    Raises:
        Refused: an argument is missing or makes no sense.
    """
    grayscale = form.value("return_grayscale")
    ask = _ASKS.get(b"1" if grayscale is None else grayscale.strip())
    if ask is None:
        raise Refused(api_spec.BAD_ARGUMENTS, "return_grayscale")
    for parameter in ("image_file", "image_base64", "image_url"):
        source = form.get(parameter)
        if source is not None:
            return Arguments(parameter, source, ask)
    # The document's own sample names them in this order.
    raise Refused(api_spec.MISSING_ARGUMENTS, "image_url, image_file, image_base64")
