"""``hbseg watch``: its options."""

from __future__ import annotations

import os

import click

from humanbody_cli.cli import completion
from humanbody_cli.cli.configuration.command import command
from humanbody_cli.cli.configuration.option import group, option
from humanbody_cli.cli.destination import check_folder
from humanbody_cli.cli.limits import max_duration, price
from humanbody_cli.cli.options import FiniteRange, as_json, output_folder
from humanbody_cli.cli.run_options import grace, run
from humanbody_cli.core.settings import InputSettings, RunSettings

_inbox = group(
    "inputs",
    lambda inbox: InputSettings((inbox,)),
    click.argument(
        "inbox",
        metavar="INBOX",
        type=click.Path(path_type=str),
        shell_complete=completion.folders,
    ),
)


@command("watch")
@run(output_folder, grace, max_duration, price, as_json, source=_inbox)
@option(
    "--settle",
    section="Input",
    type=FiniteRange(min=0.1, max=86400),
    default=2.0,
    show_default=True,
    metavar="S",
    help="Seconds for which a file's size and time must not change before it is processed.",
)
@option(
    "--poll",
    section="Input",
    is_flag=True,
    help="Look through INBOX instead of relying on the system's reports of changes, as network "
    "file systems need.",
)
def watch_command(settings: RunSettings, settle: float, poll: bool) -> int:
    """Cut people out of photos as they arrive in a folder.

    Photos in INBOX and its subfolders are processed as soon as their files have come to rest; those
    that are there already come first. Results are the same as those of 'hbseg segment INBOX -o
    OUT'. Ctrl-C or SIGTERM ends it.
    """
    from humanbody_cli.jobs.watching.watch import Watched, watch

    check_folder(settings.output.given, settings.inputs, os.path.isdir)
    (folder,) = settings.inputs.inputs
    return watch(settings, Watched(folder, settle, poll))
