"""The server's settings: timeouts, capacity, and the faults that it injects.

Nothing heavy is imported here.
"""

from __future__ import annotations

import difflib
import math
import random
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import LocalSettings, LogFormat
from humanbody_cli.server.access.browsers import BrowserRules, read_hosts, read_origins

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
"""Faults outside the document's tables: name -> what the client sees."""

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
"""The text after the colon of an injected error, as the document prints it."""


@dataclass(frozen=True)
class FaultPlan:
    """How slow and how faulty the server is to be.

    ``latency`` is a range of seconds added to every call, ``rates`` the fraction of calls that meet
    each fault; ``seed`` makes two runs alike.
    """

    latency: tuple[float, float] = (0.0, 0.0)
    rates: tuple[tuple[str, float], ...] = ()
    seed: int | None = None


@dataclass(frozen=True)
class ServerTimeouts:
    """How long the server waits, in seconds.

    ``headers`` and ``idle`` bound a connection without a request, ``body`` an upload, ``slow`` an
    upload whose memory others need, ``answer`` a client that reads slowly, ``linger`` what a
    refused client still sends, ``fetch`` the download of an ``image_url``, ``grace`` the answers in
    flight at shutdown. For a photo, ``queue`` bounds the wait for its turn, ``decode`` the CPU time
    of its decoding, ``photo`` all its work by the clock: an ordinary one takes one or two seconds.
    """

    headers: float = 10.0
    idle: float = 30.0
    body: float = 30.0
    slow: float = 3.0
    answer: float = 60.0
    linger: float = 5.0
    fetch: float = 10.0
    queue: float = 30.0
    decode: float = 5.0
    photo: float = 30.0
    grace: float = 30.0


@dataclass(frozen=True)
class Capacity:
    """How much a worker holds at once.

    ``queue`` photos wait for the engine, ``held_bytes`` of bodies and answers are in memory,
    ``connections`` are open, ``fetches`` of ``image_url`` run.
    """

    queue: int = 32
    held_bytes: int = 256 * 1024 * 1024
    connections: int = 4096
    fetches: int = 32


@dataclass(frozen=True)
class BrowserSettings:
    """What browsers may do beside opening the server's own page: see `access.browsers`."""

    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class LogSettings:
    """The log on stderr. ``requests``: with a line for each request."""

    requests: bool = True
    format: LogFormat = LogFormat.TEXT


@dataclass(frozen=True)
class ServeSettings:
    """All settings of a server. ``qps`` is each key's quota where the keys file has none for it;
    ``None``: no quota."""

    host: str = "127.0.0.1"
    port: int = 8000
    keys: Path | None = None
    qps: float | None = None
    workers: int = 1
    allow_private_urls: bool = False
    browsers: BrowserSettings = field(default_factory=BrowserSettings)
    log: LogSettings = field(default_factory=LogSettings)
    faults: FaultPlan = field(default_factory=FaultPlan)
    timeouts: ServerTimeouts = field(default_factory=ServerTimeouts)
    capacity: Capacity = field(default_factory=Capacity)
    local: LocalSettings = field(default_factory=LocalSettings)

    @cached_property
    def rules(self) -> BrowserRules:
        """Which requests of browsers are taken.

        Raises:
            UsageError: an origin or a host is none, or makes no sense with or without keys.
        """
        has_keys = self.keys is not None
        if has_keys and self.browsers.allowed_hosts:
            raise UsageError(
                "--allow-host: a server with --keys answers to every name; leave it out"
            )
        hosts = read_hosts(self.browsers.allowed_hosts) | {self.host.lower()}
        origins = read_origins(self.browsers.cors_origins, has_keys=has_keys)
        return BrowserRules(origins, None if has_keys else hosts)


class FaultInjector:
    """Decides for each call which fault it meets and how much longer it takes."""

    def __init__(self, plan: FaultPlan, *, worker: int = 0) -> None:
        self._plan = plan
        # Not the same seed for every worker: they must not all fail at the same calls.
        seed = None if plan.seed is None else plan.seed + worker
        self._random = random.Random(seed)  # noqa: S311 - a rehearsal needs no secrecy

    def fault(self) -> str | None:
        """The fault that this call meets, if any: at most one."""
        point = self._random.random()
        for name, rate in self._plan.rates:
            if point < rate:
                return name
            point -= rate
        return None

    def delay(self) -> float:
        """Seconds to add to this call."""
        return self._random.uniform(*self._plan.latency)


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
        UsageError: an unknown name, a malformed rate, or rates that add up to more than 1.
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
        else f"choose from {', '.join(dict.fromkeys(names.values()))}"
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
