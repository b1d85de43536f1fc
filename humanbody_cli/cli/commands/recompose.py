"""``hbseg recompose``: its options, as a ``Recipe``."""

from __future__ import annotations

from typing import Any

import click

from humanbody_cli.cli.options import FiniteRange, as_json, one_of, option, verbosity, whole_number
from humanbody_cli.core.settings import Edges

_LONGEST = 16384
"""Most pixels on a side of a resized cutout."""


class BoxType(click.ParamType):
    """``N`` or ``WxH``, pixels."""

    name = "N|WxH"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
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


@click.command("recompose")
@click.argument("out", metavar="OUT")
@one_of(
    "--edges",
    Edges.SOFT,
    help="soft: the confidence as alpha; hard: cut at 0.5.",
)
@option("--crop", is_flag=True, help="Crop to the person.")
@option(
    "--margin",
    type=FiniteRange(0, 10),
    default=0.05,
    show_default=True,
    metavar="FRACTION",
    help="Margin around the crop, as a fraction of its longer side.",
)
@option("--background", metavar="COLOR|IMAGE", help="Colour or picture to put behind the person.")
@option("--size", type=BoxType(), metavar="N|WxH", help="Resize to fit into this many pixels.")
@option(
    "--format",
    type=click.Choice(["png", "webp", "jpg"]),
    default="png",
    show_default=True,
    help="jpg has no transparency; its background is white unless --background is given.",
)
@option(
    "--into",
    metavar="DIR",
    help="Output folder; only earlier cutouts are replaced.  [default: OUT/recomposed]",
)
@as_json
@verbosity
def recompose_command(
    out: str,
    edges: str,
    crop: bool,
    margin: float,
    background: str | None,
    size: tuple[int, int] | None,
    format: str,  # noqa: A002 - the option's name
    into: str | None,
    json: bool,
    verbosity: int,
) -> int:
    """Make new cutouts from the masks in OUT, without calls.

    The photos that the masks were made from are read again."""
    from humanbody_cli.imaging.cutouts import Recipe
    from humanbody_cli.jobs import recompose
    from humanbody_cli.storage.journal import Journal

    recipe = Recipe(
        edges=Edges(edges),
        crop=crop,
        margin=margin,
        background=recompose.background(background),
        size=size,
        format=format,
    )
    journal = Journal(out, read_only=True)
    try:
        return recompose.run(journal, recipe, into, json=json, verbosity=verbosity)
    finally:
        journal.close()
