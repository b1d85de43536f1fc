"""Cutouts from a photo and its mask, with hard or soft edges, plain or by a recipe.

Alpha is straight everywhere: colours are never multiplied by alpha, which would darken the rim.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, ImageChops, ImageOps

from humanbody_cli.core.errors import no_soft_edges
from humanbody_cli.core.settings import Edges
from humanbody_cli.imaging import png_writer, proof
from humanbody_cli.imaging.masks import binary
from humanbody_cli.imaging.png_writer import Area


@dataclass(frozen=True)
class Cutout:
    """A cutout that is made in parts; ``part`` makes an area of it as an RGBA image.

    ``size`` is width and height in pixels.
    """

    size: tuple[int, int]
    part: Callable[[Area], Image.Image]

    def image(self) -> Image.Image:
        """The whole cutout."""
        return self.part((0, 0, *self.size))

    def png(self) -> bytes:
        """The whole cutout as PNG; if numpy is installed, its pixels are never all in memory."""
        return png_writer.encode_parts(self.size, "RGBA", self.part)


def cut_out(pixels: Image.Image, mask: Image.Image, edges: Edges) -> Cutout:
    """The cutout of a photo (RGB or RGBA) by its mask (L) of the same size.

    Raises:
        UsageError: soft edges need numpy, of the extra ``soft``, which is not installed.
    """
    blend = soft_cutout if edges is Edges.SOFT else hard_cutout
    return blend(pixels, mask)


def hard_cutout(pixels: Image.Image, mask: Image.Image) -> Cutout:
    """A cutout as the API makes it: opaque where confidence > .5, else transparent black.

    A photo's own transparency is kept.
    """

    def part(area: Area) -> Image.Image:
        return _with_alpha(pixels.crop(area), binary(mask.crop(area)))

    return Cutout(pixels.size, part)


def soft_cutout(pixels: Image.Image, mask: Image.Image) -> Cutout:
    """A cutout whose alpha is the confidence, its rim freed of the background's colour.

    Raises:
        UsageError: numpy, of the extra ``soft``, is not installed.
    """
    try:
        from humanbody_cli.imaging import matting
    except ImportError:
        raise no_soft_edges() from None
    foreground = matting.Foreground(pixels, mask)

    def part(area: Area) -> Image.Image:
        cleaned, alpha = foreground.part(area), mask.crop(area)
        if "A" in pixels.getbands():
            cleaned.putalpha(pixels.getchannel("A").crop(area))
            return _with_alpha(cleaned, alpha)
        cleaned.putalpha(alpha)  # colours under alpha 0 are zero already
        return cleaned

    return Cutout(pixels.size, part)


def _with_alpha(pixels: Image.Image, alpha: Image.Image) -> Image.Image:
    if "A" in pixels.getbands():
        alpha = ImageChops.multiply(alpha, pixels.getchannel("A"))
    # Colours under alpha 0 must not be published, and would make files 2.3 times as large. To
    # multiply by alpha 0 or 255 is exact, and the fastest way that Pillow has to clear them.
    cutout = pixels.convert("RGBA")
    cutout.putalpha(alpha.point([0] + [255] * 255))
    cutout = cutout.convert("RGBa").convert("RGBA")
    cutout.putalpha(alpha)
    return cutout


RECOMPOSED_SEAL = "recomposed"
"""The kind of seal that recomposed cutouts bear."""


_QUALITY = 92


@dataclass(frozen=True)
class Recipe:
    """How cutouts are composed. ``margin`` is a part of the crop's longer side; ``size`` a box in
    pixels that the result fits into; ``background`` a colour or a picture that covers."""

    edges: Edges = Edges.SOFT
    crop: bool = False
    margin: float = 0.05
    background: tuple[int, int, int] | Image.Image | None = field(default=None, repr=False)
    size: tuple[int, int] | None = None
    format: str = "png"

    def __post_init__(self) -> None:
        if self.format == "jpg" and self.background is None:
            # JPEG has no transparency; white is what shops and print expect.
            object.__setattr__(self, "background", (255, 255, 255))


def compose_one(pixels: Image.Image, mask: Image.Image, recipe: Recipe) -> Image.Image:
    """One cutout: RGBA, or RGB over a background. Mask and pixels have one size."""
    cutout = cut_out(pixels, mask, recipe.edges).image()
    if recipe.crop:
        cutout = cutout.crop(crop_box(mask, recipe.margin))
    if recipe.size is not None:
        cutout = _shrunk(cutout, recipe.size)
    if recipe.background is None:
        return cutout
    if isinstance(recipe.background, tuple):
        ground = Image.new("RGB", cutout.size, recipe.background)
    else:
        ground = ImageOps.fit(recipe.background, cutout.size)
    ground.paste(cutout.convert("RGB"), mask=cutout.getchannel("A"))
    return ground


def crop_box(mask: Image.Image, margin: float) -> tuple[int, int, int, int]:
    """The box around the person with its margin, inside the picture; all of it with nobody."""
    found = binary(mask).getbbox()
    if found is None:
        return (0, 0, *mask.size)
    left, top, right, bottom = found
    extra = round(max(right - left, bottom - top) * margin)
    return (
        max(0, left - extra),
        max(0, top - extra),
        min(mask.width, right + extra),
        min(mask.height, bottom + extra),
    )


def _shrunk(cutout: Image.Image, box: tuple[int, int]) -> Image.Image:
    scale = min(box[0] / cutout.width, box[1] / cutout.height)
    size = (max(1, round(cutout.width * scale)), max(1, round(cutout.height * scale)))
    # Pillow resizes RGBA with premultiplied weights: no colour creeps in from under alpha 0.
    return cutout.resize(size, Image.Resampling.LANCZOS)


def encoded(image: Image.Image, recipe: Recipe, profile: bytes | None) -> bytes:
    """The cutout as a file of the recipe's format, sealed as our own."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"icc_profile": profile} if profile else {}
    seal = RECOMPOSED_SEAL
    if recipe.format == "jpg":
        image.save(buffer, "JPEG", quality=_QUALITY, comment=proof.blank(seal), **options)
    elif recipe.format == "webp":
        image.save(buffer, "WEBP", quality=_QUALITY, method=4, xmp=proof.in_xmp(seal), **options)
    elif image.mode == "RGBA":
        data = png_writer.with_metadata(png_writer.encode(image), profile=profile)
        buffer.write(proof.in_png(data, seal))
    else:
        image.save(buffer, "PNG", compress_level=3, **options)
        buffer = io.BytesIO(proof.in_png(buffer.getvalue(), seal))
    return proof.sealed(buffer.getvalue(), seal)
