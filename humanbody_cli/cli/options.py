"""The options of the commands for inputs, outputs and what is printed; the types of options."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import click

from humanbody_cli.cli import completion
from humanbody_cli.cli.configuration.option import Decorator, group, one_of, option, path_of
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import (
    MAX_QPS,
    Edges,
    InputSettings,
    LogFormat,
    Metadata,
    OutputSettings,
    ProgressChoice,
    Shard,
    Telling,
    Wanted,
)
from humanbody_cli.discovery.lists import is_stdin
from humanbody_cli.storage.names import MAX_NAME
from humanbody_cli.storage.ownership import results_folder_above


class FiniteRange(click.FloatRange):
    """A range of finite numbers: click itself lets NaN and infinity pass."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """A finite number within the range."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


def whole_number(text: str) -> int | None:
    """Plain decimal digits as a number; ``None`` for anything else.

    Python's own ``int`` accepts digits of every script, signs, spaces and underscores, and rejects
    more than 4300 digits.
    """
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


class Qps(click.ParamType):
    """Calls per second, or ``auto``."""

    name = "N|auto"

    def convert(self, value: Any, param: Any, ctx: Any) -> float | None:
        """Calls per second; ``None`` stands for ``auto``."""
        if value is None or value == "auto":
            return None
        try:
            qps = float(value)
        except ValueError:
            qps = 0.0
        if not 0 < qps <= MAX_QPS:
            self.fail(f"{value!r} is neither 'auto' nor a number of calls per second", param, ctx)
        return qps


class ShardType(click.ParamType):
    """``I/N``."""

    name = "I/N"

    def convert(self, value: Any, param: Any, ctx: Any) -> Shard:
        """Part I of N, counted from 1."""
        if isinstance(value, Shard):
            return value
        index, _, count = str(value).partition("/")
        part, parts = whole_number(index), whole_number(count)
        if part is None or parts is None or not 1 <= part <= parts:
            self.fail(f"{value!r} is not a part I/N with 1 <= I <= N, such as 2/4", param, ctx)
        return Shard(part, parts)


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
        raise UsageError(
            "stdin cannot be both the list (--from-file -) and a photo (-); give one of them as a "
            "file"
        )


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
            f"--name {settings.name!r} contains a folder name longer than {MAX_NAME} bytes; "
            "give a shorter one"
        )


inputs = group(
    "inputs",
    _inputs,
    click.argument(
        "inputs",
        nargs=-1,
        metavar="INPUT...",
        type=click.Path(path_type=str),
        shell_complete=completion.photos,
    ),
    option(
        "--from-file",
        metavar="LIST",
        shell_complete=completion.files(),
        help="Read inputs from LIST, one per line ('-' for stdin).",
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
        shell_complete=completion.folders,
        otherwise="their common folder",
        help="Names in LIST keep their path below DIR.",
    ),
    option("--name", metavar="NAME", help="Name for the photo on stdin (INPUT '-')."),
    section="Input",
)


def _wanted(
    no_mask: bool, no_cutout: bool, edges: str, fit: bool, metadata: str, require_person: bool
) -> Wanted:
    if no_mask and no_cutout:
        raise UsageError("--no-mask and --no-cutout together leave nothing to make; drop one")
    kept = Metadata(metadata)
    return Wanted(not no_mask, not no_cutout, Edges(edges), fit, kept, require_person)


def _output(
    output: str | None, sync: bool | None, force: bool, retry_failed: bool, lock_wait: float
) -> OutputSettings:
    if output == "":
        raise UsageError("-o is empty; give the name of a folder")
    folder = Path(output or os.curdir)
    return OutputSettings(folder, sync, force, retry_failed, lock_wait, given=output)


edges = one_of(
    "--edges",
    Edges.HARD,
    section="Cutouts",
    help="hard: the API's own cutout, cut at 0.5; soft: the confidence as alpha.",
)

