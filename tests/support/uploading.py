"""What is sent of a photo, and whether the API takes it."""

from __future__ import annotations

from checking import pixel
from making import (
    BLUE,
    GOLD,
    GREEN,
    RED,
    opened,
)
from PIL import Image

from humanbody_cli.api.requests import request_size
from humanbody_cli.imaging.pictures import read_header
from humanbody_cli.imaging.uploads import Upload, prepare

TWO_MB = 2_097_152


def prepared(data: bytes, *, fit: bool = False) -> Upload:
    """The upload for a photo's bytes."""
    return prepare(read_header(data), fit=fit)


def within_limits(upload: Upload) -> bool:
    """Whether the API takes this: format, sides, bytes, and what it says of itself is true."""
    image = opened(upload.data)
    told = (upload.format, upload.size)
    return (
        told == (image.format, image.size)
        and image.format in ("JPEG", "PNG")
        and all(48 <= side <= 4096 for side in image.size)
        and request_size(len(upload.data)) <= TWO_MB
        and image.getexif().get(0x0112, 1) == 1
    )


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """The pixels near the four corners, as RGB."""
    width, height = image.size
    rgb = image.convert("RGB")
    places = [(2, 2), (width - 3, 2), (2, height - 3), (width - 3, height - 3)]
    return [pixel(rgb, place) for place in places]


def near_quarters(image: Image.Image, by: int = 12) -> bool:
    """Whether the corners are those of ``making.quarters``."""
    wanted = (RED, GREEN, BLUE, GOLD)
    pairs = zip(corners(image), wanted, strict=True)
    return all(abs(a - b) <= by for one, two in pairs for a, b in zip(one, two, strict=True))
