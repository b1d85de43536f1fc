"""What a published PNG was made of, written into the file itself.

A result that no row of the journal tells of (the run was killed before the row was written, or the
journal was lost) may be used again only if it was made of these very bytes with these very options.
Name, size and time prove neither. So each published PNG carries both in a private ancillary chunk
right behind IHDR, with a checksum of all other bytes of the file.

The chunk is called ``hbSG``: ancillary, private and not safe to copy (PNG 1.2, 3.3), so an editor
that does not know it drops it once it changes the picture. A tool that keeps it all the same does
not fit the checksum. This guards against mix-ups, not against forgery.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from humanbody_cli.imaging import png
from humanbody_cli.imaging.png import SIGNATURE

CHUNK = b"hbSG"

_VERSION = 1
_START = len(png.SIGNATURE) + 25
"""Where the chunk begins: behind the signature and IHDR, bytes."""

_FRAME = 12  # bytes of a chunk around its payload: length, type, checksum
_LONGEST = 8192
"""Bytes of payload. About 200 are usual; a model's file name may take 1,500."""

_GLANCE = 512
"""Bytes of a file that `peek` reads; more only where its chunk is longer."""

_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Proof:
    """What one published file was made of.

    ``sha256`` is that of the source photo's bytes, 64 lower-case hexadecimal digits; ``made`` is
    the text of the options that shape this file; ``doubt`` is the engine's own figure from 0 to 1,
    kept to 4 digits.
    """

    sha256: str
    made: str
    doubt: float | None = None


def attach(data: bytes, proof: Proof) -> bytes:
    """The same PNG with this proof in it, in the place of any proof that was there.

    Costs one copy and one CRC-32 of the file. The same arguments give the same bytes.

    Raises:
        png.BrokenPng: the bytes are no complete PNG.
        ValueError: the proof's text is too long, or its sha256 is none.
    """
    png.header(data)
    head, *rest = _without_proofs(data)
    crc = zlib.crc32(head)
    for part in rest:
        crc = zlib.crc32(part, crc)
    return b"".join((head, _chunk(_text(proof, crc)), *rest))


def read(data: bytes) -> Proof | None:
    """The proof in a PNG; ``None`` without one, or where any byte of the file has changed."""
    found = _found(data)
    if found is None:
        return None
    proof, crc, length = found
    view = memoryview(data)
    actual = zlib.crc32(view[_START + _FRAME + length :], zlib.crc32(view[:_START]))
    return proof if crc == actual else None


def is_present(data: bytes) -> bool:
    """Whether a proof was written into a PNG, be it that it no longer fits."""
    return data[_START + 4 : _START + 8] == CHUNK


def glance(data: bytes) -> Proof | None:
    """The proof in a PNG, whether or not the rest still fits it."""
    found = _found(data)
    return found[0] if found else None


def peek(path: str) -> Proof | None:
    """The proof at the beginning of a file, whether or not the rest still fits it.

    A cheap look at many files: `read` decides. ``None`` too where the file cannot be read.
    """
    with contextlib.suppress(OSError), open(path, "rb") as file:
        start = file.read(_GLANCE)
        end = _START + _FRAME + _length(start)
        if len(start) < end <= _START + _FRAME + _LONGEST:
            start += file.read(end - len(start))
        return glance(start)
    return None


def _text(proof: Proof, crc: int) -> bytes:
    if not _is_sha256(proof.sha256):
        raise ValueError(f"no sha256: {proof.sha256!r}")
    fields: dict[str, Any] = {"version": _VERSION, "sha256": proof.sha256, "made": proof.made}
    if proof.doubt is not None and math.isfinite(proof.doubt):
        fields["doubt"] = round(float(proof.doubt), 4)
    text = json.dumps({**fields, "crc32": f"{crc:08x}"}).encode("ascii")
    if len(text) > _LONGEST:
        raise ValueError(f"a proof of {len(text)} bytes is too long")
    return text


def _chunk(payload: bytes) -> bytes:
    body = CHUNK + payload
    return struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))


def _without_proofs(data: bytes) -> Iterator[memoryview]:
    """The parts of a PNG around its proofs; the first ends behind IHDR."""
    view = memoryview(data)
    yield view[:_START]
    kept = _START  # everything before it has been yielded
    for kind, start, end in _spans(data):
        if kind == CHUNK:
            yield view[kept:start]
            kept = end
    yield view[kept:]


def _spans(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk behind IHDR up to IEND: its type, where it begins and ends. No checksums."""
    start, kind = _START, b""
    while kind != b"IEND":
        if start + _FRAME > len(data):
            raise png.BrokenPng("the PNG is cut short")
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + _FRAME + length
        if end > len(data):
            raise png.BrokenPng("the PNG is cut short")
        yield kind, start, end
        start = end


def _length(data: bytes) -> int:
    """The length of the payload that the chunk behind IHDR announces; 0 where there is none."""
    if len(data) < _START + _FRAME:
        return 0
    length: int = struct.unpack_from(">I", data, _START)[0]
    return length


def _found(data: bytes) -> tuple[Proof, int, int] | None:
    """Proof, checksum of the rest and length of the payload, where the chunk itself is sound."""
    length = _length(data)
    body = data[_START + 4 : _START + 8 + length] if length <= _LONGEST else b""
    if not body.startswith(CHUNK) or not _has_header(data):
        return None
    if data[_START + 8 + length : _START + _FRAME + length] != struct.pack(">I", zlib.crc32(body)):
        return None
    parsed = _parsed(body[len(CHUNK) :])
    return (*parsed, length) if parsed else None


def _has_header(data: bytes) -> bool:
    try:
        png.header(data)
    except png.BrokenPng:
        return False
    return True


def _parsed(text: bytes) -> tuple[Proof, int] | None:
    """Proof and checksum; fields that a later version may add are passed over."""
    try:
        fields = json.loads(text)
        if fields["version"] != _VERSION or not _is_sha256(fields["sha256"]):
            return None
        made, doubt = fields["made"], fields.get("doubt")
        if not isinstance(made, str) or not (doubt is None or isinstance(doubt, float)):
            return None
        return Proof(fields["sha256"], made, doubt), int(fields["crc32"], 16)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _is_sha256(text: object) -> bool:
    return isinstance(text, str) and len(text) == 64 and _HEX.issuperset(text)


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
