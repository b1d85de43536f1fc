"""Encoding PNG loses nothing; headers are read, and looks are added to a paid file."""

from __future__ import annotations

import sys

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from making import (
    chunks_of,
    exif,
    noise,
    opened,
    other_profile,
    png,
    png_from,
    raw_png,
    srgb_profile,
)
from PIL import Image
from pngs import is_sound, picture

from humanbody_cli.imaging import pictures
from humanbody_cli.imaging.png_check import (
    BrokenPng,
    chunks,
    has_alpha,
    header,
    is_gray8,
    verify,
)
from humanbody_cli.imaging.png_writer import encode, with_metadata


@pytest.fixture(autouse=True)
def _pillow() -> None:
    pictures.configure_pillow()


# Header


@given(st.integers(1, 2**32 - 1), st.integers(1, 2**32 - 1))
def test_the_header_is_read(width: int, height: int) -> None:
    """Width and height are those of IHDR, whatever they are."""
    head = header(raw_png((width, height), 8, 6, b""))
    assert (head.width, head.height, head.depth, head.colour) == (width, height, 8, 6)
    assert head.row_bytes == 4 * width


@pytest.mark.parametrize(
    ("data", "gray", "alpha"),
    [
        (png(picture("L", (9, 9))), True, False),
        (png(picture("1", (9, 9))), False, False),
        (png(picture("I;16", (9, 9))), False, False),
        (png(picture("LA", (9, 9))), False, True),
        (png(picture("RGB", (9, 9))), False, False),
        (png(picture("RGB", (9, 9)), transparency=(1, 2, 3)), False, True),
        (png(picture("RGBA", (9, 9))), False, True),
        (png(picture("P", (9, 9))), False, False),
        (png(picture("P", (9, 9)), transparency=1), False, True),
    ],
    ids="L 1 I;16 LA RGB RGB-tRNS RGBA P P-tRNS".split(),
)
def test_gray_and_transparency_are_told(data: bytes, gray: bool, alpha: bool) -> None:
    """An 8-bit gray mask is told from other grays; alpha may be a channel or a tRNS chunk."""
    head = header(data)
    assert is_gray8(head) is gray
    assert has_alpha(head, data) is alpha


# Looks

EXIF = exif(gps=True).tobytes().removeprefix(b"Exif\0\0")


def test_looks_are_added_and_nothing_else_is_touched() -> None:
    """Profile and Exif go right behind the header; every other chunk stays as it was."""
    data = png(picture("RGBA", (30, 20)), compress_level=1)
    looks = with_metadata(data, profile=other_profile(), exif=EXIF)
    added = (b"iCCP", b"eXIf")
    assert [one for one in chunks_of(looks) if one[0] not in added] == chunks_of(data)
    assert [kind for kind, _ in chunks_of(looks)][:4] == [b"IHDR", b"iCCP", b"eXIf", b"IDAT"]
    image = opened(looks)
    assert image.info["icc_profile"] == other_profile()
    assert image.getexif()[0x010F] == "CAMERA-MAKER"
    assert image.tobytes() == opened(data).tobytes()
    assert is_sound(looks)


@given(st.binary(max_size=200))
def test_bytes_behind_the_end_stay_too(tail: bytes) -> None:
    """Even what stands behind IEND stays."""
    data = png(picture("L", (9, 9))) + tail
    assert with_metadata(data, exif=EXIF).endswith(data[33:])


def test_no_looks_leave_the_bytes_alone() -> None:
    """Without profile and Exif the very same object comes back."""
    data = png(picture("L", (9, 9)))
    assert with_metadata(data) is data
    assert with_metadata(data, profile=b"", exif=b"") is data


def test_colours_that_are_stated_stay() -> None:
    """A PNG that has a profile, or says it is sRGB, keeps that; Exif that is there stays too."""
    own = png(picture("RGB", (9, 9)), icc_profile=srgb_profile())
    assert with_metadata(own, profile=other_profile()) == own
    head, *rest = chunks_of(png(picture("RGB", (9, 9))))
    stated = png_from([head, (b"sRGB", b"\0"), *rest])
    assert with_metadata(stated, profile=other_profile()) == stated
    with_exif = png(picture("RGB", (9, 9)), exif=exif(gps=True))
    assert with_metadata(with_exif, exif=b"other") == with_exif


def test_chunks_stop_at_the_first_fault() -> None:
    """Chunks before a damaged one are told, then it raises."""
    data = png(noise((9, 9)))
    parts = chunks(data[:-1])
    assert next(parts)[0] == b"IHDR"
    with pytest.raises(BrokenPng, match="cut short"):
        list(parts)
    with pytest.raises(BrokenPng, match="checksum"):
        list(chunks(data[:-1] + b"\0"))


# Encoding


@pytest.fixture(params=["isal", "numpy", "pillow"])
def _encoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder with all extras, with numpy alone, and with neither."""
    if request.param != "pillow":
        pytest.importorskip("numpy")
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        monkeypatch.setitem(sys.modules, "isal", None)
    if request.param == "pillow":
        monkeypatch.setitem(sys.modules, "numpy", None)


@pytest.mark.usefixtures("_encoder")
@pytest.mark.parametrize("mode", ["L", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (48, 48), (301, 127)])
def test_encoding_keeps_every_pixel(mode: str, size: tuple[int, int]) -> None:
    """What is written is sound, of the same size and mode, and the very same pixels."""
    image = picture(mode, size, seed=3)
    data = encode(image)
    verify(data)
    again = opened(data)
    assert (again.mode, again.size) == (mode, size)
    assert again.tobytes() == image.tobytes()


@pytest.mark.usefixtures("_encoder")
def test_flat_pictures_become_small() -> None:
    """A mask's empty areas cost next to nothing with any encoder."""
    assert len(encode(Image.new("L", (2000, 1000)))) < 20_000
    assert len(encode(Image.new("RGBA", (2000, 1000), (1, 2, 3, 4)))) < 80_000


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(["L", "RGBA"]), st.data())
def test_any_pixels_survive_encoding(mode: str, data: st.DataObject) -> None:
    """Whatever the pixels are, they come back."""
    size = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    count = size[0] * size[1] * len(mode)
    pixels = data.draw(st.binary(min_size=count, max_size=count))
    image = Image.frombytes(mode, size, pixels)
    assume(image.size == size)
    assert opened(encode(image)).tobytes() == pixels


def test_a_cropped_or_turned_picture_is_encoded_as_it_looks() -> None:
    """Pictures that share memory with others are written as they are shown."""
    image = picture("RGBA", (60, 40))
    for changed in (image.crop((7, 5, 33, 22)), image.transpose(Image.Transpose.ROTATE_90)):
        assert opened(encode(changed)).tobytes() == changed.tobytes()


def test_the_extras_make_no_other_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """All three encoders write the same picture."""
    image = picture("RGBA", (64, 48))
    found = {opened(encode(image)).tobytes()}
    monkeypatch.setitem(sys.modules, "isal", None)
    found.add(opened(encode(image)).tobytes())
    monkeypatch.setitem(sys.modules, "numpy", None)
    found.add(opened(encode(image)).tobytes())
    assert found == {image.tobytes()}
