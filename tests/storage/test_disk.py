"""The disk: the room on it is shared; folders that cannot be read or offer no fsync will do."""

from __future__ import annotations

import os
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest
from making import noise, png

from humanbody_cli.core.errors import OutputError
from humanbody_cli.storage.disk import RealDisk
from humanbody_cli.storage.publishing import Publisher

PLAIN = png(noise((16, 16)))


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(str(tmp_path), durable=True)


Space = namedtuple("Space", "f_bavail f_frsize f_files f_favail")


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Says how many bytes are free; the journal's own 1 MiB beside them."""
    bytes_free = [0]
    monkeypatch.setattr(os, "statvfs", lambda path: Space(bytes_free[0] + (1 << 20), 1, 0, 0))
    return bytes_free


def test_photos_under_way_share_what_is_free(publisher: Publisher, free: list[int]) -> None:
    """What one has reserved another waits for, until it is released, once however often; what does
    not fit with nothing else under way never will."""
    photo = 3 * 100 * 100
    free[0] = 2 * photo
    first = publisher.reserve((100, 100))
    assert first is not None
    assert publisher.reserve((100, 100), at_once=1) is None
    second = publisher.reserve((100, 100))
    assert second is not None
    assert publisher.reserve((1, 1)) is None
    second.release()
    second.release()
    free[0] -= photo // 2
    assert publisher.reserve((100, 100)) is None
    assert publisher.reserve((100, 50)) is not None
    free[0] = 0
    assert publisher.reserve((1, 1)) is None
    first.release()
    free[0] = 10 * photo
    whole = publisher.reserve((100, 100), at_once=8 * photo)
    assert whole is not None
    whole.release()


def test_a_photo_that_does_not_fit_ends_the_run(publisher: Publisher, free: list[int]) -> None:
    """The message names the folder, what is free and what is needed."""
    free[0] = 20_000_000
    said = r"disk is full: 20 MB are free, and a photo of 4000 x 3000 pixels may need 36 MB; free"
    with pytest.raises(OutputError, match=said):
        publisher.reserve((4000, 3000))
    assert publisher.reserve((2000, 3000)) is not None
    with pytest.raises(OutputError, match="disk is full"):
        Publisher(publisher.root, durable=False).reserve((1, 1), at_once=20_000_001)


def test_a_folder_that_offers_no_fsync(tmp_path: Path) -> None:
    """CIFS and FUSE may answer EINVAL, as /proc does: then there is nothing to wait for. A folder
    that is not there is an error all the same."""
    descriptor = os.open("/proc", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    RealDisk().sync_folder("/proc")
    with pytest.raises(FileNotFoundError):
        RealDisk().sync_folder(str(tmp_path / "gone"))


def test_a_folder_that_may_be_written_but_not_read() -> None:
    """It cannot be opened for fsync; publishing into it goes on."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        drop_box = Path(folder) / "drop-box"
        drop_box.mkdir()
        was_root = os.geteuid() == 0
        if was_root:
            os.chown(drop_box, 65534, 65534)
        drop_box.chmod(0o300)
        if was_root:
            os.seteuid(65534)
        try:
            with pytest.raises(PermissionError):
                os.listdir(drop_box)
            Publisher(str(drop_box), durable=True).publish("", "a.png", PLAIN)
        finally:
            if was_root:
                os.seteuid(0)
        drop_box.chmod(0o700)
        assert (drop_box / "a.png").read_bytes() == PLAIN
