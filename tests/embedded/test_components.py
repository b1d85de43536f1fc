"""Connected components."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from humanbody_cli.embedded.finding.components import find_components

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
