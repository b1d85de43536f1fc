"""What is sent: the photo itself where it can be, else upright, within the limits, nothing more."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from making import (
    cmyk_profile,
    exif,
    jpeg,
    jpeg_of_bytes,
    noise,
    opened,
    other_profile,
    png,
    quarters,
    saved,
    stored,
)
from PIL import Image, ImageChops, ImageFilter, ImageStat, JpegImagePlugin
from uploading import TWO_MB, near_quarters, prepared, within_limits

from humanbody_cli.api.requests import request_size
from humanbody_cli.core.errors import PhotoError
from humanbody_cli.imaging import pictures, uploads
from humanbody_cli.imaging.pictures import read_header


@pytest.fixture(autouse=True)
def _pillow() -> None:
    pictures.configure_pillow()


# Sent as it is


@pytest.mark.parametrize("fit", [True, False])
@pytest.mark.parametrize(
    "data",
    [
        jpeg(),
        png(),
        jpeg(exif=exif(1, gps=True)),
        jpeg(icc_profile=other_profile()),
        png(Image.new("LA", (64, 64), (9, 200))),
        jpeg() + b"trailing",
        jpeg(noise((700, 600)), quality=95),
        jpeg(Image.new("RGB", (48, 4096))),
    ],
    ids="jpeg png exif profile gray-alpha trailing large edge".split(),
)
def test_an_upright_photo_within_the_limits_is_sent_as_it_is(data: bytes, fit: bool) -> None:
    """Byte for byte, with --fit or without: nothing is re-encoded that need not be."""
    upload = prepared(data, fit=fit)
    assert upload.data == data
    assert upload.picture.data is upload.data


@pytest.mark.parametrize(
    "spare",
    [
        1024,
        0,
        100,
    ],
)
def test_a_photo_that_passed_the_check_is_sent_as_it_is(spare: int) -> None:
    """What pre-validation lets through is sent byte for byte, up to the last byte it allows."""
    data = jpeg_of_bytes(TWO_MB - request_size(0) - spare)
    uploads.check_limits(read_header(data), len(data), request_size(len(data)))
    assert prepared(data).data == data


# Upright


@pytest.mark.parametrize("make", [jpeg, png])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_every_orientation_is_sent_upright(make: Callable[..., bytes], orientation: int) -> None:
    """What is sent has upright pixels and no orientation left to apply a second time."""
    data = make(orientation=orientation)
    upload = prepared(data)
    assert upload.format == read_header(data).format
    assert within_limits(upload)
    image = opened(upload.data)
    assert image.size == upload.size == (96, 64)
    assert near_quarters(image, by=6)


def test_a_turned_png_keeps_every_pixel() -> None:
    """Turning a PNG upright loses nothing, its transparency included."""
    image = noise((70, 50)).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((70, 50)))
    upload = prepared(png(image, orientation=5))
    assert opened(upload.data).tobytes() == image.tobytes()


@pytest.mark.parametrize(("quality", "subsampling"), [(95, 0), (85, 2), (60, 1)])
def test_a_turned_jpeg_keeps_its_size(quality: int, subsampling: int) -> None:
    """Turning a JPEG upright uses its own tables and sampling: it comes out about as large."""
    data = jpeg(_soft_photo(), orientation=6, quality=quality, subsampling=subsampling)
    upload = prepared(data)
    assert 0.9 < len(upload.data) / len(data) < 1.1
    with Image.open(io.BytesIO(upload.data)) as image:
        assert JpegImagePlugin.get_sampling(image) == subsampling


@pytest.mark.parametrize(
    "orientation",
    [2, 3, 4, *(turn for turn in (5, 6, 7, 8))],
)
def test_a_turned_jpeg_keeps_its_quality(orientation: int) -> None:
    """The same quantisation of the same blocks, turned: next to nothing is lost a second time."""
    data = jpeg(_soft_photo(), orientation=orientation, quality=75, subsampling=0)
    sent, original = opened(prepared(data).data), read_header(data).pixels()
    assert _mean_difference(sent, original) < 0.3


def _renumbered(data: bytes, numbers: dict[int, int]) -> bytes:
    """A JPEG whose quantisation tables have other numbers, in the tables and in the frame."""
    changed, place = bytearray(data), 2
    while changed[place + 1] != 0xDA:
        kind, length = changed[place + 1], int.from_bytes(changed[place + 2 : place + 4], "big")
        if kind == 0xDB:
            for table in range(place + 4, place + 2 + length, 65):
                changed[table] = numbers[changed[table]]
        if kind == 0xC0:
            for component in range(place + 12, place + 2 + length, 3):
                changed[component] = numbers[changed[component]]
        place += 2 + length
    return bytes(changed)


@pytest.mark.parametrize(
    ("tables", "numbers"), [(1, {0: 1}), (1, {0: 3}), (2, {0: 1, 1: 0}), (2, {0: 2, 1: 3})]
)
@pytest.mark.parametrize("orientation", [3, 6])
def test_tables_of_any_number_are_kept(
    orientation: int, tables: int, numbers: dict[int, int]
) -> None:
    """A turned JPEG keeps its quantisation whatever numbers its tables have, even a single one."""
    own = [[3 + i // 4 for i in range(64)], [5 + i % 8 for i in range(64)]][:tables]
    photo = stored(_soft_photo(), orientation)
    plain = jpeg(photo, exif=exif(orientation), qtables=own)
    data = _renumbered(plain, numbers)
    assert read_header(data).pixels().tobytes() == read_header(plain).pixels().tobytes()
    assert prepared(data).data == prepared(plain).data


def test_a_turned_jpeg_without_its_table_in_the_header_is_sent_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the tables cannot be told, the photo is sent at a high quality."""
    monkeypatch.setattr(uploads, "_tables", lambda _: None)
    assert within_limits(prepared(jpeg(orientation=6)))


