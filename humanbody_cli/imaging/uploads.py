"""What may be sent: the API's limits, and photos made upright and, with ``--fit``, small enough.

The embedded engine gets exactly what would be sent to the API, so a run without a key accepts
exactly the photos that a run with one does. A photo that is upright and within the limits is sent
as it is, byte for byte.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image, JpegImagePlugin

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import PhotoError
from humanbody_cli.imaging.decoding import decoding, unsupported
from humanbody_cli.imaging.pictures import API_FORMATS, Picture, read_header

_QUALITIES = (95, 90, 85, 80, 75)
_SHRINK = 0.84
"""Factor per step for each side, once the lowest quality is still too large: it leaves about 0.7 of
the pixels."""

_SAMPLE_MARGIN = 1.25
"""A sample predicts the size of the whole photograph to within a tenth. A quality whose predicted
size is this many times too large is not tried."""

_BLOCK = 16  # side, in pixels, of JPEG's largest coding unit
_FEWEST_STRIPS = 8

_REQUEST_MARGIN = 1024
"""Bytes left for the form around the photo; the form itself has about 550."""

MAX_FIT_PIXELS = 300_000_000
"""Pixels that ``--fit`` decodes at most: more than any camera has, and about 1 GB as RGB."""

MAX_FIT_BYTES = 256 * 1024 * 1024
"""Bytes of a file that ``--fit`` reads at most."""


def check_limits(picture: Picture, file_size: int, request_size: int) -> None:
    """Check a photo against the API's limits, which apply to either engine.

    Raises:
        PhotoError: rejected, with the API's own error name.
    """
    if picture.format not in API_FORMATS:
        raise unsupported(
            f"{picture.format} is not accepted, only JPG and PNG; use --fit to have it converted",
            "HEIC" if picture.format == "HEIF" else picture.format,
        )
    width, height = picture.stored
    if not all(api_spec.MIN_SIDE <= side <= api_spec.MAX_SIDE for side in (width, height)):
        raise PhotoError(
            api_spec.INVALID_SIZE,
            f"{width} x {height} pixels: each side must have {api_spec.MIN_SIDE} to "
            f"{api_spec.MAX_SIDE}; use --fit to have it resized",
            rejected=True,
        )
    check_file_size(file_size, request_size)


def check_pixels(picture: Picture) -> None:
    """Check a photo against the limit of ``--fit`` on pixels.

    Raises:
        PhotoError: rejected, INVALID_IMAGE_SIZE.
    """
    width, height = picture.stored
    if width * height > MAX_FIT_PIXELS:
        raise PhotoError(
            api_spec.INVALID_SIZE,
            f"{width} x {height} pixels are more than --fit accepts ({MAX_FIT_PIXELS:,}); "
            "shrink the photo yourself",
            rejected=True,
        )


def check_file_size(file_size: int, request_size: int) -> None:
    """Check sizes in bytes against the limit of 2 MB, which applies to the whole request too.

    Raises:
        PhotoError: rejected, IMAGE_FILE_TOO_LARGE.
    """
    if file_size > api_spec.MAX_BYTES:
        message = f"{file_size:,} bytes: at most {api_spec.MAX_BYTES:,} are allowed"
    elif request_size > api_spec.MAX_BYTES:
        message = (
            f"{file_size:,} bytes make a request of {request_size:,}: "
            f"at most {api_spec.MAX_BYTES:,} are allowed"
        )
    else:
        return
    advice = f"{message}; use --fit to have it shrunk"
    raise PhotoError(api_spec.FILE_TOO_LARGE, advice, rejected=True)


def check_fit_size(file_size: int) -> None:
    """Check a size in bytes against the limit of ``--fit``.

    Raises:
        PhotoError: rejected, IMAGE_FILE_TOO_LARGE.
    """
    if file_size > MAX_FIT_BYTES:
        message = f"{file_size:,} bytes are more than --fit accepts ({MAX_FIT_BYTES:,})"
        raise PhotoError(
            api_spec.FILE_TOO_LARGE, f"{message}; shrink the photo yourself", rejected=True
        )


@dataclass(frozen=True)
class Upload:
    """What is sent for a photo. ``picture`` is the photo itself if nothing had to change.

    ``size`` is width and height in pixels.
    """

    data: bytes = field(repr=False)
    format: str
    size: tuple[int, int]
    picture: Picture

    def pixels(self) -> Image.Image:
        """The pixels for the engine, RGB.

        Raises:
            PhotoError: they are damaged.
        """
        image = self.picture.pixels()
        return image if image.mode == "RGB" else image.convert("RGB")


@decoding()
def prepare(picture: Picture, *, fit: bool) -> Upload:
    """The upload for a checked photo.

    With ``fit`` it is shrunk and re-encoded as far as needed; without, only a photo whose Exif
    orientation turns it is re-encoded, in the same format.

    Raises:
        PhotoError: rejected; it cannot be brought within the limits.
    """
    if picture.orientation == 1 and (not fit or _fits(picture)):
        return Upload(picture.data, picture.format, picture.size, picture)
    return _reread(_encode(_sized(picture, fit=fit), picture, shrink=fit))


@decoding()
def prepare_pixels(picture: Picture, *, fit: bool, sent: bool) -> Upload:
    """The upload for a photo that has no bytes (`pictures.of_image`), which gets some only if they
    are ``sent``: a local model sees the pixels themselves.

    Raises:
        PhotoError: rejected; it cannot be brought within the limits.
    """
    image = _sized(picture, fit=fit)
    if sent:
        return _reread(_encode(image, picture, shrink=fit))
    shown = replace(picture, stored=image.size, _pixels=image)
    return Upload(b"", picture.format, image.size, shown)


def _sized(picture: Picture, *, fit: bool) -> Image.Image:
    image = picture.pixels()
    target = fitted_size(image.size) if fit else image.size
    if target == image.size:
        return image
    # Shrink by area: sharper kernels ring at the edges, which matter most here.
    return image.resize(target, Image.Resampling.BOX, reducing_gap=2.0)


def _fits(picture: Picture) -> bool:
    return (
        picture.format in API_FORMATS
        and all(api_spec.MIN_SIDE <= side <= api_spec.MAX_SIDE for side in picture.stored)
        and len(picture.data) <= api_spec.MAX_BYTES - _REQUEST_MARGIN
    )


def fitted_size(size: tuple[int, int]) -> tuple[int, int]:
    """The nearest size (width, height) within the limits, in proportion where possible."""
    width, height = size
    scale = min(1.0, api_spec.MAX_SIDE / max(size))
    scale = max(scale, api_spec.MIN_SIDE / min(size))
    return (_within(width * scale), _within(height * scale))


def _within(side: float) -> int:
    # A strip of 50 x 9000 cannot keep its proportions; the mask is resized to the photo anyway.
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
    """JPEG qualities, best first, without those that a sample shows to be far too large."""
    sample = _sample(image)
    parts = image.height / sample.height
    likely = budget * _SAMPLE_MARGIN
    return (
        quality
        for quality in _QUALITIES
        if quality == _QUALITIES[-1]  # the sample is only an estimate
        or sample is image
        or len(_as_jpeg(sample, quality)) * parts <= likely
    )


def _sample(image: Image.Image) -> Image.Image:
    """An eighth of a large image, as evenly spread strips of whole blocks; a small image itself."""
    count = image.height // (8 * _BLOCK)
    if count < _FEWEST_STRIPS:
        return image
    sample = Image.new("RGB", (image.width, count * _BLOCK))
    room = image.height // count // _BLOCK
    for number in range(count):
        # The place within each eighth varies, so that a regular pattern does not mislead.
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
    """RGB over white: the colours under transparent pixels were never meant to be seen."""
    if "A" not in image.getbands():
        return image.convert("RGB")
    ground = Image.new("RGB", image.size, "white")
    ground.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return ground


def _same_tables(picture: Picture) -> dict[str, Any]:
    """The photo's own quantisation, so that turning it costs almost no quality or size."""
    with Image.open(io.BytesIO(picture.data), formats=["JPEG", "MPO"]) as image:
        sampling = JpegImagePlugin.get_sampling(image)
        tables = _tables(image)
    if picture.mode != "RGB" or sampling < 0 or tables is None:
        return {"quality": 95}
    if picture.orientation >= 5:  # rows and columns swap, in the tables too
        tables = [[table[(i % 8) * 8 + i // 8] for i in range(64)] for table in tables]
    return {"qtables": tables, "subsampling": sampling}


def _tables(image: Any) -> list[list[int]] | None:
    """The quantisation tables of brightness and colour; components refer to them by number."""
    numbers = [component[3] for component in image.layer[:2]]
    if not all(number in image.quantization for number in numbers):
        return None
    return [image.quantization[number] for number in numbers]


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    clean = image.copy() if image.info else image
    clean.info.clear()  # no profile, no Exif: the API needs pixels only, and locations are private
    clean.save(buffer, kind, **options)
    return buffer.getvalue()


def _reread(data: bytes) -> Upload:
    picture = read_header(data)
    return Upload(data, picture.format, picture.size, picture)
