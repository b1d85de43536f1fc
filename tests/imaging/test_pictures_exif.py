"""Orientation and Exif: every photo comes upright, and odd Exif is no fault."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator

import pytest
from checking import Check, shows_quarters
from checking import pixel as pixel_at
from making import (
    chunks_of,
    exif,
    jpeg,
    png,
    png_from,
    quarters,
    saved,
    stored,
)
from PIL import Image, PngImagePlugin

from humanbody_cli.imaging import pictures
from humanbody_cli.imaging.pictures import Picture, read_header

ALL_ORIENTATIONS = range(1, 9)


@pytest.fixture(autouse=True)
def _pillow() -> None:
    pictures.configure_pillow()


def pixel(data: bytes, at: tuple[int, int] = (5, 5)) -> tuple[int, ...]:
    """One upright pixel of a file, through the product's own decoder."""
    return pixel_at(read_header(data).pixels(), at)


# Orientation


@pytest.mark.parametrize("make", [jpeg, png])
@pytest.mark.parametrize("orientation", ALL_ORIENTATIONS)
def test_every_orientation_comes_upright(make: Callable[..., bytes], orientation: int) -> None:
    """All eight Exif orientations give the same upright picture of the same size."""
    picture = read_header(make(orientation=orientation))
    assert picture.orientation == orientation
    assert picture.size == picture.pixels().size == (96, 64)
    assert picture.stored == ((64, 96) if orientation > 4 else (96, 64))
    assert shows_quarters(picture.pixels())


@pytest.mark.parametrize("orientation", ALL_ORIENTATIONS)
@pytest.mark.parametrize("kind", ["TIFF", "WEBP", "AVIF"])
def test_other_formats_come_upright(kind: str, orientation: int) -> None:
    """What --fit reads is turned upright too."""
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(stored(quarters(), orientation), kind, exif=exif(orientation), **options)
    picture = read_header(data)
    assert picture.size == picture.pixels().size == (96, 64)
    assert shows_quarters(picture.pixels(), by=12)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_comes_upright(orientation: int) -> None:
    """A phone's HEIC is turned once and not twice."""
    heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    image = stored(quarters((128, 96)), orientation)
    heif.from_pillow(image).save(buffer, quality=95, exif=exif(orientation).tobytes())
    picture = read_header(buffer.getvalue())
    assert picture.format == "HEIF"
    assert picture.size == picture.pixels().size == (128, 96)
    assert shows_quarters(picture.pixels(), by=14)


def test_exif_after_the_pixels_of_a_png_counts() -> None:
    """A PNG may carry its Exif behind the pixels, where some tools write it."""
    chunks = chunks_of(png(orientation=6))
    late = sorted(chunks, key=lambda one: (one[0] == b"IEND", one[0] == b"eXIf"))
    assert [kind for kind, _ in late][-2:] == [b"eXIf", b"IEND"]
    picture = read_header(png_from(late))
    assert picture.size == picture.pixels().size == (96, 64)
    assert shows_quarters(picture.pixels())


def test_exif_in_a_text_chunk_of_a_png_counts() -> None:
    """Before eXIf was invented ImageMagick wrote Exif as text; Pillow honours it, and so do we."""
    data = exif(6).tobytes()
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(data):8}\n{data.hex()}\n")
    assert read_header(png(stored(quarters(), 6), pnginfo=text)).size == (96, 64)


@pytest.mark.parametrize("value", [0, 9, 255, 65535])
def test_an_orientation_that_makes_no_sense_is_upright(value: int) -> None:
    """An orientation outside 1 to 8 is ignored."""
    tags = exif(value)
    picture = read_header(jpeg(exif=tags))
    assert picture.orientation == 1
    assert shows_quarters(picture.pixels())


BROKEN_EXIF = [
    b"",
    b"Exif\0\0",
    b"Exif\0\0II",
    b"Exif\0\0MM\0*\0\0",
    b"Exif\0\0MM\0*\xff\xff\xff\xff",
    b"Exif\0\0garbage that is no TIFF at all",
    exif(6, gps=True).tobytes()[:40],
]


