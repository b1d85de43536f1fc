"""Files that are whole or not there: temp in the same folder, count, fsync, rename, fsync.

Nothing that hbseg did not write is replaced, moved or removed: a file at a photo's name is ours
where its proof says so (`proof.py`), or where the caller knows it, from the journal. A symbolic
link at such a name is the user's.

Every call that touches the disk goes through `Disk`, so that each of them can be made to fail.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import OutputError, PhotoError, output_error
from humanbody_cli.storage.layout import ASIDE, CUTOUTS, MASKS, STATE
from humanbody_cli.storage.names import digest

if TYPE_CHECKING:
    from humanbody_cli.imaging import proof

_FOR_THE_JOURNAL = 1 << 20
"""Bytes that stay free for the journal."""

_A_PIXEL = 3
"""Bytes. A cutout and a mask as PNG take about half of 4 + 1 bytes a pixel, or more with noise."""

_SMALLEST_PNG = 67
"""Bytes: one pixel. What is shorter is nobody's picture."""

_LARGEST = 2 << 30
"""Bytes of a published file, and some more: larger ones are not read to learn whose they are."""

_NO_FALLOCATE = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV}
"""What fallocate(2) says where the file system cannot promise room."""

_NO_FOLDER_FSYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EISDIR}
"""What fsync(2) says of a folder where the file system does not offer it, as CIFS and FUSE may."""

_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE, linux/falloc.h

MayReplace = Callable[[str], bool]
"""Whether the regular file at a path is known as our own, whatever is in it."""


class Disk(Protocol):
    """The calls of the system that publishing makes."""

    def mkdir(self, path: str) -> None:
        """Make one folder."""

    def create(self, path: str) -> int:
        """Open for writing, made anew; the descriptor."""

    def allocate(self, file: int, size: int) -> None:
        """Take room for so many bytes, so that writing them cannot fail for want of it. Length and
        content stay as they are; where the file system cannot do it nothing happens."""

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
        """See `Disk`. A symbolic link at a name of our own is nothing to be followed."""
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


def published(size: int | None, *, proofless: bool = False) -> MayReplace:
    """Knows the file that the journal has at a name, by its ``size`` in bytes; ``None``: there is
    none. Whole files prove themselves; this is for those that are damaged.

    ``proofless`` says that an earlier version wrote the file, without a proof inside.
    """

    def check(path: str) -> bool:
        there = os.stat(path).st_size
        if size is None or there > size:  # no damage makes a file longer
            return False
        data = _content(path)
        if there < _SMALLEST_PNG or not data.strip(b"\0"):
            return True
        return proofless and _is_of_earlier_version(data, size)

    return check


def _is_of_earlier_version(data: bytes, size: int) -> bool:
    """Whether this is a PNG without a proof, whole at its size or cut short."""
    from humanbody_cli.imaging import png_check, proof

    if proof.is_present(data) or not data.startswith(png_check.SIGNATURE):
        return False
    return _is_sound(data) is (len(data) == size)


def always(path: str) -> bool:
    """Knows every file as our own: in a folder that nobody else writes to."""
    del path
    return True


