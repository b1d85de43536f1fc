"""Pre-validation: every limit at its edge, what is no picture, what is cut short or a bomb."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from checking import Check, rejection, shows_quarters
from hypothesis import given
from hypothesis import strategies as st
from making import (
    RED,
    every_format,
    jpeg,
    jpeg_of_bytes,
    noise,
    png,
    quarters,
    raw_png,
    saved,
)
from PIL import Image

from humanbody_cli.api.requests import request_size
from humanbody_cli.core.errors import PhotoError
from humanbody_cli.core.photo import Kind, Photo
from humanbody_cli.core.settings import Credentials
from humanbody_cli.discovery import sources
from humanbody_cli.discovery.single import single
from humanbody_cli.discovery.sources import Rules, examine
from humanbody_cli.imaging import pictures, uploads
from humanbody_cli.imaging.pictures import Picture, read_header
from humanbody_cli.imaging.uploads import check_file_size

FORMAT, SIZE, BYTES = (
    "IMAGE_ERROR_UNSUPPORTED_FORMAT",
    "INVALID_IMAGE_SIZE",
    "IMAGE_FILE_TOO_LARGE",
)
TWO_MB = 2_097_152
FIT = Rules(fit=True)


@pytest.fixture(autouse=True)
def _pillow() -> None:
    pictures.configure_pillow()


# Limits


@pytest.mark.parametrize("make", [jpeg, png])
@pytest.mark.parametrize(
    ("size", "fits"),
    [
        ((48, 48), True),
        ((47, 48), False),
        ((48, 47), False),
        ((4096, 48), True),
        ((4097, 48), False),
        ((48, 4096), True),
        ((48, 4097), False),
        ((1, 1), False),
    ],
)
def test_sides_at_their_limits(
    checked: Check,
    make: Callable[..., bytes],
    size: tuple[int, int],
    fits: bool,
) -> None:
    """48 to 4096 pixels a side are taken, one less or more is INVALID_IMAGE_SIZE."""
    data = make(Image.new("RGB", size, RED))
    found = checked(data)
    assert (found.size if isinstance(found, Picture) else found) == (size if fits else SIZE)


def test_a_picture_of_4096_by_4096_is_taken(checked: Check) -> None:
    """The largest picture that the document allows passes."""
    found = checked(png(Image.new("1", (4096, 4096), 1)))
    assert isinstance(found, Picture)
    assert found.size == (4096, 4096)


def test_the_message_names_size_limits_and_remedy() -> None:
    """A rejected size says what it is, what is allowed and what to do."""
    message = rejection(jpeg(Image.new("RGB", (47, 5000)))).message
    assert "47 x 5000" in message
    assert "48 to 4096" in message
    assert "--fit" in message


@pytest.mark.parametrize(
    ("file", "request_bytes", "fits"),
    [
        (TWO_MB, TWO_MB, True),
        (TWO_MB - 1, TWO_MB + 1, False),
        (TWO_MB + 1, TWO_MB + 1, False),
        (0, 0, True),
    ],
)
def test_bytes_at_their_limits(file: int, request_bytes: int, fits: bool) -> None:
    """2,097,152 bytes are taken, one more is IMAGE_FILE_TOO_LARGE; the whole request counts."""
    if fits:
        check_file_size(file, request_bytes)
        return
    with pytest.raises(PhotoError, match="2,097,152") as caught:
        check_file_size(file, request_bytes)
    assert caught.value.code == BYTES
    assert "--fit" in caught.value.message


def test_a_file_at_the_requests_limit(checked: Check) -> None:
    """The largest file whose request has 2,097,152 bytes passes; one byte more does not."""
    most = TWO_MB - request_size(0)
    assert isinstance(checked(jpeg_of_bytes(most)), Picture)
    assert checked(jpeg_of_bytes(most + 1)) == BYTES
    assert checked(jpeg_of_bytes(TWO_MB)) == BYTES


def test_a_large_file_with_a_late_header_is_too_large(
    checked: Check,
) -> None:
    """Megabytes of depth map or preview before a JPEG's size make it too large, not damaged."""
    assert checked(jpeg_of_bytes(TWO_MB + 1)) == BYTES


