"""``hbseg status``."""

from __future__ import annotations

import click

from humanbody_cli import options


@click.command("status")
@click.argument("out", metavar="OUT")
@options.option("--json", "json", is_flag=True, help="Counts and every photo's record as JSON.")
@click.option("--failed", is_flag=True, help="List rejected and failed sources, one a line.")
@click.option("-0", "--null", "nul", is_flag=True, help="With --failed: end names with NUL.")
def command(out: str, json: bool, failed: bool, nul: bool) -> int:
    """Tell what is done, rejected, failed and pending in OUT.

    `hbseg status OUT --failed | hbseg segment --from-file - -o OUT2` tries the rest elsewhere.
    """
    from humanbody_cli import status
    from humanbody_cli.journal import Journal

    journal = Journal(out, read_only=True)
    try:
        if failed:
            status.print_failed(journal, nul=nul)
        elif json:
            status.print_json(journal)
        else:
            status.print_counts(journal)
    finally:
        journal.close()
    return 0
