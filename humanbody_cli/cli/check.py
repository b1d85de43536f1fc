"""``hbseg check``."""

from __future__ import annotations

import click

from humanbody_cli.cli import options
from humanbody_cli.core.settings import InputSettings


@click.command("check")
@options.inputs
@options.option("--fit", is_flag=True, help="Check as a run with --fit would.")
@options.as_json
@options.verbosity
def command(inputs: InputSettings, fit: bool, json: bool, verbosity: int) -> int:
    """Check photos against the API's limits: no call, no output.

    Exit code 0 where every photo would be sent, 3 where some would be rejected.
    """
    from humanbody_cli.api.requests import request_size
    from humanbody_cli.discovery.sources import Rules
    from humanbody_cli.jobs.check import check

    return check(inputs, Rules(fit=fit, overhead=request_size(0)), json=json, verbosity=verbosity)
