"""Multi-crop inference: the bundled model's confidence for several crops, averaged into one mask.

The model takes 256 x 256 pixels, and finds people best when they are upright and fill them. So it
gets the whole picture first, then crops around the people found, and the confidences are averaged;
if the result is doubtful, the picture is also tried turned. All of this is pure: the model is
passed in as a function, and the same pixels always give the same bytes.

Figures without another source were measured on 97 photographs with known masks, checked on both
halves of the set separately, and on the same photographs turned, pasted into panoramas, and cut so
that nobody is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling, Transpose

from humanbody_cli.embedded.components import find_components
from humanbody_cli.embedded.crops import Box, Crop, Size, crops_around, find_groups, strip, tiles
from humanbody_cli.imaging import masks

Map = NDArray[np.float32]
Run = Callable[[Map], Map]
"""The model: RGB 0..1 [n, 256, 256, 3] -> confidence 0..1 [n, 256, 256]."""

SIDE = 256
"""Pixels per side of the bundled model's input."""

WHOLE_WEIGHT = 0.2
"""Weight of the whole picture's confidence; the crops of a group share the other .8."""

MIDPOINT = 0.41
"""The averaged confidence that becomes .5. It is lower because some crops cut people off, which
lowers the average (from .39 to .43 mean IoU differs by .001)."""

CONTRAST = 2.0
"""How much the averaged confidence is stretched around `MIDPOINT`."""

UNSURE = 0.15
"""Doubt above which the picture is also tried turned: an eighth of upright photographs, two thirds
of turned ones. It raises the mean IoU of those from .68 to .89, and does not change the upright
ones."""

NOBODY = 0.6
"""Doubt above which nobody is there: of 97 photographs with people none was above .43."""

WIDE = 2.0
"""Aspect ratio above which squeezing the whole picture to a square makes people unrecognisable."""

BESIDE = 0.35
"""Part of a photo's width beside the people found from which that side gets a crop of its own."""

BESIDE_FILLED = 0.1
"""Part of that crop which a person fills; anything smaller is mostly furniture."""

SUSPECT = 0.2
"""The least confidence that gets crops when nobody is found above .5."""

_TURNS = ((Transpose.ROTATE_90, -1), (Transpose.ROTATE_270, 1), (Transpose.ROTATE_180, 2))
"""Ways to turn a picture, each with the quarter turns that turn its map back."""


@dataclass(frozen=True)
class Matte:
    """The result: a confidence map and its doubt.

    `confidence` is float32 [h, w], 0 to 1, at a working size with the picture's proportions.
    `doubt` (see `masks.doubt_of`) is computed before the contrast is stretched. With an empty mask
    it is 0 if nothing was suspected; a high one means that something was examined and dismissed.
    """

    confidence: Map
    doubt: float


def find_people(run: Run, photo: Image.Image) -> Matte:
    """Find the people in an upright RGB photo of any size."""
    predictor = _Predictor(run, photo)
    whole = predictor.whole()
    matte = _refined(predictor, whole)
    if matte.doubt > UNSURE:
        matte = _try_turned(predictor, _doubt(whole), matte)
    if matte.doubt > NOBODY:
        suspected = bool((matte.confidence > SUSPECT).any())
        return Matte(np.zeros_like(matte.confidence), matte.doubt if suspected else 0.0)
    return matte


