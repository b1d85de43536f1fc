"""Names and photos that come through stdin: none is lost, none replaces another."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path

from conftest import Hbseg, files, photo
from fake_api import FakeApi


def test_a_non_blocking_stdin_does_not_end_a_list(hbseg: Hbseg, tmp_path: Path) -> None:
    """The pipe is empty for a while, and reading it would block: what comes later is in the list
    all the same."""
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "b.jpg", seed=1)
    read, write = os.pipe()
    os.set_blocking(read, False)
    arguments = ("check", "--from-file", "-", "--json")
    with hbseg.start(*arguments, stdin=read, stdout=subprocess.PIPE) as command:
        os.close(read)
        os.write(write, b"a.jpg\n")
        assert command.stdout is not None
        sources = [json.loads(command.stdout.readline())["source"]]
        with contextlib.suppress(BrokenPipeError):
            os.write(write, b"b.jpg\n")
        os.close(write)
        sources += [json.loads(line)["source"] for line in command.stdout]
    assert sources == ["a.jpg", "b.jpg"]
    assert command.returncode == 0


def test_a_dash_in_a_list_on_stdin_swallows_no_name(hbseg: Hbseg, tmp_path: Path) -> None:
    """A list longer than what is read of it at once, with a dash near its beginning: every name is
    looked at, and the dash itself is told."""
    first = photo(tmp_path / "first.jpg", size=(48, 48))
    names = [f"{'long name ' * 8}{number}.jpg" for number in range(1500)]
    for name in names:
        os.link(first, tmp_path / name)
    listed = "\n".join((names[0], "-", *names[1:], "")).encode()
    ended = hbseg("check", "--from-file", "-", "--json", stdin=listed)
    assert ended.code == 3
    found = {record["source"]: record["status"] for record in ended.records}
    assert [name for name in names if found.pop(name, None) != "pending"] == []
    assert list(found.values()) == ["rejected"]


def test_photos_through_stdin_do_not_replace_each_other(
    paid: Hbseg, api: FakeApi, tmp_path: Path
) -> None:
    """A, B and A again without a name: two calls, and both photos' results side by side."""
    one, two = (photo(tmp_path / f"{n}.jpg", seed=n).read_bytes() for n in (1, 2))
    for data in (one, two, one):
        ended = paid("segment", "-", "-o", "out", "--endpoint", api.url, stdin=data)
        assert ended.code == 0, ended.err
    assert len(api.stats.calls) == 2
    assert len(files(tmp_path / "out")) == 4
