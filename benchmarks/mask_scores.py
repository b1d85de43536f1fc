"""What masks are worth: photographs with true masks, and the figures of a set of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from humanbody_cli.core.outcomes import DOUBTFUL
from humanbody_cli.imaging.masks import THRESHOLD

Gray = np.ndarray[Any, Any]
Doubting = Callable[[Image.Image], tuple[Image.Image, float | None]]
Pair = tuple[Image.Image, Gray]
Sets = dict[str, tuple[list[Pair], float | None]]
"""By name: photographs with their true masks, and the mean IoU that they must reach (None:
told, not required)."""

SOME_MASK = 0.001
"""The part of a people-free photograph from which a mask counts as a false positive."""


@dataclass(frozen=True)
class Row:
    """One measured figure beside the one it must reach (None: told, not required)."""

    what: str
    reached: float
    required: float | None = None
    most: bool = True
    unit: str = ""

    @property
    def held(self) -> bool:
        """Whether the required figure is reached."""
        if self.required is None:
            return True
        return self.reached <= self.required if self.most else self.reached >= self.required

    def cells(self) -> list[str]:
        """The row as text: what, required, reached, verdict."""
        if self.required is None:
            return [self.what, "", f"{self.reached:.4g}{self.unit}", ""]
        bound = f"{'at most' if self.most else 'at least'} {self.required:g}{self.unit}"
        verdict = "yes" if self.held else "MISSED"
        return [self.what, bound, f"{self.reached:.4g}{self.unit}", verdict]


def load_eval(folder: Path) -> list[tuple[Image.Image, np.ndarray[Any, Any]]]:
    """Photos (RGB) and their true masks (bool [h, w])."""
    pairs = []
    for path in sorted((folder / "images").iterdir()):
        photo = Image.open(path).convert("RGB")
        with Image.open(folder / "masks" / f"{path.stem}.png") as opened:
            pairs.append((photo, np.asarray(opened.convert("L").resize(photo.size)) > 127))
    return pairs


@dataclass(frozen=True)
class Scores:
    """What a set's masks are worth, photograph by photograph."""

    overlap: Gray
    covered: Gray
    doubt: Gray
    with_people: Gray
    cpu: Gray

    def rows(self, name: str, least: float | None) -> list[Row]:
        """The set's figures; the mean IoU must reach `least`, if it is given."""
        overlap, doubt = self.overlap[self.with_people], self.doubt[self.with_people]
        flagged, free = doubt > DOUBTFUL, self.covered[~self.with_people]
        bad, good = overlap < 0.5, overlap >= 0.8
        rows = [
            Row(f"{name}: mean IoU, {len(overlap)} photographs", mean(overlap), least, most=False),
            Row(f"{name}: under IoU .3", int((overlap < 0.3).sum()), None if free.size else 0),
            Row(f"{name}: under IoU .5", int(bad.sum())),
            Row(
                f"{name}: empty",
                int((self.covered[self.with_people] == 0).sum()),
                4 if free.size else 0,
            ),
            Row(f"{name}: rank correlation of doubt with 1 - IoU", _spearman(doubt, 1 - overlap)),
            Row(f"{name}: flagged as doubtful", 100 * mean(flagged), unit=" %"),
            Row(f"{name}: mean IoU of the flagged", mean(overlap[flagged])),
            Row(f"{name}: mean IoU of the others", mean(overlap[~flagged])),
            Row(f"{name}: of those under .5, flagged", 100 * mean(flagged[bad]), unit=" %"),
            Row(f"{name}: of those from .8, flagged", 100 * mean(flagged[good]), unit=" %"),
            Row(f"{name}: CPU time, median", 1000 * float(np.median(self.cpu)), unit=" ms"),
            Row(f"{name}: CPU time, mean", 1000 * mean(self.cpu), unit=" ms"),
        ]
        if free.size:
            wrong = int((free > SOME_MASK).sum())
            rows.append(Row(f"{name}: false positives of {free.size} without people", wrong, 10))
        return rows


def scores(segment: Doubting, pairs: list[Pair]) -> Scores:
    """Masks of photographs, scored against the true ones; one thread."""
    lines = []
    for photo, truth in pairs:
        started = time.process_time()
        mask, doubt = segment(photo)
        taken = time.process_time() - started
        found = np.asarray(mask) > THRESHOLD
        either = np.count_nonzero(found | truth)
        overlap = np.count_nonzero(found & truth) / either if either else 1.0
        lines.append((overlap, found.mean(), doubt or 0.0, truth.any(), taken))
    overlaps, covered, doubts, with_people, cpu = (
        np.array(column) for column in zip(*lines, strict=True)
    )
    return Scores(overlaps, covered, doubts, with_people, cpu)


def mean(values: np.ndarray[Any, Any]) -> float:
    return float(values.mean()) if values.size else 0.0


def _spearman(one: Gray, other: Gray) -> float:
    """Rank correlation; equal values share their mean rank."""
    ranks = [
        np.array([(np.sum(values < v) + np.sum(values <= v)) / 2 for v in values])
        for values in (one, other)
    ]
    return float(np.corrcoef(*ranks)[0, 1])
