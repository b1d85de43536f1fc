"""One row of a benchmark: what was compared with what, what came of it, what was required.

Every benchmark prints its rows as a table; with ``--json FILE`` it also writes them for
``results.py``, which puts the rows of all benchmarks into RESULTS.md.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import table

HEAD = ("what", "against", "figure", "reached", "required", "result", "detail")


@dataclass(frozen=True)
class Row:
    """One comparison. ``most``: the figure may be at most ``required``; otherwise at least."""

    what: str
    against: str
    figure: str
    reached: float
    required: float
    most: bool = False
    detail: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure is as required."""
        return self.reached <= self.required if self.most else self.reached >= self.required

    def cells(self) -> list[str]:
        """The cells of its line in a table."""
        required = f"{'≤' if self.most else '≥'} {self.required:.3g}"
        result = "ok" if self.met else "MISSED"
        reached = f"{self.reached:.2f}"
        return [self.what, self.against, self.figure, reached, required, result, self.detail]


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over the pairs of ours divided by theirs."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def report(rows: Sequence[Row], target: Path | None) -> int:
    """Print the table, and write the rows to a file if one is named; the exit code."""
    print(table(HEAD, [row.cells() for row in rows], markdown=False))
    if target is not None:
        target.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 0 if all(row.met for row in rows) else 1
