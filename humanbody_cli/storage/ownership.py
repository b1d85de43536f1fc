"""Where a command may write: into no folder of results, and over no file but its own.

Its own is what hbseg wrote and nobody changed since.
"""

from __future__ import annotations

import errno
import os
import stat

from humanbody_cli.core.errors import OutputError, output_error
from humanbody_cli.imaging import proof
from humanbody_cli.storage.layout import CUTOUTS, MASKS, STATE

_LARGEST = 1 << 30
"""Bytes. No file that is written with a seal comes near it, so larger ones are not read."""

_GUARDED = (MASKS, CUTOUTS, STATE)

_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


def results_folder_above(path: str, root: str) -> str | None:
    """The folder that only `hbseg segment` writes to in which ``path`` lies (or which it is): the
    masks, the cutouts or the state of any output folder; ``root`` is the one that is known.

    Links, ``..`` and other letter cases lead to the same answer. ``path`` need not be there.
    """
    known = [os.path.join(root, kind) for kind in _GUARDED]
    folder = os.path.realpath(path)
    while (parent := os.path.dirname(folder)) != folder:
        beside = [os.path.join(parent, kind) for kind in _GUARDED]
        is_output = os.path.isdir(os.path.join(parent, STATE))
        if any(_is_same(folder, other) for other in known + beside * is_output):
            return folder
        folder = parent
    return None


def _is_same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:  # one of them is not there yet
        return os.path.realpath(path).casefold() == os.path.realpath(other).casefold()


def check_replaceable(path: str, kind: str, remedy: str) -> None:
    """See to it that writing to ``path`` destroys nothing that hbseg did not write.

    ``kind`` is the seal that its files bear there, ``remedy`` what the user can do. A folder
    passes: renaming a file onto it fails by itself.

    Raises:
        OutputError: a file without a whole seal, a link or something else stands there.
    """
    status = seen(path)
    if status is None or stat.S_ISDIR(status.st_mode) or _is_sealed(path, status, kind):
        return
    raise OutputError(
        f"cannot write {path}: hbseg did not write the file that is there, or it was changed "
        f"since; {remedy}"
    )


def is_own(path: str, kind: str) -> bool:
    """Whether a file is there, and is as hbseg wrote it.

    Raises:
        OutputError: it cannot be looked at.
    """
    status = seen(path)
    return status is not None and _is_sealed(path, status, kind)


def seen(path: str) -> os.stat_result | None:
    """What stands at a name, a link for itself; ``None`` where nothing does.

    Raises:
        OutputError: that cannot be found out.
    """
    try:
        return os.lstat(path)
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return None
        raise output_error(path, error) from error


def _is_sealed(path: str, status: os.stat_result, kind: str) -> bool:
    if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
        return False
    if status.st_size == 0:  # as a power cut leaves it; there is nothing to lose
        return True
    try:
        with open(path, "rb") as file:
            return proof.is_sealed(file.read(), kind)
    except OSError as error:
        raise output_error(path, error) from error