def test_the_configured_keys_length_counts(checked: Check) -> None:
    """A key longer than usual leaves less room for the photo."""
    most = TWO_MB - request_size(0)
    long_key = Rules(overhead=request_size(0, Credentials("k" * 40, "s" * 32)))
    assert checked(jpeg_of_bytes(most), long_key) == BYTES
    assert isinstance(checked(jpeg_of_bytes(most - 8), long_key), Picture)


@pytest.mark.parametrize("size", [TWO_MB + 1, 5_000_000, 40_000_000])
def test_a_large_file_is_not_read_whole(tmp_path: Path, size: int) -> None:
    """Of a file beyond the limit only the beginning is read, and its true size is told."""
    path = tmp_path / "large.jpg"
    path.write_bytes(jpeg())
    os.truncate(path, size)
    data, told = sources.read(single(str(path)), TWO_MB)
    assert told == size
    assert len(data) <= 1_000_000
    with pytest.raises(PhotoError, match=f"{size:,}"):
        examine(single(str(path)), Rules())


def test_a_large_file_with_wrong_sides_says_so_first(checked: Check) -> None:
    """A photo beyond both limits is rejected for its sides: shrinking it settles both."""
    assert checked(jpeg(noise((4200, 600)), quality=100)) == SIZE


# What is no picture


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"this is a text that somebody named photo.jpg\n" * 40,
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0" + bytes(100),
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + bytes(60),
        b"<html><body>404</body></html>" * 9,
        b"%PDF-1.7\n" + bytes(200),
        b"\0\0\0\x18ftypmp42" + bytes(200),
    ],
    ids=lambda data: repr(data[:12]),
)
@pytest.mark.parametrize("rules", [Rules(), FIT, Rules(keep_pixels=True)], ids=["", "fit", "keep"])
def test_what_is_no_picture_is_rejected(checked: Check, data: bytes, rules: Rules) -> None:
    """Empty files, texts and stumps of headers are IMAGE_ERROR_UNSUPPORTED_FORMAT, --fit or not."""
    assert checked(data, rules) == FORMAT


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"]))
def test_arbitrary_bytes_are_rejected_and_never_a_traceback(data: bytes, head: bytes) -> None:
    """Whatever the bytes, the answer is a rejection with a reason."""
    assert rejection(head + data, FIT).code in (FORMAT, SIZE)


def test_the_reason_says_what_to_do() -> None:
    """Each rejection is a sentence with a remedy."""
    assert rejection(b"").message == "the file is empty; replace it"
    assert "not a picture" in rejection(b"hello" * 20).message
    assert "replace the file" in rejection(b"hello" * 20).message


@pytest.mark.parametrize(
    "kind",
    [
        "fifo",
        "socket",
        "device",
        "folder",
    ],
)
def test_what_is_no_file_is_rejected_at_once(tmp_path: Path, kind: str) -> None:
    """A FIFO, socket, folder or device named x.jpg is rejected without waiting for it."""
    path = tmp_path / "x.jpg"
    server = socket.socket(socket.AF_UNIX)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        server.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    began = time.process_time()
    with pytest.raises(PhotoError) as caught:
        examine(Photo(str(path), str(path), "x.png", 0, 0), Rules())
    server.close()
    assert time.process_time() - began < 1
    assert caught.value.rejected
    assert caught.value.code == FORMAT
    assert "regular file" in caught.value.message


def test_a_dangling_link_is_rejected_and_tried_again_later(tmp_path: Path) -> None:
    """A file that is not there now may be there at the next run."""
    path = tmp_path / "gone.jpg"
    path.symlink_to("nowhere")
    with pytest.raises(PhotoError, match="dangling link") as caught:
        examine(Photo(str(path), str(path), "gone.png", -1, -1), Rules())
    assert caught.value.rejected
    assert caught.value.transient


def test_trouble_found_by_the_walk_is_rejected() -> None:
    """A folder that could not be listed ends as a rejected record with the walk's reason."""
    photo = Photo("f", "/f", "f.png", -1, -1, Kind.TROUBLE, "cannot be read: Permission denied")
    with pytest.raises(PhotoError, match="Permission denied") as caught:
        examine(photo, Rules())
    assert caught.value.rejected


# Soundness


