"""``hbseg segment``: its options, and where its results go: to a folder, one file or stdout."""

from __future__ import annotations

import os
from dataclasses import replace

import click
from click.core import ParameterSource

from humanbody_cli.cli import completion
from humanbody_cli.cli.configuration.command import command
from humanbody_cli.cli.configuration.option import option
from humanbody_cli.cli.destination import Destination, destination, format_of
from humanbody_cli.cli.limits import max_duration, price
from humanbody_cli.cli.look_options import look
from humanbody_cli.cli.options import as_json
from humanbody_cli.cli.run_options import grace, run
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import RunSettings

_OF_A_FOLDER = frozenset("grace ignore_known max_duration price retry_failed".split())
"""Options that mean nothing without an output folder."""


@command("segment")
@run(
    option(
        "-o",
        "--output",
        metavar="OUT",
        shell_complete=completion.outputs_first,
        otherwise="NAME-cutout.png beside one photo",
        help="Output folder; for one photo also a .png, .webp or .jpg file, or '-' for stdout.",
    ),
    grace,
    max_duration,
    price,
    option(
        "--ignore-known",
        "--changed-only",
        "ignore_known",
        is_flag=True,
        section="Output",
        help="Exit 3 only for photos that no earlier run has reported as rejected or failed.",
    ),
    look,
    as_json,
)
def segment_command(settings: RunSettings) -> int:
    """Cut people out of photos.

    INPUT is a folder (searched recursively), a file, an http(s) address, or '-' for one photo on
    stdin. Masks are written to OUT/masks and cutouts to OUT/cutouts, each under the photo's own
    path; with --crop, --background, --size, --canvas or --format, pictures composed in this way
    to OUT/recomposed too.

    With one photo, OUT may be a file: me.png, me.webp or me.jpg.
    """
    out = settings.output.given
    where = destination(out, settings.inputs, os.path.isdir)
    if where is Destination.FOLDER:
        from humanbody_cli.jobs import segment

        return segment.segment(settings)
    _check_one_photo()
    from humanbody_cli.jobs.single import run as single

    if where is Destination.STDOUT:
        return single.to_stdout(settings)
    if where is Destination.FILE and out is not None:
        return single.to_file(_in_format_of(out, settings), out)
    return single.to_file(settings, None)


def _check_one_photo() -> None:
    """Options about many photos, or about earlier runs, would do nothing. A settings file and
    variables hold for other commands too, so only what was typed is refused."""
    context = click.get_current_context()
    typed = [
        param.opts[-1]
        for param in context.command.params
        if param.name in _OF_A_FOLDER
        and context.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    ]
    if typed:
        raise UsageError(
            f"{' and '.join(typed)} can be used only with an output folder; give -o FOLDER, or "
            f"drop {'it' if len(typed) == 1 else 'them'}"
        )


def _in_format_of(out: str, settings: RunSettings) -> RunSettings:
    """The settings with the format of OUT's suffix."""
    by_suffix, given = format_of(out), settings.look.format
    if given not in (None, by_suffix):
        raise UsageError(f"-o {out} is not the name of a {given}; change it, or drop --format")
    return replace(settings, look=replace(settings.look, format=by_suffix))
