"""The file system: the calls that tests can make fail, room kept free, files written whole."""

from __future__ import annotations

import errno
import functools
import os
import re
import stat
from collections.abc import Callable
from typing import Protocol

from humanbody_cli.storage.layout import STATE
from humanbody_cli.storage.names import short_digest

_NO_FALLOCATE = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV}
"""What fallocate(2) says where the file system cannot promise room."""


_NO_FOLDER_FSYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EISDIR}
"""What fsync(2) says of a folder where the file system does not offer it, as CIFS and FUSE may."""


_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE, linux/falloc.h


class Disk(Protocol):
    """The calls of the system that publishing makes."""

    def mkdir(self, path: str) -> None:
        """Make one folder."""

    def create(self, path: str) -> int:
        """Open for writing, made anew; the descriptor."""

    def allocate(self, file: int, size: int) -> None:
        """Reserve room for this many bytes, so that writing them cannot fail for lack of it. Length
        and content stay as they are; does nothing if the file system cannot reserve."""

    def write(self, file: int, data: memoryview) -> int:
        """Write; how many bytes were taken."""

    def fsync(self, file: int) -> None:
        """Wait until it is on the disk."""

    def close(self, file: int) -> None:
        """Close a descriptor."""

    def rename(self, old: str, new: str) -> None:
        """Put one name in the place of another."""

    def unlink(self, path: str) -> None:
        """Remove a file."""

    def truncate(self, path: str, size: int) -> None:
        """Cut a file, and give back all room behind its end."""

    def sync_folder(self, path: str) -> None:
        """Wait until a folder's names are on the disk, where the file system offers that."""


class RealDisk:
    """The disk."""

    def mkdir(self, path: str) -> None:
        """See `Disk`."""
        os.mkdir(path)

    def create(self, path: str) -> int:
        """See `Disk`. A symbolic link at one of our names is not followed."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags, 0o666)

    def allocate(self, file: int, size: int) -> None:
        """See `Disk`. Not ``os.posix_fallocate``: where the file system has no such call glibc
        writes to every block instead, which a network disk would have to carry."""
        number = _fallocate()(file, size) if size > 0 else 0
        if number and number not in _NO_FALLOCATE:
            raise OSError(number, os.strerror(number))

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

    def unlink(self, path: str) -> None:
        """See `Disk`."""
        os.unlink(path)

    def truncate(self, path: str, size: int) -> None:
        """See `Disk`."""
        os.truncate(path, size)

    def sync_folder(self, path: str) -> None:
        """See `Disk`. A folder that may be written but not read cannot be opened for it."""
        try:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:
            return
        try:
            os.fsync(folder)
        except OSError as error:
            if error.errno not in _NO_FOLDER_FSYNC:
                raise
        finally:
            os.close(folder)


@functools.cache
def _fallocate() -> Callable[[int, int], int]:
    """fallocate(2) of the C library for a descriptor and a size: 0, or what went wrong."""
    import ctypes  # not at the top: takes 3 ms, and a run with nothing to do needs none

    try:
        call = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError):  # as on macOS
        return lambda file, size: errno.ENOSYS
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)  # off_t is a long
    return lambda file, size: ctypes.get_errno() if call(file, _KEEP_SIZE, 0, size) else 0


def write_whole(disk: Disk, path: str, data: bytes, *, durable: bool) -> None:
    """Write a file anew, every byte; ``durable`` waits until they are on the disk.

    Raises:
        OSError: it cannot be written; a part of it may be there.
    """
    file = disk.create(path)
    try:
        write_all(disk, file, data)
        if durable:
            disk.fsync(file)
    finally:
        disk.close(file)


def write_all(disk: Disk, file: int, data: bytes) -> None:
    """Write every byte to a descriptor.

    Raises:
        OSError: not all of them were taken.
    """
    rest = memoryview(data)
    while rest:
        taken = disk.write(file, rest)
        if taken <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest = rest[taken:]


is_temporary = re.compile(re.escape(STATE) + r"-[0-9a-f]{16}\.tmp").fullmatch


def temporary_path(path: str) -> str:
    """Where a file is written before it is complete: same folder, a predictable name."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f"{STATE}-{short_digest(name)[:16]}.tmp")


def is_file(path: str) -> bool:
    """Whether a regular file is there itself: a link is the user's, wherever it leads."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def content(path: str) -> bytes:
    """All bytes of a file.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return file.read()


class Reservation:
    """Room on the disk that a photo under way may need. ``release`` may be called again."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        """Give it back: the photo is published, or will not be."""
        release, self._release = self._release, None
        if release is not None:
            release()