def _cuts(data: bytes) -> list[int]:
    """Many places to cut a file at: its beginning, its end, and steps between."""
    return sorted({*range(40), *range(40, len(data), len(data) // 60), len(data) - 3})


@pytest.mark.parametrize("keep", [True, False])
def test_a_jpeg_cut_short_anywhere_is_rejected(checked: Check, keep: bool) -> None:
    """A JPEG that lost its end is found out wherever the cut is, at either way of decoding."""
    data = jpeg(noise((160, 96)))
    for cut in _cuts(data):
        assert checked(data[:cut], Rules(keep_pixels=keep)) == FORMAT, cut


@pytest.mark.parametrize("keep", [True, False])
def test_a_progressive_jpeg_cut_short_is_rejected(checked: Check, keep: bool) -> None:
    """A progressive JPEG shows a whole picture early; it is found out all the same."""
    data = jpeg(noise((160, 96)), progressive=True)
    for cut in _cuts(data):
        assert checked(data[:cut], Rules(keep_pixels=keep)) == FORMAT, cut


def test_a_png_cut_short_anywhere_is_rejected(checked: Check) -> None:
    """A PNG that lost its end is found out wherever the cut is."""
    data = png(noise((60, 50)))
    for cut in [*_cuts(data), *range(len(data) - 14, len(data))]:
        assert checked(data[:cut]) == FORMAT, cut


@pytest.mark.parametrize("kind", ["TIFF", "WEBP", "BMP", "GIF", "AVIF"])
def test_other_formats_cut_short_are_rejected(checked: Check, kind: str) -> None:
    """With --fit a file of another format that lost its second half is rejected too."""
    data = dict(every_format(noise((120, 90))))[kind]
    assert checked(data[: len(data) // 2], FIT) == FORMAT


@pytest.mark.parametrize("make", [jpeg, png])
@pytest.mark.parametrize("tail", [b"\0", bytes(5000), b"trailing text", b"\xff\xd8\xff\xe0" * 9])
@pytest.mark.parametrize("keep", [True, False])
def test_bytes_after_the_end_are_no_fault(
    checked: Check, make: Callable[..., bytes], tail: bytes, keep: bool
) -> None:
    """A sound picture with something behind its end, as phones write it, is taken."""
    found = checked(make() + tail, Rules(keep_pixels=keep))
    assert isinstance(found, Picture)
    assert shows_quarters(found.pixels())


def test_a_multi_picture_jpeg_is_a_jpeg(checked: Check) -> None:
    """A phone's MPO is a JPEG: its first picture counts."""
    data = saved(quarters(), "MPO", save_all=True, append_images=[noise((40, 40))], quality=95)
    assert Image.open(io.BytesIO(data)).format == "MPO"
    found = checked(data)
    assert isinstance(found, Picture)
    assert (found.format, found.size) == ("JPEG", (96, 64))
    assert shows_quarters(found.pixels())


def test_content_counts_and_not_the_name(checked: Check) -> None:
    """A PNG called photo.jpg is a PNG."""
    found = checked(png())
    assert isinstance(found, Picture)
    assert found.format == "PNG"


def _bomb(side: int) -> bytes:
    return raw_png((side, side), 8, 0, bytes(1 << 20))


@pytest.mark.parametrize("side", [20_000, 60_000, 2**31 - 1])
def test_decompression_bombs_are_rejected_for_their_size(checked: Check, side: int) -> None:
    """A header of a billion pixels is an INVALID_IMAGE_SIZE, whatever the file's few bytes hold."""
    assert checked(_bomb(side)) == SIZE


def test_reading_a_header_decodes_nothing() -> None:
    """A header is read without its pixels: a bomb costs nothing, a photo next to nothing."""
    sound = read_header(raw_png((3000, 3000), 8, 0, bytes(3001 * 3000)))
    began = time.process_time()
    for _ in range(20):
        read_header(sound.data)
    assert time.process_time() - began < 0.05


def test_what_is_beyond_fit_is_told_by_its_header() -> None:
    """A picture of more pixels than any camera's is not even begun to be shrunk."""
    picture = read_header(_bomb(30_000))
    with pytest.raises(PhotoError, match="more than --fit accepts") as caught:
        uploads.check_pixels(picture)
    assert caught.value.rejected


@pytest.mark.parametrize("keep", [True, False])
def test_with_fit_a_bomb_is_rejected_before_it_is_decoded(checked: Check, keep: bool) -> None:
    """400 million pixels are refused by the header, not after gigabytes were inflated."""
    assert checked(_bomb(20_000), Rules(fit=True, keep_pixels=keep)) == SIZE
