"""Options about calls, time and money: ``--max-calls``, ``--max-duration``, ``--price``."""

from __future__ import annotations

import re
from typing import Any

import click

from humanbody_cli.cli.configuration.option import option
from humanbody_cli.cli.options import whole_number
from humanbody_cli.core.settings import MaxCalls, Period, Price


class MaxCallsType(click.ParamType):
    """``N``, ``N/day`` or ``N/hour``."""

    name = "number of calls"

    def convert(self, value: Any, param: Any, ctx: Any) -> MaxCalls:
        """A number of calls: of one run, or of an hour or day."""
        if isinstance(value, MaxCalls):
            return value
        number, slash, per = str(value).partition("/")
        count = whole_number(number)
        if count is None or (slash and per not in {period.value for period in Period}):
            self.fail(
                f"{value!r} is not a number of calls such as 500, 500/day or 50/hour", param, ctx
            )
        return MaxCalls(count, Period(per) if slash else None)


_TIME = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?", re.ASCII)


class DurationType(click.ParamType):
    """``2h``, ``90m``, ``1h30m``, ``45s``."""

    name = "TIME"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        found = _TIME.fullmatch(str(value))
        hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0,) * 3
        total = hours * 3600 + minutes * 60 + seconds
        if not total:
            self.fail(f"{value!r} is not a time such as 2h, 90m, 1h30m or 45s", param, ctx)
        return float(total)


_PRICE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([^\d\s.,/-]{0,8})")


class PriceType(click.ParamType):
    """``0.01`` or ``0.01CNY``."""

    name = "AMOUNT"

    def convert(self, value: Any, param: Any, ctx: Any) -> Price:
        """The price of a call, with or without its currency."""
        if isinstance(value, Price):
            return value
        found = _PRICE.fullmatch(str(value))
        if found is None or not found[2].isprintable():
            self.fail(f"{value!r} is not the price of a call such as 0.01 or 0.01CNY", param, ctx)
        from decimal import Decimal  # takes 1 ms to load

        return Price(Decimal(found[1]), found[2])


max_calls = option(
    "--max-calls",
    type=MaxCallsType(),
    metavar="N[/day|/hour]",
    section="Limits",
    help="Make at most N calls, retries included, in this run, or per day or hour in all runs on "
    "OUT; exit 5 if more are needed.",
)

max_duration = option(
    "--max-duration",
    type=DurationType(),
    section="Limits",
    help="End after this time, such as 2h or 90m, with exit code 5; calls in flight finish.",
)

price = option(
    "--price",
    type=PriceType(),
    section="Limits",
    help="Price of a call, such as 0.01 or 0.01CNY.",
)
