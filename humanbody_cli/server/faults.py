"""Rehearsal: a server that is slow, refuses and breaks as often as it was told to."""

from __future__ import annotations

import difflib
import math
import random
from dataclasses import dataclass

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import UsageError

RESET, HTML502, HANG = "reset", "html502", "hang"
HALF, GARBAGE, WRONG_SIZE = "half", "garbage", "wrongsize"
FAULTS: dict[str, str] = {
    RESET: "the connection is reset without an answer",
    HTML502: "a proxy's 502 page in HTML",
    HANG: "no answer at all",
    HALF: "a valid answer cut short",
    GARBAGE: "a 200 that is not JSON",
    WRONG_SIZE: "images whose size is not the photo's",
}
"""What goes wrong outside the document's tables: name -> what the client sees."""

_ALIASES = {
    "413": api_spec.ENTITY_TOO_LARGE,
    "REQUEST_ENTITY_TOO_LARGE": api_spec.ENTITY_TOO_LARGE,
}

PARAMETERS: dict[str, str] = {
    api_spec.AUTHORIZATION: "Denied by Admin",
    api_spec.MISSING_ARGUMENTS: "image_url, image_file, image_base64",
    api_spec.BAD_ARGUMENTS: "return_grayscale",
    api_spec.UNSUPPORTED_FORMAT: "image_file",
    api_spec.INVALID_SIZE: "image_file",
    api_spec.FILE_TOO_LARGE: "image_file",
}
"""What stands after the colon of an injected error, as the document prints it."""


@dataclass(frozen=True)
class Mood:
    """``latency`` is a range of seconds added to every call, ``rates`` the part of calls that meet
    each fault; ``seed`` makes two runs alike."""

    latency: tuple[float, float] = (0.0, 0.0)
    rates: tuple[tuple[str, float], ...] = ()
    seed: int | None = None


class Dice:
    """A mood at work."""

    def __init__(self, mood: Mood, *, worker: int = 0) -> None:
        self._mood = mood
        # Rehearsal needs no secrecy; workers must not all break at the same calls.
        self._random = random.Random(None if mood.seed is None else mood.seed + worker)  # noqa: S311

    def fault(self) -> str | None:
        """The fault that this call meets, if any: at most one."""
        point = self._random.random()
        for name, rate in self._mood.rates:
            if point < rate:
                return name
            point -= rate
        return None

    def delay(self) -> float:
        """Seconds that this call takes beyond its work."""
        return self._random.uniform(*self._mood.latency)


def parse_latency(text: str) -> tuple[float, float]:
    """``"0.3"`` or ``"0.2-0.8"`` as a range of seconds.

    Raises:
        UsageError: anything else.
    """
    low, dash, high = text.partition("-")
    try:
        span = (float(low), float(high if dash else low))
    except ValueError:
        span = (math.nan, math.nan)
    if not 0 <= span[0] <= span[1] < math.inf:
        raise UsageError(
            f"--latency {text!r} is not a number of seconds: give one (0.3) or a range (0.2-0.8)"
        )
    return span


def parse_rates(text: str) -> tuple[tuple[str, float], ...]:
    """``"INTERNAL_ERROR=0.05,reset=0.01"`` as names and rates.

    Raises:
        UsageError: an unknown name, a rate that is none, or rates of more than 1 together.
    """
    rates: dict[str, float] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, rate = item.partition("=")
        known = _known(name.strip())
        if known in rates:
            raise UsageError(f"--inject names {known} twice: give each once")
        rates[known] = _rate(item, rate)
    if sum(rates.values()) > 1 + 1e-9:
        raise UsageError(
            f"--inject adds up to {sum(rates.values()):g}: the rates may add up to 1 at most"
        )
    return tuple(rates.items())


def _known(name: str) -> str:
    names = {known.upper(): known for known in (*api_spec.BY_CODE, *FAULTS)} | _ALIASES
    if name.upper() in names:
        return names[name.upper()]
    near = difflib.get_close_matches(name.upper(), names, 1)
    hint = (
        f"did you mean {names[near[0]]}?"
        if near
        else f"known faults: {', '.join(dict.fromkeys(names.values()))}"
    )
    raise UsageError(f"--inject does not know {name!r}: {hint}")


def _rate(item: str, text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 <= rate <= 1:
        raise UsageError(f"--inject {item!r} has no rate from 0 to 1: write INTERNAL_ERROR=0.05")
    return rate
