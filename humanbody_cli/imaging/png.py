"""PNG without decoding pixels: is it whole, how large is it, carry a profile; and a quick writer.

Answers of the API arrive as PNG and are written as they are. Looking at the structure (chunk
checksums, inflated length, filter bytes) proves a file decodable at about a third of the cost of
decoding it.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

new_inflater: Any
inflate_error: Any
try:  # twice as fast; the extra `fast` has it
    from isal import isal_zlib

    new_inflater, inflate_error = isal_zlib.decompressobj, isal_zlib.error
except ImportError:
    new_inflater, inflate_error = zlib.decompressobj, zlib.error

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
_COLOURS = {"L": GRAY, "RGBA": RGBA}
_UP = 2  # the filter type: difference to the row above (PNG 1.2, 6.4)
_CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
_DEPTHS = {
    GRAY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GRAY_ALPHA: (8, 16),
    RGBA: (8, 16),
}
"""Colour type -> bits a channel (PNG 1.2, 4.1.1)."""

_PIXEL_CHUNKS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
"""What the pixels are made of."""

_INFLATE_STEP = 1 << 20

STRIP = 128
"""Rows that are composed, filtered and deflated at a time: 3 MB of a photo 6000 pixels wide."""

_LARGE = 4_000_000
"""Pixels from which a second thread for the deflating pays: a third less time at 24 million."""

Box = tuple[int, int, int, int]
Part = Callable[[Box], "Image.Image"]
"""The part of a picture in a box (left, top, right, bottom), pixels."""


class BrokenPng(ValueError):
    """The bytes are no complete, sound PNG."""


@dataclass(frozen=True)
class PngHeader:
    """The IHDR chunk: pixels, bits a channel, colour type (PNG 1.2, 4.1.1)."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, without its filter byte."""
        return (self.width * _CHANNELS[self.colour] * self.depth + 7) // 8


def header(data: bytes) -> PngHeader:
    """Read IHDR.

    Raises:
        BrokenPng: where the signature or IHDR is not there or makes no sense.
    """
    if len(data) < 33 or not data.startswith(SIGNATURE) or data[12:16] != b"IHDR":
        raise BrokenPng("no PNG signature")
    width, height, depth, colour, method, filters, interlace = struct.unpack(
        ">IIBBBBB", data[16:29]
    )
    sound = depth in _DEPTHS.get(colour, ()) and method == filters == 0 and interlace <= 1
    if not sound or not width or not height:
        raise BrokenPng("an invalid PNG header")
    return PngHeader(width, height, depth, colour, bool(interlace))


def chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Each chunk's type and payload up to IEND, checksums checked.

    Raises:
        BrokenPng: at the first chunk that is cut short or whose checksum does not fit.
    """
    view = memoryview(data)
    offset = len(SIGNATURE)
    kind = b""
    while kind != b"IEND":
        if offset + 12 > len(data):
            raise BrokenPng("the PNG is cut short")
        (length,) = struct.unpack_from(">I", data, offset)
        end = offset + 12 + length
        if end > len(data):
            raise BrokenPng("the PNG is cut short")
        kind = bytes(view[offset + 4 : offset + 8])
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(view[offset + 4 : end - 4]) != checksum:
            raise BrokenPng("a checksum in the PNG does not match")
        yield kind, view[offset + 8 : end - 4]
        offset = end


def bare(data: bytes) -> bytes:
    """The same pixels without what only describes them: a decoder may refuse a sound picture for a
    cHRM, gAMA, pHYs or text that it dislikes.

    Raises:
        BrokenPng: where a chunk is damaged or cut short.
    """
    parts = [SIGNATURE]
    header_is_there = False
    for kind, payload in chunks(data):
        if kind in _PIXEL_CHUNKS and not (kind == b"IHDR" and header_is_there):
            parts.append(_chunk(kind, bytes(payload)))
        header_is_there |= kind == b"IHDR"
    return b"".join(parts)


def verify(data: bytes) -> PngHeader:
    """Prove that a PNG decodes, without decoding it: checksums, inflated length, filter bytes.

    An interlaced PNG is proved up to its checksums and its zlib stream.

    Raises:
        BrokenPng: where it does not.
    """
    head = header(data)
    pixels = _Pixels(head)
    palette = False
    before = b""
    try:
        for kind, payload in chunks(data):
            if kind == b"IDAT":
                if before not in (b"IDAT", b"") and pixels.have_begun:
                    raise BrokenPng("the pixel data of the PNG is interrupted by another chunk")
                pixels.feed(payload)
            palette |= kind == b"PLTE"
            before = kind
    except inflate_error as error:
        raise BrokenPng("the pixel data of the PNG cannot be decompressed") from error
    if not pixels.are_complete:
        raise BrokenPng("the PNG has fewer pixels than its header says")
    if head.colour == PALETTE and not palette:
        raise BrokenPng("the PNG's palette is missing")
    return head


def _adam7_bytes(head: PngHeader) -> int:
    """Bytes of an interlaced PNG's pixels, filter bytes included (PNG 1.2, 2.6: seven passes)."""
    total = 0
    for left, top, across, down in _ADAM7:
        width = (head.width - left + across - 1) // across
        height = (head.height - top + down - 1) // down
        if width > 0 and height > 0:
            total += height * (replace(head, width=width).row_bytes + 1)
    return total


