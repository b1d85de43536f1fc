"""The second process that looks at published files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Hbseg

from humanbody_cli.core.photo import DoneRow
from humanbody_cli.pipeline.earlier.stat_check import ForkedStatChecker, StatCheck, StatChecker


@pytest.fixture
def in_time() -> Iterator[None]:
    """A test that waits for ever fails instead."""

    def fail(number: int, frame: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, 5, 2)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def ignored_children() -> Iterator[None]:
    """SIGCHLD is ignored, as by a parent that hands this on: `os.waitpid` finds no child."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.fixture(params=["own", "forked", "killed", "stopped"])
def looks(request: pytest.FixtureRequest, tmp_path: Path, in_time: None) -> Iterator[StatCheck]:
    """Checks of ``masks/`` and ``cutouts/``: in this process, with a second one, with one that was
    killed or stopped."""
    folders = [tmp_path / kind for kind in ("photos", "masks", "cutouts")]
    for folder in folders:
        folder.mkdir()
    own = StatChecker(*(os.fsencode(folder) + b"/" for folder in folders[1:]))
    made: StatCheck = own if request.param == "own" else ForkedStatChecker(own)
    if request.param == "killed":
        assert isinstance(made, ForkedStatChecker)
        os.kill(made._process, signal.SIGKILL)
    elif request.param == "stopped":
        assert isinstance(made, ForkedStatChecker)
        os.kill(made._process, signal.SIGSTOP)
    yield made
    made.close()
    if isinstance(made, ForkedStatChecker):
        with pytest.raises(ChildProcessError):  # it is gone, and no zombie either
            os.waitpid(made._process, os.WNOHANG)


def _row(source: Path, mask: int | None, cutout: int | None) -> DoneRow:
    """The row of a photo as it is now."""
    if not source.exists():
        source.touch()
    status = source.stat()
    name = source.with_suffix(".png").name.encode()
    return (bytes(source), name, status.st_size, status.st_mtime_ns, mask, cutout)


def test_only_files_of_the_published_size_are_whole(looks: StatCheck, tmp_path: Path) -> None:
    """Missing, short, long: each is told, in the order of the questions, whoever looks."""
    for kind in ("masks", "cutouts"):
        (tmp_path / kind / "whole.png").write_bytes(b"12345")
        (tmp_path / kind / "short.png").write_bytes(b"123")
    (tmp_path / "masks" / "half.png").write_bytes(b"12345")
    whole, short, gone, half = (
        tmp_path / "photos" / f"{name}.jpg" for name in ("whole", "short", "gone", "half")
    )
    questions = [
        [_row(whole, 5, 5), _row(short, 5, 5), _row(gone, 5, 5)],
        [],
        [_row(half, 5, 5), _row(whole, 5, None)],
    ]
    for rows in questions:
        looks.ask(rows)
    assert [looks.answer() for _ in questions] == [b"\1\0\0", b"", b"\0\0"]


def test_a_source_that_changed_is_told(looks: StatCheck, tmp_path: Path) -> None:
    """Other time, other size, gone: not as it was. An address has no file to look at."""
    rows: list[DoneRow] = []
    for name in ("same", "touched", "longer", "gone", "address"):
        source = tmp_path / "photos" / f"{name}.jpg"
        for kind in ("masks", "cutouts"):
            (tmp_path / kind / f"{name}.png").write_bytes(b"12345")
        rows.append(_row(source, 5, 5))
        if name == "touched":
            os.utime(source, ns=(1, 1))
        elif name == "longer":
            source.write_bytes(b"more")
            os.utime(source, ns=(rows[-1][3], rows[-1][3]))
        elif name == "gone":
            source.unlink()
        elif name == "address":
            rows[-1] = (b"https://example.com/address.jpg", b"address.png", -1, -1, 5, 5)
    looks.ask(rows)
    assert looks.answer() == b"\1\0\0\0\1"


