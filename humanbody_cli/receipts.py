"""Paid answers that are not published yet: on the disk as soon as they are here.

Between an answer's last byte and the photo's row lie decoding, composing and the waits for the
disk: up to a second or two for a large photo. A process killed in that time, or a disk that fails,
must not cost the call once more: the next run finds the answer and makes the results of it.
Nothing is waited for here, so a power cut may still take what a killed process does not.

The files are used again and again, one for each answer under way: making and removing one for each
photo would cost a disk that is busy publishing a twentieth of its time.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable

from humanbody_cli.photos import STATE
from humanbody_cli.publish import Disk, RealDisk, write_whole

FOLDER = "answers"

_KEPT_DAYS = 30
"""An answer to a photo that never came again is let go."""

_LONGEST_NAME = 80  # bytes: a sha256 and what was done to the photo


class Receipt:
    """The place of one photo's answer. Whether what lies there is whole, its reader finds out."""

    def __init__(self, name: str, receipts: Receipts, path: str | None) -> None:
        self._name = name
        self._receipts = receipts
        self._path = path

    @property
    def is_there(self) -> bool:
        """Whether there is an answer."""
        return self._path is not None

    def body(self) -> bytes:
        """The answer that an earlier run was given, maybe cut short; empty where it is gone."""
        try:
            with open(self._path or "", "rb") as file:
                return file.read().partition(b"\n")[2]
        except OSError:
            return b""

    def keep(self, body: bytes) -> None:
        """Write an answer down. Where the disk refuses, publishing will say so."""
        if self._path is None:
            self._path = self._receipts.free_place()
        data = b"".join((self._name.encode(), b"\n", body))
        with contextlib.suppress(OSError):
            write_whole(self._receipts.disk, self._path, data, durable=False)

    def drop(self) -> None:
        """The photo's row is written: the answer is needed no more."""
        if self._path is not None:
            self._receipts.give_back(self._path)
            self._path = None


class Receipts:
    """The answers kept in an output folder, for one process at a time: the one that holds its lock.

    ``is_settled`` tells of a photo's sha256 whether an earlier answer is needed no more.
    """

    def __init__(
        self, root: str, is_settled: Callable[[str], bool], disk: Disk | None = None
    ) -> None:
        self.disk = disk or RealDisk()
        self._folder = os.path.join(root, STATE, FOLDER)
        self._earlier: dict[str, str] = {}
        self._free: list[str] = []
        with contextlib.suppress(OSError):  # then nothing can be kept, and all else goes on
            os.makedirs(self._folder, exist_ok=True)
            for path in self._files():
                name = _name_in(path)
                if name is None or is_settled(name.partition("-")[0]):
                    self._free.append(path)
                else:
                    self._earlier[name] = path
        self._taken = {*self._free, *self._earlier.values()}
        self._numbers = itertools.count()

    def of(self, sha256: str, *, fitted: bool) -> Receipt:
        """The place for the answer to a photo of these bytes, sent as it is or made to fit."""
        name = f"{sha256}-fit" if fitted else sha256
        return Receipt(name, self, self._earlier.pop(name, None))

    def free_place(self) -> str:
        """A file for an answer. From any thread."""
        with contextlib.suppress(IndexError):
            return self._free.pop()
        while True:
            path = os.path.join(self._folder, str(next(self._numbers)))
            if path not in self._taken:
                return path

    def give_back(self, path: str) -> None:
        """The answer in that file is needed no more. From any thread."""
        self._free.append(path)

    def close(self) -> None:
        """Remove the files that hold nothing of worth."""
        while self._free:
            with contextlib.suppress(OSError):
                os.unlink(self._free.pop())

    def _files(self) -> list[str]:
        """What earlier runs left, but for what is too old."""
        oldest = time.time() - _KEPT_DAYS * 86400
        with os.scandir(self._folder) as entries:
            found = [(entry.path, entry.stat().st_mtime) for entry in entries]
        for path, written in found:
            if written < oldest:
                os.unlink(path)
        return [path for path, written in found if written >= oldest]


def _name_in(path: str) -> str | None:
    """The name at the beginning of a file, if it was written that far."""
    with open(path, "rb") as file:
        name, end, _ = file.read(_LONGEST_NAME).partition(b"\n")
    return name.decode("ascii", "replace") if end else None
