"""The room that an answer takes on the disk before its call: taken, used, and given back."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import files, photo, run_settings
from fake_answers import Style
from fake_api import FakeApi
from fake_behaviour import Behaviour

from humanbody_cli.core.errors import OutputError
from humanbody_cli.jobs import segment
from humanbody_cli.storage.answer_spool import FOLDER, AnswerSpool, KeptAnswers
from humanbody_cli.storage.disk import RealDisk


def _files(root: Path) -> list[Path]:
    return sorted((root / ".hbseg" / FOLDER).iterdir())


def _taken(path: Path) -> int:
    """Bytes that a file takes on the disk."""
    return path.stat().st_blocks * 512


def test_the_room_is_real_and_given_back(tmp_path: Path) -> None:
    """Taken on the disk before the answer is there, with no byte in the file that could be taken
    for one; what an answer that stays did not need is given back."""
    spool = AnswerSpool(str(tmp_path))
    spooled = spool.of("abc")
    spooled.reserve(1 << 20)
    (path,) = _files(tmp_path)
    if not _taken(path):
        pytest.skip("this file system cannot promise room")
    assert (_taken(path) >= 1 << 20, path.stat().st_size) == (True, 0)
    assert KeptAnswers(str(tmp_path)).names == set()
    spooled.keep(b"answer")
    assert path.read_bytes() == b"abc\nanswer"
    spooled.release()
    assert _taken(path) <= 8192
    spooled = spool.of("abc")
    assert spooled.body() == b"answer"
    spooled.reserve(1 << 20)
    assert _taken(path) <= 8192
    spooled.discard()
    assert (_taken(path) >= 1 << 20, path.stat().st_size) == (True, 0)
    assert not spooled.is_there
    spooled.drop()
    assert _taken(path) == 0
    spooled = spool.of("abc")
    spooled.reserve(1 << 20)
    spooled.release()
    assert _taken(path) == 0
    spool.close()
    assert _files(tmp_path) == []


def _open_below(folder: Path) -> list[str]:
    """The files below a folder that this process holds open: descriptors elsewhere may come and go
    with threads of other tests."""
    opened = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            opened.append(os.readlink(f"/proc/self/fd/{number}"))
    return [name for name in opened if name.startswith(str(folder))]


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Whatever became of the photos."""
    spool = AnswerSpool(str(tmp_path))
    for number, act in enumerate(("drop", "release", "keep", "discard")):
        spooled = spool.of(f"{number}")
        spooled.reserve(100)
        assert len(_open_below(tmp_path)) == 1
        if act == "keep":
            spooled.keep(b"answer")
        else:
            getattr(spooled, act)()
        spooled.release()
    assert _open_below(tmp_path) == []


class Full(RealDisk):
    """A disk on which nothing more is free: what was taken before can be written."""

    def __init__(self, after: int, number: int = errno.EDQUOT) -> None:
        self.left = after
        self.error = OSError(number, os.strerror(number))
        self._room: dict[int, int] = {}

    def _count(self) -> None:
        self.left -= 1
        if self.left <= 0:
            raise self.error

    def mkdir(self, path: str) -> None:
        self._count()
        super().mkdir(path)

    def create(self, path: str) -> int:
        self._count()
        return super().create(path)

    def allocate(self, file: int, size: int) -> None:
        self._count()
        super().allocate(file, size)
        self._room[file] = size

    def write(self, file: int, data: memoryview) -> int:
        self._room[file] = self._room.get(file, 0) - len(data)
        if self._room[file] < 0:
            self._count()
        return super().write(file, data)

    def close(self, file: int) -> None:
        self._room.pop(file, None)
        super().close(file)


class Broken(Full):
    """A disk on which no call succeeds any more, room or no room."""

    def write(self, file: int, data: memoryview) -> int:
        self._count()
        return super().write(file, data)

    def rename(self, old: str, new: str) -> None:
        self._count()
        super().rename(old, new)


SOME = 10
IN_FLIGHT = 4


