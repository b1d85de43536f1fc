"""What is sent: the photo itself where it can be, else upright, within the limits, nothing more."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from checking import Check, pixel
from hypothesis import example, given, settings
from hypothesis import strategies as st
from making import (
    BLUE,
    GOLD,
    GREEN,
    RED,
    cmyk_profile,
    every_format,
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

from humanbody_cli.api.requests import request_size
from humanbody_cli.core.errors import PhotoError
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.imaging import pictures, uploads
from humanbody_cli.imaging.pictures import Picture, read_header
from humanbody_cli.imaging.uploads import Upload, fitted_size, prepare

TWO_MB = 2_097_152


@pytest.fixture(autouse=True)
def _pillow() -> None:
    pictures.configure_pillow()


def prepared(data: bytes, *, fit: bool = False) -> Upload:
    """The upload for a photo's bytes."""
    return prepare(read_header(data), fit=fit)


def within_limits(upload: Upload) -> bool:
    """Whether the API takes this: format, sides, bytes, and what it says of itself is true."""
    image = opened(upload.data)
    told = (upload.format, upload.size)
    return (
        told == (image.format, image.size)
        and image.format in ("JPEG", "PNG")
        and all(48 <= side <= 4096 for side in image.size)
        and request_size(len(upload.data)) <= TWO_MB
        and image.getexif().get(0x0112, 1) == 1
    )


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """The pixels near the four corners, as RGB."""
    width, height = image.size
    rgb = image.convert("RGB")
    places = [(2, 2), (width - 3, 2), (2, height - 3), (width - 3, height - 3)]
    return [pixel(rgb, place) for place in places]


def near_quarters(image: Image.Image, by: int = 12) -> bool:
    """Whether the corners are those of ``making.quarters``."""
    wanted = (RED, GREEN, BLUE, GOLD)
    pairs = zip(corners(image), wanted, strict=True)
    return all(abs(a - b) <= by for one, two in pairs for a, b in zip(one, two, strict=True))


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


# Fit


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 100), (100, 100)),
        ((48, 4096), (48, 4096)),
        ((6000, 4000), (4096, 2731)),
        ((4000, 6000), (2731, 4096)),
        ((4097, 4097), (4096, 4096)),
        ((8192, 100), (4096, 50)),
        ((9000, 50), (4096, 48)),
        ((10, 20), (48, 96)),
        ((1, 1), (48, 48)),
        ((1, 9000), (48, 4096)),
        ((47, 4096), (48, 4096)),
    ],
)
def test_the_nearest_size_within_the_limits(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    """Sides are brought within 48 to 4096 in proportion wherever that is possible."""
    assert fitted_size(size) == expected


@given(st.integers(1, 20_000), st.integers(1, 20_000))
@example(4096, 48)
@example(4097, 47)
def test_fitted_sizes_are_within_the_limits_and_in_proportion(width: int, height: int) -> None:
    """Any size is brought within the limits; what fits stays; proportions hold to a pixel."""
    fitted = fitted_size((width, height))
    assert all(48 <= side <= 4096 for side in fitted)
    if min(width, height) >= 48 and max(width, height) <= 4096:
        assert fitted == (width, height)
    if max(width, height) / min(width, height) <= 4096 / 48:
        scale = max(fitted) / max(width, height)
        assert abs(min(width, height) * scale - min(fitted)) <= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 260), st.integers(1, 260), st.integers(1, 40), st.integers(1, 8))
def test_any_photo_is_made_to_fit(width: int, height: int, stretch: int, orientation: int) -> None:
    """Photos of any size and orientation end within every limit, in their upright proportion."""
    picture = read_header(jpeg(quarters((width * stretch, height)), orientation=orientation))
    upload = prepare(picture, fit=True)
    assert within_limits(upload)
    assert upload.size == fitted_size(picture.size)


FORMATS = dict(every_format(quarters((400, 300))))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_made_to_fit(kind: str) -> None:
    """WebP, TIFF, BMP, GIF and AVIF are sent as JPEG or PNG with the pixels they had."""
    upload = prepared(FORMATS[kind], fit=True)
    assert within_limits(upload)
    assert upload.size == (400, 300)
    assert near_quarters(opened(upload.data))


@pytest.mark.parametrize("size", [(1, 1), (10, 20), (47, 47), (47, 300)])
def test_tiny_pictures_are_made_to_fit(size: tuple[int, int]) -> None:
    """What is too small is enlarged."""
    upload = prepared(png(Image.new("RGB", size, GOLD)), fit=True)
    assert within_limits(upload)
    assert opened(upload.data).getpixel((20, 20)) == GOLD


