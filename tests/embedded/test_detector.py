"""The detector: its outputs become boxes; wide and tall pictures are seen in strips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from detections import detector_outputs
from numpy.typing import NDArray
from PIL import Image

from humanbody_cli.embedded import segmenters
from humanbody_cli.embedded.finding.crops import iou
from humanbody_cli.embedded.finding.detector import SIDE, Detect, find_boxes
from humanbody_cli.embedded.finding.picture import Picture

PORTRAITS = Path(__file__).resolve().parents[2] / "sample_images" / "portraits"


@pytest.fixture(scope="module")
def detect() -> Detect:
    """The bundled detector."""
    return segmenters.bundled_models().detect


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    """A portrait of 512 x 512."""
    return Image.open(PORTRAITS / "astronaut.png").convert("RGB")


def test_outputs_become_boxes_in_picture_pixels() -> None:
    """Small, middling and large boxes come out where they were, the best score first."""
    people = [((40, 40, 80, 100), 0.5), ((200, 100, 330, 300), 0.9), ((10, 120, 190, 410), 0.3)]
    found = find_boxes(lambda _: detector_outputs(people), _picture(832, 832))
    assert [round(detection.score, 3) for detection in found] == [0.9, 0.5, 0.3]
    for detection, index in zip(found, (1, 0, 2), strict=True):
        assert detection.box == pytest.approx([2 * edge for edge in people[index][0]], abs=0.1)


def test_of_two_boxes_of_one_person_the_surer_one_stays() -> None:
    """Boxes that overlap by more than half are one person's; those that only touch are two's."""
    people = [((100, 100, 200, 300), 0.8), ((120, 100, 220, 300), 0.6), ((200, 100, 300, 300), 0.5)]
    found = find_boxes(lambda _: detector_outputs(people), _picture(416, 416))
    assert [round(detection.score, 3) for detection in found] == [0.8, 0.5]


def test_noise_is_left_out_and_boxes_end_with_the_picture() -> None:
    """A score of .1 or less is none; what reaches beyond the picture is clipped to it."""
    people = [((100, 100, 200, 300), 0.09), ((300, 100, 440, 330), 0.7)]
    (found,) = find_boxes(lambda _: detector_outputs(people), _picture(416, 312))
    assert found.box == pytest.approx([300, 100, 416, 312], abs=0.1)


def test_the_picture_lies_top_left_in_a_black_square_in_blue_green_red() -> None:
    """A red picture twice as wide as tall: red is the last channel, black below."""
    seen: list[NDArray[np.float32]] = []

    def detect(pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        seen.append(pixels)
        return detector_outputs([])

    find_boxes(detect, Picture(Image.new("RGB", (200, 100), "red")))
    (pixels,) = seen
    assert pixels.shape == (1, 3, SIDE, SIDE)
    assert pixels[0, :, 0, 0] == pytest.approx(
        [-103.53 / 57.375, -116.28 / 57.12, 131.325 / 58.395]
    )
    assert pixels[0, 2, 207, 415] > 2
    assert pixels[0, 2, 208, 0] == pytest.approx(-123.675 / 58.395)


@pytest.mark.parametrize("wide", [True, False], ids=["panorama", "tall"])
@pytest.mark.parametrize("offset", [0, 430, 1000, 1700, 2240])
def test_each_person_along_a_strip_is_one_box(
    detect: Detect, astronaut: Image.Image, wide: bool, offset: int
) -> None:
    """Two people in a picture eight times as long: one box each, wherever the strips end."""
    size, other = 160, (offset + 1200) % 2400
    places = [(offset, 100) if wide else (70, offset), (other, 100) if wide else (70, other)]
    canvas = Image.new("RGB", (2400, 300) if wide else (300, 2400), astronaut.getpixel((480, 20)))
    for place in places:
        canvas.paste(astronaut.resize((size, size)), place)
    found = [each for each in find_boxes(detect, Picture(canvas)) if each.score >= 0.4]
    assert len(found) == 2
    (alone, *_) = find_boxes(detect, Picture(astronaut))
    scale = size / 512
    for place in places:
        expected = [edge * scale + place[k % 2] for k, edge in enumerate(alone.box)]
        left, top, right, bottom = expected
        assert max(iou(each.box, (left, top, right, bottom)) for each in found) > 0.5


def test_without_strips_one_view_has_to_do() -> None:
    """A panorama is looked at once if no strips are wanted, else once more for each strip."""
    looks = []

    def detect(pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        looks.append(pixels)
        return detector_outputs([])

    find_boxes(detect, _picture(1200, 300), in_strips=False)
    assert len(looks) == 1
    find_boxes(detect, _picture(1200, 300))
    assert len(looks) == 1 + 1 + 5


def _picture(width: int, height: int) -> Picture:
    return Picture(Image.new("RGB", (width, height), "gray"))
