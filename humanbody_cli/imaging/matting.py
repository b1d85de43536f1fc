"""Matting: foreground colours for soft edges, and masks enlarged along the photo's own edges.

Pixels in, pixels out. Both matter only where a mask is unsure, a few per cent of a photo: they work
on a small grid first and then process only the full-size tiles that need it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from humanbody_cli.imaging.png_writer import Area

Floats = NDArray[np.floating[Any]]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Integers = NDArray[np.integer[Any]]

TILE = 128
"""Side of a full-size tile in pixels: small enough to skip sure areas and to stay in cache."""

PURE = 0.98
"""Alpha from which a grid cell's colour is the person's own; up to 1 - PURE the background's."""

COLOUR_GRID = 512
"""Longer side, in pixels, of the grid on which foreground and background colours are spread."""

REACH_GRID = 1536
"""Longer side, in pixels, of the grid on which the nearest sure cell is searched for."""

GUIDE_GRID = 512
"""Longer side, in pixels, of the guided filter's grid: 98 ms at 12 megapixels; at full size 460."""

RADIUS = 4
"""The guided filter's window has 2 * RADIUS + 1 grid pixels per side."""

EPSILON = 1e-4
"""The guided filter's regularisation, in squared colour (0..1): contrast under .01 is noise."""

FINER = 8.0
"""Gray values by which a mask may differ from its own small grid before its detail is kept."""


class Foreground:
    """The people's own colours, for a cutout with straight alpha.

    ``photo`` (RGB, or RGBA whose alpha is ignored) and its ``mask`` (L) have the same size. A
    half-transparent pixel also shows the background. Its share is removed by the closed step of
    blur-fusion (Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021), from smooth
    estimates of both colours. Where the mask is 255 the photo's pixels are kept exactly; where it
    is 0 they become 0.
    """

    def __init__(self, photo: Image.Image, mask: Image.Image) -> None:
        self._photo = photo
        self._mask = mask
        flat = photo if photo.mode == "RGB" else photo.convert("RGB")
        self._inside, self._outside = _spread_colours(flat, mask)
        self._darkest, self._lightest = _reach(flat, mask)

    def part(self, area: Area) -> Image.Image:
        """The colours in an area, RGB."""
        left, top = area[:2]
        colours = self._photo.crop(area).convert("RGB")
        mask = self._mask.crop(area)
        size = self._mask.size[::-1]
        for tile in _tiles_of(mask.size):
            alpha = mask.crop(tile)
            lowest, highest = alpha.getextrema()
            if lowest == 255:
                continue
            if not highest:
                colours.paste(0, tile)
                continue
            place = (tile[0] + left, tile[1] + top, tile[2] + left, tile[3] + top)
            inside, outside, darkest, lightest = (
                _patch(grid, place, size)
                for grid in (self._inside, self._outside, self._darkest, self._lightest)
            )
            seen = np.asarray(colours.crop(tile))
            inside = np.clip(inside, darkest, lightest)
            clean = _unmix(seen, np.asarray(alpha)[..., np.newaxis], inside, outside)
            colours.paste(Image.fromarray(clean), tile)
        return colours


def _unmix(seen: Bytes, alpha: Bytes, inside: Floats, outside: Floats) -> Bytes:
    """Foreground colours [h, w, 3] of observed pixels with alpha [h, w, 1], from smooth estimates.

    At alpha 255 the formula gives the observed pixel itself.
    """
    pixels = seen.astype(np.float32)
    part = alpha.astype(np.float32) / 255
    colour = inside + part * (pixels - part * inside - (1 - part) * outside)
    # Kept between the observed colour and the person's nearby: a mask's soft edge inside solid
    # colour would otherwise become darker, or lighter, than both.
    colour = np.clip(colour, np.minimum(pixels, inside), np.maximum(pixels, inside))
    return (np.rint(colour) * (alpha > 0)).astype(np.uint8)


