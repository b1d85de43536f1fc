"""Masks and cutouts: what is read, where a cutout ends, what ships under alpha 0, the figures."""

from __future__ import annotations

import itertools
import struct
import subprocess
import sys
from collections.abc import Callable

import pytest
from checking import level, pixel
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from making import BLUE, GOLD, RED, jpeg, noise, opened, png, quarters, raw_png, saved
from PIL import Image, ImageChops, ImageFilter

from humanbody_cli.imaging import pictures, png_writer
from humanbody_cli.imaging import png_check as structure
from humanbody_cli.imaging.cutouts import Cutout, hard_cutout, soft_cutout
from humanbody_cli.imaging.masks import THRESHOLD, Mask

RAMP = Image.frombytes("L", (256, 1), bytes(range(256))).resize((256, 4), Image.Resampling.NEAREST)
"""Every confidence once a row."""


@pytest.fixture(autouse=True)
def _pillow() -> None:
    pictures.configure_pillow()


def gray(*values: int) -> Image.Image:
    """A mask of one row with these confidences."""
    return Image.frombytes("L", (len(values), 1), bytes(values))


def person(size: tuple[int, int] = (160, 120), blur: float = 4) -> Image.Image:
    """A soft mask of somebody in the middle."""
    mask = Image.new("L", size, 0)
    mask.paste(255, (size[0] // 3, size[1] // 4, size[0] * 2 // 3, size[1]))
    return mask.filter(ImageFilter.GaussianBlur(blur))


# Reading masks


def test_an_8_bit_gray_png_keeps_its_bytes() -> None:
    """What is on disk already as it belongs is not encoded again."""
    data = png(RAMP, compress_level=9)
    mask = Mask.read(data, RAMP.size)
    assert mask.png is data
    assert mask.image.tobytes() == RAMP.tobytes()


@pytest.mark.parametrize(
    "data",
    [
        jpeg(RAMP),
        jpeg(RAMP.convert("RGB")),
        saved(RAMP, "MPO", save_all=True, append_images=[RAMP], quality=95),
        png(RAMP.convert("RGB")),
        png(Image.merge("RGBA", (RAMP, RAMP, RAMP, Image.new("L", RAMP.size, 255)))),
        png(RAMP.convert("LA")),
        png(RAMP.quantize(256)),
        raw_png(
            (256, 4), 16, 0, (b"\0" + b"".join(struct.pack(">H", v * 257) for v in range(256))) * 4
        ),
    ],
    ids="jpeg-L jpeg-RGB mpo png-RGB png-RGBA png-LA png-P png-16".split(),
)
def test_any_form_of_a_mask_becomes_an_8_bit_gray_png(data: bytes) -> None:
    """JPEG, RGB, palette and 16 bits: the confidences are kept, the file on disk is gray PNG."""
    mask = Mask.read(data, RAMP.size)
    assert mask.image.mode == "L"
    assert structure.is_gray8(structure.verify(mask.png))
    difference = ImageChops.difference(opened(mask.png), RAMP)
    assert max(difference.tobytes()) <= 3
    assert mask.png is mask.png


@pytest.mark.parametrize("data", [png(person()), jpeg(person()), png(person().convert("RGB"))])
def test_a_mask_cut_short_anywhere_is_refused(data: bytes) -> None:
    """A mask that lost its end, wherever the cut, is a ValueError and never a half mask."""
    for cut in sorted({*range(20), *range(20, len(data) - 16, len(data) // 40)}):
        with pytest.raises(ValueError, match=r".+"):
            Mask.read(data[:cut], RAMP.size)


def test_a_gray_png_whose_end_is_missing_is_refused() -> None:
    """What is kept as it is must be whole to its last byte."""
    data = png(person())
    for cut in range(len(data) - 40, len(data)):
        with pytest.raises(ValueError, match=r".+"):
            Mask.read(data[:cut], RAMP.size)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"]))
def test_arbitrary_bytes_are_a_value_error(data: bytes, head: bytes) -> None:
    """Whatever the bytes, nothing but ValueError is raised."""
    with pytest.raises(ValueError, match=r".+"):
        Mask.read(head + data, RAMP.size)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "BMP", "TIFF"])
def test_other_formats_are_no_masks(kind: str) -> None:
    """The API answers PNG or JPEG; anything else is a lie."""
    with pytest.raises(ValueError, match="damaged"):
        Mask.read(saved(RAMP, kind), RAMP.size)


def test_a_mask_made_of_pixels_is_encoded_once() -> None:
    """The embedded engine's pixels come back from their PNG, which is made once."""
    mask = Mask(person())
    assert opened(mask.png).tobytes() == person().tobytes()
    assert mask.png is mask.png


# Hard cutouts


@given(st.integers(0, 255))
def test_the_edge_is_at_confidence_one_half(value: int) -> None:
    """Opaque where V > 127, the document's confidence > 0.5, else transparent: nothing between."""
    cutout = hard_cutout(Image.new("RGB", (1, 1), GOLD), gray(value)).image()
    assert cutout.getpixel((0, 0)) == ((*GOLD, 255) if value > 127 else (0, 0, 0, 0))


@settings(max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_nothing_ships_under_alpha_0(width: int, height: int, data: st.DataObject) -> None:
    """The colour of what was removed is gone; what is kept has the photo's own colours."""
    size = (width, height)
    photo = noise(size)
    mask = Image.frombytes(
        "L", size, data.draw(st.binary(min_size=width * height, max_size=81))[: width * height]
    )
    cutout = hard_cutout(photo, mask).image()
    assert (cutout.mode, cutout.size) == ("RGBA", size)
    for y in range(height):
        for x in range(width):
            *colour, alpha = pixel(cutout, (x, y))
            expected = pixel(photo, (x, y)) if level(mask, (x, y)) > 127 else (0, 0, 0)
            assert tuple(colour) == expected
            assert alpha == (255 if level(mask, (x, y)) > 127 else 0)


@pytest.mark.parametrize(("own", "confidence", "alpha"), [(0, 255, 0), (90, 255, 90), (90, 9, 0)])
def test_a_photos_own_alpha_is_multiplied(own: int, confidence: int, alpha: int) -> None:
    """What was transparent in the photo stays so; colour is kept where anything shows."""
    photo = Image.new("RGBA", (1, 1), (*BLUE, own))
    cutout = hard_cutout(photo, gray(confidence)).image()
    assert cutout.getpixel((0, 0)) == ((*BLUE, alpha) if alpha else (0, 0, 0, 0))


def test_inputs_are_left_alone() -> None:
    """Neither photo nor mask is changed by composing."""
    photo, mask = quarters((160, 120)).convert("RGBA"), person()
    before = photo.tobytes(), mask.tobytes()
    hard_cutout(photo, mask).image()
    soft_cutout(photo, mask).image()
    assert (photo.tobytes(), mask.tobytes()) == before


# Soft cutouts


def test_soft_alpha_is_the_confidence() -> None:
    """Alpha is the mask itself, the colour where it is 255 the photo's own."""
    mask = person()
    photo = noise((160, 120))
    cutout = soft_cutout(photo, mask).image()
    assert cutout.getchannel("A").tobytes() == mask.tobytes()
    for y in range(0, 120, 3):
        for x in range(0, 160, 3):
            if mask.getpixel((x, y)) == 255:
                assert pixel(cutout, (x, y))[:3] == pixel(photo, (x, y))
            elif mask.getpixel((x, y)) == 0:
                assert cutout.getpixel((x, y)) == (0, 0, 0, 0)


def test_the_backgrounds_colour_is_taken_out_of_the_rim() -> None:
    """A red person before a blue wall, mixed at the edge: the rim becomes red, without blue."""
    mask = person()
    photo = Image.composite(
        Image.new("RGB", mask.size, (200, 10, 10)), Image.new("RGB", mask.size, (10, 10, 200)), mask
    )
    cutout = soft_cutout(photo, mask).image()
    rim = [
        pixel(cutout, (x, y))
        for y in range(120)
        for x in range(160)
        if 40 < level(mask, (x, y)) < 215
    ]
    assert len(rim) > 200
    for red, _, blue, _ in rim:
        assert red > 185
        assert blue < 30


def test_straight_alpha_darkens_nothing() -> None:
    """One colour everywhere stays that colour at every alpha: no dark rim."""
    cutout = soft_cutout(Image.new("RGB", (160, 120), (200, 10, 10)), person()).image()
    points = itertools.product(range(160), range(120))
    shades = {(r, g, b) for r, g, b, a in (pixel(cutout, at) for at in points) if a}
    assert all(abs(r - 200) <= 2 and abs(g - 10) <= 2 and abs(b - 10) <= 2 for r, g, b in shades)


def test_a_soft_cutout_over_its_photo_is_the_photo() -> None:
    """Laid over the photo it came from, a cutout changes nothing where it is opaque."""
    photo, mask = noise((160, 120)).filter(ImageFilter.GaussianBlur(2)), person()
    over = photo.copy()
    cutout = soft_cutout(photo, mask).image()
    over.paste(cutout.convert("RGB"), mask=cutout.getchannel("A"))
    opaque = mask.point([0] * 255 + [255])
    difference = ImageChops.difference(over, photo)
    assert (
        Image.composite(difference, Image.new("RGB", photo.size), opaque).getextrema()
        == ((0, 0),) * 3
    )


def test_a_soft_cutout_keeps_the_photos_own_alpha() -> None:
    """Confidence and the photo's own transparency are multiplied."""
    photo = Image.new("RGBA", (4, 4), (*RED, 128))
    alpha = soft_cutout(photo, Image.new("L", (4, 4), 128)).image().getchannel("A").getextrema()
    assert alpha == (64, 64)


@pytest.mark.parametrize("value", [0, 255])
def test_empty_and_full_masks(value: int) -> None:
    """Nobody leaves nothing, and a mask that is all person leaves the photo as it was."""
    photo = noise((70, 50))
    for cutout in (hard_cutout, soft_cutout):
        found = cutout(photo, Image.new("L", photo.size, value)).image()
        if value:
            assert found.tobytes() == photo.convert("RGBA").tobytes()
        else:
            assert found.getextrema() == ((0, 0),) * 4


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("kind", [hard_cutout, soft_cutout])
def test_a_cutout_made_in_strips_is_the_whole_one(
    kind: Callable[[Image.Image, Image.Image], Cutout], mode: str
) -> None:
    """Strip by strip or at once, the same pixels, over more than one strip's rows."""
    photo = noise((90, 2 * png_writer.STRIP + 41)).convert(mode)
    if mode == "RGBA":
        photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    mask = Image.radial_gradient("L").resize(photo.size)
    cutout = kind(photo, mask)
    assert opened(cutout.png()).tobytes() == cutout.image().tobytes()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_hard_cutout_has_the_photos_pixels_or_zeros(mode: str) -> None:
    """Composed by numpy (RGB) or by Pillow (RGBA): the photo above .5, zeros elsewhere."""
    photo, mask = noise((33, 70)).convert(mode), Image.radial_gradient("L").resize((33, 70))
    inside = mask.point([0] * 128 + [255] * 128)
    expected = Image.composite(photo.convert("RGBA"), Image.new("RGBA", photo.size), inside)
    assert hard_cutout(photo, mask).image().tobytes() == expected.tobytes()


def test_without_numpy_the_error_says_what_to_install() -> None:
    """Soft edges need numpy; who has none is told how to get it."""
    script = (
        "import sys; sys.modules['numpy'] = None\n"
        "from PIL import Image\n"
        "from humanbody_cli.core.errors import UsageError\n"
        "from humanbody_cli.imaging.cutouts import soft_cutout\n"
        "try: soft_cutout(Image.new('RGB', (4, 4)), Image.new('L', (4, 4)))\n"
        "except UsageError as error: print(error)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "pip install 'hbseg[soft]" in ended.stdout


# Figures


@pytest.mark.parametrize(
    ("mask", "coverage", "doubt"),
    [
        (gray(0, 0, 0, 0), 0.0, 0.0),
        (gray(255, 255, 255, 255), 1.0, 0.0),
        (gray(127, 128, 0, 0), 0.25, 1.0),
        (gray(255, 255, 0, 0), 0.5, 0.0),
        (gray(255, 100, 0, 0), 0.25, 0.5),
        (gray(63, 63, 0, 0), 0.0, 0.0),
        (gray(64, 153, 154, 255), 0.75, 0.5),
        (gray(255, 255, 255), 1.0, 0.0),
        (gray(255, 0, 0), 0.3333, 0.0),
    ],
)
def test_figures_of_known_masks(mask: Image.Image, coverage: float, doubt: float) -> None:
    """Coverage is the part beyond 0.5; doubt the part of the likely that is not sure."""
    assert Mask(mask).coverage() == coverage
    assert Mask(mask).doubt() == doubt


@given(st.binary(min_size=1, max_size=80))
def test_figures_are_between_0_and_1(data: bytes) -> None:
    """Whatever the mask, both figures are parts of a whole, and coverage is the cutout's own."""
    mask = Mask(gray(*data))
    assert 0 <= mask.doubt() <= 1
    cutout = hard_cutout(Image.new("RGB", (len(data), 1)), mask.image).image()
    opaque = cutout.getchannel("A").histogram()
    assert mask.coverage() == round(opaque[255] / len(data), 4)


def test_coverage_is_0_for_masks_of_nobody_alone() -> None:
    """A single pixel of a person in a large photo is not rounded away; the mask of nobody that is
    made without an engine has none."""
    mask = Image.new("L", (1000, 1000), THRESHOLD)
    assert Mask(mask).coverage() == 0
    mask.putpixel((3, 4), THRESHOLD + 1)
    assert Mask(mask).coverage() == 0.0001
    assert Mask.empty((48, 60)).coverage() == 0
    assert Mask.empty((48, 60)).image.size == (48, 60)


def test_the_threshold_is_the_documents() -> None:
    """confidence > 0.5 of V = confidence * 255 is V > 127.5, so 127 is the last background."""
    assert int(0.5 * 255) == THRESHOLD
