"""Decoding: every mode, profile and format, against known pixels."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from checking import Check, near, rejection, shows_quarters
from checking import pixel as pixel_at
from making import (
    BLUE,
    GOLD,
    GREEN,
    cmyk_profile,
    every_format,
    interlaced_png,
    jpeg,
    noise,
    other_profile,
    png,
    quarters,
    raw_png,
    saved,
    srgb_profile,
)
from mutations import heic
from PIL import Image

from humanbody_cli.core.errors import PhotoError
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.imaging import pictures, uploads
from humanbody_cli.imaging.pictures import Picture, read_header

FORMAT = "IMAGE_ERROR_UNSUPPORTED_FORMAT"
FIT = Rules(fit=True)


@pytest.fixture(autouse=True)
def _pillow() -> None:
    pictures.configure_pillow()


def pixel(data: bytes, at: tuple[int, int] = (5, 5)) -> tuple[int, ...]:
    """One upright pixel of a file, through the product's own decoder."""
    return pixel_at(read_header(data).pixels(), at)


# Modes

GRAY_TRNS = raw_png((64, 64), 8, 0, (b"\0" + b"\x64" * 64) * 64, extra=((b"tRNS", b"\0\x64"),))
GRAY16 = (b"\0" + struct.pack(">H", 25700) * 64) * 64
GRAY16_TRNS = raw_png((64, 64), 16, 0, GRAY16, extra=((b"tRNS", struct.pack(">H", 25700)),))
RGB16 = (b"\0" + struct.pack(">HHH", 25700, 65535, 257) * 64) * 64
RGB_TRNS = raw_png(
    (64, 64), 8, 2, (b"\0" + bytes([1, 2, 3] * 64)) * 64, extra=((b"tRNS", b"\0\1\0\2\0\3"),)
)
RGBA16 = (b"\0" + struct.pack(">HHHH", 25700, 65535, 257, 32896) * 64) * 64
LA16 = (b"\0" + struct.pack(">HH", 25700, 32896) * 64) * 64


def _palette(**options: object) -> bytes:
    image = Image.new("P", (64, 64), 3)
    image.putpalette([0, 0, 0, 1, 1, 1, 2, 2, 2, *GOLD])
    return saved(image, "PNG", **options)


