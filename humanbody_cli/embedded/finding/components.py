"""Connected components of a small mask, in numpy alone.

A row of a mask consists of a few runs of set pixels, so the algorithm works on runs rather than
pixels: runs that touch in neighbouring rows are linked, and links are merged by pointer jumping. A
mask of 256 x 256 takes about a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Components:
    """The connected parts of a mask, numbered from 1 in reading order of their first pixel.

    `labels` is int32 [h, w], 0 where the mask is empty. `areas` (pixels) and `boxes` (left, top,
    right, bottom; right and bottom exclusive) have one row per component, k - 1 for component k.
    """

    labels: NDArray[np.int32]
    areas: NDArray[np.int64]
    boxes: NDArray[np.int64]

    def mask_of(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The mask [h, w] of the chosen components (one boolean per component)."""
        return np.concatenate(([False], chosen))[self.labels]


def find_components(mask: NDArray[np.bool_], *, diagonal: bool = True) -> Components:
    """Number the components of a boolean mask [h, w].

    With `diagonal`, pixels that share a corner touch (8 neighbours), without it only those that
    share an edge (4 neighbours).
    """
    width = mask.shape[1]
    # One more, empty, column keeps a row's last run apart from the next row's first.
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
    """Component numbers (from 1) of `count` runs connected by the given pairs."""
    root = np.arange(count)
    while True:
        low = np.minimum(root[one], root[other])
        before = root.copy()
        # Attach both roots of each pair to the lower one; then every run jumps to its root.
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
    """Bounding boxes [count, 4] of components, from the ends of their runs."""
    rows, lefts = np.divmod(starts, pitch)
    far = np.iinfo(np.int64).max
    boxes = np.tile(np.array([far, far, 0, 0], np.int64), (count, 1))
    np.minimum.at(boxes[:, 0], index, lefts)
    np.minimum.at(boxes[:, 1], index, rows)
    np.maximum.at(boxes[:, 2], index, ends - rows * pitch)
    np.maximum.at(boxes[:, 3], index, rows + 1)
    return boxes
