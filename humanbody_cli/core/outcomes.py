"""Outcomes: one photo's record, and the counts and exit code of a run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from humanbody_cli.core import api_spec
from humanbody_cli.core.console import counted
from humanbody_cli.core.errors import PhotoError

NOBODY_MESSAGE = "no person was found in this photo"


def is_nobody(coverage: float | None) -> bool:
    """Whether a photo whose mask has this coverage shows nobody: no pixel has confidence above .5.

    `Mask.coverage` is 0 for such masks alone. Earlier versions rounded up to .005 % of the pixels
    down to 0; their rows count the same. ``None``, a coverage that is not known, is not 0.
    """
    return coverage == 0


def code_of(code: str | None, coverage: float | None) -> str | None:
    """The code of a record: its own, or `api_spec.NOBODY_FOUND` by its coverage. Rows of earlier
    versions have none of their own for it."""
    return api_spec.NOBODY_FOUND if code is None and is_nobody(coverage) else code


class Status(StrEnum):
    """How a photo ended; pending if it has not."""

    DONE = "done"
    REJECTED = "rejected"
    FAILED = "failed"
    PENDING = "pending"


@dataclass(frozen=True)
class Outcome:
    """One photo's record.

    ``width`` and ``height`` are pixels of the upright photo; ``time_used`` is the engine's own
    figure and ``elapsed`` the whole time in hbseg, both in milliseconds; ``coverage`` is the
    part of the photo inside the mask (0 to 1) and ``doubt`` how unsure the mask is (0 sure to 1).
    A record with coverage 0 and no other code gets the code `api_spec.NOBODY_FOUND`.
    ``cutout`` and ``mask`` are paths, ``None`` where none was made. ``repeated``: the run before
    ended the same way. ``reason`` is a word or two on why it was left out, where the code says
    less. Both are for the summary and not part of the record.
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
    reason: str | None = None

    @classmethod
    def left_out(cls, source: str, error: PhotoError) -> Outcome:
        """The record of a photo that ended with this error."""
        return cls(
            source,
            Status.REJECTED if error.rejected else Status.FAILED,
            code=error.code,
            message=error.message,
            attempts=error.attempts,
            request_id=error.request_id,
            transient=error.transient,
            reason=error.reason,
        )

    @property
    def why(self) -> str:
        """Why it was left out, in a word or two, for counts."""
        return self.reason or _WHY.get(self.code or "", self.code or "unknown")

    @property
    def is_fittable(self) -> bool:
        """Whether ``--fit`` accepts the photo that was rejected without it: another format, whose
        name is the reason, or a size beyond the limits."""
        if self.reason is None:
            return self.code in _BEYOND_LIMITS
        return self.reason.isupper()

    def __post_init__(self) -> None:
        if code_of(self.code, self.coverage) != self.code:
            object.__setattr__(self, "code", api_spec.NOBODY_FOUND)
            object.__setattr__(self, "message", NOBODY_MESSAGE)

    @property
    def is_nobody(self) -> bool:
        """Whether the photo is done and nobody was found in it."""
        return self.status is Status.DONE and is_nobody(self.coverage)

    @property
    def is_doubtful(self) -> bool:
        """Whether a person should look at the mask. Photos without a person are told apart."""
        return self.doubt is not None and self.doubt > DOUBTFUL and not self.is_nobody

    def record(self) -> dict[str, Any]:
        """The public record: plain values, in a fixed order."""
        record = vars(self).copy()
        record["status"] = self.status.value
        del record["repeated"], record["reason"]
        return record


def json_line(record: dict[str, Any]) -> str:
    """One line of JSON. ASCII only, so that names that are not UTF-8 survive as escapes."""
    return json.dumps(record, ensure_ascii=True, separators=(",", ":"))


_BEYOND_LIMITS = (api_spec.INVALID_SIZE, api_spec.FILE_TOO_LARGE)
_WHY = {
    api_spec.INVALID_SIZE: "wrong size",
    api_spec.FILE_TOO_LARGE: "too large",
    api_spec.UNREADABLE: "unreadable",
    api_spec.INVALID_URL: "not fetched",
    api_spec.DOWNLOAD_TIMEOUT: "not fetched",
    api_spec.OUTPUT_NAME_TAKEN: "name taken",
    api_spec.NOBODY_FOUND: "without a person",
}
"""Codes of rejections in plain words."""

