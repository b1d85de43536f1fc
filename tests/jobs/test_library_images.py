"""The library on images of any mode, turned, large, or of formats that Pillow reads late."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any, cast

import pytest
from conftest import GRACE, ROOT
from library_photos import grace, same
from PIL import Image, ImageCms

from humanbody_cli import PhotoError, Segmenter, segment
from humanbody_cli.imaging.pictures import of_image


@pytest.fixture(scope="module")
def segmenter() -> Any:
    """One for the tests that need nothing special."""
    with Segmenter(threads=2) as opened:
        yield opened


def in_mode(mode: str) -> Image.Image:
    image = grace().resize((96, 112))
    if mode in ("La", "RGBa"):
        return image.convert(mode.upper()[:-1] + "A").convert(mode)
    if mode.startswith("I;16"):
        return image.convert("L").convert("I").point(lambda value: value * 257).convert(mode)
    if mode == "LAB":
        profiles = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
        return cast("Image.Image", ImageCms.profileToProfile(image, *profiles, outputMode="LAB"))
    if mode == "PA":
        return image.convert("P").convert("PA")
    return image.convert(mode)


MODES = "1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr HSV LAB I F I;16 I;16B".split()


@pytest.mark.parametrize("mode", MODES)
def test_images_of_any_mode(segmenter: Segmenter, mode: str) -> None:
    """Each is taken for a picture of eight bits, and is left as it was."""
    image = in_mode(mode)
    before = image.copy()
    found = segmenter.segment(image)
    assert (found.cutout.mode, found.cutout.size) == ("RGBA", image.size)
    assert image == before and image.mode == mode
    if mode in ("L", "LA", "P", "RGBA", "CMYK", "I;16", "I;16B"):
        assert found.cutout.convert("RGB").getextrema()[1] != (0, 0)


def test_transparency_is_kept(segmenter: Segmenter) -> None:
    """What is transparent in the photo is transparent in the cutout."""
    image = grace().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 300, image.width, image.height))
    assert (
        segmenter.segment(image).cutout.crop((0, 300, *image.size)).getchannel("A").getbbox()
        is None
    )


def test_orientation_and_colours_travel_and_places_do_not(segmenter: Segmenter) -> None:
    """The Exif orientation is applied once, the profile kept, and no Exif is in the results."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with Image.open(GRACE) as image:
        lying = image.transpose(Image.Transpose.ROTATE_90)
    buffer = io.BytesIO()
    lying.save(buffer, "PNG", exif=exif, icc_profile=profile)
    upright = segmenter.segment(GRACE)
    for source in (buffer.getvalue(), Image.open(io.BytesIO(buffer.getvalue()))):
        found = segmenter.segment(source)
        assert same(found, upright)
        assert set(found.cutout.info) == {"icc_profile"} and found.mask.info == {}
    again = io.BytesIO()
    found.composed(background="white").save(again, "PNG")
    with Image.open(again) as saved:
        assert saved.info["icc_profile"] == profile and not saved.getexif()


def test_a_photo_of_twelve_megapixels(segmenter: Segmenter) -> None:
    """It just works, from its file as from memory; the results have its size."""
    large = grace().resize((3000, 4000))
    buffer = io.BytesIO()
    large.save(buffer, "JPEG", quality=98)
    assert len(buffer.getvalue()) > 2 * 1024 * 1024
    for source in (buffer.getvalue(), large, large.resize((4200, 5600))):
        found = segmenter.segment(source)
        size = source.size if isinstance(source, Image.Image) else large.size
        assert found.mask.size == found.cutout.size == size
        assert found.coverage == pytest.approx(0.584, abs=0.02)
    with pytest.raises(PhotoError, match=r"use fit=True to have it shrunk") as raised:
        segment(buffer.getvalue(), fit=False)
    assert (raised.value.code, raised.value.rejected) == ("IMAGE_FILE_TOO_LARGE", True)


def test_a_limit_of_the_programs_own_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's limit on pixels is the program's: the photo is rejected, with its name."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(PhotoError, match=r"MAX_IMAGE_PIXELS"):
        segment(GRACE)


def test_a_heic_needs_no_reader_in_pillow() -> None:
    """It is read, and Pillow itself knows as many formats as before."""
    script = (
        "import sys, pillow_heif, io\nfrom PIL import Image\nfrom humanbody_cli import segment\n"
        "file = io.BytesIO()\n"
        "pillow_heif.from_pillow(Image.open(sys.argv[1]).convert('RGB')).save(file)\n"
        "assert segment(file.getvalue()).coverage > 0.3\n"
        "assert 'HEIF' not in Image.OPEN\n"
    )
    subprocess.run([sys.executable, "-c", script, str(GRACE)], cwd=ROOT, check=True)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_an_image_may_be_drawn_on_meanwhile(mode: str) -> None:
    """A program that reuses one image for each frame of a video gets no mask of one frame with the
    pixels of another: a photo under way has pixels of its own."""
    image = in_mode(mode)
    picture = of_image(image)
    taken = picture.pixels().copy()
    image.paste(0, (0, 0, *image.size))
    assert picture.pixels() == taken


def test_a_closed_file_is_told_of(segmenter: Segmenter) -> None:
    """Pillow's images read their files late."""
    with Image.open(GRACE) as image:
        pass
    with pytest.raises(PhotoError, match=r"cannot be used: .*; open it again"):
        segmenter.segment(image)
