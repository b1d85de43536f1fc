"""``hbseg plan``."""

from __future__ import annotations

import click

from humanbody_cli.cli.options.declare import option
from humanbody_cli.cli.options.run import run
from humanbody_cli.core.settings import RunSettings


@click.command("plan")
@run(option("--json", "json", is_flag=True, help="Print the plan as one JSON object."))
def command(settings: RunSettings) -> int:
    """Show what a run would do: calls, rejected photos, bytes, time.

    Takes the options of `hbseg segment`, makes no call and writes nothing. Exit code 3 if photos
    would be rejected.
    """
    from humanbody_cli.jobs.plan import plan

    return plan(settings)
