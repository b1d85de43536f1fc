"""How options are declared: environment variables, groups of options, and types of values."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from enum import Enum
from typing import Any

import click

from humanbody_cli.core.settings import Shard

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def option(*names: str, prefix: str = "HBSEG_", **attributes: Any) -> Decorator:
    """A click option with its environment variable: ``--max-calls`` is ``HBSEG_MAX_CALLS``."""
    long = next(name for name in names if name.startswith("--")).split("/")[0]
    variable = prefix + long.removeprefix("--").upper().replace("-", "_")
    return click.option(*names, envvar=variable, **attributes)


def one_of(name: str, default: Enum, help: str) -> Decorator:  # noqa: A002 - click's own name
    """An option that takes one of an enum's values, as text."""
    values = [member.value for member in type(default)]
    return option(
        name, type=click.Choice(values), default=default.value, show_default=True, help=help
    )


def group(name: str, build: Callable[..., Any], *options: Decorator) -> Decorator:
    """Options that a command receives as one argument ``name``.

    ``build`` makes it from the options' values, which it takes under their own names; an argument
    that no option provides keeps its default. ``options`` may be groups themselves.
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
        for one in reversed(options):
            decorated = one(decorated)
        return decorated

    return decorate


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
        if not 0 < qps < 10_000:
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
