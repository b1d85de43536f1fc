"""``hbseg config``: the commands about hbseg itself."""

from __future__ import annotations

import click

from humanbody_cli.cli.configuration.command import command
from humanbody_cli.cli.configuration.option import option


@command("config")
@click.argument("name", metavar="[COMMAND]", required=False)
@option(
    "--init",
    is_flag=True,
    settable=False,
    help="Write a settings file in which everything is commented out; never replaces one.",
)
@option("--json", "json", is_flag=True, settable=False, help="Print one JSON object.")
@click.pass_context
def config_command(ctx: click.Context, name: str | None, init: bool, json: bool) -> None:
    """Show the settings and where each of them is from.

    The list has the options of COMMAND, or of all commands, with their values and what sets them:
    an environment variable, a profile, the settings file, or nothing (default). Every value is
    checked. The API key and its secret are not shown, only whether they are set.
    """
    from humanbody_cli.cli.configuration import example, report

    if init:
        click.echo(example.write(ctx))
    elif json:
        click.echo(report.as_json(ctx, name))
    else:
        click.echo(report.as_text(ctx, name))
