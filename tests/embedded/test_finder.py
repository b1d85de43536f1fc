"""Finding people with the bundled models."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from detections import detector_outputs
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from PIL.Image import Transpose

from humanbody_cli.core.settings import People
from humanbody_cli.embedded import segmenters
from humanbody_cli.embedded.finding import finder, matte
from humanbody_cli.embedded.finding.detector import Detect
from humanbody_cli.embedded.finding.finder import Models

SAMPLES = Path(__file__).resolve().parents[2] / "sample_images"
PORTRAITS = SAMPLES / "portraits"


@pytest.fixture(scope="module")
def models() -> Models:
    """The bundled models."""
    return segmenters.bundled_models()


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    """A portrait of 512 x 512."""
    return Image.open(PORTRAITS / "astronaut.png").convert("RGB")


@pytest.fixture(scope="module")
def upright(models: Models, astronaut: Image.Image) -> NDArray[np.bool_]:
    """Where the astronaut is (bool [h, w])."""
    return found(models, astronaut)


def found(models: Models, photo: Image.Image) -> NDArray[np.bool_]:
    """The mask of a photo, cut at one half."""
    return np.asarray(matte.to_mask(finder.find_people(models, photo), photo.size)) > 127


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union of two boolean masks."""
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def test_a_portrait_is_found_where_it_is(models: Models, astronaut: Image.Image) -> None:
    """Face and suit are in, the corners and the flag's pole are out, and the mask is sure."""
    found = finder.find_people(models, astronaut)
    mask = np.asarray(matte.to_mask(found, astronaut.size))
    assert mask[130, 225] == 255
    assert mask[400, 150] == 255
    assert mask[5:60, 400:].max() == 0
    assert found.doubt < 0.1
    assert 0 <= found.confidence.min() <= found.confidence.max() <= 1


def test_the_same_pixels_give_the_same_bytes(models: Models) -> None:
    """Alone or beside others, in any of four threads and in whichever order: the same to the last
    bit."""
    paths = sorted(path for path in SAMPLES.rglob("*") if path.suffix in (".jpg", ".png"))
    photos = [Image.open(path).convert("RGB") for path in paths]

    def answer(photo: Image.Image) -> tuple[bytes, float]:
        found = finder.find_people(models, photo)
        return found.confidence.tobytes(), found.doubt

    one_by_one = [answer(photo) for photo in photos]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(answer, photos)) == one_by_one
        assert list(pool.map(answer, reversed(photos))) == one_by_one[::-1]


@pytest.mark.parametrize("turn", [Transpose.ROTATE_90, Transpose.ROTATE_180, Transpose.ROTATE_270])
def test_a_portrait_lying_on_its_side_is_found(models: Models, turn: Image.Transpose) -> None:
    """Turned any way, the same person is found in the same place."""
    portrait = Image.open(PORTRAITS / "grace_hopper.jpg").convert("RGB")
    turned = found(models, portrait.transpose(turn))
    expected = np.asarray(Image.fromarray(found(models, portrait)).transpose(turn))
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
    models: Models, astronaut: Image.Image, upright: NDArray[np.bool_], place: tuple[int, int]
) -> None:
    """A person a ninth of a panorama's width is found, and nobody elsewhere."""
    photo = wide_picture(astronaut, [place], (1400, 300))
    mask = found(models, photo)
    window = np.s_[place[1] : place[1] + 160, place[0] : place[0] + 160]
    small = np.asarray(Image.fromarray(upright).resize((160, 160)))
    assert overlap(mask[window], small) > 0.7
    mask[window] = False
    assert mask.mean() < 0.005


def test_people_far_apart_are_all_found(
    models: Models, astronaut: Image.Image, upright: NDArray[np.bool_]
) -> None:
    """Two people at both ends of a panorama are both found, and nobody between them."""
    photo = wide_picture(astronaut, [(0, 140), (1240, 140)], (1400, 300))
    mask = found(models, photo)
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
def test_a_picture_with_nobody_gives_an_empty_mask(models: Models, name: str) -> None:
    """Where nobody is, all but nothing is in the mask."""
    assert found(models, nobody_pictures()[name]).mean() < 0.005