@pytest.mark.parametrize("kind", [Full, Broken])
def test_a_quota_that_stays_used_up_costs_no_answer(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    kind: type[Full],
) -> None:
    """From whichever call on the disk refuses: with room taken beforehand no photo is paid for
    twice. A disk that refuses even that costs the calls in flight, and no call after them."""
    for number in range(SOME):
        photo(tmp_path / "photos" / f"{number}.jpg", seed=number)
    with FakeApi.in_thread(Behaviour(latency=(0.0, 0.01))) as api:
        for after in range(1, 300, 7 if kind is Broken else 4):
            out = tmp_path / f"out{after}"
            settings = run_settings(tmp_path / "photos", out, api.url, concurrency=IN_FLIGHT)
            api.reset()
            disk = kind(after)
            code = segment.segment(settings, disk)
            if disk.left > 0:
                assert code == 0
                break
            assert code == 4
            assert "disk quota" in capfd.readouterr().err
            assert segment.segment(settings) == 0
            again = len(api.stats.calls) - SOME
            assert again <= (0 if kind is Full else IN_FLIGHT), after
            assert len(files(out)) == 2 * SOME
            assert _files(out) == []
        assert after > 40


def test_an_answer_that_cannot_be_kept_stops_the_run(tmp_path: Path) -> None:
    """The spooled says why, names the file, and what was written of it is gone."""
    spool = AnswerSpool(str(tmp_path), Broken(3))
    spooled = spool.of("abc")
    spooled.reserve(100)
    spooled.keep(b"answer")
    assert not spooled.is_there
    assert "disk quota" in str(spooled.failure)
    assert str(tmp_path) in str(spooled.failure)
    assert KeptAnswers(str(tmp_path)).names == set()
    spooled = spool.of("def")
    with pytest.raises(OutputError, match="disk quota"):
        spooled.reserve(100)


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs")
@pytest.mark.parametrize("size", [3, 5, 8])
def test_no_paid_answer_is_lost_on_a_disk_that_fills_up(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], size: int
) -> None:
    """A real small disk, 16 calls in flight: the first run ends with exit 4 and says so; once
    there is room the second one makes the calls that the first did not, and no other."""
    count = 30
    for number in range(count):
        photo(tmp_path / "photos" / f"{number}.jpg", seed=number, size=(500, 400))
    out = tmp_path / "out"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(out)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs the right to mount")
    style = Style(answer_bytes=600_000)
    try:
        with FakeApi.in_thread(Behaviour(latency=0.02, style=style)) as api:
            settings = run_settings(tmp_path / "photos", out, api.url, concurrency=16)
            assert segment.segment(settings) == 4
            assert "disk is full" in capfd.readouterr().err
            assert len(api.stats.calls) < count
            subprocess.run(["mount", "-o", "remount,size=200m", str(out)], check=True)
            assert segment.segment(settings) == 0
            assert len(api.stats.calls) == count
        assert len(files(out)) == 2 * count
        assert _files(out) == []
    finally:
        subprocess.run(["umount", "-l", str(out)], check=True)


def test_a_full_disk_keeps_no_part_of_an_answer(tmp_path: Path) -> None:
    """A part is worth nothing, and takes the room that publishing needs."""

    class Full(RealDisk):
        def write(self, file: int, data: memoryview) -> int:
            super().write(file, data[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    spool = AnswerSpool(str(tmp_path), Full())
    spooled = spool.of("a")
    spooled.keep(b"answer" * 100)
    assert not spooled.is_there
    assert [path.stat().st_size for path in _files(tmp_path)] == [0]
    spool.close()
    assert _files(tmp_path) == []


def test_files_are_used_again(tmp_path: Path) -> None:
    """As many files as answers under way at once; what a kill left is not touched."""
    AnswerSpool(str(tmp_path)).of("abc").keep(b"answer")
    spool = AnswerSpool(str(tmp_path))
    for number in range(20):
        one, two = (spool.of(f"{number}{place}") for place in "ab")
        one.keep(b"one")
        two.keep(b"two")
        assert (one.body(), two.body()) == (b"one", b"two")
        one.drop()
        two.drop()
    assert [path.name for path in _files(tmp_path)] == ["0", "1", "2"]
    spool.close()
    assert [path.name for path in _files(tmp_path)] == ["0"]
    assert AnswerSpool(str(tmp_path)).of("abc").body() == b"answer"
    assert not AnswerSpool(str(tmp_path), forget=True).of("abc").is_there


def test_where_nothing_can_be_kept_the_run_goes_on(tmp_path: Path) -> None:
    """Keeping is a help: a file in the folder's place is no error."""
    (tmp_path / ".hbseg").write_bytes(b"")
    spool = AnswerSpool(str(tmp_path))
    spooled = spool.of("a")
    spooled.keep(b"answer")
    assert spooled.body() == b""
    spooled.drop()
    spool.close()
