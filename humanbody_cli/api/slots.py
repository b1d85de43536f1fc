"""Start times of calls, shared by every run on this machine that uses the same key.

A small file under ``flock`` holds the start time that was handed out last, so that two independent
runs share one quota. The kernel drops the lock when its holder dies; a killed run loses at most the
slot it was given.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
from typing import Protocol

_STALE = 60.0
"""Seconds. A start further ahead than this is from before a reboot, which resets the clock."""


class Slots(Protocol):
    """Hands out start times."""

    def reserve(self, earliest: float, interval: float) -> float | None:
        """The next start at or after ``earliest`` and ``interval`` seconds after the last one.

        Times are monotonic seconds. ``None``: another run holds the lock; try again.
        """


class OwnSlots:
    """The start times of one run, in memory."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def reserve(self, earliest: float, interval: float) -> float | None:
        """See `Slots`."""
        self._last = max(earliest, self._last + interval)
        return self._last


class SharedSlots:
    """The start times of a key, in a file in the user's state folder."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._own = OwnSlots()

    def reserve(self, earliest: float, interval: float) -> float | None:
        """See `Slots`. A file system that is full or cannot lock must not end a run."""
        try:
            return self._reserve(earliest, interval)
        except BlockingIOError:
            return None
        except OSError:
            return self._own.reserve(earliest, interval)

    def _reserve(self, earliest: float, interval: float) -> float:
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            last = self._read()
            if last > earliest + interval + _STALE:
                last = float("-inf")
            start = max(earliest, last + interval)
            os.pwrite(self._file, f"{start:020.6f}\n".encode(), 0)
            return start
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _read(self) -> float:
        try:
            return float(os.pread(self._file, 21, 0))
        except ValueError:
            return float("-inf")


def slots_for(endpoint: str, api_key: str) -> Slots:
    """The shared start times of this key, or the run's own if no state folder can be written.

    The file's name is a digest: the key itself is never written to disk.
    """
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    name = hashlib.sha256(f"{endpoint}\n{api_key}".encode()).hexdigest()[:24]
    try:
        return SharedSlots(Path(state) / "hbseg" / "quota" / name)
    except OSError:
        return OwnSlots()
