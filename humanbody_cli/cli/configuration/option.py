"""Options: how they are declared, and where their values come from.

A value comes from the command line, else from the option's environment variable, else from the
profile, else from the settings file outside its profiles, else it is the option's default. Each
is validated by the option itself.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from humanbody_cli.cli.configuration import settings_file
from humanbody_cli.cli.configuration.settings_file import Key, Keys, Kind, Setting, Settings
from humanbody_cli.core.errors import UsageError

OPTIONS = "Options"
"""The section of options that name none."""

TIED = str.maketrans(" -", "\xa0\u2011")
"""A space and a hyphen, at which lines may be broken, and the characters that replace them where a
line must not be."""

CONFIG, PROFILE, _SETTINGS = (f"{__name__}.{name}" for name in ("config", "profile", "settings"))
"""In a context's ``meta``: the value of ``--config`` or ``--profile`` and who gave it, and what was
read."""


def untied(text: str) -> str:
    """Text with its spaces and hyphens back, once its lines are broken."""
    return text.translate({tied: char for char, tied in TIED.items()})


class Option(click.Option):
    """An option of a section, which the settings file may set.

    ``key`` is its name in the file's ``table`` (empty: outside of tables), ``None`` if it cannot be
    set there. ``otherwise`` is its default in words. A ``secret`` option's value is never shown.
    """

    def __init__(
        self,
        *arguments: Any,
        section: str = OPTIONS,
        key: str | None = None,
        table: str = "",
        otherwise: str | None = None,
        secret: bool = False,
        **attributes: Any,
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.section = section
        self.key = key
        self.table = table
        self.secret = secret
        default = attributes.get("default") if attributes.get("show_default") else None
        shown = f"{default:g}" if isinstance(default, float) else default
        if isinstance(default, bool):
            shown = (self.opts if default else self.secondary_opts)[-1].lstrip("-")
        self.otherwise = otherwise if shown is None else str(shown)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Its names, and what it does, with the built-in default."""
        record = super().get_help_record(ctx)
        if record is None:
            return None
        default = f"[default: {self.otherwise}]".translate(TIED) if self.otherwise else ""
        return record[0], f"{self.help or ''}  {default}".rstrip()

    def consume_value(
        self, ctx: click.Context, opts: Mapping[str, Any]
    ) -> tuple[Any, ParameterSource]:
        """Its value and where that is from, with the settings file in its rank."""
        value, source = super().consume_value(ctx, opts)
        if source is not ParameterSource.DEFAULT or ctx.resilient_parsing:
            return value, source
        setting = self.setting(ctx)
        return (value, source) if setting is None else (setting.value, ParameterSource.DEFAULT_MAP)

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """Take the value; an error names where it was set, if that was not the command line."""
        try:
            return super().handle_parse_result(ctx, opts, args)
        except click.BadParameter as error:
            where = self.origin(ctx)
            if where is None:
                raise
            message = error.message.rstrip(".")
            raise UsageError(f"{where}: {message}; correct it there, or remove it") from None

    def setting(self, ctx: click.Context) -> Setting | None:
        """What the settings file says."""
        return settings_of(ctx).values.get((self.table, self.key)) if self.key else None

    def origin(self, ctx: click.Context) -> str | None:
        """The variable, or the file and key, that its value is from; ``None`` for all others."""
        source = ctx.get_parameter_source(self.name or "")
        if source is ParameterSource.ENVIRONMENT:
            return str(self.envvar)
        setting = self.setting(ctx) if source is ParameterSource.DEFAULT_MAP else None
        return setting.where if setting else None

    def own_keys(self) -> Iterator[tuple[tuple[str, str], Key]]:
        """The names that set it in the settings file: those of the command line."""
        if self.key is None:
            return
        kind = Kind.FLAG if self.is_flag else Kind.LIST if self.multiple else Kind.TEXT
        kind = Kind.NUMBER if self.count else kind
        for names, negated in ((self.opts, False), (self.secondary_opts, True)):
            for name in names:
                if name.startswith("--"):
                    yield (self.table, name[2:]), Key(self.table, self.key, kind, negated)


