"""The person detector: a picture in, boxes with scores out. Pure; the model is passed in.

The model is NanoDet (RangiLyu/nanodet): for each cell of three grids it gives scores of the 80
classes of COCO, and the distances from the cell's centre to the four edges of a box, each as a
distribution over 0 to 10 strides (generalised focal loss).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from humanbody_cli.embedded.finding.crops import (
    Box,
    Size,
    iou,
    is_wide,
    overlap,
    strip,
    whole,
)
from humanbody_cli.embedded.finding.picture import Picture

Floats = NDArray[np.float32]
Detect = Callable[[Floats], Sequence[Floats]]
"""The model: BGR, normalised, [1, 3, 416, 416] -> per grid of n x n cells scores [1, n * n, 80] and
distances [1, n * n, 44], in any order."""

SIDE = 416
"""Pixels per side of the model's input."""

MEAN = np.array((103.53, 116.28, 123.675), np.float32)
DEVIATION = np.array((57.375, 57.12, 58.395), np.float32)
"""Of the channels B, G, R (config/legacy_v0.x_configs of RangiLyu/nanodet)."""

CLASSES, PERSON = 80, 0
"""COCO's classes, and that of people."""

BINS = 11
"""Of each distance's distribution: 0 to 10 strides."""

LEAST_SCORE = 0.1
"""Lower scores are noise."""

SAME = 0.5
"""IoU from which two boxes are of one person (non-maximum suppression)."""

CUT = 0.02
"""A box that ends within this part of a strip's length from its end is of someone cut in two."""


@dataclass(frozen=True)
class Detection:
    """A box that may hold a person, in picture pixels, and its score from 0 to 1."""

    box: Box
    score: float


def find_boxes(detect: Detect, picture: Picture, *, in_strips: bool = True) -> list[Detection]:
    """Boxes of people, the best score first.

    Beyond an aspect ratio of 2 : 1 people would be too small in the model's input, so the picture
    is also looked at in strips, unless `in_strips` is false.
    """
    size = picture.size
    complete = _look(detect, picture, whole(size))
    cut: list[Detection] = []
    for part in strip(size) if in_strips and is_wide(size) else ():
        for detection in _look(detect, picture, part):
            (cut if _is_cut(detection.box, part, size) else complete).append(detection)
    kept = _suppress(_ranked(complete), [], iou)
    # Whoever is cut by a strip's end is usually whole in the next one.
    return _ranked(_suppress(_ranked(cut), kept, overlap))


def _look(detect: Detect, picture: Picture, part: Box) -> list[Detection]:
    """Boxes in one part of the picture, not yet suppressed."""
    width, height = part[2] - part[0], part[3] - part[1]
    scale = SIDE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = np.zeros((SIDE, SIDE, 3), np.float32)
    image[: size[1], : size[0]] = np.asarray(picture.cut(part, size))
    normalised = (image[:, :, ::-1] - MEAN) / DEVIATION
    outputs = detect(np.ascontiguousarray(normalised.transpose(2, 0, 1)[np.newaxis]))
    boxes, scores = _decoded(outputs)
    boxes = np.clip(boxes / scale, 0, (width, height, width, height))
    boxes += (part[0], part[1], part[0], part[1])
    sound = (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
    return [
        Detection((left, top, right, bottom), float(score))
        for (left, top, right, bottom), score in zip(
            boxes[sound].tolist(), scores[sound], strict=True
        )
    ]


def _decoded(outputs: Sequence[Floats]) -> tuple[NDArray[np.float64], Floats]:
    """Boxes [k, 4] in pixels of the input, and their scores [k], of cells with a person."""
    grids = {output.shape[1]: output[0] for output in outputs if output.shape[2] == CLASSES}
    distances = {output.shape[1]: output[0] for output in outputs if output.shape[2] == 4 * BINS}
    found = [_decoded_grid(grids[cells][:, PERSON], distances[cells]) for cells in sorted(grids)]
    boxes, scores = zip(*found, strict=True)
    return np.concatenate(boxes), np.concatenate(scores)


def _decoded_grid(scores: Floats, distances: Floats) -> tuple[NDArray[np.float64], Floats]:
    side = round(len(scores) ** 0.5)
    stride = SIDE / side
    cells = np.flatnonzero(scores > LEAST_SCORE)
    logits = distances[cells].reshape(-1, 4, BINS).astype(np.float64)
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    reach = weights @ np.arange(BINS) / weights.sum(axis=2) * stride
    x, y = (cells % side + 0.5) * stride, (cells // side + 0.5) * stride
    edges = (x - reach[:, 0], y - reach[:, 1], x + reach[:, 2], y + reach[:, 3])
    return np.stack(edges, axis=1), scores[cells]


def _is_cut(box: Box, part: Box, size: Size) -> bool:
    """Whether the box ends where the part does, but the picture does not."""
    axis = 0 if size[0] >= size[1] else 1
    slack = CUT * (part[axis + 2] - part[axis])
    at_start = part[axis] > 0 and box[axis] < part[axis] + slack
    at_end = part[axis + 2] < size[axis] - 1 and box[axis + 2] > part[axis + 2] - slack
    return at_start or at_end


def _suppress(
    ranked: list[Detection], kept: list[Detection], likeness: Callable[[Box, Box], float]
) -> list[Detection]:
    """`kept`, and of the ranked those that are not like one before them."""
    kept = list(kept)
    for detection in ranked:
        if all(likeness(detection.box, other.box) <= SAME for other in kept):
            kept.append(detection)
    return kept


def _ranked(detections: list[Detection]) -> list[Detection]:
    return sorted(detections, key=lambda detection: -detection.score)
