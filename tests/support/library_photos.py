"""Photos for tests of the library, and whether two results are alike."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from humanbody_cli import SegmentedPhoto

GRACE = Path(__file__).resolve().parents[2] / "sample_images" / "portraits" / "grace_hopper.jpg"


def grace() -> Image.Image:
    """The portrait, in memory."""
    with Image.open(GRACE) as image:
        image.load()
        return image


def same(one: SegmentedPhoto, other: SegmentedPhoto) -> bool:
    """Whether two results are the same, pixel by pixel."""
    pixels = ((found.mask.tobytes(), found.cutout.tobytes()) for found in (one, other))
    return next(pixels) == next(pixels) and one.doubt == other.doubt
