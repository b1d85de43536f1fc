"""What the tests of photos ask: why one is rejected, whether it shows what it should."""

from __future__ import annotations

import pytest
from making import BLUE, GOLD, GREEN, RED
from PIL import Image

from humanbody_cli.api.requests import request_size
from humanbody_cli.core.errors import PhotoError
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.imaging import pictures
from humanbody_cli.imaging.pictures import read_header
from humanbody_cli.imaging.uploads import check_limits


def _checked(data: bytes, rules: Rules) -> None:
    picture = read_header(data, fit=rules.fit)
    if not rules.fit:
        check_limits(picture, len(data), request_size(len(data)))
    pictures.check_sound(picture, keep_pixels=True)


def rejection(data: bytes, rules: Rules | None = None) -> PhotoError:
    """Why these bytes are rejected."""
    with pytest.raises(PhotoError) as caught:
        _checked(data, rules or Rules())
    assert caught.value.rejected
    return caught.value


def near(one: tuple[int, ...], other: tuple[int, ...], by: int = 6) -> bool:
    """Whether two pixels are the same but for a lossy format's noise."""
    return len(one) == len(other) and all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


def shows_quarters(image: Image.Image, by: int = 6) -> bool:
    """Whether a picture is ``making.quarters``, upright."""
    width, height = image.size
    corners = [(3, 3), (width - 4, 3), (3, height - 4), (width - 4, height - 4)]
    found = [image.convert("RGB").getpixel(corner) for corner in corners]
    return all(near(a, b, by) for a, b in zip(found, (RED, GREEN, BLUE, GOLD), strict=True))