@pytest.mark.parametrize("data", BROKEN_EXIF)
@pytest.mark.parametrize("make", [jpeg, png])
def test_broken_exif_is_no_fault(checked: Check, make: Callable[..., bytes], data: bytes) -> None:
    """Damaged Exif, common and harmless, keeps no photo out."""
    found = checked(make(exif=data))
    assert isinstance(found, Picture)
    assert found.pixels().size == found.size


@pytest.mark.parametrize(
    "data",
    BROKEN_EXIF,
)
def test_broken_exif_is_not_kept(data: bytes) -> None:
    """Where Exif is to be kept and is damaged, there is none to keep."""
    assert pictures.upright_exif(read_header(jpeg(exif=data))) is None


def _odd_exif(kind: int, count: int, value: bytes) -> bytes:
    """Exif with orientation 6 and a Make tag whose type is not what the standard says."""
    entries = struct.pack(">HHI4s", 0x010F, kind, count, value)
    entries += struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    return b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + entries + bytes(4)


ODD_EXIF = {
    "make-is-a-float": _odd_exif(11, 1, b"\x40\0\0\0"),
    "make-is-a-byte": _odd_exif(1, 1, b"a\0\0\0"),
    "make-is-a-short": _odd_exif(3, 1, b"\0\x07\0\0"),
    "make-is-nothing": _odd_exif(2, 0, bytes(4)),
    "make-is-an-unknown-type": _odd_exif(99, 1, bytes(4)),
    "make-lies-outside": _odd_exif(2, 5000, b"\0\0\xff\xff"),
}


@pytest.mark.parametrize("data", ODD_EXIF.values(), ids=ODD_EXIF)
@pytest.mark.parametrize("make", [jpeg, png])
def test_odd_tags_beside_an_orientation_are_no_fault(
    make: Callable[..., bytes], data: bytes
) -> None:
    """A photo on its side is turned upright, whatever other tags its camera wrote."""
    picture = read_header(make(stored(quarters(), 6), exif=data))
    assert picture.size == (96, 64)
    assert shows_quarters(picture.pixels())


@pytest.mark.parametrize(
    "data",
    [pytest.param(ODD_EXIF[n], id=n) for n in ODD_EXIF],
)
def test_odd_tags_are_kept_or_dropped(data: bytes) -> None:
    """Exif that cannot be written anew is dropped, and costs no photo."""
    pictures.upright_exif(read_header(jpeg(exif=data)))


def _damaged_exif() -> Iterator[bytes]:
    """Exif with each byte in turn set to each of some values."""
    tags = exif(6, gps=True)
    tags[0x0110] = "model"
    tags[0x011A] = 72.0
    tags.get_ifd(0x8769).update({0x9003: "2020:01:01 00:00:00", 0x829A: 0.01})
    raw = tags.tobytes()
    for place in range(6, len(raw)):
        for value in (0, 1, 12, 255):
            yield raw[:place] + bytes([value]) + raw[place + 1 :]


def test_no_damaged_byte_of_exif_is_a_fault() -> None:
    """Whichever byte of its Exif is damaged, the photo decodes at the size that was told."""
    small = stored(quarters((24, 16)), 6)
    for damaged in _damaged_exif():
        picture = read_header(jpeg(small, exif=damaged))
        assert picture.pixels().size == picture.size


def test_no_damaged_byte_of_kept_exif_is_a_fault() -> None:
    """Whichever byte of its Exif is damaged, it is kept or dropped, and costs no photo."""
    for damaged in _damaged_exif():
        pictures.upright_exif(read_header(jpeg(quarters((24, 16)), exif=damaged)))


# Exif for the cutout


def test_kept_exif_is_upright_and_keeps_the_rest() -> None:
    """Exif that is kept loses its orientation, baked in by then, and nothing else."""
    kept = pictures.upright_exif(read_header(jpeg(orientation=6, exif=exif(6, gps=True))))
    assert kept is not None
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + kept)
    assert 0x0112 not in tags
    assert tags[0x010F] == "CAMERA-MAKER"
    assert tags.get_ifd(0x8825)[2] == (48.0, 12.0, 30.0)


def test_no_exif_stays_none() -> None:
    """A photo without Exif, or with an orientation only, has none to keep."""
    assert pictures.upright_exif(read_header(jpeg())) is None
    assert pictures.upright_exif(read_header(jpeg(orientation=6))) is None