MODES = {
    "1": (png(Image.new("1", (64, 64), 1)), (255, 255, 255)),
    "1-black": (png(Image.new("1", (64, 64), 0)), (0, 0, 0)),
    "L": (png(Image.new("L", (64, 64), 100)), (100, 100, 100)),
    "L-tRNS": (GRAY_TRNS, (100, 100, 100, 0)),
    "LA": (png(Image.new("LA", (64, 64), (100, 70))), (100, 100, 100, 70)),
    "P": (_palette(), GOLD),
    "P-tRNS": (_palette(transparency=bytes([0, 0, 0, 90])), (*GOLD, 90)),
    "P-tRNS-one": (_palette(transparency=2), (*GOLD, 255)),
    "RGB": (png(Image.new("RGB", (64, 64), BLUE)), BLUE),
    "RGB-tRNS": (RGB_TRNS, (1, 2, 3, 0)),
    "RGB-tRNS-other": (png(Image.new("RGB", (64, 64), BLUE), transparency=GOLD), (*BLUE, 255)),
    "RGBA": (png(Image.new("RGBA", (64, 64), (*GREEN, 5))), (*GREEN, 5)),
    "I;16": (raw_png((64, 64), 16, 0, GRAY16), (100, 100, 100)),
    "RGB-16": (raw_png((64, 64), 16, 2, RGB16), (100, 255, 1)),
    "RGBA-16": (raw_png((64, 64), 16, 6, RGBA16), (100, 255, 1, 128)),
    "LA-16": (raw_png((64, 64), 16, 4, LA16), (100, 100, 100, 128)),
    "interlaced": (interlaced_png(Image.new("RGB", (64, 64), BLUE)), BLUE),
    "jpeg-L": (jpeg(Image.new("L", (64, 64), 100)), (100, 100, 100)),
    "jpeg-RGB": (jpeg(Image.new("RGB", (64, 64), GOLD)), GOLD),
    "jpeg-CMYK": (jpeg(Image.new("CMYK", (64, 64), (255, 0, 0, 0))), (0, 255, 255)),
    "jpeg-CMYK-profile": (
        jpeg(Image.new("CMYK", (64, 64), (255, 0, 0, 0)), icc_profile=cmyk_profile()),
        (119, 119, 119),
    ),
    "jpeg-CMYK-broken-profile": (
        jpeg(Image.new("CMYK", (64, 64), (255, 0, 0, 0)), icc_profile=b"no profile"),
        (0, 255, 255),
    ),
    "tiff-I;16B": (saved(Image.new("I;16B", (64, 64), 25700), "TIFF"), (100, 100, 100)),
    "tiff-F": (saved(Image.new("F", (64, 64), 100.0), "TIFF"), (100, 100, 100)),
    "tiff-F-to-1": (saved(Image.new("F", (64, 64), 0.5), "TIFF"), (128, 128, 128)),
    "tiff-CMYK": (saved(Image.new("CMYK", (64, 64), (0, 255, 0, 0)), "TIFF"), (255, 0, 255)),
    "tiff-YCbCr": (saved(Image.new("YCbCr", (64, 64), (76, 85, 255)), "TIFF"), (254, 0, 0)),
    "tiff-LAB": (saved(Image.new("LAB", (64, 64), (255, 128, 128)), "TIFF"), None),
    "gif-transparent": (saved(Image.new("P", (64, 64), 3), "GIF", transparency=3), None),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_becomes_rgb_or_rgba(name: str) -> None:
    """Each of Pillow's modes gives its known colour, with alpha exactly where there is some."""
    data, expected = MODES[name]
    picture = read_header(data)
    image = picture.pixels()
    assert image.mode == ("RGBA" if picture.has_alpha else "RGB")
    found = pixel_at(image, (5, 5))
    if expected is None:
        assert len(found) == 4
    else:
        assert near(found, expected, 2 if "jpeg" in name or "YCbCr" in name else 0), found


def test_16_bit_gray_keeps_its_transparent_value() -> None:
    """A 16-bit gray PNG with a transparent value is transparent there."""
    assert pixel(GRAY16_TRNS) == (100, 100, 100, 0)


def test_16_bit_gray_spans_the_whole_range() -> None:
    """0, 32768 and 65535 become 0, 128 and 255."""
    for value, gray in ((0, 0), (32768, 128), (65535, 255)):
        rows = (b"\0" + struct.pack(">H", value) * 64) * 64
        assert pixel(raw_png((64, 64), 16, 0, rows)) == (gray,) * 3


def test_pixels_are_decoded_once_and_can_be_dropped() -> None:
    """The pixels are kept until they are dropped, and come again the same."""
    picture = read_header(jpeg())
    first = picture.pixels()
    assert picture.pixels() is first
    picture.forget_pixels()
    assert picture.pixels() is not first
    assert picture.pixels().tobytes() == first.tobytes()


# Profiles


@pytest.mark.parametrize("make", [jpeg, png])
@pytest.mark.parametrize("profile", [srgb_profile, other_profile])
def test_an_rgb_profile_is_carried(
    make: Callable[..., bytes], profile: Callable[[], bytes]
) -> None:
    """A photo's own RGB profile is what its cutout carries, and its pixels stay as they are."""
    picture = read_header(make(icc_profile=profile()))
    assert pictures.rgb_profile(picture) == profile()
    assert shows_quarters(picture.pixels())


def test_a_profile_of_other_colours_is_not_carried() -> None:
    """A CMYK or gray profile says nothing of the RGB pixels that were made of it."""
    cyan = Image.new("CMYK", (64, 64), (255, 0, 0, 0))
    assert pictures.rgb_profile(read_header(jpeg(cyan, icc_profile=cmyk_profile()))) is None
    gray = srgb_profile()
    gray = gray[:16] + b"GRAY" + gray[20:]
    picture = read_header(jpeg(Image.new("L", (64, 64)), icc_profile=gray))
    assert pictures.rgb_profile(picture) is None
    assert pictures.rgb_profile(read_header(jpeg())) is None


# Other formats

OTHERS = dict(every_format(quarters()))


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_rejected_with_a_hint(checked: Check, name: str) -> None:
    """WebP, TIFF, BMP, GIF and AVIF are no API formats; the message offers --fit."""
    assert checked(OTHERS[name]) == FORMAT
    message = rejection(OTHERS[name]).message
    assert name in message
    assert "--fit" in message


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_read_with_fit(checked: Check, name: str) -> None:
    """With --fit each is read, with its known pixels."""
    found = checked(OTHERS[name], FIT)
    assert isinstance(found, Picture)
    assert found.format == name
    assert shows_quarters(found.pixels(), by=12)


def test_heic_is_rejected_with_a_hint_and_read_with_fit(
    checked: Check,
) -> None:
    """HEIC, what phones write, is treated like the others where the extra is installed."""
    heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    heif.from_pillow(quarters((128, 96))).save(buffer, quality=95)
    assert checked(buffer.getvalue()) == FORMAT
    assert "--fit" in rejection(buffer.getvalue()).message
    found = checked(buffer.getvalue(), FIT)
    assert isinstance(found, Picture)
    assert shows_quarters(found.pixels(), by=12)


HEIC_HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
AVIF_HEAD = b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf"

WITHOUT_READERS = f"""
import sys
sys.modules["pillow_heif"] = sys.modules["PIL._avif"] = None
from humanbody_cli.imaging import decoding, pictures
from humanbody_cli.core.errors import PhotoError
pictures.configure_pillow()
print(decoding.readers())
for head in ({HEIC_HEAD!r}, {AVIF_HEAD!r}):
    for fit in (False, True):
        try:
            pictures.read_header(head + bytes(400), fit=fit)
        except PhotoError as error:
            print(error.code, error.message)
"""


def test_a_missing_reader_is_named_with_the_way_to_it() -> None:
    """Without its reader a HEIC or AVIF is told how to install it; who uses --fit
    already is not told to."""
    root = Path(pictures.__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_READERS],
        capture_output=True,
        text=True,
        cwd=root,
        check=True,
    )
    readers, heic, heic_fit, avif, avif_fit = run.stdout.splitlines()
    assert readers == ""
    assert heic.startswith(f"{FORMAT} HEIC is not accepted, only JPG and PNG")
    assert heic_fit.startswith(f"{FORMAT} HEIC cannot be read: its reader is not installed")
    assert avif.startswith(f"{FORMAT} AVIF is not accepted, only JPG and PNG")
    assert avif_fit.startswith(f"{FORMAT} AVIF cannot be read: its reader is not installed")
    assert "pip install 'hbseg[fit]" in heic and "pip install 'hbseg[fit]" in heic_fit
    assert "--fit" in heic and "--fit" in avif
    assert "--fit" not in heic_fit and "--fit" not in avif_fit


