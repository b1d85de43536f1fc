"""PNG by structure: what is sound passes, and what is damaged does not."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import (
    chunks_of,
    interlaced_png,
    noise,
    opened,
    png,
    png_from,
    raw_png,
    srgb_profile,
)
from PIL import Image
from pngs import MODES, decodes, is_sound, picture

import humanbody_cli
from humanbody_cli.imaging import pictures
from humanbody_cli.imaging import png_check as structure
from humanbody_cli.imaging.png_check import (
    BrokenPng,
    verify,
)


@pytest.fixture(autouse=True)
def _pillow() -> None:
    pictures.configure_pillow()


@pytest.fixture(params=["deflate", "isal", "zlib"])
def _inflater(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inflating with the extra ``fast``, at once and in steps, and without it."""
    if request.param == "zlib":
        monkeypatch.setattr(structure, "fast_zlib", zlib)
    else:
        pytest.importorskip(request.param)
    if request.param != "deflate":
        monkeypatch.setattr(structure, "libdeflate", None)


# Sound files


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(MODES),
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.integers(0, 9),
    st.booleans(),
)
def test_whatever_pillow_writes_is_sound(
    mode: str, size: tuple[int, int], level: int, optimise: bool
) -> None:
    """Every mode, size and compression that Pillow writes passes, with its size."""
    data = png(picture(mode, size), compress_level=level, optimize=optimise)
    head = verify(data)
    assert (head.width, head.height) == size
    assert not head.interlaced


@pytest.mark.parametrize("colours", [2, 4, 16, 200])
def test_palettes_of_every_depth_are_sound(colours: int) -> None:
    """Palettes of 1, 2, 4 and 8 bits a pixel pass."""
    data = png(noise((31, 17)).quantize(colours), bits={2: 1, 4: 2, 16: 4, 200: 8}[colours])
    assert verify(data).depth == {2: 1, 4: 2, 16: 4, 200: 8}[colours]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 5), (8, 8), (33, 17)])
def test_interlaced_files_are_sound(mode: str, size: tuple[int, int]) -> None:
    """Files interlaced after Adam7 pass; Pillow agrees with the pixels."""
    image = picture(mode, size)
    data = interlaced_png(image)
    assert opened(data).tobytes() == image.tobytes()
    assert verify(data).interlaced


@pytest.mark.usefixtures("_inflater")
def test_a_large_file_of_many_chunks_is_sound() -> None:
    """Pixels spread over many IDAT chunks, as encoders write them, are one stream."""
    data = png(noise((700, 500)))
    assert sum(kind == b"IDAT" for kind, _ in chunks_of(data)) > 5
    assert verify(data).width == 700


@pytest.mark.usefixtures("_inflater")
@pytest.mark.parametrize("level", [1, 6, 9])
def test_pixels_that_the_stream_keeps_back_are_counted(level: int) -> None:
    """A flat picture whose pixels end just behind a step of inflating passes: by then the stream
    has taken all its bytes, and gives the last pixels only if it is asked once more."""
    assert 0 < 755 * (4 * 347 + 1) - structure._INFLATE_STEP < 200
    assert is_sound(png(Image.new("RGBA", (347, 755), (7, 2, 3, 0)), compress_level=level))


@given(st.integers(1, 4000))
def test_chunk_borders_anywhere_are_sound(at: int) -> None:
    """The stream of pixels may be parted anywhere, into empty parts too."""
    (head, (_, pixels), end) = chunks_of(png(noise((40, 30)), compress_level=0))
    parts = [(b"IDAT", pixels[:at]), (b"IDAT", b""), (b"IDAT", pixels[at:])]
    assert is_sound(png_from([head, *parts, end]))


@given(st.binary(max_size=60))
def test_bytes_after_the_end_are_no_fault(tail: bytes) -> None:
    """What stands behind IEND is nobody's business."""
    data = png(noise((20, 10)))
    assert verify(data + tail) == verify(data)


# Damaged files


@pytest.mark.usefixtures("_inflater")
@pytest.mark.parametrize("mode", MODES)
def test_every_truncation_is_found(mode: str) -> None:
    """A file that is cut short by any number of bytes does not pass."""
    data = png(picture(mode, (13, 11)))
    assert [cut for cut in range(len(data)) if is_sound(data[:cut])] == []


@pytest.mark.usefixtures("_inflater")
def test_every_truncation_of_an_interlaced_file_is_found() -> None:
    """Interlaced files are proved complete as well."""
    data = interlaced_png(picture("RGB", (9, 7)))
    assert [cut for cut in range(len(data)) if is_sound(data[:cut])] == []


@pytest.mark.usefixtures("_inflater")
@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_is_found(flip: int) -> None:
    """One changed byte anywhere in the file is found: each is under a checksum."""
    data = png(picture("RGBA", (13, 11)), icc_profile=srgb_profile()[:300])
    passed = [
        place
        for place in range(len(data))
        if is_sound(data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :])
    ]
    assert passed == []


