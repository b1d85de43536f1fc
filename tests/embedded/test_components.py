"""Connected components and crop geometry."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from humanbody_cli.embedded.components import find_components
from humanbody_cli.embedded.crops import (
    ASPECT_FLOOR,
    Box,
    Size,
    crops_around,
    find_groups,
    grow,
    strip,
    tiles,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=14))


def flooded(mask: NDArray[np.bool_], diagonal: bool) -> NDArray[np.int_]:
    """Labels by plain flood fill in reading order: the definition itself."""
    labels = np.zeros(mask.shape, int)
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if diagonal or 0 in (y, x)]
    count = 0
    for start in zip(*np.nonzero(mask), strict=True):
        if labels[start]:
            continue
        count += 1
        labels[start], queue = count, [start]
        while queue:
            y, x = queue.pop()
            for down, across in steps:
                near = y + down, x + across
                inside = 0 <= near[0] < mask.shape[0] and 0 <= near[1] < mask.shape[1]
                if inside and mask[near] and not labels[near]:
                    labels[near] = count
                    queue.append(near)
    return labels


@given(masks, st.booleans())
def test_labels_are_those_of_a_flood_fill(mask: NDArray[np.bool_], diagonal: bool) -> None:
    """Components carry the numbers that a flood fill in reading order gives them."""
    found = find_components(mask, diagonal=diagonal)
    np.testing.assert_array_equal(found.labels, flooded(mask, diagonal))


@given(masks)
def test_areas_and_boxes_are_those_of_the_labels(mask: NDArray[np.bool_]) -> None:
    """Each component's area and box are what its labelled pixels say."""
    found = find_components(mask)
    for number, (area, box) in enumerate(zip(found.areas, found.boxes, strict=True), 1):
        rows, columns = np.nonzero(found.labels == number)
        assert area == len(rows)
        expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box.tolist() == expected
    assert found.areas.sum() == mask.sum()


@given(masks)
def test_chosen_components_make_up_their_mask(mask: NDArray[np.bool_]) -> None:
    """The mask of all components is the mask; of none, empty."""
    found = find_components(mask)
    everyone = np.ones(len(found.areas), bool)
    np.testing.assert_array_equal(found.mask_of(everyone), mask)
    assert not found.mask_of(~everyone).any()


def test_a_spiral_is_one_component() -> None:
    """A long winding path, the worst case for label propagation, is one component."""
    mask = np.zeros((65, 65), bool)
    y, x, down, across = 0, 0, 0, 1
    mask[0, 0] = True
    for length in [64, *(n for n in range(64, 0, -2) for _ in (0, 1))]:
        for _ in range(length):
            y, x = y + down, x + across
            mask[y, x] = True
        down, across = across, -down
    found = find_components(mask, diagonal=False)
    assert len(found.areas) == 1


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
@pytest.mark.parametrize("cover", [tiles, strip])
def test_boxes_cover_the_whole_picture(
    cover: Callable[[Size], list[Box]], size: tuple[int, int]
) -> None:
    """Tiles and strips leave no pixel unseen."""
    seen = np.zeros((size[1] // 10, size[0] // 10), bool)
    for left, top, right, bottom in cover(size):
        seen[int(top / 10) : round(bottom / 10), int(left / 10) : round(right / 10)] = True
    assert seen.all()


def test_people_far_apart_get_crops_of_their_own() -> None:
    """Two people at both ends of a panorama get a crop each; two side by side share one."""
    confidence = np.zeros((256, 256), np.float32)
    confidence[100:250, 5:25] = confidence[100:250, 230:250] = 1
    assert len(find_groups(confidence, (2560, 640))) == 2
    beside = np.zeros((256, 256), np.float32)
    beside[50:250, 80:120] = beside[50:250, 130:170] = 1
    (group,) = find_groups(beside, (640, 640))
    assert len(group) == 2


def test_specks_are_no_people() -> None:
    """Parts under a fifth of the largest, or under 49 pixels of 256 x 256, are left out."""
    confidence = np.zeros((256, 256), np.float32)
    confidence[10:16, 10:16] = 1
    assert find_groups(confidence, (256, 256)) == []
    confidence[100:200, 100:200] = 1
    assert [len(group) for group in find_groups(confidence, (256, 256))] == [1]


def test_the_main_crops_and_the_whole_sum_to_one() -> None:
    """A single person's four main crops leave the whole picture its fifth."""
    crops = crops_around([(10, 10, 50, 90)], (100, 100))
    assert sum(crop.weight for crop in crops[:4]) == pytest.approx(0.8)
    assert len(crops) == 6
