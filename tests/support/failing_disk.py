"""A disk that fails at its Nth call, and from then on."""

from __future__ import annotations

import os

from humanbody_cli.storage.disk import RealDisk


class FailingDisk(RealDisk):
    """A disk whose ``n``-th call fails, and every later one too, as a full disk's do."""

    def __init__(self, n: int, number: int) -> None:
        self.left = n
        self.number = number
        self.failed: list[str] = []

    def _count(self, call: str) -> None:
        self.left -= 1
        if self.left <= 0:
            self.failed.append(call)
            raise OSError(self.number, os.strerror(self.number))

    def mkdir(self, path: str) -> None:
        self._count("mkdir")
        super().mkdir(path)

    def create(self, path: str) -> int:
        self._count("create")
        return super().create(path)

    def write(self, file: int, data: memoryview) -> int:
        self._count("write")
        if self.left == 1:  # the call before the one that fails takes only a part, as disks do
            data = data[: len(data) // 2]
        return super().write(file, data)

    def fsync(self, file: int) -> None:
        self._count("fsync")
        super().fsync(file)

    def rename(self, old: str, new: str) -> None:
        self._count("rename")
        super().rename(old, new)

    def allocate(self, file: int, size: int) -> None:
        self._count("allocate")
        super().allocate(file, size)

    def unlink(self, path: str) -> None:
        self._count("unlink")
        super().unlink(path)

    def truncate(self, path: str, size: int) -> None:
        self._count("truncate")
        super().truncate(path, size)

    def sync_folder(self, path: str) -> None:
        self._count("sync_folder")
        super().sync_folder(path)
