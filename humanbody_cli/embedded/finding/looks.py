"""Looks: the bundled model's confidence for crops of a picture, and their weighted mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling, Transpose

from humanbody_cli.embedded.finding.crops import Box, Crop, Size, pixels, whole
from humanbody_cli.embedded.finding.picture import Picture, stretch_levels

Map = NDArray[np.float32]
Run = Callable[[Map], Map]
"""The model: RGB 0..1 [n, 256, 256, 3] -> confidence 0..1 [n, 256, 256]."""

SIDE = 256
"""Pixels per side of the bundled model's input."""


class Looks:
    """Runs the model on crops of one picture."""

    def __init__(self, run: Run, picture: Picture) -> None:
        self._run = run
        self._picture = picture
        # Most boxes are used twice in a row, plain and mirrored.
        self._last: tuple[Box, Image.Image] | None = None

    @property
    def size(self) -> Size:
        """Width and height of the picture."""
        return self._picture.size

    def whole(self) -> Map:
        """The first look: the confidence [256, 256] for the whole picture, plain and mirrored.

        The mirrored half is worth .002 of mean IoU on 97 photographs: .003 on one half of them, and
        nothing on the other.
        """
        mirrored = self.look(Crop(whole(self.size), mirrored=True))
        return np.asarray((self.glance() + mirrored) / 2, np.float32)

    def glance(self) -> Map:
        """The confidence [256, 256] for the whole picture in a single look."""
        return self.look(Crop(whole(self.size)))

    def look(self, crop: Crop) -> Map:
        """The model's confidence [256, 256] for a crop, upright and unmirrored."""
        if self._last is None or self._last[0] != crop.box:
            self._last = crop.box, self._picture.cut(crop.box, (SIDE, SIDE))
        image = self._last[1]
        if crop.levelled:
            image = stretch_levels(image)
        if crop.mirrored:
            image = image.transpose(Transpose.FLIP_LEFT_RIGHT)
        values = np.asarray(image, np.float32)[np.newaxis] / np.float32(255)
        confidence = self._run(values)[0]
        return np.asarray(confidence[:, ::-1] if crop.mirrored else confidence)


class Mix:
    """The weighted mean of a first map of the whole picture and of looks at crops of it.

    Where the weights sum to less than 1 the rest counts as confidence 0: what is outside the crops
    is not the person they were made for.
    """

    def __init__(self, first: Map, weight: float) -> None:
        self._total = np.float32(weight) * first
        self._weights = np.full_like(first, weight)

    def add(self, looks: Looks, crops: Sequence[Crop]) -> None:
        """Add looks at crops, each in its box."""
        height, width = self._total.shape
        for crop in crops:
            rows, columns = pixels(crop.box, looks.size, (width, height))
            shape = columns.stop - columns.start, rows.stop - rows.start
            seen = resize(looks.look(crop), shape)[: height - rows.start, : width - columns.start]
            self._total[rows, columns] += np.float32(crop.weight) * seen
            self._weights[rows, columns] += np.float32(crop.weight)

    def mean(self) -> Map:
        """The mean so far, float32 [h, w], 0 to 1."""
        return np.asarray(self._total / np.maximum(self._weights, 1), np.float32)


def resize(confidence: Map, size: Size) -> Map:
    """A confidence map at another size (width, height), by cubic interpolation."""
    resized = Image.fromarray(np.ascontiguousarray(confidence)).resize(size, Resampling.BICUBIC)
    return np.asarray(resized)
