"""What ``hbseg config`` prints: every option with its value and where that is from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
from click.core import ParameterSource

from humanbody_cli.cli.configuration.command import SECTIONS
from humanbody_cli.cli.configuration.option import (
    Option,
    all_commands,
    named_profile,
    path_of,
    settings_of,
)
from humanbody_cli.core.console import shown, without_password
from humanbody_cli.core.errors import UsageError


@dataclass(frozen=True)
class _Row:
    """An option and what sets it. ``value`` is ``None`` where nothing is set, and of a secret."""

    option: Option
    value: Any
    source: str
    where: str | None = None
    profile: str = ""

    @property
    def name(self) -> str:
        return (
            f"{self.option.table}.{self.option.key}" if self.option.table else self.option.key or ""
        )

    def as_json(self) -> dict[str, Any]:
        """The value for a program: text, or a flag; of a secret only whether it is set."""
        said = {"value": self.value, "source": self.source, "where": self.where}
        return said | ({"set": self.source != "default"} if self.option.secret else {})

    @property
    def origin(self) -> str:
        """Where the value is from, for a person."""
        named = {"profile": f"[profile.{self.profile}]", "file": "settings file"}
        return named.get(self.source) or self.where or "default"

    @property
    def text(self) -> str:
        """The value for a person."""
        if self.option.secret and self.source != "default":
            return "(set)"
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        if isinstance(self.value, tuple):
            return ", ".join(map(str, self.value))
        return "-" if self.value is None else str(self.value)


def as_text(ctx: click.Context, name: str | None) -> str:
    """The settings for a person."""
    lines = _head(ctx)
    rows = _rows(ctx, name)
    names, texts = (max((len(text) for text in column), default=0) for column in _columns(rows))
    for section in SECTIONS:
        own = [row for row in rows if row.option.section == section]
        lines += ["", f"{section}:"] if own else []
        for row in own:
            line = f"  {row.name:{names}}  {shown(row.text):{min(texts, 32)}}  {shown(row.origin)}"
            lines.append(line.rstrip())
    return "\n".join(lines)


def _columns(rows: list[_Row]) -> tuple[list[str], list[str]]:
    return [row.name for row in rows], [shown(row.text) for row in rows]


def _head(ctx: click.Context) -> list[str]:
    settings, (path, by), profile = settings_of(ctx), path_of(ctx), named_profile(ctx)
    state = "" if settings.exists else "  (does not exist; hbseg config --init writes one)"
    named = f"  (named by {by})" if by else ""
    lines = [f"settings file: {shown(str(path.absolute()) if path else '-')}{named}{state}"]
    if settings.profiles:
        origin = f"named by {profile[1]}" if profile else "default-profile"
        using = f"{settings.profile}  ({origin})" if settings.profile else "-"
        lines.append(f"profile:       {shown(using)}")
        lines.append(f"profiles:      {shown(', '.join(settings.profiles))}")
    return lines


def as_json(ctx: click.Context, name: str | None) -> str:
    """The settings for a program."""
    settings, (path, by), profile = settings_of(ctx), path_of(ctx), named_profile(ctx)
    return json.dumps(
        {
            "file": {
                "path": str(path.absolute()) if path else None,
                "exists": settings.exists,
                "by": by,
            },
            "profile": settings.profile,
            "profile_by": profile[1] if profile else None,
            "profiles": settings.profiles,
            "options": {row.name: row.as_json() for row in _rows(ctx, name)},
        },
        indent=2,
    )


def _rows(ctx: click.Context, name: str | None) -> list[_Row]:
    """The options of a command, or of all: one that several commands have is listed once."""
    commands = all_commands(ctx)
    if name is not None and name not in commands:
        raise UsageError(f"{name} is not a command; there are {', '.join(commands)}")
    chosen = {name: commands[name]} if name else commands
    rows: dict[str, _Row] = {}
    for row in _each(ctx, chosen):
        rows.setdefault(row.name, row)
    return list(rows.values())


def _each(ctx: click.Context, commands: dict[str, click.Command]) -> Iterator[_Row]:
    for name, command in commands.items():
        context = click.Context(command, info_name=name, parent=ctx)
        for param in command.params:
            if isinstance(param, Option) and param.key:
                yield _row(context, param)


def _row(ctx: click.Context, option: Option) -> _Row:
    value, source = option.consume_value(ctx, {})
    if source is ParameterSource.DEFAULT:
        return _Row(option, _default_of(option), "default")
    option.handle_parse_result(ctx, {}, [])  # raises what a command would say of the value
    setting = option.setting(ctx) if source is ParameterSource.DEFAULT_MAP else None
    by = "environment" if setting is None else "profile" if setting.profile else "file"
    if option.secret:
        value = None
    elif option.is_flag:
        value = ctx.params[option.name or ""]
    elif option.key == "endpoint":
        value = without_password(str(value))
    return _Row(option, value, by, option.origin(ctx), setting.profile if setting else "")


def _default_of(option: Option) -> Any:
    """The default as the help words it, or as a value."""
    if option.otherwise is not None:
        return option.otherwise
    if option.is_flag:
        return False
    return option.default if isinstance(option.default, int | float | str) else None
