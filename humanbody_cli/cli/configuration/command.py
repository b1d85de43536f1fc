"""Commands: their help in sections, and the options that all of them have."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from humanbody_cli.cli import completion
from humanbody_cli.cli.configuration.option import CONFIG, OPTIONS, PROFILE, Option, untied
from humanbody_cli.core.errors import UsageError

SECTIONS = (
    "Input",
    "Output",
    "Cutouts",
    "Engine",
    "Your own model",
    "API",
    "Limits",
    "Server",
    "Testing",
    "Messages",
    OPTIONS,
    "General",
)
"""The sections of ``--help``, in their order; `OPTIONS`` has those that name no section."""

_TERM = 26
"""Columns of ``--help`` for an option's name; its text begins beside it."""


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        assert isinstance(param, Option)
        by = param.origin(ctx) or param.opts[0]
        ctx.meta[name] = None if value is None else (value, by)
        return value

    return callback


def _general() -> list[click.Parameter]:
    """Options of every command. They are eager, so that they are known before any other."""
    own: dict[str, Any] = {"is_eager": True, "expose_value": False, "section": "General"}
    return [
        Option(
            ["--config"],
            metavar="FILE",
            shell_complete=completion.files("toml"),
            envvar="HBSEG_CONFIG",
            callback=_remember(CONFIG),
            otherwise="the one that hbseg config names",
            help="Settings file.",
            **own,
        ),
        Option(
            ["--profile"],
            metavar="NAME",
            envvar="HBSEG_PROFILE",
            callback=_remember(PROFILE),
            help="Use the settings of [profile.NAME] in the settings file.",
            **own,
        ),
    ]


class Command(click.Command):
    """A command whose help has sections and whose options may be set in the settings file."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.params += _general()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; click leaves out the usage of some errors: it does not know the command there."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def get_help(self, ctx: click.Context) -> str:
        """The help; what is to stay on one line is held together until its lines are broken."""
        return untied(super().get_help(ctx))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One section after the other, their texts below each other."""
        rows: dict[str, list[tuple[str, str]]] = {name: [] for name in SECTIONS}
        for param in self.get_params(ctx):
            if not isinstance(param, click.Argument) and (record := param.get_help_record(ctx)):
                section = param.section if isinstance(param, Option) else "General"
                rows.setdefault(section, []).append((record[0].ljust(_TERM), record[1]))
        for name, options in rows.items():
            if options:
                with formatter.section(name):
                    formatter.write_dl(options, col_max=_TERM)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """How options are set otherwise."""
        options = [param for param in self.params if isinstance(param, Option)]
        keyed = [option for option in options if option.key and not option.hidden]
        if self.epilog or not keyed:
            super().format_epilog(ctx, formatter)
            return
        one = keyed[0]
        others = [param.opts[-1] for param in options if not param.envvar]
        rule = "Each option" + (f" but {' and '.join(others)}" if others else "")
        formatter.write_paragraph()
        formatter.write_text(
            f"{rule} can also be set by a variable ({one.opts[-1]} is {one.envvar}) or in the "
            f"settings file; 'hbseg config {ctx.info_name}' shows what is set."
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; an error about options says where those were set that were not typed."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            notes = [
                f"{name} is set by {where}"
                for name in dict.fromkeys(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", str(error)))
                for param in self.params
                if name in param.opts + param.secondary_opts and isinstance(param, Option)
                if (where := param.origin(ctx))
            ]
            if not notes:
                raise
            raise UsageError(f"{error} ({', '.join(notes)})") from error


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command of this name."""
    return click.command(name, cls=Command)
