"""Which photos: INPUT, ``--from-file`` and the options that go with them."""

from __future__ import annotations

import os

import click

from humanbody_cli.cli.options.declare import ShardType, group, option
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import InputSettings, Shard
from humanbody_cli.discovery.lists import is_stdin
from humanbody_cli.storage.names import MAX_NAME


def _inputs(
    inputs: tuple[str, ...],
    from_file: str | None,
    nul: bool,
    shard: Shard,
    base: str | None,
    name: str | None,
) -> InputSettings:
    settings = InputSettings(tuple(inputs), from_file, nul, shard, base, name)
    if not inputs and from_file is None:
        raise UsageError("nothing to do: give photos or folders as INPUT, or --from-file LIST")
    if from_file is not None:
        _check_list(from_file, inputs)
    elif nul:
        raise UsageError("-0 is only for names from a list; give --from-file LIST too")
    _check_base(settings)
    _check_name(settings)
    return settings


def _check_list(path: str, inputs: tuple[str, ...]) -> None:
    if path != "-" and not os.path.exists(path):
        raise UsageError(f"--from-file {path}: there is no such file; check the path")
    if "-" in inputs and is_stdin(path):
        raise UsageError("stdin cannot be both the list (--from-file -) and a photo (-)")


def _check_base(settings: InputSettings) -> None:
    if settings.base is None:
        return
    if settings.from_file is None:
        raise UsageError("--base is only for names from a list; give --from-file LIST too")
    if not os.path.isdir(settings.base):
        raise UsageError(f"--base {settings.base}: there is no such folder; check the path")


def _check_name(settings: InputSettings) -> None:
    """The name of the photo on stdin is a path inside the output, and nothing else."""
    if settings.name is None:
        return
    if "-" not in settings.inputs:
        raise UsageError("--name is only for a photo on stdin; give - as INPUT too")
    parts = settings.name.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise UsageError(f"--name {settings.name!r} is not a file name such as a.jpg or trip/a.jpg")
    if any(len(os.fsencode(part)) > MAX_NAME for part in parts[:-1]):
        raise UsageError(
            f"--name {settings.name!r} contains a folder name longer than {MAX_NAME} bytes"
        )


inputs = group(
    "inputs",
    _inputs,
    click.argument("inputs", nargs=-1, metavar="INPUT...", type=click.Path(path_type=str)),
    option(
        "--from-file", metavar="LIST", help="Read inputs from LIST, one per line ('-' for stdin)."
    ),
    option("-0", "--null", "nul", is_flag=True, help="Names in LIST end with NUL, not a newline."),
    option(
        "--shard",
        type=ShardType(),
        default="1/1",
        help="Process only part I of N; photos are split by output name.",
    ),
    option(
        "--base",
        metavar="DIR",
        help="Names in LIST keep their path below DIR.  [default: their common folder]",
    ),
    option("--name", metavar="NAME", help="Name for the photo on stdin (INPUT '-')."),
)
