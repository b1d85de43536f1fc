"""Paths as text and as bytes, made absolute; times of files; a compact set of many paths."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from humanbody_cli.core.errors import UsageError

_ENCODING = sys.getfilesystemencoding()
_ERRORS = sys.getfilesystemencodeerrors()

_LEAST, _MOST = -(2**63), 2**63 - 1
NO_TIME = -1
"""The modification time of what is not a file."""


def to_bytes(path: str) -> bytes:
    """A path's bytes, for the journal and for pipes: in the file system's encoding, which need not
    be UTF-8 (``LC_ALL=en_US.ISO-8859-1``)."""
    return path.encode(_ENCODING, _ERRORS)  # os.fsencode takes twice as long


def all_to_bytes(top: str, paths: Sequence[str]) -> list[bytes]:
    """`to_bytes` of paths with ``top`` in front of each; at once, which takes a quarter of the
    time. No path contains a NUL."""
    return to_bytes(top + f"\0{top}".join(paths)).split(b"\0") if paths else []


def to_text(path: bytes) -> str:
    """The text of a path's bytes; the inverse of `to_bytes`."""
    return path.decode(_ENCODING, _ERRORS)


def absolute(path: str) -> str:
    """The absolute path of a file or folder, with links kept as they are.

    ``..`` behind a link is resolved to where it leads: ``link/../x.jpg`` is a file beside the
    link's target and not beside the link.

    Raises:
        UsageError: the path is relative, and the current folder is gone.
    """
    try:
        if ".." in path and ".." in path.split(os.sep):
            return _climbed(path)
        plain = os.path.abspath(path)
    except FileNotFoundError as error:  # os.getcwd
        raise UsageError(
            f"{path}: a relative path, and the current folder has been deleted or moved away; "
            "change to a folder that exists, or give an absolute path"
        ) from error
    # POSIX leaves the meaning of two leading slashes open; Linux and macOS give them none.
    return "/" + plain.lstrip("/") if plain.startswith("//") else plain


def _climbed(path: str) -> str:
    current = os.sep if os.path.isabs(path) else os.getcwd()
    for part in path.split(os.sep):
        if part == os.pardir:
            real = os.path.realpath(current) if os.path.islink(current) else current
            current = os.path.dirname(real)
        elif part not in ("", os.curdir):
            current = os.path.join(current, part)
    return current


def mtime_of(status: os.stat_result) -> int:
    """A file's modification time in nanoseconds, kept within the 64 bits that SQLite stores.

    Times before 1677 and after 2262 become the first and the last of that range. ``NO_TIME``, one
    nanosecond before 1970, is moved by one.
    """
    time = min(max(status.st_mtime_ns, _LEAST), _MOST)
    return time if time != NO_TIME else NO_TIME - 1


_SIZE = 16
_EMPTY = bytes(_SIZE)
_SLOTS = 256


class Digests:
    """Texts by their BLAKE2 digests of 128 bits: 32 to 64 bytes each, where a ``set`` of such
    digests takes 140. Runs over lists keep two for each name."""

    def __init__(self) -> None:
        self._table = bytearray(_SLOTS * _SIZE)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, text: str) -> bool:
        digest = self._digest(text)
        place = self._place(digest)
        return self._table[place : place + _SIZE] == digest

    def add(self, text: str) -> bool:
        """Whether a text is new. It is in the set from now on."""
        digest = self._digest(text)
        place = self._place(digest)
        if self._table[place : place + _SIZE] == digest:
            return False
        self._table[place : place + _SIZE] = digest
        self._count += 1
        if 2 * self._count * _SIZE > len(self._table):
            self._grow()
        return True

    def _digest(self, text: str) -> bytes:
        from hashlib import blake2b  # takes 3 ms to load, and most runs need none

        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_SIZE).digest()

    def _place(self, digest: bytes) -> int:
        """Where a digest is in the table, or the free place where it belongs (linear probing)."""
        table = self._table
        place = int.from_bytes(digest[:8], "big") * _SIZE % len(table)
        while table[place : place + _SIZE] not in (digest, _EMPTY):
            place = (place + _SIZE) % len(table)
        return place

    def _grow(self) -> None:
        before, self._table = self._table, bytearray(2 * len(self._table))
        for start in range(0, len(before), _SIZE):
            digest = bytes(before[start : start + _SIZE])
            if digest != _EMPTY:
                place = self._place(digest)
                self._table[place : place + _SIZE] = digest
