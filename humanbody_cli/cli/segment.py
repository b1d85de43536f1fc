"""``hbseg segment``."""

from __future__ import annotations

import click

from humanbody_cli.cli import options
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import (
    ApiSettings,
    InputSettings,
    LocalSettings,
    OutputSettings,
    RunSettings,
    Wanted,
)


@click.command("segment")
@options.inputs
@options.output
@options.engine
@options.api
@options.wanted
@options.local
@options.option(
    "--grace",
    type=options.FiniteRange(min=0),
    default=30.0,
    show_default=True,
    metavar="S",
    help="After Ctrl-C or SIGTERM, seconds for calls in flight to land.",
)
@options.option(
    "--ignore-known",
    is_flag=True,
    help="Exit 3 only for photos that no earlier run has reported as rejected or failed.",
)
@options.as_json
@options.verbosity
def command(
    inputs: InputSettings,
    output: OutputSettings,
    engine: str,
    api: ApiSettings,
    wanted: Wanted,
    local: LocalSettings,
    grace: float,
    ignore_known: bool,
    json: bool,
    verbosity: int,
) -> int:
    """Cut people out of photos.

    INPUT is a folder (walked recursively), a file, an http(s) address, or '-' for one image on
    stdin. Masks go to OUT/masks, cutouts to OUT/cutouts, each under the photo's own path.
    """
    settings = RunSettings(
        inputs=inputs,
        output=output,
        wanted=wanted,
        engine=options.engine_choice(engine, local),
        api=api,
        local=local,
        json=json,
        verbosity=verbosity,
        grace=grace,
        ignore_known=ignore_known,
    )
    if str(output.folder) == "-":
        from humanbody_cli.jobs import stdout

        if json:
            raise UsageError("-o - writes the cutout to stdout; --json would mix with it")
        return stdout.to_stdout(settings)
    from humanbody_cli.jobs import segment

    return segment.segment(settings)
