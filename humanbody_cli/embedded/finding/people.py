"""Who is in a picture: which of the detector's boxes are people, and who stands together.

The detector knows what a person is, but misses some and doubts others; the first look, the bundled
model's confidence for the whole picture, shows where one may be. Neither is believed alone.

Figures without another source were measured on 97 photographs with known masks, on 100 everyday
ones (49 of them without people), and on sets made from these: small people, several photos in one,
turned, with bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from humanbody_cli.core.settings import People
from humanbody_cli.embedded.finding import crops
from humanbody_cli.embedded.finding.components import find_components
from humanbody_cli.embedded.finding.crops import Box, Size, area, grow, iou, joint, overlap
from humanbody_cli.embedded.finding.detector import Detection

ACCEPTED = 0.4
"""Score from which a box is a person, whatever the first look shows (.3 to .35 cost .003 of mean
IoU; with .45 people in groups are lost, .007 of mean IoU on several photos in one)."""

WEAK, SEEN = 0.2, 0.25
"""Score from which a box is a person if the first look fills more than this share of it."""

OF_PART, FITS = 0.12, 0.5
"""Least score and IoU of the box that stands for a part of the first look without another (with a
score of .15, mean IoU is .019 and .018 lower on both halves of 97 small people on everyday
pictures; nothing changes on the photographs themselves)."""

LAST_RESORT, MOST_LAST = 0.25, 2
"""Score of the boxes, and their number, that are taken where nobody was accepted (with .3, two more
of 51 everyday photographs with people come out empty, and as many of 49 without get a mask)."""

INSIDE, SMALL = 0.8, 0.35
"""A box that lies to this share inside another, and has less than this share of its area, is part
of that person: a face, or a leg."""

LEAST_SHARE = {People.ALL: 0.02, People.MAIN: 0.12}
"""Boxes count as people from this share of the largest box's area."""

BYSTANDER, SURE = 0.12, 0.6
"""Boxes below this share of the largest box's area count from this score only: beside a large
person, a small box of a lower score is more often a thing than a bystander (worth .002 of mean IoU
on the 97, .005 and -.001 on their halves, and nothing either way on the everyday ones)."""

MOST_PEOPLE, MOST_GROUPS = 12, 4
"""They bound the time per photo."""

MERGE = 1.6
"""Two groups share their crops if the joint crop has less than this times the area of both."""

LEAST_PART = 0.2
"""Components of the first look count from this share of the largest component's area."""

LEAST_AREA = 49
"""And from this many pixels of its 256 x 256: 7 x 7 is what the model can resolve."""


@dataclass(frozen=True)
class Chosen:
    """Who is meant: people by groups, the largest first, and where else a mask may be.

    ``evidence`` are all boxes that may hold one of them: what the mask has outside of these is no
    person. ``score`` is the detector's best for one of them, 0 for nobody.
    """

    groups: tuple[tuple[Box, ...], ...]
    evidence: tuple[Box, ...]
    score: float

    @property
    def people(self) -> list[Box]:
        """All of them, the largest first."""
        return sorted((box for group in self.groups for box in group), key=lambda box: -area(box))


def choose(
    detections: Sequence[Detection], first: NDArray[np.float32], size: Size, who: People
) -> Chosen:
    """The people meant among the detections, given the first look (confidence [h, w])."""
    parts = _parts(first, size)
    accepted = _without_parts_of_others(_accepted(detections, first, size, parts))
    counted = _of_some_size(accepted, who)
    people = [detection.box for detection in counted]
    people = [_with_its_part(person, parts) for person in people]
    groups = group(sorted(people, key=lambda box: -area(box))[:MOST_PEOPLE], size)
    meant = groups[: 1 if who is People.MAIN else MOST_GROUPS]
    others = {box for group in groups[len(meant) :] for box in group}
    evidence = [detection.box for detection in detections if detection.score >= WEAK]
    evidence += [detection.box for detection in accepted]
    if who is People.MAIN:
        evidence = [box for box in evidence if not _is_of(box, others)]
    boxes = tuple(box for group in meant for box in group)
    score = max((detection.score for detection in counted), default=0.0)
    return Chosen(tuple(map(tuple, meant)), (*boxes, *evidence), score)


