"""Paid answers that are not published yet: on the disk as soon as they are here.

Between an answer's last byte and the photo's row lie decoding, composing and the waits for the
disk: up to a second or two for a large photo. A process killed in that time, or a disk that fails,
must not cost the call once more: the next run finds the answer and makes the results of it.
Nothing is waited for here, so a power cut may still take what a killed process does not.

The files are used again and again, one for each answer under way: making and removing one for each
photo would cost a disk that is busy publishing a twentieth of its time. An empty file is free.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time

from humanbody_cli.photos import STATE
from humanbody_cli.publish import Disk, RealDisk, write_whole

FOLDER = "answers"

_KEPT_DAYS = 30
"""An answer that no run asked for in that time is let go."""

_HEX = b"0123456789abcdef"
_LONGEST_NAME = 80  # bytes: a sha256 and a line's end


class Receipt:
    """The place of one answer. Whether what lies there is whole, its reader finds out."""

    def __init__(self, name: str, receipts: Receipts, path: str | None) -> None:
        self._name = name
        self._receipts = receipts
        self._path = path

    @property
    def is_there(self) -> bool:
        """Whether there is an answer."""
        return self._path is not None

    def body(self) -> bytes:
        """The answer, maybe cut short; empty where it is gone."""
        try:
            with open(self._path or "", "rb") as file:
                return file.read().partition(b"\n")[2]
        except OSError:
            return b""

    def keep(self, body: bytes) -> None:
        """Write an answer down. Where that cannot be done the photo's way goes on without."""
        self._path = self._receipts.write(self._name, body)

    def drop(self) -> None:
        """The photo is published and its row is written: the answer is needed no more."""
        self._receipts.remove(self._name)
        self._path = None


class Receipts:
    """The answers kept in an output folder, for one process at a time: the one that holds its lock.

    ``forget``, as with ``--force``, answers no photo with what was kept before.
    """

    def __init__(self, root: str, disk: Disk | None = None, *, forget: bool = False) -> None:
        self._folder = os.path.join(root, STATE, FOLDER)
        self._disk = disk or RealDisk()
        self._kept: dict[str, str] = {}
        self._free: list[str] = []
        self._asked: set[str] = set()
        self._forget = forget
        with contextlib.suppress(OSError):  # then nothing can be kept, and all else goes on
            os.makedirs(self._folder, exist_ok=True)
        names = _files(self._folder)
        for name in names:
            self._take_up(os.path.join(self._folder, name))
        highest = max(map(int, names), default=-1)
        self._numbers = itertools.count(highest + 1)

    def of(self, sha256: str) -> Receipt:
        """The place for the answer to an upload of these bytes."""
        self._asked.add(sha256)
        return Receipt(sha256, self, None if self._forget else self._kept.get(sha256))

    def write(self, name: str, body: bytes) -> str | None:
        """Keep an answer; the file's path, ``None`` where the disk refuses. From any thread."""
        path = self._kept.get(name) or self._free_place()
        try:
            write_whole(self._disk, path, b"".join((name.encode(), b"\n", body)), durable=False)
        except OSError:
            self._kept.pop(name, None)
            self._empty(path)  # a part of it would only take room that publishing needs
            return None
        self._kept[name] = path
        return path

    def remove(self, name: str) -> None:
        """Let go of an answer, if there is one. From any thread."""
        path = self._kept.pop(name, None)
        if path is not None:
            self._empty(path)

    def close(self) -> None:
        """Remove the files that are free, and answers that nobody asks for any more."""
        oldest = time.time() - _KEPT_DAYS * 86400
        for name, path in list(self._kept.items()):
            with contextlib.suppress(OSError):
                if name not in self._asked and os.stat(path).st_mtime < oldest:
                    os.unlink(path)
        while self._free:
            with contextlib.suppress(OSError):
                os.unlink(self._free.pop())

    def _free_place(self) -> str:
        try:
            return self._free.pop()
        except IndexError:
            return os.path.join(self._folder, str(next(self._numbers)))

    def _empty(self, path: str) -> None:
        with contextlib.suppress(OSError):
            os.truncate(path, 0)
            self._free.append(path)

    def _take_up(self, path: str) -> None:
        """Sort in a file that an earlier run left."""
        with contextlib.suppress(OSError):
            name = _name_in(path)
            if name:
                self._kept[name] = path
            else:
                self._free.append(path)


def kept_in(root: str) -> set[str]:
    """The uploads, by sha256, to which an output folder has answers that are not published."""
    folder = os.path.join(root, STATE, FOLDER)
    names: set[str] = set()
    for file in _files(folder):
        with contextlib.suppress(OSError):
            names.add(_name_in(os.path.join(folder, file)))
    return names - {""}


def _files(folder: str) -> list[str]:
    """Our own files: they have numbers for names."""
    with contextlib.suppress(OSError):
        return [name for name in os.listdir(folder) if name.isdecimal()]
    return []


def _name_in(path: str) -> str:
    """The name at the beginning of a file, empty where it was not written that far."""
    with open(path, "rb") as file:
        name, end, _ = file.read(_LONGEST_NAME).partition(b"\n")
    return name.decode("ascii", "replace") if end and not name.strip(_HEX) else ""