def to_mask(matte: Matte, size: Size) -> Image.Image:
    """The matte as a mask of mode L at `size` (width, height): V = round(confidence * 255)."""
    values = np.rint(np.clip(matte.confidence, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(values).resize(size, Resampling.BICUBIC)


def _doubt(confidence: Map) -> float:
    """The doubt of a confidence map; 1 if nothing in it might be a person: more is tried then."""
    sure = int(np.count_nonzero(confidence > masks.SURE))
    possible = int(np.count_nonzero(confidence > masks.POSSIBLE))
    return masks.doubt_of(sure, possible, of_nobody=1.0)


class _Predictor:
    """Runs the model on crops of one photo."""

    def __init__(self, run: Run, photo: Image.Image) -> None:
        self._run = run
        self.photo = photo
        # Large crops are cut from a copy of about 1,000 px, to avoid shrinking 24 megapixels for
        # every crop. reduce() averages blocks, which is what shrinking by area means.
        self._small = photo.reduce(max(1, max(photo.size) // 1024))
        # Most boxes are used twice in a row, plain and mirrored.
        self._last: tuple[Box, Image.Image] | None = None

    @property
    def size(self) -> Size:
        """Width and height of the photo."""
        return self.photo.size

    def turned(self, turn: Transpose) -> _Predictor:
        """A predictor for the photo turned."""
        return _Predictor(self._run, self.photo.transpose(turn))

    def turned_preview(self, turn: Transpose) -> _Predictor:
        """A predictor for the small copy turned, which suffices for `whole`."""
        return _Predictor(self._run, self._small.transpose(turn))

    def predict(self, crop: Crop) -> Map:
        """The model's confidence [256, 256] for a crop, upright and unmirrored."""
        if self._last is None or self._last[0] != crop.box:
            self._last = crop.box, self._cut(crop.box)
        image = self._last[1]
        if crop.levelled:
            image = _stretch_levels(image)
        if crop.mirrored:
            image = image.transpose(Transpose.FLIP_LEFT_RIGHT)
        pixels = np.asarray(image, np.float32)[np.newaxis] / np.float32(255)
        confidence = self._run(pixels)[0]
        return np.asarray(confidence[:, ::-1] if crop.mirrored else confidence)

    def _cut(self, box: Box) -> Image.Image:
        """A box of the photo, resized to the model's square input."""
        shrunk = self._small.width / self.photo.width, self._small.height / self.photo.height
        source, area = self._small, _scaled(box, *shrunk)
        if min(area[2] - area[0], area[3] - area[1]) < SIDE:
            source, area = self.photo, box
        right, bottom = min(area[2], source.width), min(area[3], source.height)
        area = max(area[0], 0), max(area[1], 0), right, bottom
        enlarges = min(area[2] - area[0], area[3] - area[1]) < SIDE
        # Shrink by area, enlarge by cubic interpolation.
        filtering = Resampling.BICUBIC if enlarges else Resampling.BOX
        return source.resize((SIDE, SIDE), filtering, box=area)

    def whole(self) -> Map:
        """A first confidence map [256, 256] of the whole picture."""
        box = (0.0, 0.0, float(self.size[0]), float(self.size[1]))
        whole = _mean(self.predict(Crop(box, 1)), self.predict(Crop(box, 1, mirrored=True)))
        if max(self.size) > WIDE * min(self.size):
            return _mean(whole, self.average(strip(self.size)))
        return whole

    def average(self, boxes: list[Box]) -> Map:
        """The mean confidence [256, 256] of crops that cover the photo."""
        return self.add([Crop(box, 1) for box in boxes], np.zeros((SIDE, SIDE), np.float32), 0)

    def add(self, crops: list[Crop], whole: Map, weight: float) -> Map:
        """The weighted mean of `whole`, at `weight`, and of the crops' confidence, each in its box.

        Where the weights sum to less than 1 the rest counts as confidence 0: what is outside the
        crops is not the person they were made for.
        """
        total = weight * whole
        weights = np.full_like(whole, weight)
        scale = whole.shape[1] / self.size[0], whole.shape[0] / self.size[1]
        for crop in crops:
            left, top, right, bottom = (round(edge) for edge in _scaled(crop.box, *scale))
            width, height = max(right - left, 1), max(bottom - top, 1)
            inside = np.s_[top : top + height, left : left + width]
            confidence = _resize(self.predict(crop), (width, height))
            total[inside] += np.float32(crop.weight) * confidence[: total.shape[0] - top]
            weights[inside] += np.float32(crop.weight)
        return np.asarray(total / np.maximum(weights, 1), np.float32)


def _refined(predictor: _Predictor, whole: Map) -> Matte:
    """The average of a first map [256, 256] and of crops around the people in it."""
    size = predictor.size
    groups = find_groups(whole, size)
    if not groups:
        # People may be too small: try nine crops of half the size, then even low confidences.
        whole = np.maximum(whole, predictor.average(tiles(size)))
        floor = max(SUSPECT, float(whole.max()) / 2)
        groups = find_groups(whole, size) or find_groups(whole, size, floor)
    for missed in _beside(predictor, groups):
        groups += find_groups(missed, size)
        whole = np.maximum(whole, missed)
    crops = [crop for group in groups for crop in crops_around(group, size)]
    whole = _resize(whole, _working_size(size, crops))
    if not crops:
        return Matte(whole, 1.0)
    mixed = predictor.add(crops, whole, WHOLE_WEIGHT)
    sharpened = np.clip(0.5 + CONTRAST * (mixed - MIDPOINT), 0, 1)
    return Matte(_clean(sharpened.astype(np.float32)), _doubt(mixed))


def _beside(predictor: _Predictor, groups: list[list[Box]]) -> list[Map]:
    """Maps of people beside those found, whom the model missed in the whole picture.

    Two portraits side by side are squeezed to two thirds of their width, and one of them may then
    not be recognised at all.
    """
    if not groups:
        return []
    width, height = predictor.size
    people = [person for group in groups for person in group]
    left, right = min(box[0] for box in people), max(box[2] for box in people)
    found: list[Map] = []
    for box in ((0.0, 0.0, left, float(height)), (right, 0.0, float(width), float(height))):
        if box[2] - box[0] < BESIDE * width:
            continue
        confidence = predictor.average([box])
        filled = np.count_nonzero(confidence > 0.5) / confidence.size * width / (box[2] - box[0])
        if filled > BESIDE_FILLED and _doubt(confidence) < UNSURE:
            found.append(confidence)
    return found


def _try_turned(predictor: _Predictor, doubt: float, matte: Matte) -> Matte:
    """The matte of the photo turned the way that leaves the least doubt, turned back.

    `doubt` is that of the first map of the unturned photo. The model recognises upright people
    only, so its first map is surer the right way up: for 94 % of 97 photographs, compared with each
    single wrong way.
    """
    doubts = [_doubt(predictor.turned_preview(turn).whole()) for turn, _ in _TURNS]
    best = int(np.argmin(doubts))
    if doubts[best] >= doubt:
        return matte
    turn, quarters = _TURNS[best]
    turned = predictor.turned(turn)
    found = _refined(turned, turned.whole())
    return Matte(np.ascontiguousarray(np.rot90(found.confidence, quarters)), found.doubt)


def _working_size(size: Size, crops: list[Crop]) -> Size:
    """A size at which the smallest crop keeps its pixels: 320 to 1,024 px for the longer side."""
    longest = max(size)
    smallest = min((max(crop.width, crop.height) for crop in crops), default=longest)
    wanted = min(max(SIDE * longest / smallest, 320), 1024, longest)
    return max(1, round(size[0] * wanted / longest)), max(1, round(size[1] * wanted / longest))


def _clean(confidence: Map) -> Map:
    """Without specks (components under a tenth of the largest) and pinholes (under .3 % of the
    area)."""
    cleaned = confidence.copy()
    parts = find_components(confidence > 0.5)
    specks = parts.mask_of(parts.areas < 0.1 * parts.areas.max(initial=0))
    cleaned[specks] = np.minimum(cleaned[specks], 0.2)
    gaps = find_components(confidence <= 0.5, diagonal=False)
    height, width = confidence.shape
    left, top, right, bottom = gaps.boxes.T
    enclosed = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    holes = gaps.mask_of(enclosed & (gaps.areas < 0.003 * confidence.size))
    cleaned[holes] = np.maximum(cleaned[holes], 0.8)
    return cleaned


def _stretch_levels(image: Image.Image) -> Image.Image:
    """The image with each channel's 1st to 99th percentile stretched over the whole range."""
    counts = np.array(image.histogram()).reshape(3, 256).cumsum(axis=1)
    table: list[int] = []
    for channel in counts:
        low, high = np.searchsorted(channel, (0.01 * channel[-1], 0.99 * channel[-1]))
        stretched = (np.arange(256) - low) * 255.0 / max(high - low, 1)
        table += np.rint(np.clip(stretched, 0, 255)).astype(int).tolist()
    return image.point(table)


def _resize(confidence: Map, size: Size) -> Map:
    """A confidence map at another size (width, height), by cubic interpolation."""
    resized = Image.fromarray(np.ascontiguousarray(confidence)).resize(size, Resampling.BICUBIC)
    return np.asarray(resized)


def _mean(one: Map, other: Map) -> Map:
    return np.asarray((one + other) / 2, np.float32)


def _scaled(box: Box, across: float, down: float) -> Box:
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down