_MOST_REASONS = 8


def listed(whys: Counter[str]) -> str:
    """What is added to a count: `` (42 HEIC, 13 damaged)``; empty for no reasons."""
    parts = [f"{count:,} {why}" for why, count in whys.most_common(_MOST_REASONS)]
    if len(whys) > _MOST_REASONS:  # a server may name any number of codes
        parts.append("others")
    return f" ({', '.join(parts)})" if parts else ""


PHOTOS_LEFT_OUT = 3
"""Exit code: some photos were rejected or failed."""


@dataclass
class Tally:
    """Counts of a run. ``settled`` are photos that were settled before it.

    ``nobody`` and ``nobody_before`` count the done photos in which nobody was found.
    ``repeated`` counts rejected and failed photos of this run that ended the same way in the run
    before. With ``ignore_known`` only new ones count for the exit code. ``reasons`` counts photos
    of this run by how they ended and why, ``fittable`` those that ``--fit`` would accept, and
    ``transient`` those that a later run may do.
    """

    finished: Counter[Status] = field(default_factory=Counter)
    reasons: Counter[tuple[Status, str]] = field(default_factory=Counter)
    fittable: int = 0
    transient: int = 0
    settled: Counter[str] = field(default_factory=Counter)
    doubtful: int = 0
    nobody: int = 0
    nobody_before: int = 0
    repeated: int = 0
    ignore_known: bool = False

    def add(self, outcome: Outcome) -> None:
        """Count the outcome of a photo."""
        self.finished[outcome.status] += 1
        self.repeated += outcome.repeated
        if outcome.status is Status.DONE:
            self.doubtful += outcome.is_doubtful
            self.nobody += outcome.is_nobody
        elif outcome.status is not Status.PENDING:
            self.reasons[outcome.status, outcome.why] += 1
            self.fittable += outcome.status is Status.REJECTED and outcome.is_fittable
            self.transient += outcome.status is Status.FAILED and outcome.transient

    def by_reason(self, status: Status) -> str:
        """``55 rejected (42 HEIC, 13 damaged)``."""
        whys = Counter({why: n for (ended, why), n in self.reasons.items() if ended is status})
        return f"{self.finished[status]:,} {status.value}{listed(whys)}"

    @property
    def done(self) -> int:
        """Photos done in this run."""
        return self.finished[Status.DONE]

    @property
    def total(self) -> int:
        """Photos that ended in this run."""
        return sum(self.finished.values())

    @property
    def left_out(self) -> int:
        """Photos that are rejected or failed, by this run or an earlier one."""
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
        """0, or 3 if photos of the run's inputs are rejected or failed."""
        counted = self.newly_left_out if self.ignore_known else self.left_out
        return PHOTOS_LEFT_OUT if counted else 0

    def counts(self) -> str:
        """``12 done (nobody found in 2 photos), 1 rejected (1 HEIC), 3 done before``; ``3 done
        before`` if none ended in this run."""
        done = f"{self.done:,} done{nobody_found(self.nobody)}"
        parts = [done] if self.total or not self.settled else []
        parts += [
            self.by_reason(status)
            for status in (Status.REJECTED, Status.FAILED)
            if self.finished[status]
        ]
        parts += [
            f"{self.settled[status.value]:,} {status.value} before"
            + nobody_found(self.nobody_before if status is Status.DONE else 0)
            for status in (Status.DONE, Status.REJECTED, Status.FAILED)
            if self.settled[status.value]
        ]
        return ", ".join(parts)


DOUBTFUL = 0.15
"""A doubt above this is worth a look. With the embedded engine it marks 9 % of 97 photographs of
people (their masks have a mean IoU of .87, the others .92) and two thirds of 51 everyday ones (.47,
the others .77), among them 17 of the 18 with an IoU under .5. `benchmarks/bench_quality.py` tells
these figures."""


def nobody_found(photos: int) -> str:
    """What is added to a count of done photos: `` (nobody found in 3 photos)``; empty for 0."""
    return f" (nobody found in {counted(photos, 'photo')})" if photos else ""


def passed_over(others: int) -> str:
    """What a summary adds about files that are not photos: ``; 3 other files skipped``."""
    return f"; {counted(others, 'other file')} skipped" if others else ""
