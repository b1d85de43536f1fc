"""Constants chosen on one half of each set of photographs and measured on the other, both ways."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, TypeVar

import numpy as np
from mask_scores import Doubting, Gray, Pair, Row, Scores, Sets, mean, scores
from PIL import Image

from humanbody_cli.core.settings import People
from humanbody_cli.embedded import segmenters
from humanbody_cli.embedded.finding import finder, matte, people

Answer = TypeVar("Answer")

GRID: tuple[tuple[Any, str, tuple[float, ...]], ...] = (
    (people, "ACCEPTED", (0.35, 0.4, 0.45)),
    (people, "SURE", (0.4, 0.5, 0.6)),
    (people, "LAST_RESORT", (0.25, 0.3)),
    (people, "BYSTANDER", (0.06, 0.12, 0.2)),
    (people, "MERGE", (1.3, 1.6, 2.0)),
    (finder, "UNCLEAR", (0.09, 0.12, 0.18)),
    (finder, "RESCUE_MARGIN", (0.1, 0.25)),
    (finder, "RESCUE_LEAST", (0.08, 0.15)),
    (matte, "MIDPOINT", (0.38, 0.41, 0.44)),
    (matte, "EVIDENCE", (0.2, 0.3)),
)
"""The constants that cross-validation chooses, and from which values."""


class Remembered:
    """A model's answers, kept by its input's bytes: a constant that moves no crop costs no run."""

    def __init__(self, run: Callable[[Gray], Answer]) -> None:
        self._run = run
        self._answers: dict[bytes, Answer] = {}

    def __call__(self, pixels: Gray) -> Answer:
        """The model's answer for one input."""
        key = hashlib.blake2b(np.ascontiguousarray(pixels), digest_size=16).digest()
        if key not in self._answers:
            self._answers[key] = self._run(pixels)
        return self._answers[key]


def cross_validated_rows(sets: Sets, who: People) -> list[Row]:
    """The sets' figures, each half measured with the constants that were best on the other halves.

    A process for each half, with models of its own.
    """
    halves = [{name: pairs[half::2] for name, (pairs, _) in sets.items()} for half in (0, 1)]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        folds = list(pool.map(_fold, halves, reversed(halves), (who, who)))
    rows = [
        Row(f"half {half}: {name}", value)
        for half, (chosen, _) in enumerate(folds)
        for name, value in chosen.items()
    ]
    for name, (_, least) in sets.items():
        both = _joined([measured[name] for _, measured in folds])
        rows += both.rows(f"{name}, cross-validated", least)
    return rows


def _fold(
    chosen_on: dict[str, list[Pair]], measured_on: dict[str, list[Pair]], who: People
) -> tuple[dict[str, float], dict[str, Scores]]:
    """The constants that are best on some photographs, and the scores of others with them."""
    models = segmenters.bundled_models()
    kept = finder.Models(Remembered(models.look), Remembered(models.detect))
    chosen = _best_constants(partial(_segment, kept, who), list(chosen_on.values()))
    segment = partial(_segment, models, who)
    return chosen, {name: scores(segment, pairs) for name, pairs in measured_on.items()}


def _best_constants(segment: Doubting, halves: list[list[Pair]]) -> dict[str, float]:
    """Choose the constants of `GRID`, leave them set, and name them.

    "Best" is the mean over the sets of their mean IoU, people-free photographs included (IoU 1 if
    the mask is empty). Each is chosen in turn, beginning with the value it has: another one must be
    better, not as good.
    """

    def worth() -> float:
        return float(np.mean([mean(scores(segment, pairs).overlap) for pairs in halves]))

    best = worth()
    for module, name, values in GRID:
        kept = getattr(module, name)
        for value in (value for value in values if value != kept):
            setattr(module, name, value)
            if (reached := worth()) > best:
                best, kept = reached, value
        setattr(module, name, kept)
    return {name: getattr(module, name) for module, name, _ in GRID}


def _segment(
    models: finder.Models, who: People, photo: Image.Image
) -> tuple[Image.Image, float | None]:
    found = finder.find_people(models, photo, who)
    return matte.to_mask(found, photo.size), found.doubt


def _joined(parts: list[Scores]) -> Scores:
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Scores(*(np.concatenate(column) for column in columns))
