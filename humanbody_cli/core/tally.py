"""Counts of a run; knows the summary and the exit code that follow from them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from humanbody_cli.core.outcomes import Outcome, Status

PHOTOS_LEFT_OUT = 3
"""Exit code: some photos were rejected or failed."""


@dataclass
class Tally:
    """What a run has come to. ``passed`` are photos that were settled before it.

    ``repeated`` counts rejects and failures of this run that the run before had come to as well.
    With ``ignore_known`` only new ones count for the exit code.
    """

    finished: Counter[Status] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
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
            self.finished[status] + self.passed[status.value]
            for status in (Status.REJECTED, Status.FAILED)
        )

    @property
    def newly_left_out(self) -> int:
        """Those of them that no earlier run has told of."""
        return self.finished[Status.REJECTED] + self.finished[Status.FAILED] - self.repeated

    def exit_code(self) -> int:
        """0, or 3 where photos of the run's inputs stand rejected or failed."""
        counted = self.newly_left_out if self.ignore_known else self.left_out
        return PHOTOS_LEFT_OUT if counted else 0

    def counts(self) -> str:
        """``12 done, 1 rejected, 3 done before``."""
        parts = [f"{self.done:,} done"] if self.total or not self.passed else []
        parts += [
            f"{self.finished[status]:,} {status.value}"
            for status in (Status.REJECTED, Status.FAILED)
            if self.finished[status]
        ]
        parts += [
            f"{self.passed[status.value]:,} {status.value} before"
            for status in (Status.DONE, Status.REJECTED, Status.FAILED)
            if self.passed[status.value]
        ]
        return ", ".join(parts)


DOUBTFUL = 0.15
"""Doubt beyond this marks about a tenth of photographs, whose masks have a mean IoU of .70 where
the others have .94."""
