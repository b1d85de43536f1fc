"""Lists of names: how long they are waited for, and by which names their photos go."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Hbseg, photo
from finding import Script
from standard_input import stdin_of

from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.photo import Kind
from humanbody_cli.core.settings import InputSettings, Shard
from humanbody_cli.discovery.find import find
from humanbody_cli.discovery.lists import (
    Ahead,
    Descriptor,
    Entry,
    Limits,
    NameList,
    Spool,
    is_stdin,
)
from humanbody_cli.discovery.walk import Walk


def read_ahead(script: Script, limits: Limits | None) -> tuple[list[str], list[str]]:
    """The names that are read ahead, and all that follow."""
    noted: list[str] = []
    with Spool() as spool:
        ahead = Ahead(NameList(script, "-", False), limits, spool, noted.append, script.clock)
        first, rest = ahead.entries()
        names = [entry.name for entry in first]
        assert noted == names
        return names, [entry.name for entry in rest]


@pytest.mark.parametrize(
    ("events", "first"),
    [
        ([(0, b"a\nb\n"), (0.4, b"c\n"), (0.6, b"d\n")], "abc"),  # half a second of silence
        ([(3600, b"a\n"), (0.6, b"b\n")], "a"),  # the first name is waited for
        ([(0, b"a\nb"), (0.6, b"\nc\n")], "a"),  # half a name is none
        ([(0.4, b"%d\n" % n) for n in range(9)], "012345678"),  # the end
        ([(0, b"a\n"), *[(0.45, b"%d\n" % n) for n in range(10)] * 5], None),  # ten seconds
        ([], ""),
        ([(0, b"a")], "a"),
    ],
)
def test_a_pipe_is_read_until_it_falls_silent(
    events: list[tuple[float, bytes]], first: str | None
) -> None:
    """What comes without a pause of half a second, for ten seconds, is read before the first name
    is handed on; then each as it comes, however long that takes."""
    script = Script(list(events))
    whole = b"".join(data for _, data in events).decode().split()
    ahead, rest = read_ahead(script, Limits())
    assert ahead + rest == whole
    assert len(ahead) == 24 if first is None else "".join(ahead) == first
    assert script.waited[-1] is None or not rest


def test_a_long_pipe_is_not_read_to_its_end() -> None:
    """So many names and no more wait for their base."""
    script = Script([(0, b"%d\n" % n) for n in range(9)])
    assert [len(part) for part in read_ahead(script, Limits(names=4))] == [4, 5]


def test_without_limits_all_is_read() -> None:
    """A file, or parts of a list for several machines: the names must not depend on the time."""
    script = Script([(100, b"%d\n" % n) for n in range(9)])
    assert [len(part) for part in read_ahead(script, None)] == [9, 0]
    assert set(script.waited) == {None}


def test_a_million_names_are_not_kept_in_memory() -> None:
    """Names read ahead wait in a file, and come out as they went in, bytes that are no text too."""
    entries = [Entry(number, f"/a/long/folder/{number}\n\udcff.jpg") for number in range(20_000)]
    tracemalloc.start()
    with Spool(in_memory=10_000) as spool:
        for entry in entries:
            spool.add(entry)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert list(spool.drained()) == entries
    assert peak < 400_000


def test_no_room_for_the_names_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where no temporary file can be made the user is told what to do."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with Spool(in_memory=10) as spool, pytest.raises(UsageError, match="set TMPDIR"):
        spool.add(Entry(1, "x" * 100))


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe whose reading end does not block."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    yield read, write
    os.close(read)


def write_last(pipe: int, data: bytes) -> None:
    """The last that comes through a pipe."""
    os.write(pipe, data)
    os.close(pipe)


def test_a_pipe_that_does_not_block_is_waited_for(pipe: tuple[int, int]) -> None:
    """Whoever shares a terminal or pipe may have made it non-blocking: that nothing is there yet
    is not its end, for a list and for a photo."""
    read, write = pipe
    names = NameList(Descriptor(read), "-", nul=False, patience=0.0).entries()
    assert next(names) is None
    os.write(write, b"a.jpg\n")
    assert next(names) == Entry(1, "a.jpg")
    assert next(names) is None
    late = threading.Timer(0.1, write_last, (write, b"late"))
    late.start()
    assert Descriptor(read).read_all(100) == b"late"
    late.join()


def test_all_is_no_more_than_was_asked_for(pipe: tuple[int, int]) -> None:
    """What never ends is read up to the bound."""
    read, write = pipe
    os.write(write, b"x" * 50_000)
    assert Descriptor(read).read_all(30_000) == b"x" * 30_000
    os.close(write)


@pytest.mark.parametrize("what", ["list", "photo"])
def test_stdin_that_does_not_block(hbseg: Hbseg, tmp_path: Path, what: str) -> None:
    """The command itself: names or bytes that come late through such a stdin are done."""
    data = photo(tmp_path / "a.jpg").read_bytes()
    read, write = os.pipe()
    os.set_blocking(read, False)
    arguments = ("--from-file", "-") if what == "list" else ("-", "--name", "a.jpg")
    with hbseg.start("check", *arguments, "--json", stdin=read, stdout=subprocess.PIPE) as command:
        os.close(read)
        time.sleep(0.3)  # the command finds nothing there, once it has started
        os.write(write, f"{tmp_path}/a.jpg\n".encode() if what == "list" else data)
        os.close(write)
        out, _ = command.communicate(timeout=30)
    assert command.returncode == 0
    assert out.count(b'"status":"pending"') == 1


def test_a_dash_in_a_list_on_stdin_is_a_record(tmp_path: Path) -> None:
    """stdin is the list, and cannot be a photo: the line is named, and no other name is lost."""
    photo(tmp_path / "a.jpg")
    path = tmp_path / "list"
    path.write_text(f"\n{tmp_path}/a.jpg\n-\n{tmp_path}/b.jpg\n")
    with stdin_of(path):
        photos = list(find(InputSettings(from_file="-"), Walk()))
    assert [one.kind for one in photos] == [Kind.FILE, Kind.TROUBLE, Kind.TROUBLE]
    assert "line 3 " in photos[1].trouble
    assert photos[2].source == f"{tmp_path}/b.jpg"


_IN_LIST = """
import sys
from humanbody_cli.discovery.find import find
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.core.settings import InputSettings
for photo in find(InputSettings(from_file=sys.argv[1]), Walk()):
    print(photo.kind.value, photo.data.decode())
