"""``hbseg recompose``."""

from __future__ import annotations

from typing import Any

import click

from humanbody_cli import options
from humanbody_cli.settings import Edges


class Box(click.ParamType):
    """``N`` or ``WxH``, pixels."""

    name = "N|WxH"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        """A box in pixels."""
        if isinstance(value, tuple):
            return value
        width, _, height = str(value).lower().partition("x")
        sides = (width, height or width)
        if not all(side.isdigit() and 1 <= int(side) <= 16384 for side in sides):
            self.fail(f"{value!r} is no size such as 800 or 800x600", param, ctx)
        return int(sides[0]), int(sides[1])


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
    type=click.FloatRange(0, 10),
    default=0.05,
    show_default=True,
    metavar="PART",
    help="Around the crop, as a part of its longer side.",
)
@options.option("--background", metavar="COLOR|IMAGE", help="Put this behind the person.")
@options.option("--size", type=Box(), help="Resize to fit into so many pixels.")
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
    from humanbody_cli import recompose
    from humanbody_cli.journal import Journal

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
