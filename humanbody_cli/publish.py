"""Files that are whole or not there: temp in the same folder, count, fsync, rename, fsync.

Every call that touches the disk goes through `Disk`, so that each of them can be made to fail.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Protocol

from humanbody_cli.errors import OutputError, PhotoError, output_error
from humanbody_cli.names import digest
from humanbody_cli.photos import STATE

MASKS = "masks"
CUTOUTS = "cutouts"

_RESERVE = 1 << 20
"""Bytes that stay free for the journal."""


class Disk(Protocol):
    """The calls of the system that publishing makes."""

    def mkdir(self, path: str) -> None:
        """Make one folder."""

    def create(self, path: str) -> int:
        """Open for writing, made anew; the descriptor."""

    def write(self, file: int, data: memoryview) -> int:
        """Write; how many bytes were taken."""

    def fsync(self, file: int) -> None:
        """Wait until it is on the disk."""

    def close(self, file: int) -> None:
        """Close a descriptor."""

    def rename(self, old: str, new: str) -> None:
        """Put one name in the place of another."""

    def sync_folder(self, path: str) -> None:
        """Wait until a folder's names are on the disk."""


class RealDisk:
    """The disk."""

    def mkdir(self, path: str) -> None:
        """See `Disk`."""
        os.mkdir(path)

    def create(self, path: str) -> int:
        """See `Disk`."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)

    def write(self, file: int, data: memoryview) -> int:
        """See `Disk`."""
        return os.write(file, data)

    def fsync(self, file: int) -> None:
        """See `Disk`."""
        os.fsync(file)

    def close(self, file: int) -> None:
        """See `Disk`."""
        os.close(file)

    def rename(self, old: str, new: str) -> None:
        """See `Disk`."""
        os.replace(old, new)

    def sync_folder(self, path: str) -> None:
        """See `Disk`."""
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Publisher:
    """Puts masks and cutouts into an output tree.

    ``durable`` waits for the disk: after a power cut every published file is there. Without it a
    file is still whole or absent after a killed process.
    """

    def __init__(self, root: str, *, durable: bool, disk: Disk | None = None) -> None:
        self.root = root
        self.durable = durable
        self._disk: Disk = disk or RealDisk()
        self._folders: set[str] = set()

    def path(self, kind: str, name: str) -> str:
        """Where a photo's mask or cutout belongs."""
        return os.path.join(self.root, kind, name)

    def make_ready(self, kind: str, name: str, size: tuple[int, int]) -> None:
        """See to it that a result can be written, before any money is spent on it.

        Raises:
            OutputError: the disk is full or the folder cannot be written.
            PhotoError: something else stands at this photo's name.
        """
        path = self.path(kind, name)
        try:
            self._make_folders(os.path.dirname(path))
            self._check_space(size)
        except OSError as error:
            raise self._error(path, error) from error
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(os.lstat(path).st_mode):
                raise _in_the_way(path)

    def publish(self, kind: str, name: str, data: bytes) -> None:
        """Write one file at its final name, whole.

        Raises:
            OutputError: it cannot be written; nothing half written stays.
            PhotoError: something else stands at this photo's name.
        """
        path = self.path(kind, name)
        temporary = temporary_path(path)
        try:
            self._make_folders(os.path.dirname(path))
            write_whole(self._disk, temporary, data, durable=self.durable)
            self._disk.rename(temporary, path)
            if self.durable:
                self._disk.sync_folder(os.path.dirname(path))
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise self._error(path, error) from error

    def withdraw(self, kind: str, name: str) -> None:
        """Remove a published file that no longer is its photo's."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(kind, name))

    def discard_leftover(self, name: str) -> None:
        """Remove what a killed run may have left of this photo."""
        for kind in (MASKS, CUTOUTS):
            with contextlib.suppress(OSError):
                os.unlink(temporary_path(self.path(kind, name)))

    def _make_folders(self, path: str) -> None:
        if path in self._folders:
            return
        if not os.path.isdir(path):
            parent = os.path.dirname(path)
            if parent and parent != path:
                self._make_folders(parent)
            with contextlib.suppress(FileExistsError):
                self._disk.mkdir(path)
            if not os.path.isdir(path):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            if self.durable:
                self._disk.sync_folder(parent or ".")
        self._folders.add(path)

    def _check_space(self, size: tuple[int, int]) -> None:
        space = os.statvfs(self.root)
        # A cutout and a mask as PNG: about half of 4 + 1 bytes a pixel. An answer that is kept has
        # both once more, as base64.
        needed = _RESERVE + size[0] * size[1] * 6
        if space.f_bavail * space.f_frsize < needed or (space.f_files and not space.f_favail):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _error(self, path: str, error: OSError) -> OutputError | PhotoError:
        self._folders.clear()
        root_is_there = os.path.isdir(self.root)
        if root_is_there and error.errno in (errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG):
            return _in_the_way(path)
        return output_error(path, error)


def _in_the_way(path: str) -> PhotoError:
    return PhotoError(
        "OUTPUT_NAME_TAKEN",
        f"{path} cannot be written: a file or folder of another kind stands there; move it away",
        rejected=True,
        transient=True,
    )


def write_whole(disk: Disk, path: str, data: bytes, *, durable: bool) -> None:
    """Write a file anew, every byte; ``durable`` waits until they are on the disk.

    Raises:
        OSError: it cannot be written; a part of it may be there.
    """
    file = disk.create(path)
    try:
        rest = memoryview(data)
        while rest:
            taken = disk.write(file, rest)
            if taken <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            rest = rest[taken:]
        if durable:
            disk.fsync(file)
    finally:
        disk.close(file)


def temporary_path(path: str) -> str:
    """Where a file is written before it is whole: same folder, a name that can be foreseen."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f"{STATE}-{digest(name)[:16]}.tmp")
