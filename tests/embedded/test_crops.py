"""Crop geometry: boxes, and which crops of a picture the model gets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from humanbody_cli.embedded.finding.crops import (
    ASPECT_FLOOR,
    Box,
    crops_around,
    grow,
    halves,
    iou,
    overlap,
    pixels,
    strip,
)
from humanbody_cli.embedded.finding.picture import Picture

boxes = st.tuples(
    st.integers(0, 300), st.integers(0, 200), st.integers(1, 300), st.integers(1, 200)
).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


@given(boxes, st.sampled_from([0.0, 0.05, 0.15]))
def test_a_grown_box_covers_its_box_and_stays_inside(
    box: tuple[int, int, int, int], margin: float
) -> None:
    """A crop holds all of its person, stays in the picture, and is as wide as the floor asks."""
    left, top, right, bottom = grow(box, (600, 400), margin)
    assert 0 <= left <= box[0] + 1e-6
    assert box[2] - 1e-6 <= right <= 600 + 1e-6
    assert 0 <= top <= box[1] + 1e-6
    assert box[3] - 1e-6 <= bottom <= 400 + 1e-6
    width, height = right - left, bottom - top
    assert min(width, height) >= min(ASPECT_FLOOR * max(width, height), 400) - 1e-6


@pytest.mark.parametrize("size", [(4000, 500), (500, 4000), (640, 480), (1000, 400)])
def test_strips_cover_the_whole_picture(size: tuple[int, int]) -> None:
    """Strips leave no pixel unseen."""
    seen = np.zeros((size[1] // 10, size[0] // 10), int)
    for left, top, right, bottom in strip(size):
        seen[int(top / 10) : round(bottom / 10), int(left / 10) : round(right / 10)] += 1
    assert seen.all()


def test_the_main_crops_and_the_whole_sum_to_one() -> None:
    """A single person's two crops leave the whole picture its fifth."""
    crops = crops_around([(10, 10, 50, 90)], (100, 100))
    assert sum(crop.weight for crop in crops) == pytest.approx(0.8)
    assert [crop.mirrored for crop in crops] == [False, True]


def test_each_person_of_a_group_gets_a_crop_up_to_six() -> None:
    """A group of eight: two crops of all of them, and six of one person each."""
    people: list[Box] = [(10 * k, 10, 10 * k + 10, 90) for k in range(8)]
    crops = crops_around(people, (100, 100))
    assert [crop.weight for crop in crops] == [0.4, 0.4] + [1.0] * 6


@pytest.mark.parametrize(("person", "axis"), [((0, 0, 50, 100), 1), ((0, 0, 100, 50), 0)])
def test_halves_divide_the_longer_side(person: Box, axis: int) -> None:
    """Both ends of the crop, each .6 of its length, so that they overlap in the middle."""
    first, second = (half.box for half in halves([person], (400, 400)))
    assert first[axis + 2] > second[axis]
    assert first[axis + 2] - first[axis] == pytest.approx(second[axis + 2] - second[axis])
    assert first[axis] < second[axis]


def test_overlaps_are_shares_of_both_or_of_the_smaller() -> None:
    """A quarter inside its whole: a quarter of both together, all of the smaller one."""
    whole, quarter = (0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 5.0, 5.0)
    assert iou(whole, quarter) == pytest.approx(0.25)
    assert overlap(whole, quarter) == pytest.approx(1)
    assert iou(quarter, (5.0, 5.0, 9.0, 9.0)) == 0


@given(boxes)
def test_a_box_has_a_pixel_in_any_map(box: tuple[int, int, int, int]) -> None:
    """However small the map, a box within the picture covers at least one of its pixels."""
    assert np.zeros((5, 7))[pixels(box, (600, 400), (7, 5))].size >= 1


def test_a_cut_is_the_box_at_the_size_asked_for() -> None:
    """Half black, half white: each half is cut out pure, from a small picture and a large one."""
    for side in (60, 3000):
        image = Image.new("RGB", (side, side))
        image.paste((255, 255, 255), (side // 2, 0, side, side))
        picture = Picture(image)
        for left, value in ((0, 0), (side // 2, 255)):
            box = (float(left), 0.0, float(left + side // 2), float(side))
            cut = picture.cut(box, (64, 128))
            assert cut.size == (64, 128)
            inner = cut.crop((2, 2, 62, 126))  # the edge is where black meets white
            assert set(inner.getchannel("R").get_flattened_data()) == {value}
