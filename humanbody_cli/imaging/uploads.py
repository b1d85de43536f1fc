"""A photo made ready to send: upright, and with ``--fit`` within the API's limits.

What is sent is also what the embedded engine looks at, so a run without a key rehearses a run with
one exactly. A photo that is upright and fits is sent as it is, byte for byte.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, JpegImagePlugin

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import PhotoError
from humanbody_cli.imaging.decoding import decoding
from humanbody_cli.imaging.pictures import API_FORMATS, Picture, read_header

_QUALITIES = (95, 90, 85, 80, 75)
_SHRINK = 0.84
"""Each side, a step, once the lowest quality is still too large: about 0.7 of the pixels."""

_SAMPLE_MARGIN = 1.25
"""A sample's size tells the whole's to a tenth on photographs; beyond this it is not tried."""

_BLOCK = 16  # pixels a side of JPEG's largest unit
_FEWEST_STRIPS = 8

_REQUEST_MARGIN = 1024
"""Bytes left for the form around the photo; the form itself has about 550."""


@dataclass(frozen=True)
class Upload:
    """What is sent for a photo. ``picture`` is the photo itself where nothing had to change."""

    data: bytes = field(repr=False)
    format: str
    size: tuple[int, int]
    picture: Picture

    def pixels(self) -> Image.Image:
        """The pixels that the engine is to look at, RGB.

        Raises:
            PhotoError: where they are damaged.
        """
        image = self.picture.pixels()
        return image if image.mode == "RGB" else image.convert("RGB")


@decoding()
def prepare(picture: Picture, *, fit: bool) -> Upload:
    """The upload for a checked photo.

    ``fit`` shrinks and re-encodes no more than needed; without it only a photo that lies on its
    side is re-encoded, in the same format.

    Raises:
        PhotoError: rejected, where it cannot be brought within the limits.
    """
    if picture.orientation == 1 and (not fit or _fits(picture)):
        return Upload(picture.data, picture.format, picture.size, picture)
    image = picture.pixels()
    target = fitted_size(image.size) if fit else image.size
    if target != image.size:
        # Shrinking by area: sharper kernels ring at the very edges that matter here.
        image = image.resize(target, Image.Resampling.BOX, reducing_gap=2.0)
    data = _encode(image, picture, shrink=fit)
    return _reread(data)


def _fits(picture: Picture) -> bool:
    return (
        picture.format in API_FORMATS
        and all(api_spec.MIN_SIDE <= side <= api_spec.MAX_SIDE for side in picture.stored)
        and len(picture.data) <= api_spec.MAX_BYTES - _REQUEST_MARGIN
    )


def fitted_size(size: tuple[int, int]) -> tuple[int, int]:
    """The nearest size within the limits, in proportion wherever that is possible."""
    width, height = size
    scale = min(1.0, api_spec.MAX_SIDE / max(size))
    scale = max(scale, api_spec.MIN_SIDE / min(size))
    return (_within(width * scale), _within(height * scale))


def _within(side: float) -> int:
    # A strip of 50 x 9000 cannot keep its proportion: the mask is brought back to it anyway.
    return max(api_spec.MIN_SIDE, min(api_spec.MAX_SIDE, round(side)))


def _encode(image: Image.Image, picture: Picture, *, shrink: bool) -> bytes:
    budget = api_spec.MAX_BYTES - _REQUEST_MARGIN
    if picture.format == "PNG":
        data = _saved(image, "PNG", compress_level=6)
        if len(data) <= budget:
            return data
        if not shrink:
            raise _too_large_upright()
    flat = _opaque(image)
    if picture.format == "JPEG" and image.size == picture.size:
        data = _saved(flat, "JPEG", **_same_tables(picture))
        if len(data) <= budget:
            return data
    while True:
        for quality in _worth_trying(flat, budget):
            data = _as_jpeg(flat, quality)
            if len(data) <= budget:
                return data
        if not shrink:
            raise _too_large_upright()
        smaller = (_within(flat.width * _SHRINK), _within(flat.height * _SHRINK))
        flat = flat.resize(smaller, Image.Resampling.BOX)


def _worth_trying(image: Image.Image, budget: int) -> Iterator[int]:
    """Qualities from the best down, without those that a sample shows to be far too large."""
    sample = _sample(image)
    parts = image.height / sample.height
    likely = budget * _SAMPLE_MARGIN
    return (
        quality
        for quality in _QUALITIES
        if quality == _QUALITIES[-1]  # what a sample says is no proof
        or sample is image
        or len(_as_jpeg(sample, quality)) * parts <= likely
    )


def _sample(image: Image.Image) -> Image.Image:
    """An eighth of a large image: strips of whole blocks, evenly spread. A small image itself."""
    count = image.height // (8 * _BLOCK)
    if count < _FEWEST_STRIPS:
        return image
    sample = Image.new("RGB", (image.width, count * _BLOCK))
    room = image.height // count // _BLOCK
    for number in range(count):
        # Now higher, now lower in its eighth: what repeats itself in step must not mislead.
        top = (image.height * number // count // _BLOCK + number * 3 % room) * _BLOCK
        strip = image.crop((0, top, image.width, top + _BLOCK))
        sample.paste(strip, (0, number * _BLOCK))
    return sample


def _as_jpeg(image: Image.Image, quality: int) -> bytes:
    return _saved(image, "JPEG", quality=quality, subsampling=0 if quality > 90 else 2)


def _too_large_upright() -> PhotoError:
    message = "turned upright, the photo is larger than 2 MB; use --fit to have it shrunk"
    return PhotoError(api_spec.FILE_TOO_LARGE, message, rejected=True)


def _opaque(image: Image.Image) -> Image.Image:
    """RGB. What was transparent becomes white: the colours below it were never meant to be seen."""
    if "A" not in image.getbands():
        return image.convert("RGB")
    ground = Image.new("RGB", image.size, "white")
    ground.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return ground


def _same_tables(picture: Picture) -> dict[str, Any]:
    """The photo's own quantisation: turning it upright then costs next to no quality or size."""
    with Image.open(io.BytesIO(picture.data), formats=["JPEG", "MPO"]) as image:
        sampling = JpegImagePlugin.get_sampling(image)
        tables = _tables(image)
    if picture.mode != "RGB" or sampling < 0 or tables is None:
        return {"quality": 95}
    if picture.orientation >= 5:  # rows and columns change places, in the tables too
        tables = [[table[(i % 8) * 8 + i // 8] for i in range(64)] for table in tables]
    return {"qtables": tables, "subsampling": sampling}


def _tables(image: Any) -> list[list[int]] | None:
    """The tables of brightness and colour, which each component names by a number from 0 to 3."""
    numbers = [component[3] for component in image.layer[:2]]
    if not all(number in image.quantization for number in numbers):
        return None
    return [image.quantization[number] for number in numbers]


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    clean = image.copy() if image.info else image
    clean.info.clear()  # no profile, no Exif: the API looks at pixels, and location is private
    clean.save(buffer, kind, **options)
    return buffer.getvalue()


def _reread(data: bytes) -> Upload:
    picture = read_header(data)
    return Upload(data, picture.format, picture.size, picture)
