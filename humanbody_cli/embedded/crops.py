"""Where to look closely: the crops around people in a first map.

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
"""The least ratio of a crop's shorter side to its longer: slimmer ones distort people too much in
the model's square (the floor is worth .008 of mean IoU)."""

MERGE = 1.6
"""Groups are looked at together while the joint crop has less than this times their own area."""

MOST = 3
"""Groups, and people within a group, that get looks of their own: it bounds a photo's time."""

LEAST_PART = 0.2
"""People are parts of at least this share of the largest part's area."""

LEAST_AREA = 49
"""And of at least so many pixels of a 256 x 256 map: 7 x 7 is what the model can resolve."""


@dataclass(frozen=True)
class Look:
    """One look at a box of the photo, and what it counts; levels stretched or mirrored."""

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
    """People in a confidence map [h, w] of the whole photo, by groups that stand together.

    People and groups come largest first.
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


def close_looks(people: list[Box], size: Size) -> list[Look]:
    """The looks a group of people deserves; with the whole picture's .2 the main ones sum to 1."""
    around = reduce(_union, people)
    looks = []
    for margin in (0.05, 0.15):
        box = grow(around, size, margin)
        looks += [Look(box, 0.2), Look(box, 0.2, mirrored=True, levelled=True)]
    looks += [Look(half, 0.3) for half in _halves(grow(around, size, 0.05))]
    if len(people) > 1:
        looks += [Look(grow(person, size, 0.1), 1) for person in people[:MOST]]
    return looks


def grow(box: Box, size: Size, margin: float) -> Box:
    """The box with a margin (a share of its own size) on each side, inside the picture.

    The shorter side is then widened to the aspect floor, where the picture has room.
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

    At most twelve, longer ones beyond an aspect of 9: they bound the time of the thinnest photo.
    """
    longer, shorter = max(size), min(size)
    count = min(max(2, math.ceil(2 * longer / (shorter * 4 / 3)) - 1), 12)
    step = longer / (count + 1)
    spans = [(index * step, (index + 2) * step) for index in range(count)]
    if size[0] >= size[1]:
        return [(start, 0.0, end, float(shorter)) for start, end in spans]
    return [(0.0, start, float(shorter), end) for start, end in spans]


def _halves(box: Box) -> list[Box]:
    """Both ends of a box along its longer side, each of .6 of its length."""
    left, top, right, bottom = box
    across, down = 0.6 * (right - left), 0.6 * (bottom - top)
    if down >= across:
        return [(left, top, right, top + down), (left, bottom - down, right, bottom)]
    return [(left, top, left + across, bottom), (right - across, top, right, bottom)]


def _nearest(groups: list[list[Box]], size: Size) -> tuple[int, int] | None:
    """The two groups that lose least by being looked at together, if that is little enough."""
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
