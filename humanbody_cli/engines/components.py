"""Connected components of a small mask, and the crops around them, in numpy alone.

A row of a mask is a handful of runs of set pixels, so the work is done on runs, not pixels: runs
that touch in neighbouring rows are linked, and the links are merged by pointer jumping. A mask of
256 x 256 takes about a millisecond.

Boxes are (left, top, right, bottom) in photo pixels, right and bottom exclusive; sizes are (width,
height).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

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
class Components:
    """The connected parts of a mask, numbered from 1 in reading order of their first pixel.

    `labels` is int32 [h, w], 0 where the mask is empty. `areas` (pixels) and `boxes` (left, top,
    right, bottom; right and bottom exclusive) have one row a component: component k's is k - 1.
    """

    labels: NDArray[np.int32]
    areas: NDArray[np.int64]
    boxes: NDArray[np.int64]

    def mask_of(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The mask [h, w] of the chosen components (one boolean a component)."""
        return np.concatenate(([False], chosen))[self.labels]


def find_components(mask: NDArray[np.bool_], *, diagonal: bool = True) -> Components:
    """Number the components of a boolean mask [h, w].

    With `diagonal`, pixels that share a corner touch (8 neighbours), without it only those that
    share an edge (4 neighbours).
    """
    width = mask.shape[1]
    # One empty column more keeps a row's last run from flowing into the next row's first.
    pitch = width + 1
    starts, ends = _runs(mask, pitch)
    of_run = _merge(len(starts), *_links(starts, ends, pitch, reach=0 if diagonal else 1))
    lengths = ends - starts
    count = int(of_run.max(initial=0))
    areas = np.zeros(count, np.int64)
    np.add.at(areas, of_run - 1, lengths)
    boxes = _boxes(starts, ends, of_run - 1, count, pitch)
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = np.repeat(of_run, lengths)
    return Components(labels, areas, boxes)


def _runs(mask: NDArray[np.bool_], pitch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each run of set pixels starts and ends (exclusive), as row * pitch + column."""
    height, width = mask.shape
    flat = np.zeros(height * pitch + 1, np.int8)
    flat[1:].reshape(height, pitch)[:, :width] = mask
    steps = np.diff(flat)
    # The last row ends in an empty column, so every start has its end inside the array.
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)


def _links(
    starts: NDArray[np.int64], ends: NDArray[np.int64], pitch: int, reach: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (upper run, lower run) that touch, where they overlap by at least `reach` pixels."""
    first = np.searchsorted(ends, starts + pitch + reach, "left")
    last = np.searchsorted(starts, ends + pitch - reach, "right")
    counts = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(starts)), counts)
    offset = np.arange(len(upper)) - np.repeat(np.cumsum(counts) - counts, counts)
    return upper, np.repeat(first, counts) + offset


def _merge(count: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Component numbers (from 1) of `count` runs that the given pairs tie together."""
    root = np.arange(count)
    while True:
        low = np.minimum(root[one], root[other])
        before = root.copy()
        # Each pair's roots both hang below the lower one; then every run jumps to its root.
        np.minimum.at(root, before[one], low)
        np.minimum.at(root, before[other], low)
        while not np.array_equal(root, root[root]):
            root = root[root]
        if np.array_equal(root, before):
            break
    return np.asarray(np.unique(root, return_inverse=True)[1].reshape(-1) + 1, np.int64)


def _boxes(
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    index: NDArray[np.int64],
    count: int,
    pitch: int,
) -> NDArray[np.int64]:
    """Bounding boxes [count, 4] of components, from their runs' ends."""
    rows, lefts = np.divmod(starts, pitch)
    far = np.iinfo(np.int64).max
    boxes = np.tile(np.array([far, far, 0, 0], np.int64), (count, 1))
    np.minimum.at(boxes[:, 0], index, lefts)
    np.minimum.at(boxes[:, 1], index, rows)
    np.maximum.at(boxes[:, 2], index, ends - rows * pitch)
    np.maximum.at(boxes[:, 3], index, rows + 1)
    return boxes


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
