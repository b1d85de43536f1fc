"""The settings of a run as frozen dataclasses, made once by the command or the library; the bounds
of their figures; the key pair."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from humanbody_cli.core.api_spec import DEFAULT_ENDPOINT, FREE_QPS
from humanbody_cli.core.console import without_password

if TYPE_CHECKING:
    from decimal import Decimal


class EngineChoice(StrEnum):
    """Which engine was asked for."""

    AUTO = "auto"
    API = "api"
    LOCAL = "local"


MAX_QPS = 10_000.0
"""Calls per second: the highest quota of a key."""

MAX_TIMEOUT = 86_400.0
"""Seconds: the longest wait for an answer."""

THREADS = (1, 256)
"""The fewest and the most threads that decode photos or run a model."""

SIDES = (32, 4096)
"""Pixels: the smallest and the largest square input of a model."""

MAX_MARGIN = 10.0
"""The widest margin around a crop, as a fraction of the crop's longer side."""

API_ENGINE = EngineChoice.API.value
LOCAL_ENGINE = EngineChoice.LOCAL.value
"""The engines' names in records and in the journal."""


class Edges(StrEnum):
    """How a cutout ends: the API's own hard edge at 0.5, or the confidence as alpha."""

    HARD = "hard"
    SOFT = "soft"


class Metadata(StrEnum):
    """What happens to a photo's Exif. Location is private, so the default is to drop it."""

    KEEP = "keep"
    STRIP = "strip"


WHOLE_ATTEMPT = 3
"""A whole attempt may take this many times the user's timeout, so that trickling answers end."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds. ``read`` is the longest silence while an answer is awaited."""

    connect: float = 10.0
    write: float = 30.0
    read: float = 60.0

    @classmethod
    def of(cls, seconds: float) -> Timeouts:
        """All three from one figure: nothing takes longer than the user allows."""
        return cls(min(10.0, seconds), min(30.0, seconds), seconds)

    @property
    def whole_attempt(self) -> float:
        """The longest that one attempt takes, however slowly the server answers."""
        return self.connect + WHOLE_ATTEMPT * self.read


class Period(StrEnum):
    """The time that a limit on calls is for."""

    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True)
class MaxCalls:
    """At most ``count`` calls, retries included: of one run, or with ``per`` of all runs on an
    output folder within each local hour or day. ``waits``: the run waits for the next one."""

    count: int
    per: Period | None = None
    waits: bool = False

    def __str__(self) -> str:
        return f"{self.count:,}" + (f" per {self.per.value}" if self.per else "")


@dataclass(frozen=True)
class Price:
    """What a call costs; ``currency`` may be empty."""

    amount: Decimal
    currency: str = ""

    def of(self, calls: int) -> str:
        """The cost of so many calls, for a person: ``12.30 CNY``."""
        places = max(2, -int(self.amount.as_tuple().exponent))
        return f"{self.amount * calls:,.{places}f} {self.currency}".rstrip()

    def cost(self, calls: int) -> float:
        """The cost of so many calls, for a program."""
        return float(self.amount * calls)


@dataclass(frozen=True)
class ApiSettings:
    """How the API is called. ``qps`` ``None`` means: find the quota (``--qps auto``).

    ``concurrency`` caps the calls in flight; ``retries`` counts further attempts per photo;
    ``max_calls`` counts every attempt.
    """

    credentials: Credentials | None = None
    endpoint: str = DEFAULT_ENDPOINT
    qps: float | None = FREE_QPS
    concurrency: int | None = None
    retries: int = 5
    timeouts: Timeouts = Timeouts()
    max_calls: MaxCalls | None = None

    @property
    def shown_endpoint(self) -> str:
        """The endpoint as it may be printed."""
        return without_password(self.endpoint)


class People(StrEnum):
    """Who is cut out where several people are in a photo.

    The default is everyone: the API cuts out everyone too, a trial without a key should predict a
    run with one, and a person who is missing from a group costs more than a bystander too many.
    """

    ALL = "all"
    MAIN = "main"


@dataclass(frozen=True)
class LocalSettings:
    """How the embedded engine runs. ``model`` is a file of the user's own; with ``crops`` it gets
    the detector's crops in place of the whole picture. ``people`` says who is meant."""

    model: Path | None = None
    preset: str | None = None
    mean: str | None = None
    std: str | None = None
    side: int | None = None
    threads: int = os.cpu_count() or 1
    people: People = People.ALL
    crops: bool = False


@dataclass(frozen=True)
class Wanted:
    """What is made of each photo. ``require_person`` rejects those in which nobody is found."""

    mask: bool = True
    cutout: bool = True
    edges: Edges = Edges.HARD
    fit: bool = False
    metadata: Metadata = Metadata.STRIP
    require_person: bool = False


