"""``hbseg plan``."""

from __future__ import annotations

import click

from humanbody_cli.cli import options
from humanbody_cli.core.settings import (
    ApiSettings,
    InputSettings,
    LocalSettings,
    OutputSettings,
    RunSettings,
    Wanted,
)


@click.command("plan")
@options.inputs
@options.output
@options.engine
@options.api
@options.wanted
@options.local
@options.option("--json", "json", is_flag=True, help="The plan as one JSON object.")
@options.verbosity
def command(
    inputs: InputSettings,
    output: OutputSettings,
    engine: str,
    api: ApiSettings,
    wanted: Wanted,
    local: LocalSettings,
    json: bool,
    verbosity: int,
) -> int:
    """Tell what a run would do: calls, rejects, bytes, time. Makes no call and writes nothing.

    Takes the options of `hbseg segment`. Exit code 3 where photos would be rejected.
    """
    from humanbody_cli.jobs.plan import plan

    return plan(
        RunSettings(
            inputs=inputs,
            output=output,
            wanted=wanted,
            engine=options.engine_choice(engine, local),
            api=api,
            local=local,
            json=json,
            verbosity=verbosity,
        )
    )