def test_a_picture_without_boxes_has_nobody(models: Models) -> None:
    """Whatever the segmentation model says: without a box the mask is empty, and sure."""
    blind = Models(lambda batch: np.ones(batch.shape[:3], np.float32), boxes())
    found = finder.find_people(blind, _gray(64, 48))
    assert not found.confidence.any()
    assert found.doubt == 0


def test_a_box_that_was_not_accepted_leaves_a_doubt() -> None:
    """A weak box of which the first look shows nothing: nobody, with its score as doubt."""
    unsure = Models(
        lambda batch: np.zeros(batch.shape[:3], np.float32), boxes(((100, 100, 300, 400), 0.22))
    )
    found = finder.find_people(unsure, _gray(416, 416))
    assert not found.confidence.any()
    assert found.doubt == pytest.approx(0.22)


def test_what_no_box_covers_is_dismissed() -> None:
    """The model takes the whole picture for a person: only the detector's person is left."""

    def everything(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return (batch[..., 0] > 0.5).astype(np.float32)

    photo = Image.new("RGB", (400, 400))
    photo.paste((255, 255, 255), (40, 40, 140, 340))
    photo.paste((255, 255, 255), (240, 40, 340, 340))
    found = finder.find_people(Models(everything, boxes(((42, 42, 146, 354), 0.9))), photo)
    mask = np.asarray(matte.to_mask(found, photo.size)) > 127
    assert mask[100:300, 60:120].all()
    assert not mask[:, 220:].any()


def test_main_leaves_out_who_stands_apart(
    models: Models, astronaut: Image.Image, upright: NDArray[np.bool_]
) -> None:
    """One large and one small person far apart: both with ``all``, the large one with ``main``."""
    photo = wide_picture(astronaut, [(1240, 140)], (1400, 300))
    photo.paste(astronaut.resize((300, 300)), (0, 0))
    masks = {
        who: np.asarray(matte.to_mask(finder.find_people(models, photo, who), photo.size)) > 127
        for who in People
    }
    for mask in masks.values():
        large = np.asarray(Image.fromarray(upright).resize((300, 300)))
        assert overlap(mask[:, :300], large) > 0.7
    small = np.asarray(Image.fromarray(upright).resize((160, 160)))
    assert overlap(masks[People.ALL][140:, 1240:], small) > 0.7
    assert not masks[People.MAIN][:, 700:].any()


@pytest.mark.parametrize("place", [(40, 0), (40, 700), (40, 1240)])
def test_a_person_in_a_tall_picture_is_found(
    models: Models, astronaut: Image.Image, upright: NDArray[np.bool_], place: tuple[int, int]
) -> None:
    """In a picture more than four times as tall as wide, a person at any height is found."""
    photo = wide_picture(astronaut, [place], (300, 1400))
    mask = found(models, photo)
    small = np.asarray(Image.fromarray(upright).resize((160, 160)))
    window = np.s_[place[1] : place[1] + 160, place[0] : place[0] + 160]
    assert overlap(mask[window], small) > 0.7
    mask[window] = False
    assert mask.mean() < 0.005


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (48, 4096), (37, 41), (5000, 30)])
def test_any_size_gives_a_mask_of_its_size(models: Models, size: tuple[int, int]) -> None:
    """The thinnest and the smallest pictures come through."""
    photo = Image.new("RGB", size, (90, 120, 60))
    assert matte.to_mask(finder.find_people(models, photo), size).size == size


def test_the_8_bit_value_is_the_rounded_confidence() -> None:
    """V = round(confidence * 255)."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[np.newaxis]
    mask = matte.to_mask(matte.Matte(ramp, 0.0), (256, 1))
    assert list(mask.get_flattened_data()) == list(range(256))


def boxes(*people: tuple[tuple[int, int, int, int], float]) -> Detect:
    """A detector that finds these boxes, in pixels of its input, in every picture."""
    return lambda _: detector_outputs(people)


def _gray(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), "gray")
