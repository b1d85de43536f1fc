"""JPEG by structure: how many scans a decoder would go through, without decoding any."""

from __future__ import annotations

import re

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
