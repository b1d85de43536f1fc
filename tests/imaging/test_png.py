"""PNG by structure: what is sound passes, what is damaged does not, and encoding loses nothing."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from making import (
    chunks_of,
    exif,
    interlaced_png,
    noise,
    opened,
    other_profile,
    png,
    png_from,
    raw_png,
    srgb_profile,
)
from PIL import Image

import humanbody_cli
from humanbody_cli.imaging import pictures
from humanbody_cli.imaging import png_check as structure
from humanbody_cli.imaging.png_check import (
    BrokenPng,
    chunks,
    has_alpha,
    header,
    is_gray8,
    verify,
)
from humanbody_cli.imaging.png_writer import encode, with_metadata

MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]


@pytest.fixture(autouse=True)
def _pillow() -> None:
    pictures.configure_pillow()


@pytest.fixture(params=["isal", "zlib"])
def _inflater(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inflating with the extra ``fast`` and without it."""
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        monkeypatch.setattr(structure, "new_inflater", zlib.decompressobj)
        monkeypatch.setattr(structure, "inflate_error", zlib.error)


def picture(mode: str, size: tuple[int, int], seed: int = 1) -> Image.Image:
    """A picture of this mode whose pixels all differ."""
    if mode == "I;16":
        data = noise((2 * size[0], size[1]), seed).tobytes()[: 2 * size[0] * size[1]]
        return Image.frombytes("I;16", size, data)
    image = noise(size, seed)
    if mode == "P":
        return image.quantize(200)
    if mode in ("LA", "RGBA"):
        image.putalpha(noise(size, seed + 1).convert("L"))
    return image.convert(mode)


def decodes(data: bytes) -> bool:
    """Whether Pillow gives this file's pixels."""
    try:
        opened(data)
    except Exception:  # noqa: BLE001 - Pillow's decoders raise anything at damaged files
        return False
    return True


def is_sound(data: bytes) -> bool:
    """What ``verify`` says of these bytes."""
    try:
        verify(data)
    except BrokenPng:
        return False
    return True


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
