"""``hbseg check``."""

from __future__ import annotations

import click

from humanbody_cli.cli.options.declare import option
from humanbody_cli.cli.options.inputs import inputs
from humanbody_cli.cli.options.output import as_json, verbosity
from humanbody_cli.core.settings import InputSettings


@click.command("check")
@inputs
@option("--fit", is_flag=True, help="Check as a run with --fit would.")
@as_json
@verbosity
def command(inputs: InputSettings, fit: bool, json: bool, verbosity: int) -> int:
    """Check photos against the API's limits, without calls or output.

    Exit code 0 if every photo would be sent, 3 if some would be rejected.
    """
    from humanbody_cli.api.requests import request_size
    from humanbody_cli.discovery.sources import Rules
    from humanbody_cli.jobs.check import check

    return check(inputs, Rules(fit=fit, overhead=request_size(0)), json=json, verbosity=verbosity)
