"""What the fake of the API is told to do, and what it counts of the calls that it gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fake_answers import BODY_FAULTS, Style

# Code -> HTTP status, and whether the answer is bare (no request_id, no time_used).
ERRORS = {
    "AUTHENTICATION_ERROR": (401, True),
    "AUTHORIZATION_ERROR": (403, True),
    "CONCURRENCY_LIMIT_EXCEEDED": (403, True),
    "API_NOT_FOUND": (404, True),
    "MISSING_ARGUMENTS": (400, False),
    "BAD_ARGUMENTS": (400, False),
    "IMAGE_ERROR_UNSUPPORTED_FORMAT": (400, False),
    "INVALID_IMAGE_SIZE": (400, False),
    "INTERNAL_ERROR": (500, False),
}
ALIASES = {"internal": "INTERNAL_ERROR", "concurrency": "CONCURRENCY_LIMIT_EXCEEDED"}
FAULTS = ("reset", "half", "hang", "html502", "garbage", *BODY_FAULTS)
KINDS = ("ok", *FAULTS, *ALIASES, *ERRORS)


@dataclass(frozen=True)
class Behaviour:
    """How the fake behaves. A kind is ``ok``, a fault's name or an error of the API in full."""

    quota: int | None = None
    """Accepted calls in any window of one second."""
    in_flight: int | None = None
    """Accepted calls under way at once, from arrival to answer."""
    latency: float | tuple[float, float] = 0.0
    """Seconds, or a range to draw from."""
    keys: tuple[tuple[str, str], ...] = ()
    """Accepted pairs of key and secret; none: every pair."""
    balance: int | None = None
    """Accepted calls until the account is empty."""
    faults: Mapping[str, float] = field(default_factory=dict)
    """Kind -> its share of the accepted calls."""
    always: str | None = None
    """The kind of every call; ``script`` goes first."""
    script: tuple[str, ...] = ()
    """The kinds of the first calls, in order of arrival, refused ones not counted."""
    seed: int = 0
    """Of the draws of faults and latencies."""
    style: Style = field(default_factory=Style)
    """What the images of the answers are like."""
    prepare: tuple[tuple[int, int], ...] = ()
    """Picture sizes whose answers are made before the first call."""

    def __post_init__(self) -> None:
        for kind in (*self.faults, *self.script, self.always or "ok"):
            if kind.partition(":")[0] not in KINDS:
                raise ValueError(f"no such kind: {kind}")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Behaviour:
        """The same from JSON's types: lists become tuples, an object becomes the style."""

        def frozen(value: Any) -> Any:
            return tuple(map(frozen, value)) if isinstance(value, list) else value

        fields = {name: frozen(value) for name, value in values.items()}
        style = {name: frozen(value) for name, value in fields.get("style", {}).items()}
        return cls(**{**fields, "style": Style(**style)})


@dataclass
class Call:
    """One request for a segmentation. Times are ``time.monotonic()``, comparable between processes.

    ``answered`` stays None where nothing was sent: a hang, a reset, or a client that went away.
    """

    arrived: float
    upload: str  # sha256 of image_file
    kind: str = "ok"
    accepted: bool = False
    answered: float | None = None
    ended: float | None = None  # answered, or the connection's end


@dataclass
class Stats:
    """What has happened since the start or the last reset."""

    calls: list[Call] = field(default_factory=list)
    in_flight: int = 0
    max_in_flight: int = 0

    @property
    def accepted(self) -> int:
        """Calls that went past the keys, the balance and the quota: what an account would pay."""
        return sum(call.accepted for call in self.calls)

    @property
    def refused(self) -> int:
        return len(self.calls) - self.accepted

    @property
    def kinds(self) -> Counter[str]:
        return Counter(call.kind for call in self.calls)

    @property
    def uploads(self) -> Counter[str]:
        """Accepted calls per upload: more than 1 was paid for more than once."""
        return Counter(call.upload for call in self.calls if call.accepted)

    def as_json(self) -> dict[str, Any]:
        return {
            "accepted": self.accepted,
            "refused": self.refused,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "kinds": self.kinds,
            "uploads": self.uploads,
            "calls": [asdict(call) for call in self.calls],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Stats:
        calls = [Call(**call) for call in values["calls"]]
        return cls(calls, values["in_flight"], values["max_in_flight"])
