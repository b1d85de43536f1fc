"""What the tests of photos ask: why one is rejected, whether it shows what it should."""

from __future__ import annotations

from typing import Protocol

import pytest
from making import BLUE, GOLD, GREEN, RED
from PIL import Image

from humanbody_cli.api.requests import request_size
from humanbody_cli.core.errors import PhotoError
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.imaging import pictures
from humanbody_cli.imaging.pictures import Picture, read_header
from humanbody_cli.imaging.uploads import check_limits


class Check(Protocol):
    """The whole pre-validation of bytes: the picture, or the code of its rejection."""

    def __call__(self, data: bytes, rules: Rules | None = None) -> Picture | str: ...


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


def pixel(image: Image.Image, at: tuple[int, int]) -> tuple[int, ...]:
    """A pixel of a picture with several channels."""
    found = image.getpixel(at)
    assert isinstance(found, tuple)
    return found


def level(image: Image.Image, at: tuple[int, int]) -> int:
    """A pixel of a picture with one channel."""
    found = image.getpixel(at)
    assert found is not None and not isinstance(found, tuple)
    return int(found)


def shows_quarters(image: Image.Image, by: int = 6) -> bool:
    """Whether a picture is ``making.quarters``, upright."""
    width, height = image.size
    corners = [(3, 3), (width - 4, 3), (3, height - 4), (width - 4, height - 4)]
    found = [pixel(image.convert("RGB"), corner) for corner in corners]
    return all(near(a, b, by) for a, b in zip(found, (RED, GREEN, BLUE, GOLD), strict=True))
