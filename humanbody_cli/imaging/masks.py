"""Confidence masks: read from answers and files, encoded, and measured (coverage, doubt)."""

from __future__ import annotations

import io
from functools import cached_property

from PIL import Image

from humanbody_cli.imaging import decoding, png_check, png_writer
from humanbody_cli.imaging.decoding import out_of_memory, short

THRESHOLD = 127
"""The highest gray value that is background: confidence > .5 is V = confidence * 255 > 127.5
(the API document's row ``body_image``)."""

_BINARY = [255 if value > THRESHOLD else 0 for value in range(256)]

_LEAST = 0.0001
"""The coverage of a mask with few pixels inside."""

SURE, POSSIBLE = 0.6, 0.25
"""The confidences above which a pixel surely, or possibly, is a person; see `doubt_of`."""


class Mask:
    """A confidence mask, V = confidence * 255 in one 8-bit gray channel, as PNG or as pixels.

    Each form is made from the other when first needed: an answer's bytes pass through unchanged,
    and the embedded engine's pixels are encoded at most once.
    """

    def __init__(self, image: Image.Image, data: bytes | None = None) -> None:
        self.image = image
        self._data = data

    @classmethod
    def read(cls, data: bytes, size: tuple[int, int]) -> Mask:
        """A mask from an answer or a file: a PNG, or a JPEG as in the API document's sample.

        An 8-bit gray PNG keeps its bytes; anything else is converted to one.

        Raises:
            ValueError: the bytes are not a complete picture of this ``size`` (width, height).
            PhotoError: transient; there is too little memory to tell.
        """
        try:
            # Decoding proves the pixels; the chunks prove that nothing is missing behind them.
            if decoding.has_too_many_scans(data):
                raise ValueError("it has more JPEG scans than any mask needs")
            is_png = data.startswith(png_check.SIGNATURE)
            keeps = is_png and png_check.is_gray8(png_check.header(data))
            image = _decoded(png_writer.bare(data) if is_png else data, size)
        except MemoryError as error:
            raise out_of_memory() from error
        except Exception as error:
            raise ValueError(f"the mask is damaged: {short(error)}") from error
        return cls(_as_gray(image), data if keeps else None)

    @classmethod
    def of_cutout(cls, data: bytes, size: tuple[int, int]) -> Mask:
        """The mask in a cutout's alpha channel; ``data`` is a PNG.

        Raises:
            ValueError: the bytes are not a complete PNG of this ``size`` (width, height).
            PhotoError: transient; there is too little memory to tell.
        """
        try:
            return cls(_decoded(png_writer.bare(data), size).convert("RGBA").getchannel("A"))
        except MemoryError as error:
            raise out_of_memory() from error
        except Exception as error:
            raise ValueError(f"the cutout is damaged: {short(error)}") from error

    @classmethod
    def empty(cls, size: tuple[int, int]) -> Mask:
        """The mask of a photo of this ``size`` (width, height) that shows nobody."""
        return cls(Image.new("L", size))

    @cached_property
    def png(self) -> bytes:
        """The mask as an 8-bit gray PNG."""
        return self._data if self._data is not None else png_writer.encode(self.image)

    def coverage(self) -> float:
        """The part of the photo inside the mask, 0 to 1 in steps of `_LEAST`.

        0 means that not one pixel is inside: a smaller part than `_LEAST` is not rounded to 0.
        """
        inside, whole = sum(self._counts[THRESHOLD + 1 :]), sum(self._counts)
        return max(_LEAST, round(inside / whole, 4)) if inside else 0.0

    def doubt(self) -> float:
        """How unsure the mask is, 0 (sure) to 1; see `doubt_of`."""
        return round(doubt_of(self._area(SURE), self._area(POSSIBLE)), 4)

    def _area(self, confidence: float) -> int:
        """Pixels whose confidence is above this."""
        return sum(self._counts[int(confidence * 255) + 1 :])

    @cached_property
    def _counts(self) -> list[int]:
        """Pixels per gray value."""
        return self.image.histogram()


def doubt_of(sure: int, possible: int, *, of_nobody: float = 0.0) -> float:
    """1 - area(confidence > `SURE`) / area(confidence > `POSSIBLE`), from both areas in pixels.

    That is the part of what might be a person that is not surely one. On photographs it falls as
    the mask gets better (rank correlation with IoU -.62 and -.77). ``of_nobody`` is the doubt of a
    map in which nothing might be a person: a finished mask without anybody is sure.
    """
    return 1 - sure / possible if possible else of_nobody


def binary(mask: Image.Image) -> Image.Image:
    """A mask (mode L) with 255 where its confidence is above .5, else 0."""
    return mask.point(_BINARY)


def _decoded(data: bytes, size: tuple[int, int]) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=["PNG", "JPEG", "MPO"]) as opened:
        if opened.size != size:  # before the pixels are decoded: it may be a decompression bomb
            raise ValueError(
                f"it has {opened.size[0]} x {opened.size[1]} pixels, the photo "
                f"{size[0]} x {size[1]}"
            )
        opened.load()
        return opened


def _as_gray(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return image.convert("F").point(lambda value: value * (1 / 257) + 0.5).convert("L")
    return image if image.mode == "L" else image.convert("L")  # which would copy it