def _damaged(index: int, place: int, value: int, image: Image.Image) -> bytes:
    """One byte of one chunk set to a value, under a checksum that fits."""
    parts = chunks_of(png(image))
    kind, payload = parts[index % len(parts)]
    if payload:
        place %= len(payload)
        payload = payload[:place] + bytes([value]) + payload[place + 1 :]
    parts[index % len(parts)] = (kind, payload)
    return png_from(parts)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # it is the same for each example
)
@pytest.mark.usefixtures("_inflater")
@given(
    st.sampled_from([1, 2]),
    st.integers(0, 2000),
    st.integers(0, 255),
    st.sampled_from([m for m in MODES if m != "P"]),
)
def test_what_passes_decodes(index: int, place: int, value: int, mode: str) -> None:
    """Pixels damaged under checksums that fit either decode all the same or do not pass."""
    data = _damaged(index, place, value, picture(mode, (13, 11)))
    assert decodes(data) or not is_sound(data)


@pytest.mark.parametrize("place", [8, 9, 10, 11, 12])
def test_a_header_that_makes_no_sense_is_found(place: int) -> None:
    """Depth, colour, compression, filter and interlace take none but their defined values."""
    sound = png(picture("RGB", (13, 11)))
    wrong = []
    for value in range(256):
        data = _damaged(0, place, value, picture("RGB", (13, 11)))
        if data != sound and is_sound(data) and not decodes(data):
            wrong.append(value)
    assert wrong == []


@pytest.mark.parametrize(
    ("depth", "colour"), [(1, 2), (2, 4), (4, 6), (16, 3), (1, 6), (2, 2), (4, 4)]
)
def test_depths_that_a_colour_does_not_have_are_found(depth: int, colour: int) -> None:
    """RGB of 4 bits or a palette of 16 is no PNG (PNG 1.2, 4.1.1)."""
    channels = {2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = b"\0" + bytes((8 * channels * depth + 7) // 8)
    palette = ((b"PLTE", bytes(6)),) if colour == 3 else ()
    assert not is_sound(raw_png((8, 8), depth, colour, row * 8, extra=palette))


@pytest.mark.parametrize(
    "parts",
    [
        "IHDR",
        "IHDR IEND",
        "IHDR IDAT",
        "IDAT IHDR IEND",
        "IEND IHDR IDAT",
    ],
)
def test_missing_and_misplaced_chunks_are_found(parts: str) -> None:
    """A PNG is a header, pixels and an end, in this order."""
    sound = dict(chunks_of(png(picture("RGB", (13, 11)))))
    assert not is_sound(png_from([(name.encode(), sound[name.encode()]) for name in parts.split()]))


def test_pixels_parted_by_another_chunk_are_found() -> None:
    """IDAT chunks stand together (PNG 1.2, 4.1.3); Pillow stops reading at another chunk."""
    head, (_, pixels), end = chunks_of(png(noise((40, 30)), compress_level=0))
    parts = [(b"IDAT", pixels[:90]), (b"tEXt", b"a\0b"), (b"IDAT", pixels[90:])]
    data = png_from([head, *parts, end])
    assert not decodes(data)
    assert not is_sound(data)


def test_a_palette_that_is_missing_is_found() -> None:
    """A palette picture without PLTE has no colours."""
    parts = [one for one in chunks_of(png(picture("P", (9, 9)))) if one[0] != b"PLTE"]
    with pytest.raises(BrokenPng, match="palette"):
        verify(png_from(parts))


@pytest.mark.usefixtures("_inflater")
@pytest.mark.parametrize("missing", [1, 3, 40])
def test_too_few_pixels_are_found(missing: int) -> None:
    """A sound stream that holds less than the header says does not pass."""
    rows = b"\0" + bytes(40)
    with pytest.raises(BrokenPng, match="fewer pixels"):
        verify(raw_png((40, 20), 8, 0, (rows * 20)[:-missing]))


@pytest.mark.usefixtures("_inflater")
def test_a_filter_that_does_not_exist_is_found() -> None:
    """Each row begins with a filter of 0 to 4; nothing else can be decoded."""
    for row in (0, 7, 19):
        rows = [b"\0" + bytes(40)] * 20
        rows[row] = b"\5" + bytes(40)
        data = raw_png((40, 20), 8, 0, b"".join(rows))
        assert not decodes(data)
        with pytest.raises(BrokenPng, match="filter"):
            verify(data)


@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_raise_nothing_else(data: bytes, signed: bool) -> None:
    """Whatever the bytes, the answer is a header or BrokenPng, never another exception."""
    assert is_sound((b"\x89PNG\r\n\x1a\n" if signed else b"") + data) in (True, False)


def test_a_zip_bomb_costs_no_memory() -> None:
    """A megabyte that inflates to 200 is looked through in small steps."""
    script = """
import resource, sys
sys.path[:0] = ["tests", "tests/support"]
import struct, zlib
from humanbody_cli.imaging.png_check import verify, BrokenPng
from making import png_from
bomb = zlib.compressobj(1)
pixels = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(200)) + bomb.flush()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for interlace in 0, 1:
    head = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, interlace)
    try:
        verify(png_from([(b"IHDR", head), (b"IDAT", pixels), (b"IEND", b"")]))
    except BrokenPng:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    root = Path(humanbody_cli.__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=root, check=True)
    assert int(run.stdout) < 40_000  # KiB


@pytest.mark.usefixtures("_inflater")
def test_a_zip_bomb_is_given_up_early() -> None:
    """A stream that holds far more than the header says is not followed to its end."""
    import time

    bomb = zlib.compressobj(1)
    pixels = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(300)) + bomb.flush()
    head = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    data = png_from([(b"IHDR", head), (b"IDAT", pixels), (b"IEND", b"")])
    began = time.process_time()
    is_sound(data)
    assert time.process_time() - began < 0.04
