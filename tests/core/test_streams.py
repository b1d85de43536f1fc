"""stdout that nobody reads or that is full, stderr that is gone: exit codes stay true."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from calling import done
from conftest import Hbseg, photo

from humanbody_cli.core import console
from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.core.photo import Finished
from humanbody_cli.discovery.single import single
from humanbody_cli.storage.journal import Journal

WRITERS = [
    "check photos --json",
    "plan photos -o elsewhere --json",
    "plan photos -o elsewhere",
    "status out --json",
    "status out",
    "recompose out --json",
    "report out",
    "segment photos -o new --json",
    "segment photos/0.jpg -o -",
    "--help",
    "status --help",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Hbseg:
    """A folder of results: three photos done, and one that will be rejected."""
    folder = tmp_path_factory.mktemp("made")
    done(folder, "0.jpg", "1.jpg", "2.jpg")
    (folder / "photos/bad.jpg").write_text("no picture")
    return Hbseg(folder)


def ended(hbseg: Hbseg, words: str, stdout: int, **options: object) -> tuple[int, str]:
    """Exit code and stderr of a command that writes to this descriptor."""
    options = {"stdout": stdout, "stderr": subprocess.PIPE, **options}
    with hbseg.start(*words.split(), **options) as process:
        _, err = process.communicate(timeout=60)
    os.close(stdout)
    return process.returncode, (err or b"").decode()


@pytest.mark.parametrize("words", WRITERS)
def test_a_reader_that_went_away_is_no_bug(made: Hbseg, words: str) -> None:
    """``| head -1`` ends every command with exit code 4 and one sentence, and no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    code, err = ended(made, words, writing)
    assert code == 4, err
    assert err.endswith("hbseg: the program that read stdout has closed it, so hbseg stopped\n")
    assert "Traceback" not in err and "Exception ignored" not in err


@pytest.mark.parametrize("words", ["check photos --json", "status out", "recompose out --json"])
def test_a_full_disk_below_stdout(made: Hbseg, words: str) -> None:
    """``> /dev/full`` ends with exit code 4 and says why, and no traceback."""
    code, err = ended(made, words, os.open("/dev/full", os.O_WRONLY))
    assert code == 4, err
    assert err.endswith(
        "hbseg: stdout cannot be written: the disk is full; free some space and run the same "
        "command again\n"
    )
    assert "Traceback" not in err and "Exception ignored" not in err


def test_a_terminal_that_hung_up(made: Hbseg) -> None:
    """EIO, as a terminal gives that was closed, is told like any other error of stdout."""
    master, slave = pty.openpty()
    os.close(master)
    code, err = ended(made, "status out --json", slave)
    assert code == 4, err
    assert "stdout cannot be written: the disk reports an input/output error" in err


def test_what_was_checked_before_the_pipe_broke_is_counted(made: Hbseg) -> None:
    """The error comes after the counts of what was done."""
    reading, writing = os.pipe()
    os.close(reading)
    _, err = ended(made, "check photos --json", writing)
    assert re.search(r"^\d accepted, \d rejected \(.*\)$", err, re.MULTILINE)
    assert err.index("accepted") < err.index("has closed it")
    assert err.count("has closed it") == 1


def test_an_error_of_its_own_is_not_hidden_by_a_broken_stdout(made: Hbseg) -> None:
    """A command that failed keeps its exit code, whatever its stdout is."""
    reading, writing = os.pipe()
    os.close(reading)
    code, err = ended(made, "status nowhere --json", writing)
    assert code == 2
    assert "nowhere" in err
    code, err = ended(made, "check nowhere --json", os.open("/dev/full", os.O_WRONLY))
    assert code == 2
    assert "nowhere" in err and "stdout" not in err


@pytest.mark.parametrize(
    ("words", "expected"), [("status nowhere", 2), ("check photos", 3), ("check --nonsense", 2)]
)
def test_a_stderr_that_nobody_reads_changes_no_exit_code(
    made: Hbseg, words: str, expected: int
) -> None:
    """Where stderr is a broken pipe the exit code still tells what happened."""
    reading, writing = os.pipe()
    os.close(reading)
    null = os.open(os.devnull, os.O_WRONLY)
    code, _ = ended(made, words, null, stderr=writing)
    os.close(writing)
    assert code == expected


def test_a_non_blocking_stdout_loses_nothing(tmp_path: Path) -> None:
    """A pipe that was left non-blocking and is full is waited for: every byte arrives."""
    (tmp_path / "out/.hbseg").mkdir(parents=True)
    journal = Journal(str(tmp_path / "out"))
    for number in range(400):
        path = single(photo(tmp_path / "a.jpg").as_posix())._replace(
            key=f"/{number}.jpg", source=f"/{number}.jpg", name=f"{number}.png"
        )
        journal.finish(Finished(path, Outcome(path.source, Status.DONE), "shape", "rules"))
    journal.close()
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETFL, os.O_NONBLOCK)
    with Hbseg(tmp_path).start(
        "status", "out", "--json", stdout=writing, stderr=subprocess.PIPE
    ) as process:
        os.close(writing)
        _wait_until_full(reading)
        with open(reading, "rb") as pipe:
            data = pipe.read()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert len(data) > 65536
    assert data.count(b'"source"') == 400 and data.endswith(b"]}\n")


def _wait_until_full(pipe: int) -> None:
    """Until the writer cannot go on: nothing more comes for a while."""
    import array
    import termios

    held, before = array.array("i", [0]), -1
    while held[0] < 40_000 or held[0] != before:
        before = held[0]
        time.sleep(0.1)
        fcntl.ioctl(pipe, termios.FIONREAD, held)


def test_what_the_locale_cannot_say_is_escaped(made: Hbseg) -> None:
    """A code with letters that stdout's encoding lacks is printed, and is no traceback."""
    folder = made.cwd / "foreign"
    (folder / ".hbseg").mkdir(parents=True)
    journal = Journal(str(folder))
    one = single(str(made.cwd / "photos/0.jpg"))
    journal.finish(
        Finished(one, Outcome(one.source, Status.FAILED, code="坏\x1b[31m"), "shape", "rules")
    )
    journal.close()
    told = made("status", "foreign", env={"PYTHONIOENCODING": "latin-1"})
    assert told.code == 0, told.err
    assert "\\u574f\\x1b[31m" in told.out


def test_a_folder_whose_name_is_no_text_has_a_report(made: Hbseg) -> None:
    """The page's path is printed in the bytes that lead to it."""
    name = b"caf\xe9"
    shutil.copytree(made.cwd / "out", made.cwd / os.fsdecode(name))
    told = made("report", os.fsdecode(name))
    assert told.code == 0, told.err
    assert os.fsencode(told.out) == name + b"/report.html\n"


def test_sentences_are_safe_to_show(made: Hbseg) -> None:
    """Control characters in a path that is named in an error do not reach the terminal."""
    told = made("check", "no\x1b[2Jthing")
    assert told.code == 2
    assert "\x1b" not in told.err and "no\\x1b[2Jthing" in told.err
    os.symlink("nowhere", made.cwd / "\x1b[31m.jpg")
    told = made("segment", "\x1b[31m.jpg", "-o", "-")
    assert told.code == 3
    assert "\x1b" not in told.err and "\\x1b[31m.jpg: UNREADABLE" in told.err


def test_what_is_shown_stays_as_it_is() -> None:
    """Escaping twice changes nothing, so that a line may be put together of safe parts."""
    once = console.shown("a\x1b[31m\\n\udcff\u202e")
    assert console.shown(once) == once
