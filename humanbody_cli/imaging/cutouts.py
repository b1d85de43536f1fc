"""Cutouts from a photo and its mask, with hard or soft edges, plain or by a recipe.

Alpha is straight everywhere: colours are never multiplied by alpha, which would darken the rim.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from PIL import Image, ImageChops, ImageOps

from humanbody_cli.core.errors import no_soft_edges
from humanbody_cli.core.settings import Edges, Metadata
from humanbody_cli.imaging import png_writer, proof
from humanbody_cli.imaging.decoding import is_installed
from humanbody_cli.imaging.masks import THRESHOLD, binary
from humanbody_cli.imaging.png_writer import Area, Rows


@dataclass(frozen=True)
class Cutout:
    """A cutout that is made in parts; ``rows`` makes the RGBA pixels of an area.

    ``size`` is width and height in pixels.
    """

    size: tuple[int, int]
    rows: Rows

    def image(self) -> Image.Image:
        """The whole cutout."""
        return png_writer.joined(self.size, "RGBA", self.rows)

    def png(self) -> bytes:
        """The whole cutout as PNG; if numpy is installed, its pixels are never all in memory."""
        return png_writer.encode_rows(self.size, "RGBA", self.rows)


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

    if pixels.mode == "RGB" and is_installed("numpy"):
        return Cutout(pixels.size, partial(_hard_rows, pixels, mask))

    def rows(area: Area) -> bytes:
        return _with_alpha(pixels.crop(area), binary(mask.crop(area))).tobytes()

    return Cutout(pixels.size, rows)


def _hard_rows(pixels: Image.Image, mask: Image.Image, area: Area) -> bytes:
    """An area of a hard cutout of an RGB photo: twice as fast as `_with_alpha`
    (`benchmarks/bench_parts.py`)."""
    import numpy as np

    inside = np.frombuffer(mask.crop(area).tobytes(), np.uint8) > THRESHOLD
    if not inside.any():
        return bytes(4 * inside.size)
    # A pixel as one number of 32 bits; its fourth byte may be anything in Pillow's memory.
    colours = np.frombuffer(pixels.crop(area).tobytes("raw", "RGBX"), np.uint32)
    opaque = np.frombuffer(b"\0\0\0\xff", np.uint32)
    return ((colours | opaque) * inside).tobytes()


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

    def rows(area: Area) -> bytes:
        cleaned, alpha = foreground.part(area), mask.crop(area)
        if "A" in pixels.getbands():
            cleaned.putalpha(pixels.getchannel("A").crop(area))
            return _with_alpha(cleaned, alpha).tobytes()
        cleaned.putalpha(alpha)  # colours under alpha 0 are zero already
        return cleaned.tobytes()

    return Cutout(pixels.size, rows)


def _with_alpha(pixels: Image.Image, alpha: Image.Image) -> Image.Image:
    if "A" in pixels.getbands():
        alpha = ImageChops.multiply(alpha, pixels.getchannel("A"))
    cutout = pixels.convert("RGBA")
    cutout.putalpha(alpha)
    # Colours under alpha 0 must not be published, and would make files 2.3 times as large. The
    # lower of a value and 0 or 255 is the fastest way that Pillow has to clear them.
    shown = alpha.point([0] + [255] * 255)
    return ImageChops.darker(cutout, Image.merge("RGBA", (shown, shown, shown, shown)))


QUALITY = 92
"""The quality of JPEG and WebP, 1 to 100, unless the user chooses another."""

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Recipe:
    """How a cutout is composed, in this order.

    ``crop`` cuts it to the person, with a ``margin`` that is a part of the crop's longer side. Then
    it is fitted into ``size``, a box in pixels, and into ``canvas``, which it is centred on: that
    is the exact size of the result. Only with ``enlarge`` does it grow. ``background`` is a colour,
    or a picture that covers.
    """

    edges: Edges = Edges.HARD
    metadata: Metadata = Metadata.STRIP
    crop: bool = False
    margin: float = 0.05
    size: tuple[int, int] | None = None
    canvas: tuple[int, int] | None = None
    enlarge: bool = False
    background: Colour | Image.Image | None = field(default=None, repr=False)
    format: str = "png"
    quality: int = QUALITY

    def __post_init__(self) -> None:
        if self.format == "jpg" and self.background is None:
            # JPEG has no transparency; white is what shops and print expect.
            object.__setattr__(self, "background", (255, 255, 255))

    @property
    def is_plain(self) -> bool:
        """Whether the result is the cutout as ``hbseg segment`` publishes it."""
        return self == Recipe(self.edges, self.metadata)

    @cached_property
    def made(self) -> str:
        """The recipe as text: results of one text are made in the same way."""
        return ";".join(
            (
                f"edges={self.edges.value};metadata={self.metadata.value}",
                f"crop={self.margin if self.crop else None}",
                f"size={self.size};canvas={self.canvas};enlarge={self.enlarge}",
                f"background={_named(self.background)}",
                self.format if self.format == "png" else f"{self.format} {self.quality}",
            )
        )


def _named(background: Colour | Image.Image | None) -> str:
    """A background's colour, or the size and digest of its pixels."""
    if not isinstance(background, Image.Image):
        return str(background)
    return f"{background.size} {hashlib.sha256(background.tobytes()).hexdigest()}"


