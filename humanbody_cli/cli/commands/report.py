"""``hbseg report``: its options."""

from __future__ import annotations

import os

import click


@click.command("report")
@click.argument("out", metavar="OUT")
def report_command(out: str) -> int:
    """Write an HTML page for looking through the results in OUT.

    Open OUT/report.html in a browser; it needs no server. Doubtful masks come first. The page's
    path is printed.
    """
    from humanbody_cli.core import console
    from humanbody_cli.jobs import report
    from humanbody_cli.storage.journal import Journal

    journal = Journal(out, read_only=True)
    try:
        console.write_data(os.fsencode(report.write(journal)[0]) + b"\n")
    finally:
        journal.close()
    return 0
