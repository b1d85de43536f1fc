"""``hbseg recompose``: its options, as a ``Look`` and a selection."""

from __future__ import annotations

import click

from humanbody_cli.cli import completion
from humanbody_cli.cli.configuration.command import command
from humanbody_cli.cli.configuration.option import option
from humanbody_cli.cli.look_options import look
from humanbody_cli.cli.options import as_json, edges, metadata, telling
from humanbody_cli.core.settings import Edges, Look, Metadata, Telling


@command("recompose")
@click.argument("out", metavar="OUT", shell_complete=completion.outputs)
@edges
@look
@metadata
@option(
    "--only",
    section="Input",
    metavar="doubtful|LIST",
    shell_complete=completion.doubtful_or_list,
    help="Only photos with doubtful masks, or those in LIST, one per line ('-' for stdin).",
)
@option(
    "--into",
    section="Output",
    metavar="DIR",
    shell_complete=completion.folders,
    otherwise="OUT/recomposed",
    help="Output folder; only earlier cutouts are replaced.",
)
@option(
    "--include-empty",
    section="Input",
    is_flag=True,
    help="Include photos in which nobody was found.",
)
@as_json
@telling
def recompose_command(
    out: str,
    edges: str,
    look: Look,
    metadata: str,
    only: str | None,
    into: str | None,
    include_empty: bool,
    json: bool,
    telling: Telling,
) -> int:
    """Make new cutouts from the masks in OUT, without calls.

    The photos that the masks were made from are read again. A picture that was already made from
    the same photo and mask with the same options is left as it is.
    """
    from humanbody_cli.jobs.recompose import batch
    from humanbody_cli.jobs.recompose.recipes import recipe_of
    from humanbody_cli.jobs.recompose.selection import selected
    from humanbody_cli.storage.journal import Journal

    recipe = recipe_of(look, Edges(edges), Metadata(metadata))
    journal = Journal(out, read_only=True)
    try:
        selection = selected(journal, only, includes_empty=include_empty)
        return batch.run(journal, recipe, selection, into, json=json, telling=telling)
    finally:
        journal.close()
