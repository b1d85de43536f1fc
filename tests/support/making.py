"""Pictures made in memory for tests: real files with known pixels, sound or broken on purpose."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image, ImageCms

ORIENTATION = 0x0112
RED, GREEN, BLUE, GOLD = (230, 20, 20), (20, 200, 30), (30, 40, 220), (240, 190, 20)

_STORING = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""Exif orientation -> how an upright picture is turned into the pixels a camera stores."""


def quarters(size: tuple[int, int] = (96, 64)) -> Image.Image:
    """An RGB picture of four colours: red and green above, blue and gold below."""
    width, height = size
    image = Image.new("RGB", size, RED)
    image.paste(GREEN, (width // 2, 0, width, height))
    image.paste(BLUE, (0, height // 2, width, height))
    image.paste(GOLD, (width // 2, height // 2, width, height))
    return image


def noise(size: tuple[int, int], seed: int = 1) -> Image.Image:
    """An RGB picture that hardly compresses, the same for the same seed."""
    import random

    data = random.Random(seed).randbytes(size[0] * size[1] * 3)
    return Image.frombytes("RGB", size, data)


def stored(upright: Image.Image, orientation: int) -> Image.Image:
    """The pixels which, shown with this Exif orientation, are the upright picture."""
    turn = _STORING[orientation]
    return upright if turn is None else upright.transpose(turn)


def exif(orientation: int | None = None, *, gps: bool = False) -> Image.Exif:
    """Exif with an orientation, and with a place where wanted (latitude 48 12' 30")."""
    tags = Image.Exif()
    if orientation is not None:
        tags[ORIENTATION] = orientation
    if gps:
        tags[0x010F] = "CAMERA-MAKER"
        tags.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 30.0)})
    return tags


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The picture as a file's bytes, whatever format Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(image: Image.Image | None = None, *, orientation: int | None = None, **how: Any) -> bytes:
    """A JPEG of high quality; ``orientation`` turns the stored pixels so that it shows upright."""
    image = image if image is not None else quarters()
    options = {"quality": 95, "subsampling": 0, **how}
    if orientation is not None:
        image = stored(image, orientation)
        options.setdefault("exif", exif(orientation))
    return saved(image, "JPEG", **options)


def png(image: Image.Image | None = None, *, orientation: int | None = None, **how: Any) -> bytes:
    """A PNG; ``orientation`` turns the stored pixels so that it shows upright."""
    image = image if image is not None else quarters()
    if orientation is not None:
        image = stored(image, orientation)
        how.setdefault("exif", exif(orientation))
    return saved(image, "PNG", **how)


def opened(data: bytes) -> Image.Image:
    """The picture in a file's bytes, decoded by Pillow."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def jpeg_of_bytes(total: int, image: Image.Image | None = None, **how: Any) -> bytes:
    """A sound JPEG of exactly so many bytes: comments fill it up."""
    data = jpeg(image, **how)
    missing = total - len(data)
    assert missing == 0 or missing >= 4
    comments = []
    while missing:
        part = min(missing, 65537)
        if 0 < missing - part < 4:
            part -= 4
        comments.append(b"\xff\xfe" + struct.pack(">H", part - 2) + b"." * (part - 4))
        missing -= part
    return data[:2] + b"".join(comments) + data[2:]


def chunk(kind: bytes, payload: bytes) -> bytes:
    """One PNG chunk with its checksum."""
    body = kind + payload
    return struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a sound PNG, by a reader of their own: kind and payload."""
    offset, found = 8, []
    while offset < len(data):
        (length,) = struct.unpack_from(">I", data, offset)
        found.append((data[offset + 4 : offset + 8], data[offset + 8 : offset + 8 + length]))
        offset += 12 + length
    return found


def png_from(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these chunks, each with a checksum that fits."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, payload) for kind, payload in chunks)


def raw_png(
    size: tuple[int, int],
    depth: int,
    colour: int,
    pixels: bytes,
    *,
    interlace: int = 0,
    extra: tuple[tuple[bytes, bytes], ...] = (),
) -> bytes:
    """A PNG whose filtered rows are given as they are: for what Pillow does not write."""
    head = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlace)
    body = [(b"IHDR", head), *extra, (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    return png_from(body)


def interlaced_png(image: Image.Image) -> bytes:
    """An 8-bit gray, RGB or RGBA picture as a PNG interlaced after Adam7."""
    colour = {"L": 0, "RGB": 2, "RGBA": 6}[image.mode]
    rows = bytearray()
    for left, top, across, down in _ADAM7:
        for y in range(top, image.height, down):
            points = [(x, y) for x in range(left, image.width, across)]
            if points:
                rows += b"\0" + b"".join(_bytes_of(image.getpixel(point)) for point in points)
    return raw_png(image.size, 8, colour, bytes(rows), interlace=1)


_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
_ADAM7.append((0, 1, 1, 2))


def _bytes_of(pixel: Any) -> bytes:
    return bytes(pixel) if isinstance(pixel, tuple) else bytes([pixel])


def srgb_profile() -> bytes:
    """An ICC profile of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def other_profile() -> bytes:
    """A sound RGB profile that is not sRGB: its red is sRGB's blue."""
    data = srgb_profile()
    return data.replace(b"rXYZ", b"swap").replace(b"bXYZ", b"rXYZ").replace(b"swap", b"bXYZ")


def cmyk_profile() -> bytes:
    """A CMYK profile in which full cyan is the gray of L* = 50 and all else follows ink."""
    grid = b"".join(_lab_of(n) for n in range(16))
    curve = bytes(range(256))
    identity = struct.pack(">9i", *(65536 if n % 4 == 0 else 0 for n in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + curve * 4 + grid + curve * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    text = b"test\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    tags = [(b"desc", name), (b"wtpt", white), (b"A2B0", lut)]
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for kind, content in tags:
        payload = content + bytes(-len(content) % 4)
        table += kind + struct.pack(">II", offset + len(body), len(payload))
        body += payload
    head = bytearray(128)
    head[0:4] = struct.pack(">I", offset + len(body))
    head[8:12] = b"\x02\x40\0\0"
    head[12:24] = b"prtrCMYKLab "
    head[36:40] = b"acsp"
    head[68:80] = struct.pack(">3i", 63190, 65536, 54061)
    return bytes(head) + table + body


def _lab_of(inks: int) -> bytes:
    cyan, others = inks >> 3, inks & 7
    light = 0 if others else (128 if cyan else 255)
    return bytes([light, 128, 128])


def every_format(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    """The picture in each format that only ``--fit`` reads: name and bytes."""
    yield "WEBP", saved(image, "WEBP", lossless=True)
    yield "TIFF", saved(image, "TIFF")
    yield "BMP", saved(image, "BMP")
    yield "GIF", saved(image.quantize(8), "GIF")
    yield "AVIF", saved(image, "AVIF", quality=95)