def _spread_colours(photo: Image.Image, mask: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Smooth RGB estimates, on the small grid, of the people's colours and the background's."""
    factor = max(1, -(-max(photo.size) // COLOUR_GRID))
    pixels = np.asarray(photo.reduce(factor), np.float32)
    alpha = np.asarray(mask.reduce(factor), np.float32) / 255
    return _spread(pixels, alpha), _spread(pixels, 1 - alpha)


def _spread(pixels: Floats, share: Floats) -> Image.Image:
    """Colours [h, w, 3] where `share` [h, w] is nearly 1, spread smoothly over the rest."""
    # Mixed cells count a little, for places without any pure cell, such as thin hair.
    weights = np.where(share > PURE, 1, 1e-3 * share**4)[..., np.newaxis]
    return Image.fromarray(np.rint(np.clip(_pull_push(pixels, weights), 0, 255)).astype(np.uint8))


def _reach(photo: Image.Image, mask: Image.Image) -> tuple[Image.Image, Image.Image]:
    """RGB grids of the person's darkest and lightest colours around the place nearest to each cell
    of the rim: a mean over a larger area would draw a dark coat's rim around a bright face. An
    area that touches nobody takes its own colours. Outside the rim: 0 and 255, which is no limit.
    """
    factor = max(1, -(-max(photo.size) // REACH_GRID))
    colours = np.asarray(photo.reduce(factor))
    alpha = np.asarray(mask.reduce(factor))
    pure = alpha > 255 * PURE
    rim = (alpha > 0) & (alpha < 255)
    nearest = nearest_cells(pure, rim)
    veil = rim & (nearest < 0)
    nearest[veil] = np.flatnonzero(veil)
    places = nearest[rim]
    hidden = ~(pure | veil)[..., np.newaxis]  # these are not the person's colours
    grids = []
    for shown, nothing in ((colours, 0), (~colours, 255)):
        lowest = _lowest_near(np.where(hidden, np.uint8(255), shown)).reshape(-1, 3)[places]
        grid = np.full_like(colours, nothing)
        grid[rim] = lowest if nothing == 0 else ~lowest
        grids.append(Image.fromarray(grid))
    return grids[0], grids[1]


def nearest_cells(known: Bools, wanted: Bools) -> Integers:
    """For each wanted cell of a grid [h, w], the flat index of the nearest known cell.

    Distance is counted in steps across wanted cells, ring by ring. -1 where no known cell can be
    reached, and for cells that are not wanted.
    """
    height, width = known.shape
    across = width + 2  # one cell of border, so that every cell has eight neighbours
    nearest = np.full((height + 2) * across, -1)
    inner = nearest.reshape(height + 2, across)[1:-1, 1:-1]
    inner[known] = np.flatnonzero(known)
    free = np.pad(wanted & ~known, 1).ravel()
    steps = np.array([-1, 1, -across, across, -across - 1, -across + 1, across - 1, across + 1])
    ring = np.flatnonzero(nearest >= 0)
    while ring.size:
        around = ring[:, np.newaxis] + steps
        reached = free[around]
        cells = around[reached]
        nearest[cells] = np.repeat(nearest[ring], reached.sum(axis=1))
        free[cells] = False
        ring = np.unique(cells)
    return np.where(wanted, inner, -1)


def _lowest_near(grid: Bytes) -> Bytes:
    """The lowest values within two cells in each direction, of [h, w, c]."""
    rows = np.pad(grid, ((2, 2), (0, 0), (0, 0)), mode="edge")
    pairs = np.minimum(rows[:-1], rows[1:])
    rows = np.minimum(np.minimum(pairs[:-3], pairs[2:-1]), rows[4:])
    cells = np.pad(rows, ((0, 0), (2, 2), (0, 0)), mode="edge")
    pairs = np.minimum(cells[:, :-1], cells[:, 1:])
    return np.minimum(np.minimum(pairs[:, :-3], pairs[:, 2:-1]), cells[:, 4:])


def _pull_push(pixels: Floats, weights: Floats) -> Floats:
    """Fill [h, w, 3] from ever coarser weighted means where weights [h, w, 1] are below 1.

    (Gortler et al., "The Lumigraph", 1996, section 3.4.2.)
    """
    height, width = pixels.shape[:2]
    if max(height, width) == 1:
        return pixels
    pads = ((0, height % 2), (0, width % 2), (0, 0))
    sums = _quarter(np.pad(pixels * weights, pads))
    totals = _quarter(np.pad(weights, pads))
    coarse = _pull_push(sums / np.maximum(totals, 1e-12), np.minimum(totals, 1))
    known = np.minimum(weights, 1)
    return known * pixels + (1 - known) * _double(coarse)[:height, :width]


def _quarter(grid: Floats) -> Floats:
    """Sums of 2 x 2 cells."""
    rows = grid[0::2] + grid[1::2]
    return np.asarray(rows[:, 0::2] + rows[:, 1::2])


def _double(grid: Floats) -> Floats:
    """Twice the cells in each direction, bilinear."""
    for axis in (0, 1):
        edged = np.concatenate((grid.take([0], axis), grid, grid.take([-1], axis)), axis)
        count = grid.shape[axis]
        before, here, after = (edged.take(range(k, k + count), axis) for k in range(3))
        pairs = np.stack((0.25 * before + 0.75 * here, 0.75 * here + 0.25 * after), axis + 1)
        grid = pairs.reshape([2 * n if i == axis else n for i, n in enumerate(grid.shape)])
    return np.asarray(grid, np.float32)


def enlarge_mask(mask: Image.Image, guide: Image.Image) -> Image.Image:
    """A small mask (mode L) at the size of its photo (mode RGB), with edges along the photo's.

    A colour guided filter (He, Sun, Tang, "Guided Image Filtering", 2013, with coefficients on a
    small grid as in their "Fast Guided Filter", 2015) corrects the enlarged mask where it is
    unsure and has no detail finer than the grid.
    """
    if mask.size == guide.size:
        return mask.copy()
    enlarged = mask.resize(guide.size, Resampling.BICUBIC)
    corrections = _corrections(mask, guide)
    if corrections is None:
        return enlarged
    shape = guide.size[::-1]
    layers = [Image.fromarray(plane) for plane in corrections]
    wanted = Image.fromarray((np.abs(corrections).max(axis=0) > 0).astype(np.uint8))
    for area in _tiles_of(guide.size):
        if not _grid_cells(wanted, area, shape):
            continue
        red, green, blue, offset = (_patch(layer, area, shape) for layer in layers)
        colour = np.asarray(guide.crop(area), np.float32)
        change = red * colour[..., 0] + green * colour[..., 1] + blue * colour[..., 2] + offset
        values = np.asarray(enlarged.crop(area), np.float32) + change
        enlarged.paste(Image.fromarray(np.rint(np.clip(values, 0, 255)).astype(np.uint8)), area)
    return enlarged


def _grid_cells(wanted: Image.Image, area: Area, shape: tuple[int, ...]) -> bool:
    """Whether any grid cell under a full-size tile, or next to it, is wanted."""
    left, top, right, bottom = _on_grid(area, wanted.size, shape)
    cells = (int(left) - 1, int(top) - 1, int(right) + 2, int(bottom) + 2)
    return wanted.crop(cells).getbbox() is not None


def _corrections(mask: Image.Image, guide: Image.Image) -> Floats | None:
    """Coefficients [4, h, w]: what to add to the mask for each of R, G, B (0..255), and a constant.

    None if the mask is sure everywhere.
    """
    scale = min(1.0, GUIDE_GRID / max(mask.size))
    size = (max(1, round(mask.width * scale)), max(1, round(mask.height * scale)))
    small = mask.resize(size, Resampling.BOX)
    weights = _unsure(mask, small)
    if not weights.any():
        return None
    pixels = np.asarray(guide.resize(size, Resampling.BOX, reducing_gap=2.0), np.float32) / 255
    values = np.asarray(small, np.float32) / 255
    slopes, offset = _guided(np.ascontiguousarray(np.moveaxis(pixels, 2, 0)), values)
    # In gray values from here on: the slopes are per gray value already.
    change = np.concatenate((slopes, 255 * (offset - values)[np.newaxis]))
    return np.asarray(change * weights, np.float32)


def _unsure(mask: Image.Image, small: Image.Image) -> Floats:
    """How far each grid cell [h, w] should follow the photo, 0 to 1: near unsure values only."""
    values = np.asarray(small)
    unsure = ((values > 12) & (values < 243)).astype(np.float32)
    near = np.minimum(_box_mean(unsure, RADIUS // 2) * 4, 1)
    finer = mask.reduce(max(1, min(mask.size) // (2 * min(small.size))))
    if finer.size != small.size:
        again = np.asarray(small.resize(finer.size, Resampling.BICUBIC), np.int16)
        missed = np.abs(again - np.asarray(finer)).astype(np.float32)
        detail = np.asarray(Image.fromarray(missed).resize(small.size, Resampling.BOX))
        near = near * np.clip(2 - _box_mean(detail, 1) / FINER, 0, 1)
    return np.asarray(near, np.float32)


def _guided(pixels: Floats, values: Floats) -> tuple[Floats, Floats]:
    """The colour guided filter's mean slopes [3, h, w] and offsets [h, w] for a map [h, w]."""
    mean = _box_mean(pixels, RADIUS)
    mean_value = _box_mean(values, RADIUS)
    joint = _box_mean(pixels * values, RADIUS) - mean * mean_value
    # The covariance is symmetric: six of its nine entries suffice.
    one, other = np.triu_indices(3)
    spread = _box_mean(pixels[one] * pixels[other], RADIUS) - mean[one] * mean[other]
    spread += (EPSILON * (one == other)).astype(np.float32)[:, np.newaxis, np.newaxis]
    slopes = _solve(spread, joint)
    offset = mean_value - (slopes * mean).sum(axis=0)
    return _box_mean(slopes, RADIUS), _box_mean(offset, RADIUS)


def _solve(matrix: Floats, vector: Floats) -> Floats:
    """Solutions [3, h, w] for symmetric 3 x 3 matrices, upper triangles [6, h, w], by cofactors."""
    rr, rg, rb, gg, gb, bb = matrix
    inverse = np.stack(
        (
            np.stack((gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg)),
            np.stack((rb * gb - rg * bb, rr * bb - rb * rb, rb * rg - rr * gb)),
            np.stack((rg * gb - rb * gg, rb * rg - rr * gb, rr * gg - rg * rg)),
        )
    )
    determinant = rr * inverse[0, 0] + rg * inverse[0, 1] + rb * inverse[0, 2]
    return np.asarray(np.einsum("ijhw,jhw->ihw", inverse, vector) / determinant)


def _box_mean(planes: Floats, radius: int) -> Floats:
    """Means over windows of 2 * radius + 1 cells a side, cut at the border, of [..., h, w]."""
    # Shifted sums: windows are small, and running sums in double precision take twice as long.
    for axis in (-2, -1):
        count = planes.shape[axis]
        edges = [(0, 0)] * planes.ndim
        edges[axis] = (radius, radius)
        padded = np.pad(planes, edges)
        behind: Any = (slice(None),) * (-1 - axis)
        shifted = [padded[(Ellipsis, slice(k, k + count), *behind)] for k in range(2 * radius + 1)]
        sums = shifted[0].copy()
        for part in shifted[1:]:
            sums += part
        cells = np.arange(count)
        lengths = np.minimum(cells + radius + 1, count) - np.maximum(cells - radius, 0)
        planes = sums / lengths.astype(np.float32).reshape([-1] + [1] * (-1 - axis))
    return planes


def _tiles_of(size: tuple[int, int]) -> Iterator[Area]:
    """Tiles (left, top, right, bottom) that cover a picture of `size` (width, height)."""
    width, height = size
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            yield left, top, min(left + TILE, width), min(top + TILE, height)


def _patch(grid: Image.Image, area: Area, shape: tuple[int, ...]) -> Floats:
    """The part of a small picture under a tile of a large one, at the tile's size."""
    size = (area[2] - area[0], area[3] - area[1])
    box = _on_grid(area, grid.size, shape)
    return np.asarray(grid.resize(size, Resampling.BILINEAR, box=box), np.float32)


def _on_grid(
    area: Area, size: tuple[int, int], shape: tuple[int, ...]
) -> tuple[float, float, float, float]:
    """A tile of a picture [H, W] in the pixels of a smaller one of `size` (width, height)."""
    across, down = size[0] / shape[1], size[1] / shape[0]
    left, right = (min(edge * across, size[0]) for edge in area[0::2])
    top, bottom = (min(edge * down, size[1]) for edge in area[1::2])
    return left, top, right, bottom
