"""The border to the decoders: deadlines that end a decode, exceptions that are the photo's."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

import pytest
from jpegs import EOI, progressive
from making import interlaced_png, jpeg, noise, png, raw_png
from PIL import Image

from humanbody_cli.core.errors import PhotoError, UsageError
from humanbody_cli.imaging import pictures
from humanbody_cli.imaging.decoding import DecodeDeadline, Source, decoding
from humanbody_cli.imaging.pictures import check_sound, read_header


@pytest.fixture(autouse=True)
def _pillow() -> None:
    pictures.configure_pillow()


@dataclass
class Clock:
    """A clock that moves on by one second at each look."""

    now: float = field(default=0.0)

    def __call__(self) -> float:
        self.now += 1
        return self.now


NEVER = 1e9


def looks(data: bytes) -> int:
    """How often a full decode asks for the time."""
    clock = Clock()
    check_sound(read_header(data, deadline=DecodeDeadline(NEVER, clock)), keep_pixels=True)
    return int(clock.now)


LARGE = {
    "baseline": jpeg(noise((600, 500))),
    "progressive": jpeg(noise((600, 500)), progressive=True, quality=60),
    "png": png(noise((600, 500))),
    "interlaced": interlaced_png(noise((120, 100))),
    "png-16": raw_png((300, 200), 16, 6, (b"\1" + noise((300, 1)).tobytes() * 3)[:2401] * 200),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_deadline_ends_a_decode_wherever_it_stands(name: str) -> None:
    """Before the header, within it, within the pixels: from the deadline on nothing goes on."""
    data = LARGE[name]
    last = looks(data)
    assert last > 6
    for at in {1, 2, 4, last // 2, last - 2, last}:
        deadline = DecodeDeadline(at, Clock())
        with pytest.raises(PhotoError, match="too long to decode") as caught:
            check_sound(read_header(data, deadline=deadline), keep_pixels=True)
        assert caught.value.rejected
    picture = read_header(data, deadline=DecodeDeadline(NEVER, Clock()))
    assert picture.pixels().tobytes() == read_header(data).pixels().tobytes()


def test_each_scan_of_a_progressive_jpeg_is_a_part_of_its_own() -> None:
    """A scan may take long however few bytes it has: before each of them the time is looked at."""
    assert looks(progressive(100) + EOI) - looks(progressive(10) + EOI) >= 90


def test_a_png_is_inflated_in_small_parts() -> None:
    """A few kilobytes of zlib are many megabytes of pixels: the time is looked at in between."""
    rows = (b"\0" + bytes(4096)) * 4096
    assert looks(raw_png((4096, 4096), 8, 0, rows)) - looks(png()) >= len(zlib.compress(rows)) >> 14


def test_chunks_that_inflate_to_much_end_at_the_deadline() -> None:
    """A thousand profiles of a megabyte each are read no further than to the deadline."""
    profile = (b"iCCP", b"a\0\0" + zlib.compress(bytes(1_000_000)))
    data = raw_png((64, 64), 8, 2, (b"\0" + bytes(192)) * 64, extra=(profile,) * 1000)
    clock = Clock()
    with pytest.raises(PhotoError, match="too long to decode"):
        read_header(data, deadline=DecodeDeadline(50, clock))
    assert clock.now == 50


def test_a_header_is_read_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pixels a PNG claims, with no Exif or with Exif behind them, none is decoded."""

    def load(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "load", load)
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 6, 0, 0, 0)
    data = raw_png((8, 8), 8, 6, (b"\0" + bytes(32)) * 8)
    data = data[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + data[33:]
    assert read_header(data).stored == (60_000, 60_000)


def test_a_source_without_a_deadline_is_a_plain_file() -> None:
    """Without a deadline every read gives what it is asked for."""
    data = progressive(30) + EOI
    source = Source(data)
    source.part_scans()
    assert source.read(len(data)) == data


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("x"),
        OSError(),
        ZeroDivisionError(),
        struct.error("x"),
        AssertionError(),
        RecursionError("x"),
        SystemError("x"),
        UnicodeDecodeError("ascii", b"\xff", 0, 1, "x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_exception_of_a_decoder_rejects_the_photo(error: Exception) -> None:
    """One photo is rejected in one sentence, whatever its decoder raised."""
    with (
        pytest.raises(PhotoError, match=r"damaged or cut short: .+; replace the file") as caught,
        decoding(),
    ):
        raise error
    assert caught.value.rejected
    assert not caught.value.transient
    assert caught.value.__cause__ is error


def test_too_little_memory_rejects_the_photo_for_now() -> None:
    """A photo that did not fit into memory may be done by a later run."""
    with pytest.raises(PhotoError, match="memory") as caught, decoding():
        raise MemoryError
    assert caught.value.rejected
    assert caught.value.transient


def test_our_own_errors_pass() -> None:
    """What is told on purpose keeps its kind; an interrupt is no decoder's."""
    with pytest.raises(UsageError), decoding():
        raise UsageError("numpy")
    with pytest.raises(KeyboardInterrupt), decoding():
        raise KeyboardInterrupt
