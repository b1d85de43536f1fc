"""One photo of a caller: bytes, a path or an image in memory, made a checked `Picture`."""

from __future__ import annotations

import os
from typing import TypeAlias

from PIL import Image

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import PhotoError, UsageError
from humanbody_cli.core.photo import Photo
from humanbody_cli.discovery import sources
from humanbody_cli.discovery.inputs import is_url
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.imaging import pictures, uploads
from humanbody_cli.imaging.decoding import out_of_memory, short
from humanbody_cli.imaging.pictures import Picture

Source: TypeAlias = bytes | bytearray | memoryview | str | os.PathLike[str] | Image.Image
"""The bytes of a photo's file, its path, or an image."""


def label(source: Source) -> str:
    """What a message calls the photo."""
    if isinstance(source, (str, os.PathLike)):
        return os.fsdecode(source)
    if isinstance(source, Image.Image):
        return f"image of {source.width} x {source.height} pixels"
    return f"photo of {memoryview(source).nbytes:,} bytes"


def check(source: Source) -> None:
    """Check that this may be a photo at all.

    Raises:
        UsageError: it is of no type that can be, an address, or memory that was given back.
    """
    if not isinstance(source, (bytes, bytearray, memoryview, str, os.PathLike, Image.Image)):
        raise UsageError(
            f"a photo must be bytes, a path or a PIL image, not {type(source).__name__}; give the "
            "bytes of an open file, and make an image of an array with PIL.Image.fromarray"
        )
    if isinstance(source, memoryview) and _is_released(source):
        raise UsageError("the memoryview of this photo was released; give one that is in use")
    if isinstance(source, str) and is_url(source):
        raise UsageError(f"{source} is an address; fetch the photo and give its bytes")


def _is_released(source: memoryview) -> bool:
    try:
        return source.nbytes < 0
    except ValueError:
        return True


def picture_of(source: Source, rules: Rules) -> Picture:
    """The photo, checked against the limits as the command does it.

    Raises:
        PhotoError: rejected; it cannot be read or is beyond the limits.
    """
    if isinstance(source, Image.Image):
        return _of_image(source, rules)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return sources.check(bytes(source), memoryview(source).nbytes, rules)
    path = os.fsdecode(source)
    if not os.path.lexists(path):
        message = "there is no such file; check the path"
        raise PhotoError(api_spec.UNREADABLE, message, rejected=True, transient=True)
    return sources.check(*sources.read(Photo(path, "", "", -1, -1), rules.most_bytes), rules)


def _of_image(image: Image.Image, rules: Rules) -> Picture:
    if 0 in image.size:
        raise PhotoError(api_spec.INVALID_SIZE, "it has no pixels", rejected=True)
    try:
        picture = pictures.of_image(image)
    except MemoryError as error:
        raise out_of_memory(rejected=True) from error
    except Exception as error:
        message = f"cannot be used: {short(error)}; open it again, or convert it to RGB"
        raise PhotoError(api_spec.UNSUPPORTED_FORMAT, message, rejected=True) from error
    if rules.fit:
        uploads.check_pixels(picture)
    else:
        uploads.check_limits(picture, 0, 0)
    return picture
