"""What became of one photo (its record) and of all of them (the counts and the exit code)."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any


class Status(str, Enum):
    """A photo's fate."""

    DONE = "done"
    REJECTED = "rejected"
    FAILED = "failed"
    PENDING = "pending"


@dataclass(frozen=True)
class Outcome:
    """One photo's record.

    ``width`` and ``height`` are pixels of the upright photo; ``time_used`` is the engine's own
    figure and ``elapsed`` the whole way through hbseg, both in milliseconds; ``coverage`` is the
    part of the photo inside the mask (0 to 1) and ``doubt`` how unsure the mask is (0 sure to 1).
    ``cutout`` and ``mask`` are paths, ``None`` where none was made. ``repeated``: the run before
    came to the same end; it is for the summary and no part of the record.
    """

    source: str
    status: Status
    code: str | None = None
    message: str | None = None
    cutout: str | None = None
    mask: str | None = None
    width: int | None = None
    height: int | None = None
    attempts: int = 0
    request_id: str | None = None
    image_id: str | None = None
    time_used: int | None = None
    elapsed: int | None = None
    engine: str | None = None
    sha256: str | None = None
    coverage: float | None = None
    doubt: float | None = None
    transient: bool = False
    repeated: bool = False

    def record(self) -> dict[str, Any]:
        """The public record: plain values, in a fixed order."""
        record = asdict(self)
        record["status"] = self.status.value
        del record["repeated"]
        return record


def json_line(record: dict[str, Any]) -> str:
    """One line of JSON. ASCII only, so that names that are not UTF-8 survive as escapes."""
    return json.dumps(record, ensure_ascii=True, separators=(",", ":"))


PHOTOS_LEFT_OUT = 3
"""Exit code: some photos were rejected or failed."""


@dataclass
class Tally:
    """What a run has come to. ``settled`` are photos that were settled before it.

    ``repeated`` counts rejects and failures of this run that the run before had come to as well.
    With ``ignore_known`` only new ones count for the exit code.
    """

    finished: Counter[Status] = field(default_factory=Counter)
    settled: Counter[str] = field(default_factory=Counter)
    doubtful: int = 0
    repeated: int = 0
    ignore_known: bool = False

    def add(self, outcome: Outcome) -> None:
        """A photo came to its end."""
        self.finished[outcome.status] += 1
        self.repeated += outcome.repeated
        if outcome.status is Status.DONE:
            self.doubtful += outcome.doubt is not None and outcome.doubt > DOUBTFUL

    @property
    def done(self) -> int:
        """Photos done in this run."""
        return self.finished[Status.DONE]

    @property
    def total(self) -> int:
        """Photos that came to an end in this run."""
        return sum(self.finished.values())

    @property
    def left_out(self) -> int:
        """Photos that stand rejected or failed, whether this run found that or an earlier one."""
        return sum(
            self.finished[status] + self.settled[status.value]
            for status in (Status.REJECTED, Status.FAILED)
        )

    @property
    def finished_left_out(self) -> int:
        """Photos that this run rejected or failed."""
        return self.finished[Status.REJECTED] + self.finished[Status.FAILED]

    @property
    def newly_left_out(self) -> int:
        """Photos that this run rejected or failed and the run before did not."""
        return self.finished_left_out - self.repeated

    def exit_code(self) -> int:
        """0, or 3 where photos of the run's inputs stand rejected or failed."""
        counted = self.newly_left_out if self.ignore_known else self.left_out
        return PHOTOS_LEFT_OUT if counted else 0

    def counts(self) -> str:
        """``12 done, 1 rejected, 3 done before``; ``3 done before`` where this run ended none."""
        parts = [f"{self.done:,} done"] if self.total or not self.settled else []
        parts += [
            f"{self.finished[status]:,} {status.value}"
            for status in (Status.REJECTED, Status.FAILED)
            if self.finished[status]
        ]
        parts += [
            f"{self.settled[status.value]:,} {status.value} before"
            for status in (Status.DONE, Status.REJECTED, Status.FAILED)
            if self.settled[status.value]
        ]
        return ", ".join(parts)


DOUBTFUL = 0.15
"""Doubt beyond this marks about a tenth of photographs, whose masks have a mean IoU of .70 where
the others have .94."""
