"""Multi-crop inference with the bundled model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from PIL.Image import Transpose

from humanbody_cli.embedded import multi_crop, onnx_model

PORTRAITS = Path(__file__).resolve().parents[2] / "sample_images" / "portraits"


@pytest.fixture(scope="module")
def run() -> multi_crop.Run:
    """The bundled model."""
    return onnx_model.bundled().run


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    """A portrait of 512 x 512."""
    return Image.open(PORTRAITS / "astronaut.png").convert("RGB")


@pytest.fixture(scope="module")
def upright(run: multi_crop.Run, astronaut: Image.Image) -> NDArray[np.bool_]:
    """Where the astronaut is (bool [h, w])."""
    return found(run, astronaut)


def found(run: multi_crop.Run, photo: Image.Image) -> NDArray[np.bool_]:
    """The mask of a photo, cut at one half."""
    return np.asarray(multi_crop.to_mask(multi_crop.find_people(run, photo), photo.size)) > 127


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union of two boolean masks."""
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def test_a_portrait_is_found_where_it_is(run: multi_crop.Run, astronaut: Image.Image) -> None:
    """Face and suit are in, the corners and the flag's pole are out, and the mask is sure."""
    matte = multi_crop.find_people(run, astronaut)
    mask = np.asarray(multi_crop.to_mask(matte, astronaut.size))
    assert mask[130, 225] == 255
    assert mask[400, 150] == 255
    assert mask[5:60, 400:].max() == 0
    assert matte.doubt < 0.1
    assert 0 <= matte.confidence.min() <= matte.confidence.max() <= 1


def test_the_same_pixels_give_the_same_bytes(run: multi_crop.Run, astronaut: Image.Image) -> None:
    """Two runs agree to the last bit."""
    first, second = (multi_crop.find_people(run, astronaut) for _ in range(2))
    assert first.confidence.tobytes() == second.confidence.tobytes()
    assert first.doubt == second.doubt


@pytest.mark.parametrize("turn", [Transpose.ROTATE_90, Transpose.ROTATE_180, Transpose.ROTATE_270])
def test_a_portrait_lying_on_its_side_is_found(run: multi_crop.Run, turn: Image.Transpose) -> None:
    """Turned any way, the same person is found in the same place."""
    portrait = Image.open(PORTRAITS / "grace_hopper.jpg").convert("RGB")
    turned = found(run, portrait.transpose(turn))
    expected = np.asarray(Image.fromarray(found(run, portrait)).transpose(turn))
    assert overlap(turned, expected) > 0.93


def wide_picture(
    astronaut: Image.Image, places: list[tuple[int, int]], size: tuple[int, int]
) -> Image.Image:
    """Small copies of the portrait on a plain backdrop, and where they are pasted."""
    canvas = Image.new("RGB", size, astronaut.getpixel((480, 20)))
    for place in places:
        canvas.paste(astronaut.resize((160, 160)), place)
    return canvas


@pytest.mark.parametrize("place", [(0, 140), (620, 140), (1240, 140)])
def test_a_small_person_in_a_wide_picture_is_found(
    run: multi_crop.Run, astronaut: Image.Image, upright: NDArray[np.bool_], place: tuple[int, int]
) -> None:
    """A person a ninth of a panorama's width is found, and nobody elsewhere."""
    photo = wide_picture(astronaut, [place], (1400, 300))
    mask = found(run, photo)
    window = np.s_[place[1] : place[1] + 160, place[0] : place[0] + 160]
    small = np.asarray(Image.fromarray(upright).resize((160, 160)))
    assert overlap(mask[window], small) > 0.7
    mask[window] = False
    assert mask.mean() < 0.005


def test_people_far_apart_are_all_found(
    run: multi_crop.Run, astronaut: Image.Image, upright: NDArray[np.bool_]
) -> None:
    """Two people at both ends of a panorama are both found, and nobody between them."""
    photo = wide_picture(astronaut, [(0, 140), (1240, 140)], (1400, 300))
    mask = found(run, photo)
    small = np.asarray(Image.fromarray(upright).resize((160, 160)))
    assert overlap(mask[140:, :160], small) > 0.7
    assert overlap(mask[140:, 1240:], small) > 0.7
    assert not mask[:, 200:1200].any()


def nobody_pictures() -> dict[str, Image.Image]:
    """Pictures with nobody in them."""
    noise = np.random.default_rng(7).integers(0, 256, (240, 320, 3), np.uint8)
    slope = np.linspace(0, 255, 320, dtype=np.uint8)
    clouds = Image.fromarray(noise).resize((20, 15)).resize((640, 480), Image.Resampling.BICUBIC)
    return {
        "black": Image.new("RGB", (300, 200)),
        "white": Image.new("RGB", (200, 300), "white"),
        "noise": Image.fromarray(noise),
        "gradient": Image.fromarray(np.broadcast_to(slope[None, :, None], (240, 320, 3)).copy()),
        "clouds": clouds.filter(ImageFilter.GaussianBlur(4)),
    }


@pytest.mark.parametrize("name", nobody_pictures())
def test_a_picture_with_nobody_gives_an_empty_mask(run: multi_crop.Run, name: str) -> None:
    """Where nobody is, all but nothing is in the mask."""
    assert found(run, nobody_pictures()[name]).mean() < 0.005


def test_a_plain_picture_with_nobody_is_no_doubt() -> None:
    """Where there is nothing to suspect, the empty mask is sure."""
    matte = multi_crop.find_people(
        lambda batch: np.zeros(batch.shape[:3], np.float32), _gray(64, 48)
    )
    assert matte.doubt == 0.0
    assert not matte.confidence.any()


def test_what_is_nowhere_sure_is_dismissed_but_doubted() -> None:
    """A model that says .4 everywhere found nobody: the mask is empty and its doubt high."""
    matte = multi_crop.find_people(
        lambda batch: np.full(batch.shape[:3], 0.4, np.float32), _gray(64, 48)
    )
    assert matte.doubt > multi_crop.NOBODY
    assert not matte.confidence.any()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (48, 4096), (37, 41), (5000, 30)])
def test_any_size_gives_a_mask_of_its_size(run: multi_crop.Run, size: tuple[int, int]) -> None:
    """The thinnest and the smallest pictures come through."""
    photo = Image.new("RGB", size, (90, 120, 60))
    assert multi_crop.to_mask(multi_crop.find_people(run, photo), size).size == size


def test_the_8_bit_value_is_the_rounded_confidence() -> None:
    """V = round(confidence * 255)."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[np.newaxis]
    mask = multi_crop.to_mask(multi_crop.Matte(ramp, 0.0), (256, 1))
    assert list(mask.get_flattened_data()) == list(range(256))


def _gray(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), "gray")