class Reservation:
    """Room on the disk that a photo under way may need. ``release`` may be called again."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        """Give it back: the photo is published, or will not be."""
        release, self._release = self._release, None
        if release is not None:
            release()

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class Publisher:
    """Puts masks and cutouts into an output tree. From any thread.

    ``durable`` waits for the disk: after a power cut every published file is there. Without it a
    file is still whole or absent after a killed process.
    """

    def __init__(self, root: str, *, durable: bool, disk: Disk | None = None) -> None:
        self.root = root
        self.durable = durable
        self._disk: Disk = disk or RealDisk()
        self._folders: set[str] = set()
        self._reserved = 0
        self._guard = threading.Lock()
        # Held while a photo's mask and cutout are set aside, and while both are looked for there:
        # nobody is to find one of them without the other.
        self.aside_guard = threading.RLock()

    def path(self, kind: str, name: str) -> str:
        """Where a photo's mask or cutout belongs."""
        return os.path.join(self.root, kind, name)

    def make_ready(self, kind: str, name: str, *, may_replace: MayReplace | None = None) -> None:
        """See to it that a result can get its name, before any money is spent on it.

        Raises:
            OutputError: the folder cannot be written.
            PhotoError: something else stands at this photo's name.
        """
        path = self.path(kind, name)
        with self._translated(path):
            self._make_folders(os.path.dirname(path))
        self.check_place(kind, name, may_replace=may_replace)

    def check_place(self, kind: str, name: str, *, may_replace: MayReplace | None = None) -> None:
        """See to it that nothing foreign stands at a result's name. Writes nothing.

        Raises:
            PhotoError: something does.
        """
        path = self.path(kind, name)
        with self._translated(path):
            self._check_place(path, may_replace)

    def reserve(self, size: tuple[int, int], *, at_once: int = 0) -> Reservation | None:
        """Take room for the results of a photo of this size (pixels), before it is paid for.

        ``at_once`` are the bytes that the caller takes from the disk right away, for the answer.
        Photos under way share what is free. ``None`` where they hold what this one needs: ask again
        once one of them has released its room.

        Raises:
            OutputError: the disk has not so much, even with nothing else under way.
        """
        needed = size[0] * size[1] * _A_PIXEL
        with self._translated(self.root), self._guard:
            space = os.statvfs(self.root)
            if space.f_files and not space.f_favail:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            free = space.f_bavail * space.f_frsize - _FOR_THE_JOURNAL
            if free < self._reserved + needed + at_once:
                if not self._reserved:
                    raise _full(self.root, free, size, needed + at_once)
                return None
            self._reserved += needed
        return Reservation(lambda: self._give_back(needed))

    def _give_back(self, size: int) -> None:
        with self._guard:
            self._reserved -= size

    def publish(
        self, kind: str, name: str, data: bytes, *, may_replace: MayReplace | None = None
    ) -> None:
        """Write one file at its final name, whole.

        A file that is there already is replaced where its proof or ``may_replace`` says that it is
        ours.

        Raises:
            OutputError: it cannot be written; nothing half written stays.
            PhotoError: something else stands at this photo's name.
        """
        from humanbody_cli.imaging import (
            proof,  # loads png and zlib: a run with nothing to do needs none
        )

        path = self.path(kind, name)
        temporary = temporary_path(path)
        with self._translated(path):
            self._make_folders(os.path.dirname(path))
            try:
                write_whole(self._disk, temporary, data, durable=self.durable)
                self._check_place(path, may_replace)
                self._keep_for_another(kind, path, proof.glance(data))
                self._disk.rename(temporary, path)
            except (OSError, PhotoError):
                with contextlib.suppress(OSError):
                    self._disk.unlink(temporary)
                raise
            self._sync(path)

    def move(self, kind: str, old: str, new: str, *, may_replace: MayReplace | None = None) -> bool:
        """Give a published file another name; whether there was one.

        ``may_replace`` knows the file at the old name. What hbseg did not write stays where it is.

        Raises:
            OutputError: it cannot be moved.
            PhotoError: something else stands at the new name.
        """
        from humanbody_cli.imaging import proof

        source, target = self.path(kind, old), self.path(kind, new)
        if source == target or not _is_file(source):
            return False
        with self._translated(target):
            if not self._is_ours(source, may_replace):
                return False
            self._make_folders(os.path.dirname(target))
            if not _is_same(source, target):  # as a name changed in case alone may be
                self._check_place(target, None)
                self._keep_for_another(kind, target, proof.peek(source))
            self._disk.rename(source, target)
            self._sync(target)
            if os.path.dirname(source) != os.path.dirname(target):
                self._sync(source)
        return True

    def withdraw(self, kind: str, name: str, *, may_replace: MayReplace | None = None) -> bool:
        """Remove a published file that no longer is its photo's; whether there was one.

        What hbseg did not write stays.

        Raises:
            OutputError: it cannot be removed.
        """
        path = self.path(kind, name)
        with self._translated(path):
            if not self._is_ours(path, may_replace):
                return False
            try:
                self._disk.unlink(path)
            except FileNotFoundError:
                return False
            self._sync(path)
        return True

    def set_aside(
        self,
        kind: str,
        name: str,
        sha256: str,
        *,
        may_replace: MayReplace | None = None,
        made: str | None = None,
    ) -> bool:
        """Keep a published file that other results are to replace: the photo that it was made of,
        the one with this sha256, may come later in the run. Whether there was one of ours.

        A file of an earlier version gets the proof that it lacks, where ``made`` says how it was
        made.

        Raises:
            OutputError: it cannot be moved.
        """
        from humanbody_cli.imaging import proof

        path, target = self.path(kind, name), self._aside(kind, sha256)
        with self._translated(path):
            if not self._is_ours(path, may_replace):
                return False
            self._make_folders(os.path.dirname(target))
            if made is not None and proof.peek(path) is None and _is_sound(_content(path)):
                self._replace(target, proof.attach(_content(path), proof.Proof(sha256, made)))
                self._disk.unlink(path)
            else:
                self._rename_anywhere(path, target)
            self._sync(target)
            self._sync(path)
        return True

    def find_aside(self, kind: str, sha256: str) -> str | None:
        """The path of a file that was set aside; what it is made of, its proof tells."""
        path = self._aside(kind, sha256)
        return path if _is_file(path) else None

    def clear_aside(self) -> None:
        """Remove what was set aside: every photo of a run has what it needs. Never raises: what
        cannot be removed goes after the next run."""
        folder = os.path.join(self.root, STATE, ASIDE)
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                with contextlib.suppress(OSError):
                    self._disk.unlink(os.path.join(folder, name))
            os.rmdir(folder)
            self._folders.discard(folder)

    def discard_leftover(self, name: str) -> None:
        """Remove what a killed run may have left of this photo."""
        for kind in (MASKS, CUTOUTS):
            with contextlib.suppress(OSError):
                self._disk.unlink(temporary_path(self.path(kind, name)))

    def discard_leftovers(self) -> None:
        """The same wherever one lies: no journal tells which photos were under way."""
        for kind in (MASKS, CUTOUTS):
            for folder, _, names in os.walk(os.path.join(self.root, kind)):
                for name in filter(_IS_TEMPORARY, names):
                    with contextlib.suppress(OSError):
                        self._disk.unlink(os.path.join(folder, name))

    def _aside(self, kind: str, sha256: str) -> str:
        return os.path.join(self.root, STATE, ASIDE, f"{sha256}.{kind}.png")

    def _keep_for_another(self, kind: str, path: str, new: proof.Proof | None) -> None:
        """Set aside what is about to be replaced, where it was made of another photo."""
        from humanbody_cli.imaging import proof

        old = proof.peek(path) if new is not None else None
        if old is None or new is None or old.sha256 == new.sha256:
            return
        target = self._aside(kind, old.sha256)
        self._make_folders(os.path.dirname(target))
        self._rename_anywhere(path, target)

    def _rename_anywhere(self, path: str, target: str) -> None:
        """Rename, or copy where the results lie on another disk than the state folder."""
        try:
            self._disk.rename(path, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._replace(target, _content(path))
            self._sync(target)  # before the only other copy goes
            self._disk.unlink(path)

    def _replace(self, path: str, data: bytes) -> None:
        temporary = temporary_path(path)
        write_whole(self._disk, temporary, data, durable=self.durable)
        self._disk.rename(temporary, path)

    def _check_place(self, path: str, may_replace: MayReplace | None) -> None:
        """Raises PhotoError where something stands at a final name that must not be replaced."""
        if not os.path.lexists(path) or self._is_ours(path, may_replace):
            return
        raise _taken(path) if _is_file(path) else _in_the_way(path)

    def _is_ours(self, path: str, may_replace: MayReplace | None) -> bool:
        """Whether hbseg wrote the file at a path. What was changed afterwards, and is a sound PNG
        still, is the user's."""
        from humanbody_cli.imaging import (
            proof,  # loads png and zlib: a run with nothing to do needs none
        )

        try:
            if not _is_file(path):
                return False
            size = os.stat(path).st_size
            if size == 0 or size > _LARGEST:
                return size == 0  # as a power cut leaves it; there is nothing to lose
            if may_replace is not None and may_replace(path):
                return True
            data = _content(path) if proof.peek(path) is not None else b""
            return bool(data) and (proof.read(data) is not None or not _is_sound(data))
        except FileNotFoundError:
            return False

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

    def _sync(self, path: str) -> None:
        if self.durable:
            self._disk.sync_folder(os.path.dirname(path))

    @contextlib.contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._error(path, error) from error

    def _error(self, path: str, error: OSError) -> OutputError | PhotoError:
        self._folders.clear()
        root_is_there = os.path.isdir(self.root)
        if root_is_there and error.errno in (errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG):
            return _in_the_way(path)
        return output_error(path, error)


def _full(root: str, free: int, size: tuple[int, int], needed: int) -> OutputError:
    return OutputError(
        f"cannot write {root}: the disk is full: {max(0, free) / 1e6:.0f} MB are free, and a photo "
        f"of {size[0]} x {size[1]} pixels may need {needed / 1e6:.0f} MB; free some space and run "
        "the same command again"
    )


def _is_file(path: str) -> bool:
    """Whether a regular file stands there itself: a link is the user's, wherever it leads."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _is_sound(data: bytes) -> bool:
    """Whether these bytes are a whole PNG."""
    from humanbody_cli.imaging import png_check

    try:
        png_check.verify(data)
    except png_check.BrokenPng:
        return False
    return True


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except OSError:
        return False


def _in_the_way(path: str) -> PhotoError:
    return _name_taken(f"{path} cannot be written: a file or folder of another kind is there")


def _taken(path: str) -> PhotoError:
    return _name_taken(f"{path} already exists, and hbseg did not write it or it was changed since")


def _name_taken(what: str) -> PhotoError:
    message = f"{what}; move it away or choose another output folder, then run again"
    return PhotoError(api_spec.OUTPUT_NAME_TAKEN, message, rejected=True, transient=True)


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


_IS_TEMPORARY = re.compile(re.escape(STATE) + r"-[0-9a-f]{16}\.tmp").fullmatch


def temporary_path(path: str) -> str:
    """Where a file is written before it is whole: same folder, a name that can be foreseen."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f"{STATE}-{digest(name)[:16]}.tmp")