metadata = one_of(
    "--metadata",
    Metadata.STRIP,
    section="Cutouts",
    help="Keep or strip Exif in the cutouts; it may reveal where a photo was taken.",
)

wanted = group(
    "wanted",
    _wanted,
    option("--no-mask", is_flag=True, help="Write no masks (the API then answers faster)."),
    option("--no-cutout", is_flag=True, help="Write no cutouts."),
    edges,
    option(
        "--fit",
        is_flag=True,
        section="Input",
        help="Shrink or convert photos outside the API's limits instead of rejecting them.",
    ),
    metadata,
    option(
        "--require-person",
        is_flag=True,
        help="Reject photos in which nobody is found, instead of writing empty results.",
    ),
    section="Output",
)

output_folder = option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    shell_complete=completion.outputs_first,
    help="Output folder.",
)

output_options = (
    option(
        "--sync/--no-sync",
        default=None,
        otherwise="with the API only",
        help="Flush each file to disk before going on.",
    ),
    option("--force", is_flag=True, help="Process every photo again, even if it is done."),
    option("--retry-failed", is_flag=True, help="Try photos again that failed permanently."),
    option(
        "--lock-wait",
        type=FiniteRange(min=0),
        default=0.0,
        metavar="S",
        help="Seconds to wait for another run on OUT to end, instead of exiting with code 6.",
    ),
)


def output(where: Decorator) -> Decorator:
    """The options for the output; ``where`` is the command's own ``--output``."""
    return group("output", _output, where, *output_options, section="Output")


def _telling(
    quiet: bool, verbose: int, progress: str, log_file: str | None, log_format: str
) -> Telling:
    how = LogFormat(log_format)
    if log_file is None and how is not LogFormat.TEXT:
        raise UsageError(f"--log-format {log_format} is only for a log; give --log-file FILE too")
    if log_file is not None:
        _check_log(log_file)
    verbosity = -1 if quiet else verbose
    return Telling(verbosity, ProgressChoice(progress), log_file, how)


def _check_log(log_file: str) -> None:
    """A log would be appended to a list, the settings or the file with the key, and be in the way
    of a result."""
    context = click.get_current_context()
    for param in context.command.params:
        path = context.params.get(param.name or "")
        is_file = param.name in ("from_file", "credentials", "only", "output")
        if is_file and path is not None and os.path.realpath(path) == os.path.realpath(log_file):
            raise UsageError(
                f"--log-file {log_file}: that is the file of {param.opts[-1]}; choose another name"
            )
    settings, _ = path_of(context)
    if settings is not None and os.path.realpath(settings) == os.path.realpath(log_file):
        raise UsageError(f"--log-file {log_file}: that is the settings file; choose another name")
    root = context.params.get("output") or context.params.get("out")
    if (guarded := results_folder_above(log_file, root)) is not None:
        raise UsageError(
            f"--log-file {log_file}: only results are written to {guarded}; choose another folder"
        )


def _about_messages(quiet: str) -> Decorator:
    """The options on what is said; ``quiet`` tells what ``-q`` leaves."""
    return group(
        "telling",
        _telling,
        option("-q", "--quiet", is_flag=True, help=quiet),
        option("-v", "--verbose", count=True, help="Print one line per photo."),
        one_of(
            "--progress",
            ProgressChoice.AUTO,
            help="plain: a line a minute; auto: a bar on a terminal, else plain (-q: none).",
        ),
        option(
            "--log-file",
            metavar="FILE",
            shell_complete=completion.files(),
            help="Append each line to FILE, with its time, and one per photo.",
        ),
        one_of("--log-format", LogFormat.TEXT, help="json: one object per line."),
        section="Messages",
    )


telling = _about_messages("Print only results and errors.")

telling_of_run = _about_messages(
    "Print only what is new: photos newly rejected or failed, and why a run stopped."
)
"""The same for the commands that make results and remember how each photo ended."""

as_json = option(
    "--json",
    "json",
    is_flag=True,
    section="Messages",
    help="Print one JSON object per photo on stdout.",
)