def compose_one(pixels: Image.Image, mask: Image.Image, recipe: Recipe) -> Image.Image:
    """One cutout: RGBA, or RGB over a background. Mask and pixels have one size."""
    return compose(cut_out(pixels, mask, recipe.edges).image(), mask, recipe)


def compose(cutout: Image.Image, mask: Image.Image, recipe: Recipe) -> Image.Image:
    """A cutout (RGBA) by what a recipe says beyond its edges; ``mask`` has its size."""
    if recipe.crop:
        cutout = cutout.crop(crop_box(mask, recipe.margin))
    cutout = _fitted(cutout, recipe)
    if recipe.canvas is not None:
        cutout = _centred(cutout, recipe.canvas)
    if recipe.background is None:
        return cutout
    if isinstance(recipe.background, tuple):
        ground = Image.new("RGB", cutout.size, recipe.background)
    else:
        ground = ImageOps.fit(recipe.background, cutout.size)
    ground.paste(cutout.convert("RGB"), mask=cutout.getchannel("A"))
    return ground


def crop_box(mask: Image.Image, margin: float) -> tuple[int, int, int, int]:
    """The box around the person with its margin, within the picture; all of it without a person."""
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


def _fitted(cutout: Image.Image, recipe: Recipe) -> Image.Image:
    boxes = [box for box in (recipe.size, recipe.canvas) if box is not None]
    scales = [side / own for box in boxes for side, own in zip(box, cutout.size, strict=True)]
    scale = min(scales, default=1.0)
    if scale == 1 or (scale > 1 and not recipe.enlarge):
        return cutout
    size = (max(1, round(cutout.width * scale)), max(1, round(cutout.height * scale)))
    # Pillow resizes RGBA with premultiplied weights: no colour creeps in from under alpha 0.
    return cutout.resize(size, Image.Resampling.LANCZOS)


def _centred(cutout: Image.Image, canvas: tuple[int, int]) -> Image.Image:
    whole = Image.new("RGBA", canvas)
    whole.paste(cutout, ((canvas[0] - cutout.width) // 2, (canvas[1] - cutout.height) // 2))
    return whole


@dataclass(frozen=True)
class Labels:
    """What a composed file carries beside its pixels: the photo's colour profile and Exif, the kind
    of its seal, and the `proof.digest_of` what it was made of."""

    seal: str
    made: str = ""
    profile: bytes | None = None
    exif: bytes | None = None


def encoded(image: Image.Image, recipe: Recipe, labels: Labels) -> bytes:
    """The cutout as a file of the recipe's format, sealed as our own."""
    seal = (labels.seal, labels.made)
    options: dict[str, Any] = {"icc_profile": labels.profile} if labels.profile else {}
    if labels.exif:
        options["exif"] = b"Exif\0\0" + labels.exif
    buffer = io.BytesIO()
    if recipe.format == "jpg":
        options["comment"] = proof.blank(*seal)
        image.save(buffer, "JPEG", quality=recipe.quality, **options)
    elif recipe.format == "webp":
        options["xmp"] = proof.in_xmp(*seal)
        image.save(buffer, "WEBP", quality=recipe.quality, method=4, **options)
    else:
        return sealed_png(_png(image), labels)
    return proof.sealed(buffer.getvalue(), labels.seal)


def _png(image: Image.Image) -> bytes:
    if image.mode == "RGBA":
        return png_writer.encode(image)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def sealed_png(data: bytes, labels: Labels) -> bytes:
    """A PNG with these labels; every other chunk stays as it is."""
    data = png_writer.with_metadata(data, profile=labels.profile, exif=labels.exif)
    return proof.sealed(proof.in_png(data, labels.seal, labels.made), labels.seal)
