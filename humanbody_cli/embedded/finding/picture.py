"""A picture that crops are cut from, each resized to a model's input."""

from __future__ import annotations

import numpy as np
from PIL import Image
from PIL.Image import Resampling, Transpose

from humanbody_cli.embedded.finding.crops import Box, Size, scaled

PREVIEW = 1024
"""Pixels of the longer side of the copy that large crops are cut from: it avoids shrinking 24
megapixels for every crop."""


class Picture:
    """An upright RGB picture, with a small copy of itself."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image
        # reduce() averages blocks, which is what shrinking by area means.
        factor = max(image.size) // PREVIEW
        self._small = image.reduce(factor) if factor > 1 else image

    @property
    def size(self) -> Size:
        """Width and height."""
        return self._image.size

    def turned(self, turn: Transpose) -> Picture:
        """The picture turned."""
        return Picture(self._image.transpose(turn))

    def turned_preview(self, turn: Transpose) -> Picture:
        """The small copy turned."""
        return Picture(self._small.transpose(turn))

    def cut(self, box: Box, size: Size) -> Image.Image:
        """A box of the picture, resized to `size` (width, height)."""
        shrunk = self._small.width / self._image.width, self._small.height / self._image.height
        source, area = self._small, scaled(box, *shrunk)
        if _enlarges(area, size):
            source, area = self._image, box
        right, bottom = min(area[2], source.width), min(area[3], source.height)
        area = max(area[0], 0), max(area[1], 0), right, bottom
        # Shrink by area, enlarge by cubic interpolation.
        filtering = Resampling.BICUBIC if _enlarges(area, size) else Resampling.BOX
        return source.resize(size, filtering, box=area)


def _enlarges(box: Box, size: Size) -> bool:
    return box[2] - box[0] < size[0] or box[3] - box[1] < size[1]


def stretch_levels(image: Image.Image) -> Image.Image:
    """The image with each channel's 1st to 99th percentile stretched over the whole range."""
    counts = np.array(image.histogram()).reshape(3, 256).cumsum(axis=1)
    table: list[int] = []
    for channel in counts:
        low, high = np.searchsorted(channel, (0.01 * channel[-1], 0.99 * channel[-1]))
        stretched = (np.arange(256) - low) * 255.0 / max(high - low, 1)
        table += np.rint(np.clip(stretched, 0, 255)).astype(int).tolist()
    return image.point(table)
