"""``hbseg recompose``."""

from __future__ import annotations

from typing import Any

import click

from humanbody_cli.cli import options
from humanbody_cli.core.settings import Edges

_LONGEST = 16384
"""Pixels that a side of a resized cutout may have at most."""


class BoxType(click.ParamType):
    """``N`` or ``WxH``, pixels."""

    name = "N|WxH"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        """A box in pixels."""
        if isinstance(value, tuple):
            return value
        first, cross, second = str(value).lower().partition("x")
        width = options.whole_number(first)
        height = options.whole_number(second) if cross else width
        if width is None or height is None:
            self.fail(f"{value!r} is no size such as 800 or 800x600", param, ctx)
        if not 1 <= min(width, height) <= max(width, height) <= _LONGEST:
            self.fail(f"{value!r}: a side has 1 to {_LONGEST} pixels", param, ctx)
        return width, height


@click.command("recompose")
@click.argument("out", metavar="OUT")
@options.option(
    "--edges",
    type=click.Choice([edges.value for edges in Edges]),
    default=Edges.SOFT.value,
    show_default=True,
    help="soft: the confidence as alpha; hard: cut at 0.5.",
)
@options.option("--crop", is_flag=True, help="Crop to the person.")
@options.option(
    "--margin",
    type=options.FiniteRange(0, 10),
    default=0.05,
    show_default=True,
    metavar="PART",
    help="Around the crop, as a part of its longer side.",
)
@options.option("--background", metavar="COLOR|IMAGE", help="Put this behind the person.")
@options.option("--size", type=BoxType(), help="Resize to fit into so many pixels.")
@options.option(
    "--format",
    type=click.Choice(["png", "webp", "jpg"]),
    default="png",
    show_default=True,
    help="jpg has no transparency: its background is white unless given.",
)
@options.option(
    "--into",
    metavar="DIR",
    help="Where to; no file but earlier cutouts is replaced.  [default: OUT/recomposed]",
)
@options.as_json
@options.verbosity
def command(
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
    """Make new cutouts from the masks in OUT and the photos they came from, with no call."""
    from humanbody_cli.jobs import recompose
    from humanbody_cli.storage.journal import Journal

    recipe = recompose.Recipe(
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
