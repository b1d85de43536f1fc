"""``hbseg status``: its options."""

from __future__ import annotations

import click

from humanbody_cli.cli import completion
from humanbody_cli.cli.configuration.command import command
from humanbody_cli.cli.configuration.option import option
from humanbody_cli.cli.limits import price
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import Price


@command("status")
@click.argument("out", metavar="OUT", shell_complete=completion.outputs)
@option(
    "--json",
    "json",
    is_flag=True,
    section="Output",
    help="Print counts and every photo's record as JSON.",
)
@option(
    "--failed",
    is_flag=True,
    settable=False,
    section="Output",
    help="List only rejected and failed photos: one source (with --json, one record) per line.",
)
@option(
    "-0",
    "--null",
    "nul",
    is_flag=True,
    settable=False,
    section="Output",
    help="With --failed: end each name with NUL.",
)
@price
def status_command(out: str, json: bool, failed: bool, nul: bool, price: Price | None) -> int:
    """Show what is done, rejected, failed and pending in OUT.

    To retry the rejected and failed photos with another output folder:

    \b
      hbseg status OUT --failed | hbseg segment --from-file - -o OUT2
    """
    if nul and (json or not failed):
        raise UsageError(
            "-0 ends the names that --failed prints; give --failed, without --json, or drop -0"
        )
    from humanbody_cli.jobs.inspection import status
    from humanbody_cli.storage.journal import Journal

    journal = Journal(out, read_only=True)
    try:
        if failed:
            status.print_failed(journal, nul=nul, json=json)
        elif json:
            status.print_json(journal, price)
        else:
            status.print_counts(journal, price)
    finally:
        journal.close()
    return 0
