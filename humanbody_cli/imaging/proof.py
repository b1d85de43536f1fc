"""Proofs and seals: marks inside published files that say what they were made of, unchanged.

A result without a row in the journal (the run was killed before the row was written, or the journal
was lost) may be reused only if it was made from the same bytes with the same options. Name, size
and time prove neither. Each published PNG therefore carries a proof of both in a private ancillary
chunk directly behind IHDR, with a checksum of all other bytes of the file.

The chunk is called ``hbSG``: ancillary, private and not safe to copy (PNG 1.2, 3.3), so an editor
that does not know it drops it when it changes the picture. If a tool keeps it all the same, the
checksum no longer matches. This guards against mix-ups, not against forgery.

A seal marks a file of any format (a report, a recomposed cutout) as written by hbseg: a digest of
the file in a place inside it. A seal can also name, as a digest, what the file was made of.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from humanbody_cli.imaging import png_check
from humanbody_cli.imaging.png_check import FRAME, HEADER_END, SIGNATURE, crc32
from humanbody_cli.imaging.png_writer import chunk, with_chunks

CHUNK = b"hbSG"

_VERSION = 1
_LONGEST = 8192
"""Bytes of payload: usually about 200; a model's file name may take 1,500."""

_GLANCE = 512
"""Bytes of a file that `peek` reads; more only if its chunk is longer."""

_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Proof:
    """What one published file was made of.

    ``sha256`` is the digest of the source photo's bytes, 64 lower-case hexadecimal digits; ``made``
    names the options that determine this file; ``doubt`` is the engine's own figure from 0 to 1,
    to 4 digits.
    """

    sha256: str
    made: str
    doubt: float | None = None


def attach(data: bytes, proof: Proof) -> bytes:
    """The same PNG with this proof in it, in place of any earlier proof.

    Costs one copy and one CRC-32 of the file. The same arguments give the same bytes.

    Raises:
        png_check.BrokenPng: the bytes are not a complete PNG.
        ValueError: the proof's text is too long, or its sha256 is not one.
    """
    png_check.header(data)
    head, *rest = _without_proofs(data)
    crc = crc32(head)
    for part in rest:
        crc = crc32(part, crc)
    return b"".join((head, chunk(CHUNK, _text(proof, crc)), *rest))


def read(data: bytes) -> Proof | None:
    """The proof in a PNG; ``None`` without one, or if any byte of the file has changed."""
    found = _found(data)
    if found is None:
        return None
    proof, crc, length = found
    view = memoryview(data)
    actual = crc32(view[HEADER_END + FRAME + length :], crc32(view[:HEADER_END]))
    return proof if crc == actual else None


def is_present(data: bytes) -> bool:
    """Whether a PNG has a proof, even one that no longer matches."""
    return data[HEADER_END + 4 : HEADER_END + 8] == CHUNK


def glance(data: bytes) -> Proof | None:
    """The proof in a PNG, whether or not the rest of the file still matches it."""
    found = _found(data)
    return found[0] if found else None


def peek(path: str) -> Proof | None:
    """The proof at the beginning of a file, whether or not the rest still matches it.

    A cheap check for many files; `read` decides. ``None`` also if the file cannot be read.
    """
    with contextlib.suppress(OSError), open(path, "rb") as file:
        start = file.read(_GLANCE)
        end = HEADER_END + FRAME + _length(start)
        if len(start) < end <= HEADER_END + FRAME + _LONGEST:
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


def _without_proofs(data: bytes) -> Iterator[memoryview]:
    """The parts of a PNG between its proofs; the first is the signature with IHDR."""
    view = memoryview(data)
    yield view[:HEADER_END]
    kept = HEADER_END  # everything before it has been yielded
    for kind, start, end in png_check.spans(data):
        if kind == CHUNK:
            yield view[kept:start]
            kept = end
    yield view[kept:]


def _length(data: bytes) -> int:
    """The length of the payload of the chunk behind IHDR; 0 if there is none."""
    if len(data) < HEADER_END + FRAME:
        return 0
    length: int = struct.unpack_from(">I", data, HEADER_END)[0]
    return length