def seen(box: Box, first: NDArray[np.float32], size: Size) -> float:
    """The share of a box's pixels that the first look shows as a person."""
    inside = first[crops.pixels(box, size, (first.shape[1], first.shape[0]))]
    return float(np.count_nonzero(inside > 0.5)) / inside.size


def quality(detections: Sequence[Detection], first: NDArray[np.float32], size: Size) -> float:
    """How surely somebody is there, 0 to 1: the best score of a box that the first look agrees to.

    A box of which the first look shows nothing counts half; .3 of its area is what a person fills.
    """
    return max(
        (
            detection.score * (0.5 + 0.5 * min(1.0, seen(detection.box, first, size) / 0.3))
            for detection in detections
        ),
        default=0.0,
    )


def group(people: Sequence[Box], size: Size) -> list[list[Box]]:
    """People by those close together. People and groups are sorted by size, largest first."""
    groups = [[person] for person in people]
    while (pair := _nearest(groups, size)) is not None:
        first, second = pair
        groups[first] += groups.pop(second)
    return sorted(groups, key=lambda group: -sum(map(area, group)))


def _nearest(groups: list[list[Box]], size: Size) -> tuple[int, int] | None:
    """The two groups whose joint crop wastes the least area, if that is below `MERGE`."""
    boxes = [joint(group) for group in groups]
    areas = [area(grow(box, size, 0.05)) for box in boxes]
    best, pair = MERGE, None
    for second in range(len(boxes)):
        for first in range(second):
            both = area(grow(joint((boxes[first], boxes[second])), size, 0.05))
            ratio = both / (areas[first] + areas[second])
            if ratio < best:
                best, pair = ratio, (first, second)
    return pair


def _parts(first: NDArray[np.float32], size: Size) -> list[Box]:
    """Boxes of the components of the first look that may be people, largest first."""
    found = find_components(first > 0.5)
    wanted = np.maximum(LEAST_AREA, LEAST_PART * found.areas.max(initial=0))
    scale = np.tile(np.divide(size, first.shape[::-1]), 2)
    order = [k for k in np.argsort(-found.areas, kind="stable") if found.areas[k] >= wanted]
    boxes = (found.boxes[order] * scale).tolist()
    return [(left, top, right, bottom) for left, top, right, bottom in boxes]


def _accepted(
    detections: Sequence[Detection], first: NDArray[np.float32], size: Size, parts: list[Box]
) -> list[Detection]:
    """The detections that are people, by their scores and by the first look."""
    accepted = [
        detection
        for detection in detections
        if detection.score >= ACCEPTED
        or (detection.score >= WEAK and seen(detection.box, first, size) > SEEN)
    ]
    for part in parts:
        if not any(_is_of(part, (detection.box,)) for detection in accepted):
            fitting = [
                detection
                for detection in detections
                if detection.score >= OF_PART and iou(detection.box, part) >= FITS
            ]
            accepted += fitting[:1]
    last = [detection for detection in detections if detection.score >= LAST_RESORT]
    return accepted or last[:MOST_LAST]


def _without_parts_of_others(people: list[Detection]) -> list[Detection]:
    """The people without boxes that are part of another person."""

    def is_part(box: Box, other: Box) -> bool:
        inside = crops.common(box, other) >= INSIDE * area(box)
        return inside and area(box) < SMALL * area(other)

    return [
        person for person in people if not any(is_part(person.box, other.box) for other in people)
    ]


def _of_some_size(people: list[Detection], who: People) -> list[Detection]:
    """Those large enough beside the largest; a bystander among them must be surer."""
    largest = max((area(person.box) for person in people), default=0.0)
    return [
        person
        for person in people
        if area(person.box) >= LEAST_SHARE[who] * largest
        and (area(person.box) >= BYSTANDER * largest or person.score >= SURE)
    ]


def _with_its_part(person: Box, parts: list[Box]) -> Box:
    """The person's box together with the one part of the first look that belongs to it.

    A box may cut off a hand or a hat that the first look shows.
    """
    own = [part for part in parts if _is_of(part, (person,))]
    if len(own) != 1:
        return person
    both = crops.union(person, own[0])
    return both if area(both) < 2 * area(person) else person


def _is_of(part: Box, people: Sequence[Box] | set[Box]) -> bool:
    """Whether the part lies in one of these people's boxes, or the box in the part."""
    return any(overlap(part, person) > 0.5 for person in people)
