"""The settings file that ``hbseg config --init`` writes: every option, commented out."""

from __future__ import annotations

import json
import os
import textwrap

import click

from humanbody_cli.cli.configuration.command import SECTIONS
from humanbody_cli.cli.configuration.option import Option, all_commands, path_of
from humanbody_cli.cli.configuration.settings_file import SERVE
from humanbody_cli.core.errors import OUTPUT_REASONS, OutputError, UsageError


def write(ctx: click.Context) -> str:
    """Write the example where the settings file is looked for; its path.

    Raises:
        UsageError: there is a file already, or no folder for it.
        OutputError: it cannot be written.
    """
    path, _ = path_of(ctx)
    if path is None:
        raise UsageError("this user has no folder for settings; name a file with --config FILE")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Others cannot read it: it may hold the API secret.
        with open(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(example(ctx))
    except OSError as error:
        if isinstance(error, FileExistsError) and os.path.lexists(path):
            raise UsageError(
                f"{path} exists, and is not replaced; edit it, or move it away"
            ) from None
        reason = OUTPUT_REASONS.get(error.errno or 0) or error.strerror or str(error)
        raise OutputError(f"cannot write {path}: {reason}") from error
    return str(path)


_HEAD = """\
# Settings of hbseg, in TOML. Remove the '# ' before KEY = VALUE to set an option for all commands
# that have it. What is set here is outranked by a profile, a profile by environment variables, and
# those by options on the command line. 'hbseg config' shows what holds.

# The profile to use unless --profile or HBSEG_PROFILE names another:
# default-profile = "night"
"""

_PROFILES = """
# A profile may set every key, and has a table of its own for the server, [profile.NAME.serve].
# [profile.night]
# quiet = true
# max-calls = "500/day"
"""


def example(ctx: click.Context) -> str:
    """A settings file in which every option is commented out."""
    options: dict[tuple[str, str | None], Option] = {}
    for command in all_commands(ctx).values():
        for param in command.params:
            if isinstance(param, Option) and param.key:
                options.setdefault((param.table, param.key), param)
    parts = [_HEAD]
    for table in ("", SERVE):
        parts += [f"\n[{table}]  # the options of hbseg serve\n"] if table else []
        for section in SECTIONS:
            own = [one for (of, _), one in options.items() if (of, one.section) == (table, section)]
            parts += [f"\n# ---- {section} ----\n"] if own else []
            parts += map(_example_of, own)
    return "".join([*parts, _PROFILES])


def _example_of(option: Option) -> str:
    text = textwrap.fill(option.help or "", 98, initial_indent="# ", subsequent_indent="# ")
    return f"\n{text}\n# {option.key} = {_example_value(option)}\n"


def _example_value(option: Option) -> str:
    if option.is_flag:
        return "true"
    if option.count:
        return "1"
    default = option.default if isinstance(option.default, int | float | str) else None
    if isinstance(default, int | float):
        return f"{default:g}"
    value = json.dumps(default or option.metavar or option.type.name)
    return f"[{value}]" if option.multiple else value
