"""What ``--fit`` sends: any photo, brought within the limits of the API."""

from __future__ import annotations

from pathlib import Path

import pytest
from checking import Check, pixel
from hypothesis import example, given, settings
from hypothesis import strategies as st
from making import (
    GOLD,
    RED,
    every_format,
    jpeg,
    noise,
    opened,
    png,
    quarters,
)
from PIL import Image
from uploading import TWO_MB, near_quarters, prepared, within_limits

from humanbody_cli.discovery.sources import Rules
from humanbody_cli.imaging import pictures, uploads
from humanbody_cli.imaging.pictures import Picture, read_header
from humanbody_cli.imaging.uploads import fitted_size, prepare


@pytest.fixture(autouse=True)
def _pillow() -> None:
    pictures.configure_pillow()


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
