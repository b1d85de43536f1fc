"""The border to the decoders: what they raise, how long they may take, which of them there are.

Every call that hands a stranger's bytes, or pixels made of them, to Pillow, pillow-heif, littlecms
or numpy stands inside `decoding`. Imports none of these itself.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import HbsegError, PhotoError

_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
"""Brands of an ``ftyp`` box (ISO 23008-12, annex B; AV1 Image File Format, 6). ``mif1`` and
``msf1`` only say that pictures are inside: further brands tell of which kind."""

_MOST_BRANDS = 64  # bytes of the box that are looked at

_MODULES = {"avif": "PIL._avif", "heif": "pillow_heif"}

_READERS = {
    "avif": ("AVIF", "install a Pillow version that reads it (pip install --upgrade pillow)"),
    "heif": ("HEIC", "install its reader (pip install pillow-heif)"),
}


def unsupported(message: str) -> PhotoError:
    """The rejection of a file that is no sound picture."""
    return PhotoError(api_spec.UNSUPPORTED_FORMAT, message, rejected=True)


def out_of_memory(*, rejected: bool = False) -> PhotoError:
    """A photo that a later run may be able to do. ``rejected`` where it was not sent."""
    message = "there is not enough memory to decode it; shrink the photo or free some memory"
    return PhotoError(api_spec.INVALID_SIZE, message, rejected=rejected, transient=True)


@contextlib.contextmanager
def decoding() -> Iterator[None]:
    """Whatever a decoder raises is the fault of the bytes it was given, and rejects that photo.

    Damaged files make decoders raise nearly any exception: RuntimeError, ZeroDivisionError,
    struct.error. Our own errors pass. Too little memory rejects the photo for now only.

    Raises:
        PhotoError: in the place of any other exception.
    """
    try:
        yield
    except HbsegError:
        raise
    except MemoryError as error:
        raise out_of_memory(rejected=True) from error
    except Exception as error:
        message = f"damaged or cut short: {short(error)}; replace the file"
        raise unsupported(message) from error


def short(error: BaseException) -> str:
    """The first line of an exception's text, or its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:100]


@dataclass(frozen=True)
class Deadline:
    """The time, in seconds of ``clock``, from which on a photo is decoded no further."""

    at: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Deadline:
        """The deadline so many seconds from now."""
        return cls(clock() + seconds, clock)

    def check(self) -> None:
        """Go on only before the deadline.

        Raises:
            PhotoError: rejected, where it has passed.
        """
        if self.clock() >= self.at:
            raise unsupported("takes too long to decode; save it again as an ordinary JPEG or PNG")


class Source(io.BytesIO):
    """A photo's bytes as a file that Pillow reads, which ends the decoding at the deadline.

    Pillow asks for its input a part at a time; an exception from `read` leaves the decoder at once
    and frees it. In a JPEG one part may hold many scans, each of which takes long: after
    `part_scans` no part reaches beyond the next scan's beginning.
    """

    def __init__(self, data: bytes, deadline: Deadline | None = None) -> None:
        super().__init__(data)
        self._data = data
        self._deadline = deadline
        self._parts_scans = False

    def part_scans(self) -> None:
        """From here on `read` may give fewer bytes than asked for: only a decoder bears that."""
        self._parts_scans = self._deadline is not None

    def read(self, size: int | None = -1, /) -> bytes:
        """See `io.BytesIO`.

        Raises:
            PhotoError: rejected, where the deadline has passed.
        """
        if self._deadline is not None:
            self._deadline.check()
        if self._parts_scans and size is not None and size > 0:
            start = self.tell()
            scan = self._data.find(b"\xff\xda", start + 1, start + size)
            size = scan - start if scan > 0 else size
        return super().read(size)


def readers() -> str:
    """Which optional readers are installed, e.g. ``avif,heif``: what they read changes with it.

    Cheap: looks for modules, loads none.
    """
    return ",".join(name for name, module in _MODULES.items() if _is_there(module))


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def advice(data: bytes, *, fit: bool) -> str:
    """What is wrong with bytes that no reader knows, and what to do.

    ``fit`` tells whether ``--fit`` is on.
    """
    kind = _kind(data)
    if kind is None:
        return "not a picture, or damaged at its beginning; replace the file"
    name, install = _READERS[kind]
    if kind in readers().split(","):
        return f"a damaged {name}; replace the file"
    if fit:
        return f"{name} cannot be read: its reader is not installed; {install} and run again"
    return f"{name} is not accepted, only JPG and PNG; {install} and use --fit to have it converted"


def _kind(data: bytes) -> str | None:
    """``heif`` or ``avif`` by the brands at a file's beginning."""
    if data[4:8] != b"ftyp":
        return None
    length = min(int.from_bytes(data[:4], "big"), _MOST_BRANDS, len(data))
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, length - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "avif"
    return "heif" if brands & _HEIC_BRANDS else None


MAX_SCANS = 100
"""Scans that are agreed to. libjpeg's cjpeg and jpegtran write no more (MAX_SCANS in rdswitch.c),
their own progressive script has 10, and libtiff stops a decoder there too
(JPEG_MAX_ALLOWED_SCAN_NUMBER). Each scan, however few bytes it has, makes a decoder pass over every
block of the picture: 10 to 80 ms a scan at 4096 x 4096 pixels (measured; the
refinement of AC coefficients costs most), some seconds in all."""

_MAX_SEGMENTS = 10_000
"""Segments that are looked through: a photo has tens, a large ICC profile 255 more."""

_START_OF_SCAN = b"\xff\xda"
_SOS, _EOI, _FIRST_WITH_LENGTH = 0xDA, 0xD9, 0xC0
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""A marker (ITU T.81, B.1.1.3) but for those that neither end a scan nor carry a length: stuffed
zeros, fill bytes, TEM, RST0 to RST7 and SOI."""


def has_too_many_scans(data: bytes, most: int = MAX_SCANS) -> bool:
    """Whether the first picture of a JPEG has more than ``most`` scans.

    Never says no where libjpeg would go through more: it looks for markers as libjpeg does, past
    anything between segments, and into no segment. What follows the first picture (the further ones
    of an MPO, a video) does not count.
    """
    if data.count(_START_OF_SCAN) <= most:  # nearly every file; within scans FF DA cannot stand
        return False
    position, scans = len(b"\xff\xd8"), 0
    for _ in range(_MAX_SEGMENTS):
        match = _MARKER.search(data, position)
        if match is None:
            return False
        position, kind = match.end(), data[match.end() - 1]
        if kind == _EOI:
            return False
        scans += kind == _SOS
        if scans > most:
            return True
        if kind >= _FIRST_WITH_LENGTH:
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
    return True
