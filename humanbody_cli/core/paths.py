"""Paths: as text and as bytes, made absolute, and the time of the file that they lead to."""

from __future__ import annotations

import os
import sys

from humanbody_cli.core.errors import UsageError

_ENCODING = sys.getfilesystemencoding()
_ERRORS = sys.getfilesystemencodeerrors()

_LEAST, _MOST = -(2**63), 2**63 - 1
NO_TIME = -1
"""Stands for the modification time of what is no file."""


def to_bytes(path: str) -> bytes:
    """A path's own bytes. The one way from text to what a journal or a pipe holds: it is the file
    system's encoding, which need not be UTF-8 (``LC_ALL=en_US.ISO-8859-1``)."""
    return path.encode(_ENCODING, _ERRORS)  # os.fsencode takes twice as long


def to_text(path: bytes) -> str:
    """The text of a path's bytes; the way back from `to_bytes`."""
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
