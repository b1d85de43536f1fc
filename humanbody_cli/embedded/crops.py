"""Crop geometry: which crops of a photo the model gets, from the people in a first map.

Boxes are (left, top, right, bottom) in photo pixels, right and bottom exclusive; sizes are (width,
height).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from humanbody_cli.embedded.components import find_components

if TYPE_CHECKING:
    from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Size = tuple[int, int]

ASPECT_FLOOR = 0.75
"""The least ratio of a crop's shorter side to its longer: narrower crops distort people too much in
the model's square input (the floor is worth .008 of mean IoU)."""

MERGE = 1.6
"""Two groups share their crops if the joint crop has less than this times the area of both."""

MOST = 3
"""Groups, and people within a group, that get crops of their own; it bounds the time per photo."""

LEAST_PART = 0.2
"""Components count as people from this share of the largest component's area."""

LEAST_AREA = 49
"""And from this many pixels of a 256 x 256 map: 7 x 7 is what the model can resolve."""


@dataclass(frozen=True)
class Crop:
    """One input of the model: a box of the photo, maybe mirrored or with its levels stretched.

    ``weight`` is that of its confidence in the average.
    """

    box: Box
    weight: float
    mirrored: bool = False
    levelled: bool = False

    @property
    def width(self) -> float:
        """In photo pixels."""
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        """In photo pixels."""
        return self.box[3] - self.box[1]


def find_groups(
    confidence: NDArray[np.float32], size: Size, threshold: float = 0.5
) -> list[list[Box]]:
    """People in a confidence map [h, w] of the whole photo, grouped by those close together.

    People and groups are sorted by size, largest first.
    """
    parts = find_components(confidence > threshold)
    wanted = np.maximum(LEAST_AREA, LEAST_PART * parts.areas.max(initial=0))
    order = [k for k in np.argsort(-parts.areas, kind="stable") if parts.areas[k] >= wanted]
    scale = np.tile(np.divide(size, confidence.shape[::-1]), 2)
    groups = [[_as_box(parts.boxes[k] * scale)] for k in order[: 4 * MOST]]
    while (pair := _nearest(groups, size)) is not None:
        first, second = pair
        groups[first] += groups.pop(second)
    return groups[:MOST]


def crops_around(people: list[Box], size: Size) -> list[Crop]:
    """The crops for a group of people. The weights of the first four sum to .8; the whole picture
    has the other .2."""
    around = reduce(_union, people)
    crops = []
    for margin in (0.05, 0.15):
        box = grow(around, size, margin)
        crops += [Crop(box, 0.2), Crop(box, 0.2, mirrored=True, levelled=True)]
    crops += [Crop(half, 0.3) for half in _halves(grow(around, size, 0.05))]
    if len(people) > 1:
        crops += [Crop(grow(person, size, 0.1), 1) for person in people[:MOST]]
    return crops


def grow(box: Box, size: Size, margin: float) -> Box:
    """The box with a margin (a share of its own size) on each side, within the picture.

    The shorter side is then widened to `ASPECT_FLOOR` if the picture has room.
    """
    across, down = margin * (box[2] - box[0]), margin * (box[3] - box[1])
    left, right = max(box[0] - across, 0), min(box[2] + across, size[0])
    top, bottom = max(box[1] - down, 0), min(box[3] + down, size[1])
    left, right = _widen(left, right, ASPECT_FLOOR * (bottom - top), size[0])
    top, bottom = _widen(top, bottom, ASPECT_FLOOR * (right - left), size[1])
    return left, top, right, bottom


def tiles(size: Size) -> list[Box]:
    """Nine boxes of half the photo's size, each overlapping its neighbours by half."""
    across, down = size[0] / 4, size[1] / 4
    return [
        (column * across, row * down, (column + 2) * across, (row + 2) * down)
        for row in range(3)
        for column in range(3)
    ]


def strip(size: Size) -> list[Box]:
    """Boxes of at most 4 : 3 along a wide or tall photo, overlapping by half.

    There are at most twelve, to bound the time per photo: beyond an aspect ratio of 9 they are
    longer than 4 : 3.
    """
    longer, shorter = max(size), min(size)
    count = min(max(2, math.ceil(2 * longer / (shorter * 4 / 3)) - 1), 12)
    step = longer / (count + 1)
    spans = [(index * step, (index + 2) * step) for index in range(count)]
    if size[0] >= size[1]:
        return [(start, 0.0, end, float(shorter)) for start, end in spans]
    return [(0.0, start, float(shorter), end) for start, end in spans]


def _halves(box: Box) -> list[Box]:
    """Both ends of a box along its longer side, each .6 of its length."""
    left, top, right, bottom = box
    across, down = 0.6 * (right - left), 0.6 * (bottom - top)
    if down >= across:
        return [(left, top, right, top + down), (left, bottom - down, right, bottom)]
    return [(left, top, left + across, bottom), (right - across, top, right, bottom)]


def _nearest(groups: list[list[Box]], size: Size) -> tuple[int, int] | None:
    """The two groups whose joint crop wastes the least area, if that is below `MERGE`."""
    boxes = [reduce(_union, group) for group in groups]
    areas = [_area(grow(box, size, 0.05)) for box in boxes]
    best, pair = MERGE, None
    for second in range(len(boxes)):
        for first in range(second):
            joint = _area(grow(_union(boxes[first], boxes[second]), size, 0.05))
            ratio = joint / (areas[first] + areas[second])
            if ratio < best:
                best, pair = ratio, (first, second)
    return pair


def _widen(low: float, high: float, length: float, limit: float) -> tuple[float, float]:
    """A span widened to `length` around its middle, shifted to stay within 0 and `limit`."""
    length = min(max(length, high - low), limit)
    low = min(max((low + high - length) / 2, 0), limit - length)
    return low, low + length


def _as_box(edges: NDArray[np.float64]) -> Box:
    left, top, right, bottom = edges.tolist()
    return left, top, right, bottom


def _union(one: Box, other: Box) -> Box:
    return (
        min(one[0], other[0]),
        min(one[1], other[1]),
        max(one[2], other[2]),
        max(one[3], other[3]),
    )


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
