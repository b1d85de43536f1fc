"""``hbseg segment``: its options, and whether it writes to a folder or to stdout."""

from __future__ import annotations

import click

from humanbody_cli.cli.options import FiniteRange, as_json, option
from humanbody_cli.cli.run_options import run
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import GRACE, RunSettings


@click.command("segment")
@run(
    option(
        "--grace",
        type=FiniteRange(min=0),
        default=GRACE,
        show_default=True,
        metavar="S",
        help="Seconds to wait for calls in flight after Ctrl-C or SIGTERM.",
    ),
    option(
        "--ignore-known",
        is_flag=True,
        help="Exit 3 only for photos that no earlier run has reported as rejected or failed.",
    ),
    as_json,
)
def segment_command(settings: RunSettings) -> int:
    """Cut people out of photos.

    INPUT is a folder (searched recursively), a file, an http(s) address, or '-' for one photo on
    stdin. Masks are written to OUT/masks and cutouts to OUT/cutouts, each under the photo's own
    path.
    """
    if str(settings.output.folder) == "-":
        from humanbody_cli.jobs import stdout

        if settings.json:
            raise UsageError("-o - writes the cutout to stdout; --json would mix with it")
        return stdout.to_stdout(settings)
    from humanbody_cli.jobs import segment

    return segment.segment(settings)