def _soft_photo() -> Image.Image:
    """Something of a photograph: soft shapes and some grain, sides multiples of 16."""
    photo = Image.effect_noise((400, 304), 90).filter(ImageFilter.GaussianBlur(6)).convert("RGB")
    photo.paste(quarters((208, 160)).filter(ImageFilter.GaussianBlur(3)), (96, 72))
    return Image.blend(photo, noise((400, 304)), 0.3)


def _mean_difference(one: Image.Image, other: Image.Image) -> float:
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_turned_jpeg_of_other_colours_is_sent_as_rgb(mode: str) -> None:
    """A gray or CMYK JPEG on its side is sent upright as well."""
    options = {"icc_profile": cmyk_profile()} if mode == "CMYK" else {}
    upload = prepared(jpeg(quarters().convert(mode), orientation=8, **options))
    assert within_limits(upload)
    assert upload.size == (96, 64)


def test_a_turned_multi_picture_jpeg_is_one_upright_jpeg() -> None:
    """Of a phone's MPO on its side the first picture is sent, upright."""
    data = saved(
        stored(quarters(), 6),
        "MPO",
        save_all=True,
        append_images=[noise((40, 40))],
        exif=exif(6),
        quality=95,
    )
    upload = prepared(data)
    assert within_limits(upload)
    assert near_quarters(opened(upload.data))


def test_a_turned_photo_that_grows_too_large_is_rejected() -> None:
    """Where upright pixels have more than 2 MB and --fit was not given, the reason is told."""
    data = png(noise((2200, 2000)), orientation=6, compress_level=0)
    with pytest.raises(PhotoError, match="--fit") as caught:
        prepared(data)
    assert caught.value.rejected
    assert caught.value.code == "IMAGE_FILE_TOO_LARGE"


# Private


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "large"])
def test_what_is_re_encoded_carries_no_metadata(kind: str) -> None:
    """Place, camera, comments and profile are no business of the API: none of it is sent."""
    tags = exif(6, gps=True)
    side = stored(quarters(), 6)
    data = {
        "jpeg": lambda: jpeg(side, exif=tags, comment=b"SECRET", icc_profile=other_profile()),
        "png": lambda: png(side, exif=tags, icc_profile=other_profile()),
        "webp": lambda: saved(side, "WEBP", exif=tags, icc_profile=other_profile()),
        "tiff": lambda: saved(side, "TIFF", exif=tags, icc_profile=other_profile()),
        "large": lambda: jpeg(Image.new("RGB", (5000, 100)), exif=tags, comment=b"SECRET"),
    }[kind]()
    assert b"CAMERA-MAKER" in data
    upload = prepared(data, fit=True)
    assert b"CAMERA-MAKER" not in upload.data
    assert b"SECRET" not in upload.data
    assert not set(opened(upload.data).info) & {"exif", "icc_profile", "comment", "xmp"}
