"""``hbseg check`` and ``hbseg plan``: what a run would do, without doing it."""

from __future__ import annotations

import os

from humanbody_cli.cli.configuration.command import command
from humanbody_cli.cli.configuration.option import option
from humanbody_cli.cli.destination import check_folder
from humanbody_cli.cli.limits import price
from humanbody_cli.cli.options import as_json, inputs, output_folder, telling
from humanbody_cli.cli.run_options import run
from humanbody_cli.core.settings import InputSettings, RunSettings, Telling


@command("check")
@inputs
@option("--fit", is_flag=True, section="Input", help="Check as a run with --fit would.")
@as_json
@telling
def check_command(inputs: InputSettings, fit: bool, json: bool, telling: Telling) -> int:
    """Check photos against the API's limits, without calls or output.

    Exit code 0 if every photo would be sent, 3 if some would be rejected.
    """
    from humanbody_cli.api.requests import request_size
    from humanbody_cli.discovery.sources import Rules
    from humanbody_cli.jobs.inspection.check import check

    return check(inputs, Rules(fit=fit, overhead=request_size(0)), json=json, telling=telling)


@command("plan")
@run(
    output_folder,
    price,
    option(
        "--json",
        "json",
        is_flag=True,
        section="Messages",
        help="Print the plan as one JSON object.",
    ),
    messages=telling,
)
def plan_command(settings: RunSettings) -> int:
    """Show what a run would do: calls, rejected photos, bytes, time.

    Takes the options of `hbseg segment` for photos, engine and results, makes no call and writes
    nothing. Exit code 3 if photos would be rejected.
    """
    from humanbody_cli.jobs.inspection.plan import plan

    check_folder(settings.output.given, settings.inputs, os.path.isdir)
    return plan(settings)
