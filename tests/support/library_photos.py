"""An API and photos for tests of the library, and whether two results are alike."""

from __future__ import annotations

from typing import Any

from conftest import GRACE, KEY, SECRET
from fake_api import FakeApi
from PIL import Image

from humanbody_cli import Api, SegmentedPhoto


def account(api: FakeApi, **more: Any) -> Api:
    """The fake API with a key that it takes, called fast."""
    return Api(KEY, SECRET, api.url, **{"qps": 300, **more})


def grace() -> Image.Image:
    """The portrait, in memory."""
    with Image.open(GRACE) as image:
        image.load()
        return image


def same(one: SegmentedPhoto, other: SegmentedPhoto) -> bool:
    """Whether two results are the same, pixel by pixel."""
    pixels = ((found.mask.tobytes(), found.cutout.tobytes()) for found in (one, other))
    return next(pixels) == next(pixels) and one.doubt == other.doubt
