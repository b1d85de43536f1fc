"""Soft edges: foreground colours, and masks enlarged along a photo's edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from humanbody_cli.imaging import matting

SAMPLE = Path(__file__).resolve().parents[2] / "sample_images" / "portraits" / "astronaut.png"
Bytes = NDArray[np.uint8]
colours = st.tuples(*[st.integers(0, 255)] * 3)


def scene(
    inside: tuple[int, int, int], outside: tuple[int, int, int], side: int = 160
) -> tuple[Bytes, Bytes]:
    """A disc of one colour over another with a soft edge: photo [h, w, 3] and its true alpha."""
    y, x = np.mgrid[:side, :side] - side / 2
    part = np.clip((side / 3 - np.hypot(x, y)) / 12 + 0.5, 0, 1)
    alpha = np.rint(part * 255).astype(np.uint8)
    share = alpha[..., np.newaxis] / 255
    photo = np.rint(share * np.array(inside) + (1 - share) * np.array(outside))
    return photo.astype(np.uint8), alpha


def foreground(rgb: Bytes, alpha: Bytes) -> Bytes:
    """The colours of the people, of all of a photo, as an array."""
    photo, mask = Image.fromarray(rgb), Image.fromarray(alpha)
    return np.asarray(matting.Foreground(photo, mask).part((0, 0, *photo.size)))


def laid_over(colour: NDArray[Any], alpha: Bytes, below: NDArray[Any]) -> NDArray[np.float64]:
    """A straight-alpha cutout over a picture, in exact arithmetic."""
    share = alpha[..., np.newaxis] / 255
    laid: NDArray[np.float64] = share * colour + (1 - share) * below
    return laid


@settings(deadline=None, max_examples=30)
@given(colours, colours)
def test_the_background_is_taken_out_of_half_transparent_pixels(
    inside: tuple[int, int, int], outside: tuple[int, int, int]
) -> None:
    """With a true alpha, rim colours come near the person's, whatever lies behind."""
    photo, alpha = scene(inside, outside)
    found = foreground(photo, alpha).astype(int)
    rim = (alpha > 64) & (alpha < 255)
    before = np.abs(photo[rim] - np.array(inside, float)).mean()
    after = np.abs(found[rim] - np.array(inside)).mean()
    assert after <= 0.5 * before + 1


@settings(deadline=None, max_examples=30)
@given(colours, colours)
def test_over_its_own_photo_no_rim_is_darker_than_both_sides(
    inside: tuple[int, int, int], outside: tuple[int, int, int]
) -> None:
    """Laid over its own photo, a soft cutout shows nothing outside the range of both sides."""
    photo, alpha = scene(inside, outside)
    laid = laid_over(foreground(photo, alpha), alpha, photo)
    assert (laid >= np.minimum(inside, outside) - 1.5).all()
    assert (laid <= np.maximum(inside, outside) + 1.5).all()


@settings(deadline=None, max_examples=30)
@given(
    arrays(np.uint8, (23, 31, 3)),
    arrays(np.uint8, (23, 31), elements=st.sampled_from([0, 1, 90, 200, 254, 255])),
)
def test_opaque_pixels_stay_and_hidden_ones_are_black(rgb: Bytes, alpha: Bytes) -> None:
    """Alpha 255 keeps the photo's own bytes, alpha 0 keeps nothing, whatever the picture."""
    found = foreground(rgb, alpha)
    np.testing.assert_array_equal(found[alpha == 255], rgb[alpha == 255])
    assert not found[alpha == 0].any()
    assert found.dtype == np.uint8
    assert found.shape == rgb.shape


def test_an_offset_mask_does_not_darken_a_person_before_a_bright_wall() -> None:
    """Where the mask is soft inside solid colour, the colour stays between what is there."""
    photo = np.full((64, 64, 3), 220, np.uint8)
    photo[:, :40] = 90
    alpha = np.zeros((64, 64), np.uint8)
    alpha[:, :20] = 255
    alpha[:, 20:52] = np.linspace(255, 0, 34)[1:-1].astype(np.uint8)
    found = foreground(photo, alpha)
    assert found[alpha > 0].min() >= 89


def test_a_real_photo_is_left_unchanged_where_it_is_opaque() -> None:
    """With a soft mask on a real portrait, the inputs are not written to and pixels are kept."""
    photo = np.asarray(Image.open(SAMPLE).convert("RGB"))
    alpha = scene((0, 0, 0), (0, 0, 0), 512)[1]
    copies = photo.copy(), alpha.copy()
    found = foreground(photo, alpha)
    np.testing.assert_array_equal(photo, copies[0])
    np.testing.assert_array_equal(alpha, copies[1])
    np.testing.assert_array_equal(found[alpha == 255], photo[alpha == 255])


def disc(size: tuple[int, int], radius: int) -> Image.Image:
    """A sharp disc in the middle: mode L."""
    y, x = np.mgrid[: size[1], : size[0]]
    inside = np.hypot(x - size[0] / 2, y - size[1] / 2) < radius
    return Image.fromarray((inside * 255).astype(np.uint8))