class SecretOption(Option):
    """A value for environment and settings file alone: the command line is visible to all users."""

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """Take the value, unless it was typed."""
        if self.name in opts:
            raise UsageError(
                f"{self.opts[0]} is not taken from the command line, which every user of this "
                f"machine can see: set {self.envvar}, or use --credentials FILE"
            )
        return super().handle_parse_result(ctx, opts, args)


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def option(
    *names: str,
    table: str = "",
    settable: bool = True,
    cls: type[Option] = Option,
    **attributes: Any,
) -> Decorator:
    """An `Option` with its environment variable and its key in the settings file: ``--max-calls``
    is ``HBSEG_MAX_CALLS`` and ``max-calls``; in the ``table`` ``serve``, ``--qps`` is
    ``HBSEG_SERVE_QPS``. Without them if not ``settable``."""
    if not settable:
        return click.option(*names, cls=cls, **attributes)
    key = next(name for name in names if name.startswith("--")).split("/")[0][2:]
    variable = "_".join(["HBSEG", *filter(None, [table]), *key.split("-")]).upper()
    return click.option(*names, cls=cls, envvar=variable, key=key, table=table, **attributes)


class Choice(click.Choice):
    """One of some words; a slip is told which word it resembles."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The word itself."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            from difflib import get_close_matches

            close = get_close_matches(str(value), list(self.choices), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            self.fail(error.message + hint, param, ctx)


def one_of(name: str, default: Enum, help: str, **attributes: Any) -> Decorator:  # noqa: A002 - click's own name
    """An option that takes one of an enum's values, as text."""
    values = [member.value for member in type(default)]
    shown = {"default": default.value, "show_default": True, "metavar": "|".join(values)}
    return option(name, type=Choice(values), help=help, **shown, **attributes)


def group(
    name: str, build: Callable[..., Any], *options: Decorator, section: str = OPTIONS
) -> Decorator:
    """Options that a command receives as one argument ``name``.

    ``build`` makes it from the options' values, which it takes under their own names; an argument
    that no option provides keeps its default. ``options`` may be groups themselves. Those that name
    no section of the help are in ``section``.
    """
    arguments = inspect.signature(build).parameters

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(**values: Any) -> Any:
            taken = {key: values.pop(key) for key in arguments if key in values}
            return function(**{name: build(**taken)}, **values)

        decorated: Callable[..., Any] = command
        # `wraps` shares the function's own list, to which click would append.
        vars(decorated)["__click_params__"] = list(getattr(function, "__click_params__", []))
        own = len(vars(decorated)["__click_params__"])
        for one in reversed(options):
            decorated = one(decorated)
        for param in vars(decorated)["__click_params__"][own:]:
            if isinstance(param, Option):
                param.section = section if param.section == OPTIONS else param.section
        return decorated

    return decorate


def settings_of(ctx: click.Context) -> Settings:
    """What the settings file says for the command that runs; it is read once.

    Raises:
        UsageError: the file is named and missing, cannot be read, or is wrong.
    """
    if _SETTINGS not in ctx.meta:
        ctx.meta[_SETTINGS] = _read(ctx)
    settings = ctx.meta[_SETTINGS]
    assert isinstance(settings, Settings)
    return settings


def named_profile(ctx: click.Context) -> tuple[str, str] | None:
    """The profile that option or variable name, and which of them does."""
    named: tuple[str, str] | None = ctx.meta.get(PROFILE)
    return named


def path_of(ctx: click.Context) -> tuple[Path | None, str | None]:
    """The settings file, and the option or variable that names it; ``None``: it is the default."""
    name, by = ctx.meta.get(CONFIG) or (None, None)
    return (settings_file.default_path() if name is None else Path(name)), by


def _read(ctx: click.Context) -> Settings:
    path, by = path_of(ctx)
    profile = named_profile(ctx)
    text = settings_file.read(path, by)
    if path is not None and text is not None:
        return settings_file.settings(path, text, profile, lambda all_: _keys(ctx, all_))
    if profile is not None:
        raise UsageError(
            f"{profile[1]} {profile[0]}: there is no settings file {path or ''}; "
            "'hbseg config --init' writes one"
        )
    return Settings(path)


def all_commands(ctx: click.Context) -> dict[str, click.Command]:
    """Every command of hbseg by its name."""
    root = ctx.find_root()
    group = root.command
    if not isinstance(group, click.Group):
        return {}
    found = {name: group.get_command(root, name) for name in group.list_commands(root)}
    return {name: command for name, command in found.items() if command is not None}


def _keys(ctx: click.Context, of_all: bool) -> Keys:
    commands = all_commands(ctx).values() if of_all else (ctx.command,)
    return {
        name: key
        for command in commands
        for param in command.params
        if isinstance(param, Option)
        for name, key in param.own_keys()
    }
