"""Recipes from the user's options, and one cutout by a recipe, from pixels to a file's bytes."""

from __future__ import annotations

import contextlib
from pathlib import Path

from PIL import Image, ImageColor

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import PhotoError, UsageError
from humanbody_cli.core.settings import Edges, Look, Metadata
from humanbody_cli.imaging import pictures
from humanbody_cli.imaging.cutouts import (
    QUALITY,
    Colour,
    Labels,
    Recipe,
    compose_one,
    encoded,
)
from humanbody_cli.imaging.pictures import Picture
from humanbody_cli.pipeline.photo_steps import composing

_LONGEST_SIDE = {"webp": 16_383, "jpg": 65_500}
"""Pixels: 14 bits of a WebP's header (RFC 9649, 2.7); what libjpeg takes (JPEG_MAX_DIMENSION)."""


def recipe_of(look: Look, edges: Edges, metadata: Metadata) -> Recipe:
    """The recipe that the options describe; a background picture is read here.

    Raises:
        UsageError: the background is neither a colour nor a picture, or the quality is that of a
            PNG, which has none.
    """
    pictures.configure_pillow()
    format = look.format or "png"  # noqa: A001 - the option's name
    if look.quality is not None and format == "png":
        raise UsageError(
            "--quality is that of a jpg or webp, and a png is always exact; choose another "
            "format, or drop it"
        )
    return Recipe(
        edges=edges,
        metadata=metadata,
        crop=look.crop,
        margin=Recipe.margin if look.margin is None else look.margin,
        size=look.size,
        canvas=look.canvas,
        enlarge=look.enlarge,
        background=background_of(look.background),
        format=format,
        quality=QUALITY if look.quality is None else look.quality,
    )


def background_of(text: str | None) -> Colour | Image.Image | None:
    """A colour by name or ``#rrggbb``, or the picture at a path."""
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        red, green, blue, *_ = ImageColor.getrgb(text)
        return red, green, blue
    try:
        return pictures.read_header(Path(text).read_bytes(), fit=True).pixels().convert("RGB")
    except (OSError, PhotoError) as error:
        raise UsageError(
            f"--background {text!r} is neither a colour (white, #1e90ff) nor a picture that can "
            f"be read: {_why(error)}"
        ) from error


def _why(error: OSError | PhotoError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file; check the colour's name or the path"
    if isinstance(error, OSError):
        return f"{error.strerror or error}; check the path and its permissions"
    return str(error)


@composing()
def composed(recipe: Recipe, picture: Picture, mask: Image.Image, seal: str, made: str) -> bytes:
    """A photo's cutout by a recipe, as a file sealed as ``seal`` and ``made`` of what it says.

    The mask (L) has the photo's upright size.

    Raises:
        PhotoError: it cannot be composed, or has more pixels than the format holds.
    """
    image = compose_one(picture.pixels(), mask, recipe)
    longest = _LONGEST_SIDE.get(recipe.format)
    if longest is not None and max(image.size) > longest:
        raise PhotoError(
            api_spec.TOO_LARGE_FOR_FORMAT,
            f"a {recipe.format} has at most {longest:,} pixels per side, and this cutout has "
            f"{image.width} x {image.height}; give --size or another --format",
        )
    return encoded(image, recipe, _labels(recipe, picture, seal, made))


def _labels(recipe: Recipe, picture: Picture, seal: str, made: str) -> Labels:
    exif = pictures.upright_exif(picture) if recipe.metadata is Metadata.KEEP else None
    return Labels(seal, made, pictures.rgb_profile(picture), exif)
