"""OUT as ``hbseg doctor`` checks it: whether a run could write, flush and lock files there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator

from humanbody_cli.core.errors import output_error
from humanbody_cli.jobs.inspection.doctor.finding import Finding, Level
from humanbody_cli.storage.disk import RealDisk, temporary_path, write_all
from humanbody_cli.storage.layout import CUTOUTS, MASKS, STATE
from humanbody_cli.storage.names import MAX_NAME

_ROOM, _TRIAL = 1 << 30, 1 << 20
"""Free bytes below which there is a warning; bytes that are written as a trial."""


def findings(out: str) -> Iterator[Finding]:
    """Whether results can be written to OUT, which need not exist yet."""
    place = _existing(out)
    if not os.path.isdir(place):
        yield Finding("disk", Level.FAIL, f"{place} is not a folder", "choose another name")
        return
    try:
        locks = _tried(place)
        free, longest = shutil.disk_usage(place).free, os.pathconf(place, "PC_NAME_MAX")
    except OSError as error:
        yield Finding("disk", Level.FAIL, str(output_error(place, error)))
        return
    inside = [os.path.join(out, kind) for kind in (STATE, MASKS, CUTOUTS)]
    closed = [path for path in inside if _is_closed(path)]
    if closed:
        advice = "change its owner or permissions, or choose another folder"
        yield Finding("disk", Level.FAIL, f"you may not write to {closed[0]}", advice)
        return
    yield _room(place, free)
    yield locks
    yield _names(longest)


def _existing(out: str) -> str:
    """OUT itself, or the nearest folder above it that exists."""
    place = os.path.abspath(out)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    return place


def _is_closed(path: str) -> bool:
    effective = os.access in os.supports_effective_ids
    may = os.access(path, os.W_OK | os.X_OK, effective_ids=effective)
    return os.path.lexists(path) and not may


def _room(place: str, free: int) -> Finding:
    message = f"{place} can be written and flushed; {free / 1e9:.1f} GB are free"
    if free < _ROOM:
        return Finding("disk", Level.WARN, message, "free some space")
    return Finding("disk", Level.OK, message)


def _names(longest: int) -> Finding:
    message = f"names of files may have {longest} bytes"
    if longest < MAX_NAME:
        return Finding("names", Level.WARN, message, "photos with longer names will fail")
    return Finding("names", Level.OK, message)


def _tried(place: str) -> Finding:
    """Write and flush a file there, which has lost its name by then; what its locks are worth.

    Raises:
        OSError: files cannot be written there.
    """
    # Named like a file under way: if this process is killed, the next run removes it.
    disk, path = RealDisk(), temporary_path(os.path.join(place, f"doctor-{os.getpid()}"))
    with contextlib.ExitStack() as closing:
        first = disk.create(path)
        closing.callback(os.close, first)
        try:
            second = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            closing.callback(os.close, second)
        finally:
            disk.unlink(path)
        write_all(disk, first, bytes(_TRIAL))
        disk.fsync(first)
        return _locks(first, second)


def _locks(first: int, second: int) -> Finding:
    """Whether a lock on one descriptor of a file keeps out the other."""
    advice = "choose a folder on a local disk, or make sure that one run at a time uses it"
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return Finding("locks", Level.FAIL, f"files cannot be locked: {error.strerror}", advice)
    try:
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Finding("locks", Level.OK, "they keep a second run out")
    return Finding("locks", Level.WARN, "they do not keep a second run out", advice)