"""


def _in_list(path: str, stdin: str) -> str:
    """What a process with this list finds, a photo in each line."""
    ended = subprocess.run(
        [sys.executable, "-c", _IN_LIST, path],
        input=stdin,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return ended.stdout


@pytest.mark.parametrize("path", ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_stdin_has_other_names(path: str) -> None:
    """A list at ``/dev/stdin`` is stdin as well: the dash swallows no names."""
    if not os.path.exists(path):
        pytest.skip("this system has no such name for stdin")
    assert _in_list(path, "-\na.jpg\nb.jpg\n").split() == ["trouble"] * 3


def test_a_dash_in_a_list_from_a_file_is_stdin_s_photo(tmp_path: Path) -> None:
    """Once, however often it is in the list."""
    path = tmp_path / "list"
    path.write_text("-\n-\n")
    assert _in_list(str(path), "bytes") == "stdin bytes\n"
    assert not is_stdin(str(path))


def test_a_dash_and_a_list_on_stdin_are_refused(hbseg: Hbseg) -> None:
    """Whatever the list's name is."""
    for name in ("-", "/dev/stdin"):
        ended = hbseg("check", "-", "--from-file", name, stdin=b"a.jpg\n")
        assert ended.code == 2
        assert "both the list" in ended.err


def test_parts_of_a_piped_list_are_a_partition(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Several machines read the list each at its own pace, and each photo is in one part."""
    names = [str(photo(tmp_path / f"{n % 3}/{n}.jpg")) for n in range(12)]
    monkeypatch.setattr("humanbody_cli.discovery.lists.Limits", lambda: Limits(silence=0.01))
    parts = []
    for index in (1, 2, 3):
        read, write = os.pipe()
        settings = InputSettings(from_file=f"/dev/fd/{read}", shard=Shard(index, 3))
        os.write(write, f"{names[0]}\n".encode())
        late = threading.Timer(0.1, write_last, (write, "\n".join(names[1:]).encode()))
        late.start()
        parts.append([one.key for one in find(settings, Walk())])
        late.join()
        os.close(read)
    assert sorted(key for part in parts for key in part) == sorted(names)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("photos", "--base", "photos"), "give --from-file"),
        (("--from-file", "list", "--base", "nowhere"), "--base nowhere: there is no such folder"),
        (("--from-file", "list", "--base", "list"), "--base list: there is no such folder"),
        (("photos", "--name", "a.jpg"), "give - as INPUT too"),
        (("-", "--name", "../a.jpg"), "is not a file name"),
        (("-", "--name", "/a.jpg"), "is not a file name"),
        (("-", "--name", "a/./b.jpg"), "is not a file name"),
        (("-", "--name", ""), "is not a file name"),
        (("-", "--name", "a/"), "is not a file name"),
        (("-", "--name", "x" * 300 + "/a.jpg"), "longer than 255 bytes"),
    ],
)
def test_wrong_names_and_bases(
    hbseg: Hbseg, photos: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    """Named, exit 2, before anything is made."""
    (tmp_path / "list").write_text(f"{photos}/a.jpg\n")
    ended = hbseg("segment", *options, "-o", "out")
    assert ended.code == 2
    assert said in ended.err
    assert not (tmp_path / "out").exists()


# -- what is not a list of names ------------------------------------------------------------------


def test_an_empty_piped_list_is_silent_with_q(hbseg: Hbseg, photos: Path, tmp_path: Path) -> None:
    """A nightly ``find`` without a match says nothing under -q; a folder without photos does."""
    arguments = ("--from-file", "-", "-0", "--base", "photos")
    loud = hbseg("segment", *arguments, "-o", "out")
    assert (loud.code, "the list is empty" in loud.err) == (0, True)
    for command in (("segment", "-o", "out"), ("check",)):
        ended = hbseg(command[0], *arguments, *command[1:], "-q")
        assert (ended.code, ended.out, ended.err) == (0, "", "")
    (tmp_path / "empty").mkdir()
    (tmp_path / "list").touch()
    assert "is it mounted?" in hbseg("segment", "empty", "-o", "out", "-q").err
    assert "list is empty" in hbseg("segment", "--from-file", "list", "-o", "out", "-q").err
