"""Writes PNG: encodes pixels quickly, adds and removes chunks.

The encoder filters every row with Up and deflates with ISA-L, of the extra ``fast``. For a cutout
of 12 megapixels it takes 70 ms, Pillow at level 1 takes 440, for files of the same size
(`benchmarks/bench_parts.py`).
"""

from __future__ import annotations

import importlib.util
import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from humanbody_cli.imaging.png_check import (
    CHANNELS,
    GRAY,
    HEADER_END,
    RGBA,
    SIGNATURE,
    chunks,
    crc32,
)

if TYPE_CHECKING:
    from PIL import Image

_COLOURS = {"L": GRAY, "RGBA": RGBA}
_UP = 2  # the filter type: difference to the row above (PNG 1.2, 6.4)

_PIXEL_CHUNKS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
"""The chunks that pixels are decoded from."""

STRIP = 32
"""Rows that are composed, filtered and deflated at a time: half a megabyte of a photo 4000 pixels
wide, which stays in the processor's cache (with 128 rows a cutout takes a tenth longer)."""

_TWO_THREADS = 4_000_000
"""Pixels from which a second thread for deflating pays: at 24 million it saves a third of the
time."""

Area = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom exclusive."""

Rows = Callable[[Area], bytes]
"""Makes the pixels of an area, row by row: a byte for each (mode L), or four (RGBA)."""


def chunk(kind: bytes, payload: bytes) -> bytes:
    """A chunk of this type: length, type, payload, checksum."""
    return b"".join(_framed(kind, [payload]))


def _framed(kind: bytes, parts: Sequence[bytes]) -> Iterator[bytes]:
    """The pieces of a chunk whose payload comes in parts: megabytes that are not joined twice."""
    yield struct.pack(">I", sum(map(len, parts)))
    checksum = 0
    for part in (kind, *parts):
        checksum = crc32(part, checksum)
        yield part
    yield struct.pack(">I", checksum)


def with_chunks(data: bytes, *extra: bytes) -> bytes:
    """The PNG with these chunks inserted behind IHDR; every other byte stays as it is."""
    return b"".join((data[:HEADER_END], *extra, data[HEADER_END:]))


def with_metadata(data: bytes, *, profile: bytes | None = None, exif: bytes | None = None) -> bytes:
    """The PNG with an ICC profile and Exif; every other chunk stays as it is.

    A PNG that already states its colours (iCCP or sRGB) or has Exif keeps its own.
    """
    if not profile and not exif:
        return data
    present = {kind for kind, _ in chunks(data)}
    extra = []
    if profile and not present & {b"iCCP", b"sRGB"}:
        extra.append(chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)))
    if exif and b"eXIf" not in present:
        extra.append(chunk(b"eXIf", exif))
    return with_chunks(data, *extra)


def bare(data: bytes) -> bytes:
    """The same pixels without the chunks that only describe them.

    A decoder may refuse a sound picture for a cHRM, gAMA, pHYs or text chunk that it dislikes.

    Raises:
        BrokenPng: a chunk is damaged or cut short.
    """
    parts = [SIGNATURE]
    has_header = False
    for kind, payload in chunks(data):
        if kind in _PIXEL_CHUNKS and not (kind == b"IHDR" and has_header):
            parts.append(chunk(kind, bytes(payload)))
        has_header |= kind == b"IHDR"
    return b"".join(parts)


def encode(image: Image.Image) -> bytes:
    """An image of mode L or RGBA as PNG, as fast as the installed extras allow."""
    return encode_rows(image.size, image.mode, lambda area: image.crop(area).tobytes())


def encode_rows(size: tuple[int, int], mode: str, rows: Rows) -> bytes:
    """A PNG (mode L or RGBA) of a picture that ``rows`` makes one strip at a time.

    Strips of `STRIP` rows stay in the processor's cache, and the whole is never in memory. Without
    numpy, Pillow encodes the whole picture at level 1.
    """
    # Checked first: an ImportError from within `rows` must not choose the encoder, since the bytes
    # are to depend on the pixels and on what is installed alone.
    if not _has_numpy():
        return _encode_with_pillow(joined(size, mode, rows))
    width, height = size
    work = _ahead if width * height >= _TWO_THREADS else map
    deflater = _new_deflater(mode)
    parts = work(deflater.compress, _filtered(size, mode, rows))
    ihdr = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[mode], 0, 0, 0)
    idat = _framed(b"IDAT", [*parts, deflater.flush()])
    return b"".join((SIGNATURE, chunk(b"IHDR", ihdr), *idat, chunk(b"IEND", b"")))


def _has_numpy() -> bool:
    # Not tried by an import: while another thread imports numpy, that may fail for the moment.
    return importlib.util.find_spec("numpy") is not None


def _strips(size: tuple[int, int]) -> Iterator[Area]:
    width, height = size
    for top in range(0, height, STRIP):
        yield 0, top, width, min(top + STRIP, height)


def _filtered(size: tuple[int, int], mode: str, rows: Rows) -> Iterator[memoryview]:
    """The rows as PNG stores them: a filter byte, then differences to the row above."""
    import numpy as np

    width = size[0] * CHANNELS[_COLOURS[mode]]
    above = np.zeros((1, width), np.uint8)
    for area in _strips(size):
        pixels = np.frombuffer(rows(area), np.uint8).reshape(-1, width)
        filtered = np.empty((len(pixels), width + 1), np.uint8)
        filtered[:, 0] = _UP
        np.subtract(pixels[:1], above, out=filtered[:1, 1:])
        np.subtract(pixels[1:], pixels[:-1], out=filtered[1:, 1:])
        above = pixels[-1:]
        yield filtered.data


def _new_deflater(mode: str) -> Any:
    """ISA-L at level 1; without the extra, zlib at level 1 (250 ms, still faster than Pillow).

    zlib looks for run lengths only in masks, which makes them a third smaller than matches would.
    Cutouts of photographs would become 10 to 50 % larger that way, so matches are used there.
    """
    try:
        from isal import isal_zlib
    except ImportError:
        strategy = zlib.Z_RLE if mode == "L" else zlib.Z_DEFAULT_STRATEGY
        return zlib.compressobj(1, zlib.DEFLATED, 15, 9, strategy)
    return isal_zlib.compressobj(1)


def _ahead(function: Callable[[memoryview], bytes], parts: Iterator[memoryview]) -> Iterator[bytes]:
    """The function's results, computed in a thread while the next part is made in this one."""
    with ThreadPoolExecutor(1, thread_name_prefix="deflate") as pool:
        pending = pool.submit(function, next(parts))
        for part in parts:
            done, pending = pending, pool.submit(function, part)
            yield done.result()
        yield pending.result()


def joined(size: tuple[int, int], mode: str, rows: Rows) -> Image.Image:
    """The whole picture (mode L or RGBA)."""
    from PIL import Image

    whole = Image.new(mode, size)
    for area in _strips(size):
        part = (area[2] - area[0], area[3] - area[1])
        whole.paste(Image.frombuffer(mode, part, rows(area), "raw", mode, 0, 1), area)
    return whole


def _encode_with_pillow(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return buffer.getvalue()
