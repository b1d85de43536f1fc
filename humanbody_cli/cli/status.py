"""``hbseg status``."""

from __future__ import annotations

import click

from humanbody_cli.cli import options
from humanbody_cli.core.errors import UsageError


@click.command("status")
@click.argument("out", metavar="OUT")
@options.option("--json", "json", is_flag=True, help="Counts and every photo's record as JSON.")
@click.option(
    "--failed",
    is_flag=True,
    help="Only rejected and failed photos: one source (or, with --json, one record) a line.",
)
@click.option("-0", "--null", "nul", is_flag=True, help="With --failed: end names with NUL.")
def command(out: str, json: bool, failed: bool, nul: bool) -> int:
    """Tell what is done, rejected, failed and pending in OUT.

    `hbseg status OUT --failed | hbseg segment --from-file - -o OUT2` tries the rest elsewhere.
    """
    if nul and (json or not failed):
        raise UsageError("-0 ends the names of --failed with NUL; it goes with no other output")
    from humanbody_cli.jobs import status
    from humanbody_cli.storage.journal import Journal

    journal = Journal(out, read_only=True)
    try:
        if failed:
            status.print_failed(journal, nul=nul, json=json)
        elif json:
            status.print_json(journal)
        else:
            status.print_counts(journal)
    finally:
        journal.close()
    return 0
