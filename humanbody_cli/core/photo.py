"""A photo that was found: where its bytes come from, its key and its output name."""

from __future__ import annotations

import os
from enum import Enum
from typing import NamedTuple

from humanbody_cli.core.paths import mtime_of, to_bytes


class Kind(Enum):
    """Where a photo's bytes come from."""

    FILE = "file"
    URL = "url"
    STDIN = "stdin"
    TROUBLE = "trouble"  # something that may hold photos and cannot be read


class Photo(NamedTuple):
    """A photo that was found and not yet opened.

    ``source`` is how the user would name it. ``key`` is what it is known by: a file's absolute
    path, an address, ``-:`` and the sha256 of what came through stdin; only a file's begins with a
    slash. ``name`` is its output name; with ``keeps_name`` one that an earlier run gave it stands.
    ``size`` (bytes) and ``mtime`` (ns) are what a look at the file showed: -1 before that, and
    where there is no file. ``data`` are the bytes of a photo from stdin.
    """

    source: str
    key: str
    name: str
    size: int
    mtime: int
    kind: Kind = Kind.FILE
    trouble: str = ""
    keeps_name: bool = False
    data: bytes = b""

    def seen(self) -> Photo:
        """The same photo once its file was looked at. The walk leaves that to those who need it."""
        if self.kind is not Kind.FILE:
            return self
        try:
            status = os.stat(self.source)
        except OSError:  # a dangling link: reading it will say so
            return self
        return self._replace(size=status.st_size, mtime=mtime_of(status))


def key_of(photo: Photo) -> bytes:
    """What a photo is known by in the journal: its path's own bytes, whether text or not."""
    return to_bytes(photo.key)
