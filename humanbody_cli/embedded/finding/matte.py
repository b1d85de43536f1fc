"""From a mean confidence to the matte: contrast, specks, pinholes, and what is no person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from humanbody_cli.embedded.finding.components import Components, find_components
from humanbody_cli.embedded.finding.crops import Box, Size, pad, pixels
from humanbody_cli.embedded.finding.looks import Map
from humanbody_cli.imaging import masks

MIDPOINT = 0.41
"""The averaged confidence that becomes .5. It is lower because some crops cut people off, which
lowers the average (from .39 to .43 mean IoU differs by .001)."""

CONTRAST = 2.0
"""How much the averaged confidence is stretched around `MIDPOINT`."""

EVIDENCE, MARGIN = 0.3, 0.1
"""A component is a person if this share of it lies in boxes that may hold one, each with this
margin around it. Do not raise it together with the score of these boxes: with .5 of the component
in boxes from .25, the mean IoU of 97 photographs falls by .004."""

SPECK, PINHOLE = 0.1, 0.003
"""Components below this share of the largest, and gaps below this share of the area."""

OUTSIDE, WITHIN = 0.2, 0.8
"""The most that a dismissed component keeps, and the least that a filled gap gets."""


@dataclass(frozen=True)
class Matte:
    """The result: a confidence map and its doubt.

    `confidence` is float32 [h, w], 0 to 1, at a working size with the picture's proportions; it is
    0 everywhere if nobody was found. `doubt` is how unsure the result is, 0 to 1.
    """

    confidence: Map
    doubt: float


def to_mask(matte: Matte, size: Size) -> Image.Image:
    """The matte as a mask of mode L at `size` (width, height): V = round(confidence * 255)."""
    values = np.rint(np.clip(matte.confidence, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(values).resize(size, Resampling.BICUBIC)


def doubt_of(mean: Map) -> float:
    """The doubt of a mean confidence; 1 if nothing in it might be a person."""
    sure = int(np.count_nonzero(mean > masks.SURE))
    possible = int(np.count_nonzero(mean > masks.POSSIBLE))
    return masks.doubt_of(sure, possible, of_nobody=1.0)


def sharpened(mean: Map) -> Map:
    """The mean confidence with its contrast stretched around `MIDPOINT`, clipped to 0 and 1."""
    return np.asarray(np.clip(0.5 + CONTRAST * (mean - MIDPOINT), 0, 1), np.float32)


def cleaned(confidence: Map) -> Map:
    """Without specks and pinholes."""
    parts = find_components(confidence > 0.5)
    specks = parts.areas < SPECK * parts.areas.max(initial=0)
    return _filled(_lowered(confidence, parts, specks))


def dismissed(confidence: Map, evidence: Sequence[Box], picture: Size) -> Map:
    """Without the components that hardly any box of the evidence, in picture pixels, covers."""
    height, width = confidence.shape
    covered = np.zeros(confidence.shape, bool)
    for box in evidence:
        covered[pixels(pad(box, picture, MARGIN), picture, (width, height))] = True
    parts = find_components(confidence > 0.5)
    inside = np.bincount(parts.labels[covered], minlength=len(parts.areas) + 1)[1:]
    return _lowered(confidence, parts, inside < EVIDENCE * parts.areas)


def _lowered(confidence: Map, parts: Components, chosen: NDArray[np.bool_]) -> Map:
    lowered = confidence.copy()
    area = parts.mask_of(chosen)
    lowered[area] = np.minimum(lowered[area], OUTSIDE)
    return lowered


def _filled(confidence: Map) -> Map:
    """With the small gaps that a person encloses filled."""
    filled = confidence.copy()
    gaps = find_components(confidence <= 0.5, diagonal=False)
    height, width = confidence.shape
    left, top, right, bottom = gaps.boxes.T
    enclosed = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    holes = gaps.mask_of(enclosed & (gaps.areas < PINHOLE * confidence.size))
    filled[holes] = np.maximum(filled[holes], WITHIN)
    return filled
