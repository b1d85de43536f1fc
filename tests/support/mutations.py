"""Damaged photos for tests: every format that is read here, and seeded ways to break its bytes."""

from __future__ import annotations

import importlib.util
import io
import random
import struct
from collections.abc import Callable

from making import (
    chunks_of,
    cmyk_profile,
    exif,
    interlaced_png,
    jpeg,
    noise,
    other_profile,
    png,
    png_from,
    quarters,
    raw_png,
    saved,
    stored,
)
from PIL import Image

SIZE = (64, 56)
_EDGES = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFE, 0xFF)
_WORDS = (0, 1, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def corpus() -> dict[str, bytes]:
    """A sound picture of every format and kind of pixels that Pillow and pillow-heif read here."""
    image = Image.blend(quarters(SIZE), noise(SIZE), 0.2)
    return {**_jpegs(image), **_pngs(image), **_others(image)}


def _jpegs(image: Image.Image) -> dict[str, bytes]:
    tags = exif(6, gps=True)
    return {
        "jpeg": jpeg(image),
        "jpeg-turned": jpeg(stored(image, 6), exif=tags, icc_profile=other_profile()),
        "jpeg-turned-sampled": jpeg(image, orientation=5, subsampling=2, quality=60),
        "jpeg-progressive": jpeg(image, progressive=True, quality=60),
        "jpeg-restarts": jpeg(image, restart_marker_blocks=2),
        "jpeg-gray": jpeg(image.convert("L"), orientation=3),
        "jpeg-cmyk": jpeg(image.convert("CMYK"), icc_profile=cmyk_profile()),
        "jpeg-tiny": jpeg(image.resize((7, 5))),
        "mpo": saved(image, "MPO", save_all=True, append_images=[image], exif=exif(8)),
    }


def _pngs(image: Image.Image) -> dict[str, bytes]:
    found = {}
    rng = random.Random(7)
    kinds = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    for colour, depths in kinds.items():
        for depth in depths:
            length = (SIZE[0] * channels[colour] * depth + 7) // 8
            rows = b"".join(bytes([y % 5]) + rng.randbytes(length) for y in range(SIZE[1]))
            palette = ((b"PLTE", rng.randbytes(3 << depth)), (b"tRNS", b"\0\x80"))
            extra = palette if colour == 3 else ()
            found[f"png-{colour}-{depth}"] = raw_png(SIZE, depth, colour, rows, extra=extra)
    clear = ((b"tRNS", b"\0\1\0\2\0\3"),)
    rows = (b"\0" + bytes([1, 2, 3] * SIZE[0])) * SIZE[1]
    return found | {
        "png-interlaced": interlaced_png(image),
        "png-clear": raw_png(SIZE, 8, 2, rows, extra=clear),
        "png-turned": png(image, orientation=6, icc_profile=other_profile(), dpi=(72, 72)),
        "png-animated": png(image, save_all=True, append_images=[image.rotate(90)]),
    }


def _others(image: Image.Image) -> dict[str, bytes]:
    alpha = image.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(SIZE))
    found = {
        "webp": saved(image, "WEBP", exif=exif(6), icc_profile=other_profile()),
        "webp-alpha": saved(alpha, "WEBP", lossless=True),
        "bmp": saved(image, "BMP"),
        "bmp-palette": saved(image.quantize(16), "BMP"),
        "gif": saved(image.quantize(16), "GIF", transparency=3),
        "gif-animated": saved(image, "GIF", save_all=True, append_images=[image.rotate(90)]),
        "avif": saved(image, "AVIF", quality=60, speed=9, exif=exif(6)),
        "avif-alpha": saved(alpha, "AVIF", speed=9),
    }
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "LAB", "YCbCr", "I;16", "I;16B", "F", "I"):
        plain = image.convert("L") if mode[0] in "IF" else image
        whole = Image.new(mode, SIZE, 9) if ";" in mode else plain.convert(mode)
        found[f"tiff-{mode}"] = saved(whole, "TIFF")
    for how in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        found[f"tiff-{how}"] = saved(image, "TIFF", compression=how)
    if importlib.util.find_spec("pillow_heif"):
        found["heic"] = heic(image, exif=exif(6).tobytes())
        found["heic-alpha"] = heic(alpha)
    return found


def heic(image: Image.Image, **how: object) -> bytes:
    """A HEIC, as phones write them."""
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=60, **how)
    return buffer.getvalue()


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The bytes damaged in one to three of many ways."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(_WAYS)(data, rng)
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 4, 32)) if data else 0):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _edit_header(data: bytes, rng: random.Random) -> bytes:
    """A byte or a word near the beginning set to something extreme."""
    place = rng.randrange(max(1, min(len(data), rng.choice((40, 200, 700)))))
    order = rng.choice("<>")
    value = rng.choice(
        (
            bytes([rng.choice(_EDGES)]),
            struct.pack(f"{order}H", rng.choice(_WORDS[:6])),
            struct.pack(f"{order}I", rng.choice(_WORDS)),
        )
    )
    return data[:place] + value + data[place + len(value) :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _remove(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 2, 16, 300)) :]


def _splice(data: bytes, rng: random.Random) -> bytes:
    """A part of the file once more, elsewhere, over what is there or in between."""
    start, place = rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)
    part = data[start : start + rng.choice((1, 4, 12, 64, 500))]
    return data[:place] + part + data[place + rng.choice((0, len(part))) :]


def _fill(data: bytes, rng: random.Random) -> bytes:
    place, count = rng.randrange(len(data) + 1), rng.choice((2, 8, 100))
    return data[:place] + bytes([rng.choice(_EDGES)]) * count + data[place + count :]


def _edit_chunk(data: bytes, rng: random.Random) -> bytes:
    """A chunk of a PNG changed, moved, repeated or removed, under a checksum that fits."""
    if not data.startswith(b"\x89PNG"):
        return _edit_header(data, rng)
    try:
        parts = chunks_of(data)
    except struct.error:
        return _flip(data, rng)
    if not parts:
        return _flip(data, rng)
    index = rng.randrange(len(parts))
    kind, payload = parts.pop(index)
    new = rng.choice((b"cHRM", b"gAMA", b"pHYs", b"sRGB", b"zTXt", b"iTXt", b"eXIf", b"fcTL", kind))
    change = rng.choice((_flip, _cut, _edit_header, _splice, lambda whole, _: whole))
    where = rng.choice((index, rng.randrange(len(parts) + 1)))
    kept = [(kind, payload)] if rng.random() < 0.5 else []
    parts[where:where] = [(rng.choice((kind, new)), change(payload, rng)), *kept]
    return png_from(parts)


_WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip,
    _edit_header,
    _edit_header,
    _edit_chunk,
    _cut,
    _remove,
    _splice,
    _fill,
)
