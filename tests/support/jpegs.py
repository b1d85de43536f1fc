"""JPEGs made by hand: with many scans, with segments of any kind."""

from __future__ import annotations

import itertools
import struct
from typing import Any

from making import jpeg, noise
from PIL import Image

EOI = b"\xff\xd9"


def segment(marker: int, payload: bytes) -> bytes:
    """One segment with its length."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def scans_of(data: bytes) -> list[bytes]:
    """The head of a JPEG written by Pillow, then each of its scans."""
    starts = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    ends = [*starts[1:], len(data) - 2]
    return [data[: starts[0]], *(data[a:b] for a, b in zip(starts, ends, strict=True))]


def progressive(scans: int, image: Image.Image | None = None, **how: Any) -> bytes:
    """A sound progressive JPEG with so many scans: its last one is repeated."""
    head, *own = scans_of(jpeg(image or noise((64, 64)), progressive=True, quality=60, **how))
    return head + b"".join(itertools.islice(itertools.chain(own, itertools.repeat(own[-1])), scans))
