"""Pictures of every mode that PNG knows."""

from __future__ import annotations

from making import (
    noise,
    opened,
)
from PIL import Image

from humanbody_cli.imaging.png_check import (
    BrokenPng,
    verify,
)

MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]


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
