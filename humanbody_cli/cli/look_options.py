"""The options that say how cutouts look, of ``segment`` and ``recompose``, as a ``Look``."""

from __future__ import annotations

from typing import Any

import click

from humanbody_cli.cli import completion
from humanbody_cli.cli.configuration.option import Choice, group, option
from humanbody_cli.cli.options import FiniteRange, whole_number
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import MAX_MARGIN, Box, Look

_LONGEST = 16384
"""Most pixels on a side of a resized cutout."""


class BoxType(click.ParamType):
    """``N`` or ``WxH``, pixels."""

    name = "N|WxH"

    def convert(self, value: Any, param: Any, ctx: Any) -> Box:
        """A box in pixels."""
        if isinstance(value, tuple):
            return value
        first, cross, second = str(value).lower().partition("x")
        width = whole_number(first)
        height = whole_number(second) if cross else width
        if width is None or height is None:
            self.fail(f"{value!r} is not a size such as 800 or 800x600", param, ctx)
        if not 1 <= min(width, height) <= max(width, height) <= _LONGEST:
            self.fail(f"{value!r}: each side must have 1 to {_LONGEST} pixels", param, ctx)
        return width, height


def _look(
    crop: bool,
    margin: float | None,
    background: str | None,
    size: Box | None,
    canvas: Box | None,
    enlarge: bool,
    format: str | None,  # noqa: A002 - the option's name
    quality: int | None,
) -> Look:
    if margin is not None and not crop:
        raise UsageError("--margin is the margin of a crop; give --crop too, or drop it")
    if enlarge and size is None and canvas is None:
        raise UsageError("--enlarge needs a size to enlarge to; give --size or --canvas too")
    return Look(crop, margin, background, size, canvas, enlarge, format, quality)


look = group(
    "look",
    _look,
    option("--crop", is_flag=True, help="Crop to the person."),
    option(
        "--margin",
        type=FiniteRange(0, MAX_MARGIN),
        metavar="FRACTION",
        otherwise="0.05",
        help="Margin around the crop, as a fraction of its longer side.",
    ),
    option(
        "--background",
        metavar="COLOR|IMAGE",
        shell_complete=completion.pictures,
        help="Colour or picture to put behind the person.",
    ),
    option("--size", type=BoxType(), metavar="N|WxH", help="Shrink to fit into this many pixels."),
    option(
        "--canvas",
        type=BoxType(),
        metavar="N|WxH",
        help="Make pictures of exactly this size, the cutout shrunk to fit and centred.",
    ),
    option("--enlarge", is_flag=True, help="Let --size and --canvas enlarge small cutouts too."),
    option(
        "--format",
        type=Choice(["png", "webp", "jpg"]),
        metavar="png|webp|jpg",
        otherwise="png",
        help="jpg has no transparency; its background is white unless --background is given.",
    ),
    option(
        "--quality",
        type=click.IntRange(1, 100),
        metavar="N",
        otherwise="92",
        help="Quality of jpg and webp, 1 to 100.",
    ),
    section="Cutouts",
)