_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""First column and row of each pass, and the steps across and down."""


class _Pixels:
    """Inflates the pixels of a PNG without keeping them, and looks at each row's filter byte.

    In steps, and never beyond the last pixel: a few kilobytes of zlib can inflate to gigabytes.
    """

    def __init__(self, head: PngHeader) -> None:
        self._stream: Any = new_inflater()
        self._interlaced = head.interlaced  # its rows have many lengths: only their sum counts
        self._stride = head.row_bytes + 1
        self._length = _adam7_bytes(head) if head.interlaced else self._stride * head.height
        self._seen = 0

    @property
    def have_begun(self) -> bool:
        """Whether any row was there."""
        return self._seen > 0

    @property
    def are_complete(self) -> bool:
        """Whether every row was there."""
        return self._seen >= self._length

    def feed(self, payload: memoryview) -> None:
        """The next part of the zlib stream."""
        pending: bytes | memoryview = payload
        while pending and not self._stream.eof and not self.are_complete:
            block = self._stream.decompress(pending, _INFLATE_STEP)
            pending = self._stream.unconsumed_tail
            if not self._interlaced:
                filters = block[-self._seen % self._stride :: self._stride]
                if filters and max(filters) > 4:
                    raise BrokenPng("a row of the PNG has an invalid filter")
            self._seen += len(block)
            if not block:
                return


def with_metadata(data: bytes, *, profile: bytes | None = None, exif: bytes | None = None) -> bytes:
    """The same PNG with an ICC profile and Exif; every other chunk stays untouched.

    A PNG that already states its colours (iCCP or sRGB) keeps them.
    """
    if not profile and not exif:
        return data
    present = {kind for kind, _ in chunks(data)}
    extra = b""
    if profile and not present & {b"iCCP", b"sRGB"}:
        extra += _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))
    if exif and b"eXIf" not in present:
        extra += _chunk(b"eXIf", exif)
    after_header = len(SIGNATURE) + 25
    return data[:after_header] + extra + data[after_header:]


def _chunk(kind: bytes, payload: bytes) -> bytes:
    body = kind + payload
    return struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))


def encode(image: Image.Image) -> bytes:
    """An image of mode L or RGBA as PNG, as quickly as what is installed allows."""
    return encode_parts(image.size, image.mode, image.crop)


def encode_parts(size: tuple[int, int], mode: str, part: Part) -> bytes:
    """A PNG of a picture that is made a strip at a time, so that no step leaves the cache.

    Every row is filtered with Up and deflated by ISA-L (24 megapixels RGBA: 0.3 s) or by zlib with
    run lengths only; without numpy Pillow writes at level 1 (1.4 s, at the default 5.9 s).
    """
    # Asked beforehand: an ImportError from within `part` must not choose the encoder, for the
    # bytes are to depend on the pixels and on what is installed alone.
    if not _has_numpy():
        return _encode_with_pillow(_joined(size, mode, part))
    width, height = size
    pixels = _deflated(_filtered(size, mode, part), is_large=width * height >= _LARGE)
    ihdr = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[mode], 0, 0, 0)
    return b"".join(
        (SIGNATURE, _chunk(b"IHDR", ihdr), _chunk(b"IDAT", pixels), _chunk(b"IEND", b""))
    )


def _has_numpy() -> bool:
    try:
        import numpy as np  # noqa: F401 - whether it can be loaded is the question
    except ImportError:
        return False
    return True


def _strips(size: tuple[int, int]) -> Iterator[Box]:
    width, height = size
    for top in range(0, height, STRIP):
        yield 0, top, width, min(top + STRIP, height)


def _filtered(size: tuple[int, int], mode: str, part: Part) -> Iterator[bytes]:
    """The rows as PNG has them: a filter byte, then differences to the row above."""
    import numpy as np

    width = size[0] * _CHANNELS[_COLOURS[mode]]
    above = np.zeros((1, width), np.uint8)
    for box in _strips(size):
        pixels = np.frombuffer(part(box).tobytes(), np.uint8).reshape(-1, width)
        rows = np.empty((len(pixels), width + 1), np.uint8)
        rows[:, 0] = _UP
        np.subtract(pixels[:1], above, out=rows[:1, 1:])
        np.subtract(pixels[1:], pixels[:-1], out=rows[1:, 1:])
        above = pixels[-1:]
        yield rows.tobytes()


def _deflated(parts: Iterator[bytes], *, is_large: bool) -> bytes:
    deflater: Any
    try:
        from isal import isal_zlib
    except ImportError:
        deflater = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    else:
        deflater = isal_zlib.compressobj(1)
    work = _ahead if is_large else map
    return b"".join((*work(deflater.compress, parts), deflater.flush()))


def _ahead(function: Callable[[bytes], bytes], parts: Iterator[bytes]) -> Iterator[bytes]:
    """The function's results; while it works on a part in a thread, the next part is made here."""
    with ThreadPoolExecutor(1, thread_name_prefix="deflate") as pool:
        pending = pool.submit(function, next(parts))
        for part in parts:
            done, pending = pending, pool.submit(function, part)
            yield done.result()
        yield pending.result()


def _joined(size: tuple[int, int], mode: str, part: Part) -> Image.Image:
    from PIL import Image

    whole = Image.new(mode, size)
    for box in _strips(size):
        whole.paste(part(box), box)
    return whole


def _encode_with_pillow(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def is_gray8(head: PngHeader) -> bool:
    """Whether a PNG is one 8-bit gray channel, as every mask on disk is."""
    return head.colour == GRAY and head.depth == 8


def has_alpha(head: PngHeader, data: bytes) -> bool:
    """Whether a PNG can be transparent: an alpha channel, or a tRNS chunk."""
    return head.colour in (GRAY_ALPHA, RGBA) or any(kind == b"tRNS" for kind, _ in chunks(data))