def test_an_enlarged_mask_follows_the_photos_edge() -> None:
    """From a mask of a tenth the size, the edge is nearer the photo's than plain enlargement."""
    truth = disc((1200, 900), 300)
    guide = Image.merge("RGB", [truth.point([60] * 128 + [200] * 128)] * 3)
    small = truth.resize((120, 90), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(1))
    plain = np.asarray(small.resize(guide.size, Image.Resampling.BICUBIC), float)
    guided = np.asarray(matting.enlarge_mask(small, guide), float)
    wanted = np.asarray(truth, float)
    assert np.abs(guided - wanted).mean() < 0.6 * np.abs(plain - wanted).mean()


def test_a_mask_with_finer_detail_than_the_grid_keeps_it() -> None:
    """A thin line in a large mask survives, though the guided filter's grid cannot see it."""
    mask = Image.new("L", (1500, 1500), 0)
    mask.paste(255, (700, 100, 702, 1400))
    enlarged = matting.enlarge_mask(mask, Image.new("RGB", (2000, 2000), "gray"))
    values = np.asarray(enlarged)
    assert values[1000].max() > 200
    assert values[:, :900].max() == 0


@pytest.mark.parametrize("value", [0, 255])
def test_a_sure_mask_stays_sure(value: int) -> None:
    """Where the mask has no doubt, no edge of the photo makes any."""
    guide = Image.open(SAMPLE).convert("RGB")
    enlarged = matting.enlarge_mask(Image.new("L", (64, 64), value), guide)
    assert enlarged.getextrema() == (value, value)
    assert enlarged.size == guide.size


def test_a_mask_of_the_photos_size_is_left_alone() -> None:
    """Nothing is enlarged, nothing is changed."""
    guide = Image.open(SAMPLE).convert("RGB")
    mask = guide.convert("L")
    assert matting.enlarge_mask(mask, guide).tobytes() == mask.tobytes()


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (129, 127), (1000, 3)])
def test_any_size_of_photo_gets_its_mask(size: tuple[int, int]) -> None:
    """The thinnest photos come through both functions."""
    mask = Image.fromarray(np.array([[0, 128], [255, 40]], np.uint8))
    guide = Image.new("RGB", size, (10, 200, 90))
    enlarged = matting.enlarge_mask(mask, guide)
    assert enlarged.size == size
    found = foreground(np.asarray(guide), np.asarray(enlarged))
    assert found.shape == (size[1], size[0], 3)


def test_tiles_leave_no_seams() -> None:
    """The correction runs smoothly over the borders of tiles."""
    guide = Image.new("RGB", (640, 640), (120, 120, 120))
    ramp = np.linspace(30, 225, 64).astype(np.uint8)
    mask = Image.fromarray(np.broadcast_to(ramp, (64, 64)).copy())
    values = np.asarray(matting.enlarge_mask(mask, guide), int)
    assert np.abs(np.diff(values, axis=1)).max() <= 2
    assert np.abs(np.diff(values, axis=0)).max() <= 1


def test_a_dark_coat_does_not_darken_the_rim_of_a_bright_face() -> None:
    """What a person has farther in does not show at the rim: only the nearest colours do."""
    photo = np.full((96, 128, 3), 200, np.uint8)
    photo[:, :52] = 20
    photo[:, 52:64] = 180
    alpha = np.zeros((96, 128), np.uint8)
    alpha[:, :64] = 255
    alpha[:, 64:96] = np.linspace(255, 0, 34)[1:-1].astype(np.uint8)
    assert laid_over(foreground(photo, alpha), alpha, photo)[alpha > 0].min() == 20
    assert laid_over(foreground(photo, alpha), alpha, photo)[:, 64:].min() >= 178


def test_a_veil_that_touches_nobody_keeps_its_colours() -> None:
    """A faint patch away from everyone is no part of the person's coat, and is not painted so."""
    photo = np.full((96, 128, 3), 210, np.uint8)
    photo[:, :30] = 20
    alpha = np.zeros((96, 128), np.uint8)
    alpha[:, :30] = 255
    alpha[40:60, 80:110] = 90
    found = foreground(photo, alpha)
    assert found[40:60, 80:110].min() == 210
    assert not found[:, 30:80].any()


def test_nearest_cells_are_those_with_the_fewest_steps() -> None:
    """Steps go to all eight neighbours, over wanted cells only; the rest is -1."""
    known = np.zeros((5, 7), bool)
    known[0, 0] = known[4, 6] = True
    wanted = np.ones((5, 7), bool)
    wanted[:, 3] = False
    expected = np.where(np.arange(7) < 3, 0, 4 * 7 + 6) * np.ones((5, 1), int)
    expected[:, 3] = -1
    np.testing.assert_array_equal(matting.nearest_cells(known, wanted), expected)
    assert (matting.nearest_cells(np.zeros((2, 3), bool), np.ones((2, 3), bool)) == -1).all()


def test_nearest_cells_are_as_near_as_a_search_says() -> None:
    """On random grids the number of steps is that of a full search."""
    generator = np.random.default_rng(5)
    for _ in range(20):
        known = generator.random((9, 14)) < 0.06
        found = matting.nearest_cells(known, np.ones_like(known))
        places = np.argwhere(known)
        for y, x in np.ndindex(known.shape):
            if not len(places):
                assert found[y, x] == -1
                continue
            row, column = divmod(int(found[y, x]), known.shape[1])
            assert known[row, column]
            fewest = np.abs(places - (y, x)).max(axis=1).min()
            assert max(abs(row - y), abs(column - x)) == fewest
