"""What became of one photo: the record of the journal, of ``--json`` and of the report."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
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
