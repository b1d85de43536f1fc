"""Ownership of files in an output folder: hbseg's own or the user's, and where a command may write.

A file is hbseg's own if the proof or seal inside says so and it was not changed since, or if the
journal has it. A symbolic link is the user's.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import OutputError, PhotoError, output_error
from humanbody_cli.core.photo import Known
from humanbody_cli.storage.disk import content, is_file
from humanbody_cli.storage.layout import CUTOUTS, MASKS, STATE

_LARGEST_SEALED = 1 << 30
"""Bytes. No file that is written with a seal comes near it, so larger ones are not read."""

_LARGEST = 2 << 30
"""Bytes of a published file, and some more: larger ones are not read to learn whose they are."""

_GUARDED = (MASKS, CUTOUTS, STATE)

_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


def results_folder_above(path: str, root: str) -> str | None:
    """The folder at or above ``path`` that only `hbseg segment` writes to; ``None`` for none. These
    are the masks, cutouts and state of any output folder; ``root`` is one that is known.

    Links, ``..`` and other letter cases lead to the same answer. ``path`` need not be there.
    """
    known = [os.path.join(root, kind) for kind in _GUARDED]
    folder = os.path.realpath(path)
    while (parent := os.path.dirname(folder)) != folder:
        beside = [os.path.join(parent, kind) for kind in _GUARDED]
        is_output = os.path.isdir(os.path.join(parent, STATE))
        if any(_is_same_folder(folder, other) for other in known + beside * is_output):
            return folder
        folder = parent
    return None


def _is_same_folder(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:  # one of them is not there yet
        return os.path.realpath(path).casefold() == os.path.realpath(other).casefold()


def check_replaceable(path: str, kind: str, remedy: str) -> None:
    """Check that writing to ``path`` destroys nothing that hbseg did not write.

    ``kind`` is the seal that its files bear there, ``remedy`` what the user can do. A folder
    passes: renaming a file onto it fails by itself.

    Raises:
        OutputError: a file without a whole seal, a link or something else is there.
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
        OutputError: it cannot be examined.
    """
    status = seen(path)
    return status is not None and _is_sealed(path, status, kind)


def seen(path: str) -> os.stat_result | None:
    """What is at a name, a link itself and not its target; ``None`` for nothing.

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
    if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_SEALED:
        return False
    if status.st_size == 0:  # as a power cut leaves it; there is nothing to lose
        return True
    from humanbody_cli.imaging import proof  # loads zlib; most runs do not need it

    try:
        return proof.is_sealed(content(path), kind)
    except OSError as error:
        raise output_error(path, error) from error


_SMALLEST_PNG = 67
"""Bytes of a PNG of one pixel: what is shorter is not a picture."""


MayReplace = Callable[[str], bool]
"""Whether the regular file at a path is known as our own, regardless of its content."""


def published(size: int | None, *, proofless: bool = False) -> MayReplace:
    """A check that recognises the file that the journal has at a name by its ``size`` in bytes;
    ``None``: there is none. Undamaged files prove themselves; this is for damaged ones.

    ``proofless`` says that an earlier version wrote the file, without a proof inside.
    """

    def check(path: str) -> bool:
        there = os.stat(path).st_size
        if size is None or there > size:  # no damage makes a file longer
            return False
        data = content(path)
        if there < _SMALLEST_PNG or not data.strip(b"\0"):
            return True
        return proofless and _is_of_earlier_version(data, size)

    return check


def _is_of_earlier_version(data: bytes, size: int) -> bool:
    """Whether this is a PNG without a proof, whole at its size or cut short."""
    from humanbody_cli.imaging import png_check, proof

    if proof.is_present(data) or not data.startswith(png_check.SIGNATURE):
        return False
    return is_sound(data) is (len(data) == size)


def always(path: str) -> bool:
    """Takes every file for our own: for a folder that only hbseg writes to."""
    del path
    return True


def is_sound(data: bytes) -> bool:
    """Whether these bytes are a whole PNG."""
    from humanbody_cli.imaging import png_check

    try:
        png_check.verify(data)
    except png_check.BrokenPng:
        return False
    return True


def is_own_result(path: str, may_replace: MayReplace | None = None) -> bool:
    """Whether hbseg wrote the mask or cutout at a path. What was changed afterwards, and is a sound
    PNG still, is the user's.

    Raises:
        OSError: it cannot be read.
    """
    from humanbody_cli.imaging import proof

    try:
        if not is_file(path):
            return False
        size = os.stat(path).st_size
        if size == 0 or size > _LARGEST:
            return size == 0  # as a power cut leaves it; there is nothing to lose
        if may_replace is not None and may_replace(path):
            return True
        data = content(path) if proof.peek(path) is not None else b""
        return bool(data) and (proof.read(data) is not None or not is_sound(data))
    except FileNotFoundError:
        return False


def recorded(known: Known | None, kind: str) -> MayReplace:
    """A check that recognises the mask or cutout that a row has, if there is a row."""
    if known is None:
        return published(None)
    return published(known.size_of(kind), proofless=known.is_proofless)


def is_blocked(folder: str) -> bool:
    """Whether something that is not a folder is where a folder, or one above it, belongs."""
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder) or "."
    return not os.path.isdir(folder)


def in_the_way(path: str) -> PhotoError:
    """The error of a photo whose result's name a folder or a special file has."""
    return _name_taken(f"{path} cannot be written: a file or folder of another kind is there")


def taken(path: str) -> PhotoError:
    """The error of a photo whose result's name a file of the user's has."""
    return _name_taken(f"{path} already exists, and hbseg did not write it or it was changed since")


def _name_taken(what: str) -> PhotoError:
    message = f"{what}; move it away or choose another output folder, then run again"
    return PhotoError(api_spec.OUTPUT_NAME_TAKEN, message, rejected=True, transient=True)