@pytest.mark.parametrize("fit", [True, False])
@pytest.mark.parametrize(("name", "head"), [("HEIC", HEIC_HEAD), ("AVIF", AVIF_HEAD)])
def test_a_damaged_heic_or_avif_is_called_damaged(name: str, head: bytes, fit: bool) -> None:
    """Where its reader is installed, a HEIC or AVIF that cannot be opened is damaged."""
    if name == "HEIC":
        pytest.importorskip("pillow_heif")
    message = rejection(head + bytes(400), Rules(fit=fit)).message
    assert "damaged" in message
    assert "install" not in message


def test_the_readers_are_named() -> None:
    """``readers`` names what is installed, in one order, and loads none of it."""
    script = "import sys; from humanbody_cli.imaging.decoding import readers; r = readers()\n"
    script += "assert not {'PIL.Image', 'pillow_heif'} & set(sys.modules); print(r)"
    root = Path(pictures.__file__).parents[2]
    pytest.importorskip("pillow_heif")
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=True
    )
    assert run.stdout.strip() == "avif,heif"


def test_a_file_too_large_for_fit_is_not_told_to_use_fit() -> None:
    """Beyond what --fit reads, the message names that bound and does not offer --fit."""
    with pytest.raises(PhotoError, match="more than --fit accepts") as caught:
        uploads.check_fit_size(uploads.MAX_FIT_BYTES + 1)
    assert caught.value.code == "IMAGE_FILE_TOO_LARGE"
    assert "use --fit" not in caught.value.message
    uploads.check_fit_size(uploads.MAX_FIT_BYTES)


def _box_of(data: bytes, name: bytes) -> int:
    """Where the payload of a HEIF's or AVIF's last box of this name begins."""
    return data.rindex(name) + len(name)


@pytest.mark.parametrize("rules", [Rules(), FIT, Rules(fit=True, keep_pixels=True)])
@pytest.mark.parametrize("kind", ["AVIF", "HEIC"])
def test_damaged_pixels_of_modern_formats_are_rejected(
    checked: Check, kind: str, rules: Rules
) -> None:
    """Broken AVIF and HEIC, in their headers or their pixels, are this photo's rejection."""
    if kind == "HEIC":
        pytest.importorskip("pillow_heif")
    data = heic(noise((128, 96))) if kind == "HEIC" else saved(noise((128, 96)), "AVIF")
    pixels = _box_of(data, b"mdat")
    for damaged in (
        data[:pixels] + b"\xff" * (len(data) - pixels),
        data[:pixels] + bytes(len(data) - pixels),
        data[: len(data) // 2],
        data[:40] + bytes(60) + data[100:],
    ):
        assert checked(damaged, rules) == FORMAT


def test_a_preview_never_stands_for_the_pixels(checked: Check) -> None:
    """A HEIC whose pixels are damaged is rejected though the preview inside it is sound."""
    heif = pytest.importorskip("pillow_heif")
    file = heif.from_pillow(noise((400, 300)))
    buffer = io.BytesIO()
    file.save(buffer, quality=60, thumbnails=[100])
    data = buffer.getvalue()
    assert heif.HeifImageFile(io.BytesIO(data)).info["thumbnails"]
    pixels = _box_of(data, b"mdat")  # the picture's own come first
    assert checked(data[:pixels] + b"\xff" * 400 + data[pixels + 400 :], FIT) == FORMAT


def test_animated_gifs_give_their_first_frame() -> None:
    """Of an animation the first picture counts."""
    first, second = (image.quantize(8) for image in (quarters(), noise((96, 64))))
    data = saved(first, "GIF", save_all=True, append_images=[second])
    assert shows_quarters(read_header(data).pixels())