Box = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True)
class Look:
    """How cutouts are composed beyond their edges, as the user says it; ``None``: not given.

    ``margin`` is a part of the crop's longer side, ``background`` a colour or the path of a
    picture, ``quality`` that of JPEG and WebP, 1 to 100.
    """

    crop: bool = False
    margin: float | None = None
    background: str | None = None
    size: Box | None = None
    canvas: Box | None = None
    enlarge: bool = False
    format: str | None = None
    quality: int | None = None


@dataclass(frozen=True)
class OutputSettings:
    """Where results go and how they are kept. ``durable`` waits for the disk after each file;
    ``None``: if the engine's results are paid for. ``given`` is OUT as the user wrote it, which
    tells a file from a folder; ``None``: not given."""

    folder: Path
    durable: bool | None = None
    force: bool = False
    retry_failed: bool = False
    lock_wait: float = 0.0
    given: str | None = None


@dataclass(frozen=True)
class Shard:
    """Part ``index`` of ``count``, from 1: for splitting a run over machines."""

    index: int = 1
    count: int = 1


@dataclass(frozen=True)
class InputSettings:
    """Where photos come from: what was named, and lists of names.

    ``base`` is the folder below which a list's names keep their path in the output, ``None`` to
    use their common folder. ``name`` is what the photo on stdin is called.
    """

    inputs: tuple[str, ...] = ()
    from_file: str | None = None
    nul: bool = False
    shard: Shard = Shard()
    base: str | None = None
    name: str | None = None


class ProgressChoice(StrEnum):
    """How progress is shown on stderr. ``auto``: a bar on a terminal, else plain lines."""

    AUTO = "auto"
    BAR = "bar"
    PLAIN = "plain"
    NONE = "none"


class LogFormat(StrEnum):
    """The format of the log file."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True)
class Telling:
    """What a command tells while it works, and where.

    ``verbosity``: -1 only what is new, 1 a line per photo. ``log_file`` gets every line that is
    said, and one per photo. ``interval``: seconds between two lines of plain progress.
    """

    verbosity: int = 0
    progress: ProgressChoice = ProgressChoice.AUTO
    log_file: str | None = None
    log_format: LogFormat = LogFormat.TEXT
    interval: float = 60.0


GRACE = 30.0
"""Seconds that calls in flight have to end after a signal, unless the user says otherwise."""


@dataclass(frozen=True)
class RunSettings:
    """All settings of one run. It ends after ``max_duration`` seconds, if that is given; ``price``
    is only for what is told about it."""

    inputs: InputSettings
    output: OutputSettings
    wanted: Wanted
    engine: EngineChoice
    api: ApiSettings
    local: LocalSettings
    json: bool = False
    telling: Telling = Telling()
    grace: float = GRACE
    ignore_known: bool = False
    look: Look = Look()
    max_duration: float | None = None
    price: Price | None = None

    @property
    def uses_api(self) -> bool:
        """Whether photos are sent to the API, or to a server that speaks like it.

        Where no engine was asked for, it is the API if a key is configured and no model was named:
        naming a model asks for the engine that runs it, so such a run makes no paid call.
        """
        if self.engine is not EngineChoice.AUTO:
            return self.engine is EngineChoice.API
        return self.api.credentials is not None and self.local.model is None

    @property
    def engine_name(self) -> str:
        """The engine's name in records, with the file's name for a model of the user's own."""
        if self.uses_api:
            return API_ENGINE
        model = self.local.model
        return LOCAL_ENGINE if model is None else f"{LOCAL_ENGINE}:{model.name}"


_TELLING = 8
"""Characters from which on a secret is no common word or number. Those of the API have 32."""


@dataclass(frozen=True)
class Credentials:
    """A key pair. The secret never shows in a repr, and so in no log and no traceback."""

    api_key: str
    api_secret: str

    def __repr__(self) -> str:
        return f"Credentials(api_key={self.api_key[:4]}..., api_secret=***)"

    def blotted(self, answer: bytes) -> bytes:
        """An answer without the secret: a server or proxy in debug mode may repeat the request, and
        messages quote it. A secret of a few characters is left, as it may be part of any word."""
        secret = self.api_secret.encode()
        return answer.replace(secret, b"***") if len(secret) >= _TELLING else answer


def readable_by_others(path: Path) -> bool:
    """Whether a file of secrets can be read by anyone but its owner: by its group or by everyone.

    Raises:
        OSError: the file cannot be examined.
    """
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
