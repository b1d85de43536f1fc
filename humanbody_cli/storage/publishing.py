"""Publishing: files that are whole or absent (temp in the same folder, fsync, rename, fsync).

Nothing that hbseg did not write is replaced, moved or removed: see `ownership.py`.

Every call that touches the disk goes through `Disk`, so that each of them can be made to fail.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from humanbody_cli.core.errors import OutputError, PhotoError, output_error
from humanbody_cli.storage.disk import (
    Disk,
    RealDisk,
    Reservation,
    content,
    is_file,
    is_temporary,
    temporary_path,
    write_whole,
)
from humanbody_cli.storage.layout import ASIDE, CUTOUTS, MASKS, STATE
from humanbody_cli.storage.ownership import (
    MayReplace,
    in_the_way,
    is_blocked,
    is_own_result,
    is_sound,
    taken,
)

if TYPE_CHECKING:
    from humanbody_cli.imaging import proof

_FOR_THE_JOURNAL = 1 << 20
"""Bytes that stay free for the journal."""

_BYTES_PER_PIXEL = 3
"""A cutout and a mask as PNG take about half of 4 + 1 bytes per pixel, or more with noise."""


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
        # no thread must find one of them without the other.
        self.aside_guard = threading.RLock()

    def path(self, kind: str, name: str) -> str:
        """Where a photo's mask or cutout belongs."""
        return os.path.join(self.root, kind, name)

    def make_folder(self, kind: str, name: str) -> None:
        """Make the folder of a result, before any money is spent on it.

        Raises:
            OutputError: it cannot be made.
            PhotoError: something else is at the name of a folder.
        """
        path = self.path(kind, name)
        with self._translated(path):
            self._make_folders(os.path.dirname(path))

    def check_place(self, kind: str, name: str, *, may_replace: MayReplace | None = None) -> None:
        """Check that nothing of the user's is at a result's name. Writes nothing.

        Raises:
            PhotoError: something is.
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
            OutputError: the disk has not that much, even with nothing else under way.
        """
        needed = size[0] * size[1] * _BYTES_PER_PIXEL
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
            PhotoError: something else is at this photo's name.
        """
        from humanbody_cli.imaging import proof  # loads zlib; most runs do not need it

        path = self.path(kind, name)
        temporary = temporary_path(path)
        with self._translated(path):
            self._make_folders(os.path.dirname(path))
            try:
                write_whole(self._disk, temporary, data, durable=self.durable)
                self._check_place(path, may_replace)
                with self.aside_guard:
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
            PhotoError: something else is at the new name.
        """
        from humanbody_cli.imaging import proof

        source, target = self.path(kind, old), self.path(kind, new)
        if source == target or not is_file(source):
            return False
        with self._translated(target):
            if not is_own_result(source, may_replace):
                return False
            self._make_folders(os.path.dirname(target))
            if not _is_same_file(source, target):  # as a name changed in case alone may be
                self._check_place(target, None)
            with self.aside_guard:
                if not _is_same_file(source, target):
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
            if not is_own_result(path, may_replace):
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
        """Keep a published file that other results will replace: the photo that it was made of may
        come later. Whether there was one of ours.

        Its proof names that photo's bytes. A file of an earlier version has none: it is known by
        this sha256, and gets a proof where ``made`` says how it was made.

        Raises:
            OutputError: it cannot be moved.
        """
        from humanbody_cli.imaging import proof

        path = self.path(kind, name)
        with self._translated(path), self.aside_guard:
            if not is_own_result(path, may_replace):
                return False
            inside = proof.peek(path)
            target = self.aside_path(kind, sha256 if inside is None else inside.sha256)
            self._make_folders(os.path.dirname(target))
            if made is not None and inside is None and is_sound(content(path)):
                self._replace(target, proof.attach(content(path), proof.Proof(sha256, made)))
                self._disk.unlink(path)
            else:
                self._rename_anywhere(path, target)
            self._sync(target)
            self._sync(path)
        return True

    def find_aside(self, kind: str, sha256: str) -> str | None:
        """The path of a file that was set aside; its proof says what it was made of."""
        path = self.aside_path(kind, sha256)
        return path if is_file(path) else None

    def clear_aside(self, is_needed: Callable[[str, str], bool]) -> None:
        """Remove what was set aside, except what is needed by its kind and sha256. What cannot be
        removed is removed after a later run."""
        folder = os.path.join(self.root, STATE, ASIDE)
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                sha256, kind, *_ = name.split(".")
                if not is_needed(kind, sha256):
                    with contextlib.suppress(OSError):
                        self._disk.unlink(os.path.join(folder, name))
            os.rmdir(folder)
            self._folders.discard(folder)

    def aside_path(self, kind: str, sha256: str) -> str:
        """Where a file made of these bytes waits once it was set aside."""
        return os.path.join(self.root, STATE, ASIDE, f"{sha256}.{kind}.png")

    def discard_leftover(self, name: str) -> None:
        """Remove the temporary files that a killed run may have left of this photo."""
        for kind in (MASKS, CUTOUTS):
            with contextlib.suppress(OSError):
                self._disk.unlink(temporary_path(self.path(kind, name)))

    def discard_leftovers(self) -> None:
        """The same in all folders, for when no journal says which photos were under way."""
        for kind in (MASKS, CUTOUTS):
            for folder, _, names in os.walk(os.path.join(self.root, kind)):
                for name in filter(is_temporary, names):
                    with contextlib.suppress(OSError):
                        self._disk.unlink(os.path.join(folder, name))

    def _keep_for_another(self, kind: str, path: str, new: proof.Proof | None) -> None:
        """Set aside what is about to be replaced, where it was made of another photo."""
        from humanbody_cli.imaging import proof

        old = proof.peek(path)
        if old is None or (new is not None and old.sha256 == new.sha256):
            return
        target = self.aside_path(kind, old.sha256)
        self._make_folders(os.path.dirname(target))
        self._rename_anywhere(path, target)

    def _rename_anywhere(self, path: str, target: str) -> None:
        """Rename, or copy if the results are on another disk than the state folder."""
        try:
            self._disk.rename(path, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._replace(target, content(path))
            self._sync(target)  # before the only other copy goes
            self._disk.unlink(path)

    def _replace(self, path: str, data: bytes) -> None:
        temporary = temporary_path(path)
        write_whole(self._disk, temporary, data, durable=self.durable)
        self._disk.rename(temporary, path)

    def _check_place(self, path: str, may_replace: MayReplace | None) -> None:
        """Raises PhotoError where something is at a final name that must not be replaced."""
        if is_blocked(os.path.dirname(path)):
            raise in_the_way(path)
        if not os.path.lexists(path) or is_own_result(path, may_replace):
            return
        raise taken(path) if is_file(path) else in_the_way(path)

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
            return in_the_way(path)
        return output_error(path, error)


def _full(root: str, free: int, size: tuple[int, int], needed: int) -> OutputError:
    return OutputError(
        f"cannot write {root}: the disk is full: {max(0, free) / 1e6:.0f} MB are free, and a photo "
        f"of {size[0]} x {size[1]} pixels may need {needed / 1e6:.0f} MB; free some space and run "
        "the same command again"
    )


def _is_same_file(one: str, other: str) -> bool:
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except OSError:
        return False