def test_photos_of_many_folders_are_one_question(looks: StatCheck, tmp_path: Path) -> None:
    """Whole ones wherever they are, and the one that is not, in whichever order they come."""
    rows: list[DoneRow] = []
    for place in ("z", "a/b", "", "a", "a/b"):
        for kind in ("photos", "masks", "cutouts"):
            (tmp_path / kind / place).mkdir(parents=True, exist_ok=True)
        name = os.path.join(place, f"{len(rows)}.png")
        for kind in ("masks", "cutouts"):
            (tmp_path / kind / name).write_bytes(b"12345")
        row = _row(tmp_path / "photos" / place / f"{len(rows)}.jpg", 5, 5)
        rows.append((row[0], name.encode(), *row[2:]))
    looks.ask(rows)
    assert looks.answer() == b"\1\1\1\1\1"
    (tmp_path / "cutouts" / "a" / "b" / "1.png").write_bytes(b"1234")
    looks.ask(rows)
    assert looks.answer() == b"\1\0\1\1\1"


def test_answers_keep_the_order_of_the_questions(looks: StatCheck, tmp_path: Path) -> None:
    """However many questions stand open, and whoever answers each of them."""
    for kind in ("masks", "cutouts"):
        (tmp_path / kind / "a.png").write_bytes(b"12345")
    good = _row(tmp_path / "photos" / "a.jpg", 5, 5)
    bad = (*good[:4], 5, 6)
    questions = [[bad if n == number % 7 else good for n in range(7)] for number in range(60)]
    for rows in questions:
        looks.ask(rows)
    for number in range(60):
        assert looks.answer() == bytes(n != number % 7 for n in range(7))


def test_a_write_cut_short_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop and a continue let the kernel take a part of a question: the rest still follows."""
    real, parts = os.write, []

    def write(file: int, data: memoryview) -> int:
        parts.append(len(data))
        return real(file, data[:100])

    looks = ForkedStatChecker(StatChecker(None, None))
    monkeypatch.setattr(os, "write", write)
    looks.ask([_row(tmp_path / "a.jpg", None, None)] * 20)
    monkeypatch.undo()
    assert len(parts) > 1
    assert looks.answer() == b"\1" * 20
    looks.close()


def test_what_is_not_wanted_is_not_looked_at(tmp_path: Path) -> None:
    """A run without masks does not miss them."""
    (tmp_path / "a.png").write_bytes(b"12345")
    looks = StatChecker(None, os.fsencode(tmp_path) + b"/")
    looks.ask([_row(tmp_path / "a.jpg", None, 5)])
    assert looks.answer() == b"\1"


@pytest.mark.parametrize("number", [0, signal.SIGKILL, signal.SIGSTOP])
def test_it_closes_where_children_cannot_be_waited_for(
    number: int, in_time: None, ignored_children: None
) -> None:
    """Where the kernel reaps children itself, closing neither fails nor waits, whether the second
    process runs, was killed or was stopped; and the process is gone."""
    looks = ForkedStatChecker(StatChecker(None, None))
    looks.ask([])
    os.kill(looks._process, number)
    looks.close()
    with pytest.raises(ProcessLookupError):
        os.kill(looks._process, 0)


def test_a_question_larger_than_a_pipe_reaches_nobody_who_is_stopped(
    tmp_path: Path, in_time: None
) -> None:
    """A stopped process leaves the pipe full: the rest of a question is not waited with."""
    looks = ForkedStatChecker(StatChecker(None, None))
    os.kill(looks._process, signal.SIGSTOP)
    rows = [_row(tmp_path / "a.jpg", None, None)] * 5000
    looks.ask(rows)
    assert looks.answer() == b"\1" * 5000
    looks.close()


def test_the_command_can_wait_for_children(hbseg: Hbseg) -> None:
    """A parent that ignores SIGCHLD hands that on to the command, which takes it back."""
    script = (
        "import signal, sys; from humanbody_cli import __main__\n"
        "sys.argv = ['hbseg', '--version']\n"
        "try: __main__.main()\n"
        "finally: print(signal.getsignal(signal.SIGCHLD).name)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env=hbseg.environment(),
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
        check=True,
    )
    assert ended.stdout.split()[-1] == "SIG_DFL"
