"""Paid answers that are not published yet: on the disk from the instant they are here.

Between an answer's last byte and the photo's row lie decoding, composing and the waits for the
disk: up to a second or two for a large photo. A process killed in that time, or a disk that fails,
must not cost the call once more: the next run finds the answer and makes the results of it.
Nothing is waited for here, so a power cut may still take what a killed process does not.
"""

from __future__ import annotations

import contextlib
import os
import time

from humanbody_cli.photos import STATE
from humanbody_cli.publish import Disk, RealDisk, write_whole

FOLDER = "answers"

_KEPT_DAYS = 30
"""An answer to a photo that never came again is let go."""


class Receipt:
    """The place of one photo's answer. Whether what lies there is whole, its reader finds out."""

    def __init__(self, path: str, disk: Disk, *, is_there: bool) -> None:
        self.is_there = is_there
        self._path = path
        self._disk = disk

    def body(self) -> bytes:
        """The answer that an earlier run was given, maybe cut short; empty where it is gone."""
        try:
            with open(self._path, "rb") as file:
                return file.read()
        except OSError:
            return b""

    def keep(self, body: bytes) -> None:
        """Write an answer down. Where the disk refuses, publishing will say so."""
        self.is_there = True
        with contextlib.suppress(OSError):
            write_whole(self._disk, self._path, body, durable=False)

    def drop(self) -> None:
        """The photo's row is written: the answer is needed no more."""
        if self.is_there:
            self.is_there = False
            with contextlib.suppress(OSError):
                os.unlink(self._path)


class Receipts:
    """The answers kept in an output folder. ``forget`` (as with ``--force``) takes no earlier ones.

    One process at a time, the one that holds the output's lock.
    """

    def __init__(self, root: str, disk: Disk | None = None, *, forget: bool = False) -> None:
        self._folder = os.path.join(root, STATE, FOLDER)
        self._disk = disk or RealDisk()
        with contextlib.suppress(OSError):  # then nothing can be kept, and all else goes on
            os.makedirs(self._folder, exist_ok=True)
        self._earlier = set() if forget else self._usable()

    def of(self, sha256: str, *, fitted: bool) -> Receipt:
        """The place for the answer to a photo of these bytes, sent as it is or made to fit."""
        name = f"{sha256}-fit" if fitted else sha256
        path = os.path.join(self._folder, name)
        return Receipt(path, self._disk, is_there=name in self._earlier)

    def _usable(self) -> set[str]:
        """The names of the answers that earlier runs left."""
        names: set[str] = set()
        oldest = time.time() - _KEPT_DAYS * 86400
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.stat().st_mtime < oldest:
                    os.unlink(entry.path)
                else:
                    names.add(entry.name)
        return names