def _found(data: bytes) -> tuple[Proof, int, int] | None:
    """Proof, checksum of the rest and length of the payload, if the chunk itself is sound."""
    length = _length(data)
    body = data[HEADER_END + 4 : HEADER_END + 8 + length] if length <= _LONGEST else b""
    if not body.startswith(CHUNK) or not _has_header(data):
        return None
    if data[HEADER_END + 8 + length : HEADER_END + FRAME + length] != struct.pack(
        ">I", crc32(body)
    ):
        return None
    parsed = _parsed(body[len(CHUNK) :])
    return (*parsed, length) if parsed else None


def _has_header(data: bytes) -> bool:
    try:
        png_check.header(data)
    except png_check.BrokenPng:
        return False
    return True


def _parsed(text: bytes) -> tuple[Proof, int] | None:
    """Proof and checksum; fields that a later version may add are ignored."""
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


_SEAL_CHUNK = b"hbSL"
"""Ancillary, private, and not safe to copy: a program that changes the picture has to drop it (PNG
specification, 5.4)."""

_BLANK = b"0" * 64
_MADE = "hbseg-made:"

_NEAR = 64 * 1024
"""Bytes in which `may_be_sealed` looks for a seal, behind a JPEG's Exif or an ordinary profile."""


def digest_of(*parts: str) -> str:
    """What a sealed file was made of, as a digest: 64 hexadecimal digits."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def blank(kind: str, made: str = "") -> str:
    """The text to put into a file that is to be sealed. ``kind`` names what wrote it, ``made`` is
    the `digest_of` what it was made of, if that is to be known later."""
    return (f"{_MADE}{made} " if made else "") + _prefix(kind) + _BLANK.decode()


def in_png(data: bytes, kind: str, made: str = "") -> bytes:
    """A PNG with the text in a chunk of its own, ready to be sealed."""
    return with_chunks(data, chunk(_SEAL_CHUNK, blank(kind, made).encode()))


def in_xmp(kind: str, made: str = "") -> bytes:
    """The text as an XMP packet, for formats that carry one."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/">'
        f"<xmp:Label>{blank(kind, made)}</xmp:Label>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def sealed(data: bytes, kind: str) -> bytes:
    """The same file with its digest in place of the zeros of `blank`."""
    at = _digits_at(data, kind)
    assert at is not None, "the text has to be in the file first"
    return _with_digits(data, at, hashlib.sha256(data).hexdigest().encode())


def is_sealed(data: bytes, kind: str) -> bool:
    """Whether these bytes are exactly what was sealed as this kind."""
    at = _digits_at(data, kind)
    return at is not None and sealed(_with_digits(data, at, _BLANK), kind) == data


def may_be_sealed(path: str, kind: str) -> bool:
    """Whether a file mentions such a seal near its beginning or its end, where pictures have it: a
    cheap check for many files; `is_sealed` decides. ``False`` also if it cannot be read."""
    prefix = _prefix(kind).encode()
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if prefix in file.read(_NEAR):
            return True
        file.seek(max(0, file.seek(0, 2) - _NEAR))
        return prefix in file.read(_NEAR)
    return False


def made_of(data: bytes, kind: str) -> str | None:
    """What these bytes were made of, as `digest_of` gave it; ``None`` unless they are exactly what
    was sealed as this kind, together with that."""
    at = _digits_at(data, kind) if is_sealed(data, kind) else None
    if at is None:
        return None
    end = at - len(_prefix(kind)) - 1
    start = end - len(_BLANK)
    made = data[max(0, start - len(_MADE)) : max(0, end)]
    return made[len(_MADE) :].decode("ascii") if made.startswith(_MADE.encode()) else None


def _prefix(kind: str) -> str:
    return f"hbseg-{kind}:"


def _digits_at(data: bytes, kind: str) -> int | None:
    """Where the digest is: behind the first prefix that is followed by hexadecimal digits."""
    prefix = re.escape(_prefix(kind).encode())
    found = re.search(prefix + rb"([0-9a-f]{64})", data)
    return found.start(1) if found else None


def _with_digits(data: bytes, at: int, digits: bytes) -> bytes:
    end = at + len(digits)
    if not data.startswith(SIGNATURE):
        return data[:at] + digits + data[end:]
    # The chunk's own checksum changes with its contents.
    start = data.rfind(_SEAL_CHUNK, 0, at)
    checksum = struct.pack(">I", crc32(data[max(start, 0) : at] + digits))
    return data[:at] + digits + checksum + data[end + len(checksum) :]
