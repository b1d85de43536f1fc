"""Files that prove that hbseg wrote them and nobody changed them since. Pure: bytes in and out.

A seal is a line of text inside the file, where the format has room for one: a private chunk of a
PNG, a comment of a JPEG or a page, XMP of a WebP. It holds the sha256 of the whole file with zeros
in the digest's place. A file that was edited keeps the text perhaps, but not the digest: it is the
user's from then on. The proof travels with the file, through moves, copies and backups.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib

from humanbody_cli.imaging.png import SIGNATURE

_CHUNK = b"hbSL"
"""Ancillary, private, and not safe to copy: a program that changes the picture has to drop it (PNG
specification, 5.4)."""

_BLANK = b"0" * 64


def blank(kind: str) -> str:
    """The text to put into a file that is going to be sealed. ``kind`` tells who wrote it."""
    return _prefix(kind) + _BLANK.decode()


def in_png(data: bytes, kind: str) -> bytes:
    """A PNG with the text in a chunk of its own, ready to be sealed."""
    body = _CHUNK + blank(kind).encode()
    chunk = struct.pack(">I", len(body) - len(_CHUNK)) + body + struct.pack(">I", zlib.crc32(body))
    after_header = len(SIGNATURE) + 25
    return data[:after_header] + chunk + data[after_header:]


def in_xmp(kind: str) -> bytes:
    """The text as an XMP packet, for formats that carry one."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/">'
        f"<xmp:Label>{blank(kind)}</xmp:Label>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def sealed(data: bytes, kind: str) -> bytes:
    """The same file with its digest in the place that `blank` left for it."""
    at = _digits_at(data, kind)
    assert at is not None, "the text has to be in the file first"
    return _with_digits(data, at, hashlib.sha256(data).hexdigest().encode())


def is_sealed(data: bytes, kind: str) -> bool:
    """Whether these bytes are, to the last one, what was sealed as this kind."""
    at = _digits_at(data, kind)
    return at is not None and sealed(_with_digits(data, at, _BLANK), kind) == data


def _prefix(kind: str) -> str:
    return f"hbseg-{kind}:"


def _digits_at(data: bytes, kind: str) -> int | None:
    """Where the digest stands: behind the first prefix that hexadecimal digits follow."""
    prefix = re.escape(_prefix(kind).encode())
    found = re.search(prefix + rb"([0-9a-f]{64})", data)
    return found.start(1) if found else None


def _with_digits(data: bytes, at: int, digits: bytes) -> bytes:
    end = at + len(digits)
    if not data.startswith(SIGNATURE):
        return data[:at] + digits + data[end:]
    # A chunk's checksum goes along with what is in it.
    start = data.rfind(_CHUNK, 0, at)
    checksum = struct.pack(">I", zlib.crc32(data[max(start, 0) : at] + digits))
    return data[:at] + digits + checksum + data[end + len(checksum) :]
