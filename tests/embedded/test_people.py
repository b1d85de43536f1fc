"""Who is in a picture: boxes are accepted, dropped and grouped by the detector and a first look."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from humanbody_cli.core.settings import People
from humanbody_cli.embedded.finding.crops import Box
from humanbody_cli.embedded.finding.detector import Detection
from humanbody_cli.embedded.finding.people import MOST_PEOPLE, choose, group, quality

SIZE = (256, 256)
NOTHING = np.zeros((256, 256), np.float32)
PERSON: Box = (100.0, 50.0, 160.0, 250.0)


def seen_at(*boxes: Box) -> NDArray[np.float32]:
    """A first look that shows people in these boxes."""
    first = NOTHING.copy()
    for left, top, right, bottom in boxes:
        first[int(top) : int(bottom), int(left) : int(right)] = 1
    return first


def people(
    *detections: tuple[Box, float],
    first: NDArray[np.float32] = NOTHING,
    who: People = People.ALL,
) -> list[Box]:
    """The people chosen among boxes with scores, the largest first."""
    return choose([Detection(box, score) for box, score in detections], first, SIZE, who).people


@pytest.mark.parametrize(
    ("score", "shown", "accepted"),
    [(0.4, False, True), (0.24, False, False), (0.24, True, True), (0.1, True, False)],
)
def test_a_weak_box_needs_the_first_look(score: float, shown: bool, accepted: bool) -> None:
    """From .4 a score suffices, from .2 the first look has to show somebody there."""
    first = seen_at((110, 60, 150, 150)) if shown else NOTHING
    assert bool(people((PERSON, score), first=first)) is accepted


def test_a_part_takes_the_box_that_fits_it() -> None:
    """What the first look shows takes a box of a low score, if it fits and no other is there."""
    assert people((PERSON, 0.13), first=seen_at(PERSON)) == [PERSON]
    assert people((PERSON, 0.11), first=seen_at(PERSON)) == []
    other: Box = (0.0, 0.0, 60.0, 60.0)
    assert people((other, 0.16), first=seen_at(PERSON)) == []


def test_where_nobody_is_accepted_the_two_best_are() -> None:
    """Better two doubtful people than nobody; under .25 it is nobody."""
    boxes: list[Box] = [(0, 0, 60, 100), (80, 0, 140, 100), (160, 0, 220, 100)]
    assert len(people(*((box, 0.3) for box in boxes))) == 2
    assert people(*((box, 0.24) for box in boxes)) == []


def test_a_face_is_no_person_of_its_own() -> None:
    """A box inside another, much larger one is part of that person."""
    assert people((PERSON, 0.8), ((110.0, 55.0, 140.0, 90.0), 0.7)) == [PERSON]


@pytest.mark.parametrize(
    ("height", "score", "who", "kept"),
    [
        (100, 0.5, People.ALL, True),
        (30, 0.7, People.ALL, True),
        (30, 0.5, People.ALL, False),
        (10, 0.9, People.ALL, False),
        (30, 0.9, People.MAIN, False),
    ],
    ids=["large", "sure bystander", "unsure bystander", "speck", "bystander, main"],
)
def test_how_small_a_person_counts(height: int, score: float, who: People, kept: bool) -> None:
    """``all`` goes down to 2 % of the largest, if sure; ``main`` to 12 %."""
    small: Box = (170.0, 100.0, 190.0, 100.0 + height)
    assert (small in people((PERSON, 0.9), (small, score), who=who)) is kept


def test_a_box_is_grown_to_the_part_that_belongs_to_it() -> None:
    """The first look shows a hat above the box: the person's box includes it."""
    shown: Box = (100.0, 30.0, 160.0, 250.0)
    assert people((PERSON, 0.9), first=seen_at(shown)) == [shown]


def test_main_is_the_largest_person_or_group() -> None:
    """Two who stand together outweigh one apart, whose box is then no evidence for the mask."""
    left, right = (0.0, 100.0, 40.0, 250.0), (42.0, 100.0, 82.0, 250.0)
    apart, size = (900.0, 80.0, 945.0, 250.0), (1024, 256)
    boxes = [Detection(box, 0.9) for box in (left, right, apart)]
    chosen = choose(boxes, NOTHING, size, People.MAIN)
    assert sorted(chosen.people) == [left, right]
    assert apart not in chosen.evidence
    assert len(choose(boxes, NOTHING, size, People.ALL).people) == 3


def test_a_crowd_is_bounded() -> None:
    """The largest dozen of a crowd get looks of their own."""
    crowd = [((10.0 * k, 100.0, 10.0 * k + 9, 150.0 + k), 0.9) for k in range(20)]
    assert len(people(*crowd)) == MOST_PEOPLE


def test_people_far_apart_get_crops_of_their_own() -> None:
    """Two people at both ends of a panorama are two groups; two side by side are one."""
    size = (2560, 640)
    assert len(group([(50, 250, 250, 600), (2300, 250, 2500, 600)], size)) == 2
    assert len(group([(50, 250, 250, 600), (300, 250, 500, 600)], size)) == 1


def test_quality_is_the_score_that_the_first_look_agrees_to() -> None:
    """A box that the first look shows counts in full, one that it does not counts half."""
    boxes = [Detection(PERSON, 0.8)]
    assert quality(boxes, seen_at(PERSON), SIZE) == pytest.approx(0.8)
    assert quality(boxes, NOTHING, SIZE) == pytest.approx(0.4)
    assert quality([], NOTHING, SIZE) == 0
