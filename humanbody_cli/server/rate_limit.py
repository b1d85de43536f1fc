"""Each key's quota and balance, shared by all workers.

The figures lie in a small file that every worker has mapped; a record lock guards them, which the
kernel drops with its process: a killed worker leaves nobody waiting. A call costs two system calls.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from humanbody_cli.server.folders import no_temporary_folder

_HEAD = struct.Struct("qq")  # calls left (-1: no limit), calls accepted so far
_TIME = struct.Struct("d")
_MAX_RING = 100_000
"""Calls a second that can be counted; beyond it a quota is none."""

Verdict = Literal["ok", "quota", "balance"]


@dataclass(frozen=True)
class _Slot:
    """Where a key's figures lie. ``ring`` holds the times of the last accepted calls, as many as
    ``window`` seconds allow; 0 where there is no quota."""

    offset: int
    ring: int
    window: float


class Meters:
    """A sliding window of accepted calls and a balance for each key.

    ``limits`` has (calls a second, calls left) for each key, ``None`` for no limit. A quota below
    one call a second is one call in a longer window.
    """

    def __init__(
        self,
        limits: Sequence[tuple[float | None, int | None]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._slots: list[_Slot] = []
        size = 0
        for qps, _ in limits:
            ring = 0 if qps is None or qps > _MAX_RING else max(1, math.floor(qps))
            self._slots.append(_Slot(size, ring, ring / qps if ring and qps else 0.0))
            size += _HEAD.size + ring * _TIME.size
        self._file = _nameless_file()
        os.truncate(self._file, max(size, 1))
        self._map = mmap.mmap(self._file, max(size, 1))
        for slot, (_, balance) in zip(self._slots, limits, strict=True):
            _HEAD.pack_into(self._map, slot.offset, -1 if balance is None else balance, 0)

    def take(self, index: int) -> Verdict:
        """Count one call of key ``index``, if its quota and balance allow it."""
        slot = self._slots[index]
        with self._locked():
            left, accepted = _HEAD.unpack_from(self._map, slot.offset)
            if left == 0:
                return "balance"
            if slot.ring:
                # CLOCK_MONOTONIC counts from boot for all processes alike.
                now = self._clock()
                place = slot.offset + _HEAD.size + accepted % slot.ring * _TIME.size
                (oldest,) = _TIME.unpack_from(self._map, place)
                if accepted >= slot.ring and now - oldest < slot.window:
                    return "quota"
                _TIME.pack_into(self._map, place, now)
            _HEAD.pack_into(self._map, slot.offset, left - (left > 0), accepted + 1)
        return "ok"

    def close(self) -> None:
        """Let go of the file; no call can be counted any more."""
        self._map.close()
        os.close(self._file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


def _nameless_file() -> int:
    """A file that only this process and its children have.

    Raises:
        FatalError: there is no folder for one.
    """
    if hasattr(os, "memfd_create"):  # Linux: in memory, and no folder has to be writable for it
        with contextlib.suppress(OSError):
            return os.memfd_create("hbseg-meters")
    try:
        file, path = tempfile.mkstemp(prefix="hbseg-meters-")
    except OSError as error:
        raise no_temporary_folder(error) from None
    os.unlink(path)
    return file
