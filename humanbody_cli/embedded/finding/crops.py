"""Boxes in a picture, and the crops of it that a model gets.

Boxes are (left, top, right, bottom) in picture pixels, right and bottom exclusive; sizes are
(width, height).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

Box = tuple[float, float, float, float]
Size = tuple[int, int]

ASPECT_FLOOR = 0.75
"""The least ratio of a crop's shorter side to its longer: narrower crops distort people too much in
the model's square input (the floor is worth .022 of mean IoU on 97 photographs)."""

WIDE = 2.0
"""Aspect ratio above which people are too small, or too distorted, in one view of the whole."""

MOST_OWN = 6
"""People of a group that get crops of their own; it bounds the time per photo."""


@dataclass(frozen=True)
class Crop:
    """One input of the model: a box of the picture, maybe mirrored and with its levels stretched.

    ``weight`` is that of its confidence in the average.
    """

    box: Box
    weight: float = 1.0
    mirrored: bool = False
    levelled: bool = False


def pair(box: Box, weight: float) -> list[Crop]:
    """A box as it is, and mirrored with its levels stretched; both have this weight."""
    return [Crop(box, weight), Crop(box, weight, mirrored=True, levelled=True)]


def crops_around(people: Sequence[Box], size: Size) -> list[Crop]:
    """The crops for a group of people. The first two, of the whole group, weigh .8 together; the
    whole picture has the other .2."""
    crops = pair(grow(joint(people), size, 0.05), 0.4)
    if len(people) > 1:
        crops += [Crop(grow(person, size, 0.1)) for person in people[:MOST_OWN]]
    return crops


def halves(people: Sequence[Box], size: Size) -> list[Crop]:
    """Both ends of a group's crop along its longer side, each .6 of its length."""
    left, top, right, bottom = grow(joint(people), size, 0.05)
    across, down = 0.6 * (right - left), 0.6 * (bottom - top)
    if down >= across:
        ends = [(left, top, right, top + down), (left, bottom - down, right, bottom)]
    else:
        ends = [(left, top, left + across, bottom), (right - across, top, right, bottom)]
    return [Crop(end, 0.3) for end in ends]


def grow(box: Box, size: Size, margin: float) -> Box:
    """The box with a margin (a share of its own size) on each side, within the picture.

    The shorter side is then widened to `ASPECT_FLOOR` if the picture has room.
    """
    left, top, right, bottom = pad(box, size, margin)
    left, right = _widen(left, right, ASPECT_FLOOR * (bottom - top), size[0])
    top, bottom = _widen(top, bottom, ASPECT_FLOOR * (right - left), size[1])
    return left, top, right, bottom


def pad(box: Box, size: Size, margin: float) -> Box:
    """The box with a margin (a share of its own size) on each side, within the picture."""
    across, down = margin * (box[2] - box[0]), margin * (box[3] - box[1])
    left, right = max(box[0] - across, 0), min(box[2] + across, size[0])
    top, bottom = max(box[1] - down, 0), min(box[3] + down, size[1])
    return left, top, right, bottom


def _widen(low: float, high: float, length: float, limit: float) -> tuple[float, float]:
    """A span widened to `length` around its middle, shifted to stay within 0 and `limit`."""
    length = min(max(length, high - low), limit)
    low = min(max((low + high - length) / 2, 0), limit - length)
    return low, low + length


def whole(size: Size) -> Box:
    """The box of a whole picture."""
    return 0.0, 0.0, float(size[0]), float(size[1])


def is_wide(size: Size) -> bool:
    """Whether a picture is so wide, or so tall, that it is looked at in strips."""
    return max(size) > WIDE * min(size)


def strip(size: Size) -> list[Box]:
    """Boxes of at most 4 : 3 along a wide or tall picture, overlapping by half.

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


def joint(boxes: Sequence[Box]) -> Box:
    """The box around boxes."""
    return reduce(union, boxes)


def union(one: Box, other: Box) -> Box:
    """The box around two boxes."""
    return (
        min(one[0], other[0]),
        min(one[1], other[1]),
        max(one[2], other[2]),
        max(one[3], other[3]),
    )


def area(box: Box) -> float:
    """In square pixels."""
    return (box[2] - box[0]) * (box[3] - box[1])


def common(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0.0) * max(down, 0.0)


def iou(one: Box, other: Box) -> float:
    """The area that two boxes share, of the area that they cover."""
    shared = common(one, other)
    return shared / max(area(one) + area(other) - shared, 1e-9)


def overlap(one: Box, other: Box) -> float:
    """The area that two boxes share, of the smaller one's."""
    return common(one, other) / max(min(area(one), area(other)), 1e-9)


def scaled(box: Box, across: float, down: float) -> Box:
    """The box in a picture that was resized by these factors."""
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def pixels(box: Box, picture: Size, size: Size) -> tuple[slice, slice]:
    """The rows and columns of a box of the picture in a map of this size; at least one of each."""
    edges = scaled(box, size[0] / picture[0], size[1] / picture[1])
    left, top = min(round(edges[0]), size[0] - 1), min(round(edges[1]), size[1] - 1)
    right, bottom = max(round(edges[2]), left + 1), max(round(edges[3]), top + 1)
    return slice(top, bottom), slice(left, right)
