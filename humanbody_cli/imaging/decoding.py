"""The boundary to the image decoders: what they raise, how long they may take, which are installed.

Every call that passes untrusted bytes, or pixels made from them, to Pillow, pillow-heif, littlecms
or numpy is inside `decoding`. This module imports none of them.
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
from humanbody_cli.core.errors import HbsegError, PhotoError, how_to_install

_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
"""Brands of an ``ftyp`` box (ISO 23008-12, annex B; AV1 Image File Format, 6). ``mif1`` and
``msf1`` only say that there are pictures inside; further brands name their kind."""

_MOST_BRANDS = 64  # bytes of the box that are examined

_MODULES = {"avif": "PIL._avif", "heif": "pillow_heif"}

_NAMES = {"avif": "AVIF", "heif": "HEIC"}


DAMAGED = "damaged"


def unsupported(message: str, reason: str = DAMAGED) -> PhotoError:
    """The rejection of a file that is not a sound picture; ``reason`` is for counts."""
    return PhotoError(api_spec.UNSUPPORTED_FORMAT, message, rejected=True, reason=reason)


def out_of_memory(*, rejected: bool = False) -> PhotoError:
    """The failure of a photo for lack of memory, transient; ``rejected`` if it was not sent."""
    message = "there is not enough memory to decode it; shrink the photo or free some memory"
    return PhotoError(
        api_spec.INVALID_SIZE, message, rejected=rejected, transient=True, reason="no memory"
    )


def above_pillows_limit() -> PhotoError:
    """The rejection of a photo that Pillow takes for a bomb: hbseg's own processes lift its limit,
    a program that uses hbseg may have one."""
    message = (
        "it has more pixels than this program lets Pillow open (PIL.Image.MAX_IMAGE_PIXELS); shrink"
        " the photo, or raise that limit"
    )
    return PhotoError(api_spec.INVALID_SIZE, message, rejected=True)


@contextlib.contextmanager
def decoding() -> Iterator[None]:
    """Turn any exception of a decoder into the rejection of the photo.

    Damaged files make decoders raise almost any exception: RuntimeError, ZeroDivisionError,
    struct.error. hbseg's own errors pass unchanged. A lack of memory is a transient rejection.

    Raises:
        PhotoError: in place of any other exception.
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
class DecodeDeadline:
    """The time, in seconds of ``clock``, at which the decoding of a photo is given up."""

    at: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> DecodeDeadline:
        """A deadline this many seconds from now."""
        return cls(clock() + seconds, clock)

    def check(self) -> None:
        """Check that the deadline has not passed.

        Raises:
            PhotoError: rejected; it has.
        """
        if self.clock() >= self.at:
            message = "takes too long to decode; save it again as an ordinary JPEG or PNG"
            raise unsupported(message, "slow to decode")


class Source(io.BytesIO):
    """A photo's bytes as a file for Pillow, which ends the decoding at the deadline.

    Pillow reads its input in parts, and an exception from `read` ends and frees the decoder at
    once. In a JPEG one part may hold many scans, each of which takes long: after `part_scans` no
    part extends past the start of the next scan.
    """

    def __init__(self, data: bytes, deadline: DecodeDeadline | None = None) -> None:
        super().__init__(data)
        self._data = data
        self._deadline = deadline
        self._parts_scans = False

    def part_scans(self) -> None:
        """From here on `read` may return fewer bytes than asked for, which only decoders accept."""
        self._parts_scans = self._deadline is not None

    def read(self, size: int | None = -1, /) -> bytes:
        """See `io.BytesIO`.

        Raises:
            PhotoError: rejected; the deadline has passed.
        """
        if self._deadline is not None:
            self._deadline.check()
        if self._parts_scans and size is not None and size > 0:
            start = self.tell()
            scan = self._data.find(b"\xff\xda", start + 1, start + size)
            size = scan - start if scan > 0 else size
        return super().read(size)


def readers() -> str:
    """Which optional readers are installed, e.g. ``avif,heif``; which photos can be read depends on
    it. Cheap: modules are searched for, not loaded.
    """
    return ",".join(name for name, module in _MODULES.items() if is_installed(module))


def is_installed(module: str) -> bool:
    """Whether a module can be found; it is not loaded."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def unrecognised(data: bytes, *, fit: bool) -> PhotoError:
    """The rejection of bytes that no reader recognises: what is wrong and what to do.

    ``fit`` tells whether ``--fit`` is on.
    """
    kind = kind_of(data)
    if kind is None:
        return unsupported("not a picture, or damaged at its beginning; replace the file")
    name = _NAMES[kind]
    if kind in readers().split(","):
        return unsupported(f"a damaged {name}; replace the file")
    if kind == "avif":
        install = "install a Pillow version that reads it (pip install --upgrade pillow)"
    else:
        install = f"install its reader ({how_to_install('fit')})"
    what = f"{name} cannot be read: its reader is not installed; {install} and run again"
    if not fit:
        what = (
            f"{name} is not accepted, only JPG and PNG; {install} and use --fit to have it "
            "converted"
        )
    return unsupported(what, name)


def kind_of(data: bytes) -> str | None:
    """``heif`` or ``avif``, by the brands at the start of a file; ``None`` if neither."""
    if data[4:8] != b"ftyp":
        return None
    length = min(int.from_bytes(data[:4], "big"), _MOST_BRANDS, len(data))
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, length - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "avif"
    return "heif" if brands & _HEIC_BRANDS else None


_START_OF_IMAGE = b"\xff\xd8"
JPEG_SIGNATURE = _START_OF_IMAGE + b"\xff"
"""How every JPEG begins: the first marker, and the first byte of the next."""

MAX_SCANS = 100
"""Scans accepted in a JPEG. libjpeg's cjpeg and jpegtran write no more (MAX_SCANS in rdswitch.c),
their own progressive script has 10, and libtiff stops a decoder there too
(JPEG_MAX_ALLOWED_SCAN_NUMBER). Each scan, however short, makes a decoder pass over every block of
the picture: 10 to 80 ms per scan at 4096 x 4096 pixels (measured; the refinement of AC coefficients
costs most), some seconds in all."""

_MAX_SEGMENTS = 10_000
"""Segments examined: a photo has tens, a large ICC profile 255 more."""

_START_OF_SCAN = b"\xff\xda"
_SOS, _EOI, _FIRST_WITH_LENGTH = 0xDA, 0xD9, 0xC0
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""Any marker (ITU T.81, B.1.1.3) except those that neither end a scan nor have a length: stuffed
zeros, fill bytes, TEM, RST0 to RST7 and SOI."""


def has_too_many_scans(data: bytes, most: int = MAX_SCANS) -> bool:
    """Whether the first picture of a JPEG has more than ``most`` scans.

    Never false where libjpeg would process more: markers are searched for as libjpeg does, skipping
    anything between segments, and not inside segments. What follows the first picture (the others
    of an MPO, a video) does not count.
    """
    if data.count(_START_OF_SCAN) <= most:  # almost every file; FF DA cannot occur within scans
        return False
    position, scans = len(_START_OF_IMAGE), 0
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