@pytest.mark.parametrize("size", [(1, 1), (7, 7), (8, 7), (7, 300), (47, 5)])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_under_8_pixels_are_made_to_fit(
    checked: Check, size: tuple[int, int], progressive: bool
) -> None:
    """A JPEG too small to be decoded at an eighth is checked and enlarged like any other."""
    found = checked(jpeg(Image.new("RGB", size, GOLD), progressive=progressive), Rules(fit=True))
    assert isinstance(found, Picture)
    assert within_limits(prepare(found, fit=True))


@pytest.mark.parametrize("size", [(20_000, 30), (30, 20_000), (9000, 50)])
def test_thin_strips_are_made_to_fit(size: tuple[int, int]) -> None:
    """Strips that cannot keep their proportion fit all the same, turned neither way."""
    upload = prepared(png(quarters(size)), fit=True)
    assert within_limits(upload)
    assert (upload.size[0] > upload.size[1]) is (size[0] > size[1])
    assert near_quarters(opened(upload.data))


def test_a_photo_of_24_megapixels_is_made_to_fit() -> None:
    """A camera's 6000 x 4000 photo is shrunk to 4096 and no further where its bytes allow it."""
    data = jpeg(quarters((6000, 4000)), orientation=6, quality=90)
    upload = prepared(data, fit=True)
    assert within_limits(upload)
    assert upload.size == (4096, 2731)
    assert near_quarters(opened(upload.data))


def test_a_noisy_photo_is_shrunk_until_its_bytes_fit() -> None:
    """Where no quality is low enough the sides shrink, in proportion, no more than needed."""
    data = jpeg(noise((3000, 2000)), quality=95)
    assert len(data) > TWO_MB
    upload = prepared(data, fit=True)
    assert within_limits(upload)
    assert abs(upload.size[0] / upload.size[1] - 1.5) < 0.01
    assert len(upload.data) > TWO_MB // 3


def test_fit_spends_quality_before_size() -> None:
    """A photo just beyond 2 MB keeps its sides."""
    data = jpeg(noise((1100, 900)), quality=98)
    assert len(data) > TWO_MB - 1024
    upload = prepared(data, fit=True)
    assert upload.size == (1100, 900)
    assert within_limits(upload)


def test_a_large_png_keeps_its_format_where_it_fits() -> None:
    """A PNG whose sides are too large stays a PNG while its bytes allow it."""
    upload = prepared(png(quarters((5000, 200))), fit=True)
    assert upload.format == "PNG"
    assert within_limits(upload)


def test_hidden_colours_are_not_sent() -> None:
    """What a PNG hides under alpha 0 does not come to light when it is sent as JPEG."""
    image = noise((1500, 1000)).convert("RGBA")
    image.paste((*RED, 0), (0, 0, 300, 300))
    upload = prepared(png(image, compress_level=1), fit=True)
    assert upload.format == "JPEG"
    red, green, _ = pixel(opened(upload.data).resize((150, 100)), (10, 10))
    assert red - green < 60


def test_the_pixels_to_look_at_are_those_that_are_sent() -> None:
    """The embedded engine sees the very pixels that the API would have got."""
    for data in (jpeg(orientation=6), jpeg(quarters((5000, 300))), png()):
        upload = prepared(data, fit=True)
        assert upload.pixels().mode == "RGB"
        assert upload.pixels().size == upload.size
        assert upload.pixels().tobytes() == opened(upload.data).convert("RGB").tobytes()


def test_a_sample_never_rules_out_every_quality(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample may mislead: the lowest quality is tried whatever it says."""
    monkeypatch.setattr(uploads, "_sample", lambda image: noise((64, 16)))
    image = Image.new("RGB", (64, 2000))
    assert list(uploads._worth_trying(image, budget=1)) == [75]


def test_a_sample_tells_the_size_of_a_photo() -> None:
    """Within a quarter, on the photo that is shipped, at every quality."""
    path = Path(__file__).resolve().parents[2] / "sample_images" / "portraits" / "grace_hopper.jpg"
    with Image.open(path) as opened:
        photo = opened.convert("RGB").resize((2048, 2560))
    sample = uploads._sample(photo)
    assert photo.height / 9 < sample.height <= photo.height / 8
    for quality in (95, 85, 75):
        whole, part = (len(uploads._as_jpeg(one, quality)) for one in (photo, sample))
        assert 0.75 < part * photo.height / sample.height / whole < 1.25
