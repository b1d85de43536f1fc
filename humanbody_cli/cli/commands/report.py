"""``hbseg report``: its options."""

from __future__ import annotations

import os
from pathlib import Path

import click

from humanbody_cli.cli import completion
from humanbody_cli.cli.configuration.command import command
from humanbody_cli.cli.configuration.option import option
from humanbody_cli.cli.limits import price
from humanbody_cli.cli.options import telling
from humanbody_cli.core.settings import Price, Telling


@command("report")
@click.argument("out", metavar="OUT", shell_complete=completion.outputs)
@option(
    "-o",
    "--output",
    "file",
    settable=False,
    section="Output",
    metavar="FILE",
    shell_complete=completion.files("html", "htm"),
    help="Write the page to FILE instead, with its thumbnails beside it.",
)
@option(
    "--open",
    "shows",
    is_flag=True,
    settable=False,
    section="Output",
    help="Open the page in the browser.",
)
@price
@telling
def report_command(
    out: str, file: str | None, shows: bool, price: Price | None, telling: Telling
) -> int:
    """Write an HTML page for looking through the results in OUT.

    The page is OUT/report.html and needs no server; thumbnails, one file per photo, are in
    OUT/report-files. Photos in which nobody was found come first, then doubtful masks. Photos can
    be marked there and listed for --from-file. The page's path is printed.
    """
    from humanbody_cli.core import console
    from humanbody_cli.jobs.report.write import write
    from humanbody_cli.storage.journal import Journal

    journal = Journal(out, read_only=True)
    try:
        page = write(journal, file, price, telling)
    finally:
        journal.close()
    console.write_data(os.fsencode(page) + b"\n")
    if shows:
        _show(page)
    return 0


def _show(page: str) -> None:
    import webbrowser

    if not webbrowser.open(Path(page).absolute().as_uri()):
        click.echo("hbseg: no browser was found here; open the page yourself", err=True)
