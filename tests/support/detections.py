"""Outputs of the person detector, made up from boxes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

SIDE, BINS = 416, 11


def detector_outputs(
    people: Iterable[tuple[tuple[int, int, int, int], float]],
) -> list[NDArray[np.float32]]:
    """What the detector answers where it sees these boxes (pixels of its input) with these scores.

    Each is told by the cell at its centre, in the coarsest grid (52, 26 or 13 cells a side) that
    reaches its edges; a distance is spread over two neighbouring bins, so it comes out exact.
    """
    outputs = {}
    for cells in (52, 26, 13):
        outputs[cells] = (
            np.zeros((1, cells * cells, 80), np.float32),
            np.zeros((1, cells * cells, 4 * BINS), np.float32),
        )
    for box, score in people:
        reach = max(box[2] - box[0], box[3] - box[1]) / 2
        cells = next((n for n in (52, 26) if reach < 9 * SIDE / n), 13)
        stride = SIDE // cells
        column, row = ((box[k] + box[k + 2]) // 2 // stride for k in (0, 1))
        x, y = (column + 0.5) * stride, (row + 0.5) * stride
        scores, distances = outputs[cells]
        scores[0, row * cells + column, 0] = score
        edges = (x - box[0], y - box[1], box[2] - x, box[3] - y)
        spread = np.concatenate([_spread(edge / stride) for edge in edges])
        distances[0, row * cells + column] = spread
    return [output for pair in outputs.values() for output in pair]


def _spread(distance: float) -> NDArray[np.float64]:
    """Logits of the bins whose expectation is this distance, in strides."""
    low = min(int(distance), BINS - 2)
    weights = np.full(BINS, 1e-9)
    weights[low], weights[low + 1] = 1 - (distance - low) + 1e-9, distance - low + 1e-9
    return np.asarray(np.log(weights), np.float64)
