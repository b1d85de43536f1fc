"""Cutouts from a photo and its mask, with hard or soft edges: pixels in, pixels out.

Alpha is straight everywhere: colours are never multiplied by alpha, which would darken the rim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageChops

from humanbody_cli.core.errors import no_soft_edges
from humanbody_cli.core.settings import Edges
from humanbody_cli.imaging import png_writer
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
