"""Progress as it is seen: the bar on a real pseudo-terminal, the plain lines in a log."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Hbseg, Run, photo
from fake_api import FakeApi
from fake_behaviour import Behaviour
from waiting import PATIENCE

from humanbody_cli.core.settings import ProgressChoice, Telling
from humanbody_cli.jobs.progress.reporter import shown_progress

COUNT = 40
BAR = re.compile(r"(\d+)/40 (\d+)% \|[^|]*\| .*?, (\d+) s left")
PLAIN = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d "
    r"(\d+) of (\d+) photos done \(\d+%\), (\d+) left, .*(\d+ s left|time left unknown).*"
)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder of forty photos."""
    for seed in range(COUNT):
        photo(tmp_path / "photos" / f"{seed:02}.jpg", seed=seed)
    return tmp_path / "photos"


@pytest.fixture
def slow() -> Iterator[FakeApi]:
    """An API that answers after a third of a second."""
    with FakeApi.in_thread(Behaviour(latency=0.3)) as running:
        yield running


class Terminal:
    """A command whose stderr is a pseudo-terminal of 80 columns and 24 rows, or a pipe."""

    def __init__(self, hbseg: Hbseg, *arguments: object, tty: bool = True, **options: Any) -> None:
        self._own, other = pty.openpty() if tty else os.pipe()
        if tty:
            fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = hbseg.start(*arguments, stderr=other, **options)
        os.close(other)
        self.text = ""

    def _read(self) -> None:
        if select.select([self._own], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):  # the command has closed its end
                self.text += os.read(self._own, 65536).decode()

    def until(self, wanted: re.Pattern[str]) -> re.Match[str]:
        """Read until the screen has shown this."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self._read()
            if found := wanted.search(self.text):
                return found
        raise AssertionError(f"not seen: {wanted.pattern} in {self.text[-500:]!r}")

    def interrupt(self) -> int:
        """End it as Ctrl-C does; its exit code. What it writes is read, or it would wait."""
        self.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read()
        with self.process:  # closes its pipes
            self.process.kill()
        os.close(self._own)
        return self.process.returncode


def test_the_bar_on_a_terminal_and_on_resume(paid: Hbseg, many: Path, slow: FakeApi) -> None:
    """The total, the percent and the time left are there before half of the photos are done. On
    resume the settled photos are in what is done and not in the time left, and no line is longer
    than the terminal."""
    command = ("segment", many, "-o", "out", "--endpoint", slow.url, "--qps", 4)
    first = Terminal(paid, *command)
    done, percent, seconds = map(int, first.until(BAR).groups())
    assert done < COUNT / 2
    assert percent == 100 * done // COUNT
    assert 0 < seconds < 60
    first.until(re.compile(r"\d of 4 calls/s"))
    first.until(re.compile(r"(?<!\d)([6-9]|\d\d)/40"))
    assert first.interrupt() == 130
    resumed = Terminal(paid, *command)
    done_now, _, seconds_now = map(int, resumed.until(BAR).groups())
    assert done_now >= 6
    assert seconds_now <= (COUNT - done_now) / 4 * 4
    assert resumed.interrupt() == 130
    for line in re.split(r"[\r\n]", first.text + resumed.text):
        assert "|" not in line or len(line) <= 80, line


SCRIPT = """
import sys
from pathlib import Path
from humanbody_cli.core.settings import *
from humanbody_cli.jobs.segment import segment
sys.exit(segment(RunSettings(
    InputSettings((sys.argv[1],)), OutputSettings(Path("out")), Wanted(), EngineChoice.API,
    ApiSettings(Credentials("key", "secret"), sys.argv[2], float(sys.argv[4])), LocalSettings(),
    telling=Telling(interval=float(sys.argv[3]), log_file="run.log"),
)))
"""
"""A run. Arguments: photos, address, seconds between two plain lines, quota."""


def plain_lines(
    hbseg: Hbseg, photos: Path, url: str, *, interval: float, qps: int
) -> list[re.Match[str]]:
    """The plain lines of a run, on whose stderr there is no control character."""
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(photos), url, str(interval), str(qps)],
        cwd=hbseg.cwd,
        env=hbseg.environment(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    text = ended.stderr.decode()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    told = [found for line in text.splitlines() if (found := PLAIN.fullmatch(line))]
    assert told, text
    return told


def test_plain_lines_where_there_is_no_terminal(paid: Hbseg, many: Path, slow: FakeApi) -> None:
    """Each has a time, what is done and left, the rate and the time left, and no control character;
    the log has them too."""
    told = plain_lines(paid, many, slow.url, interval=0.2, qps=20)
    assert all(int(found[1]) + int(found[3]) == int(found[2]) == COUNT for found in told)
    assert (paid.cwd / "run.log").read_text().count(" photos done (") == len(told)


def test_what_is_left_on_resume(paid: Hbseg, many: Path, api: FakeApi) -> None:
    """Photos that this run has done before the count of all photos began are not taken for those
    of an earlier run: done and left are all photos."""
    first = ("segment", many, "-o", "out", "--endpoint", api.url, "--max-calls", 5)
    assert paid(*first, "--qps", 20).code == 5
    told = plain_lines(paid, many, api.url, interval=1.0, qps=10)
    assert all(int(found[1]) + int(found[3]) == int(found[2]) == COUNT for found in told)


def test_a_short_run_has_no_line_of_progress(run: Run, photos: Path) -> None:
    """A run of less than a minute says what it always said."""
    assert " left" not in run(photos).err
    assert " left" not in run(photos, "--progress", "plain").err


def test_progress_can_be_switched_off(run: Run, many: Path) -> None:
    """``--progress none`` shows nothing."""
    assert "%" not in run(many, "--progress", "none").err


def test_the_bar_can_be_had_without_a_terminal(hbseg: Hbseg, many: Path) -> None:
    """``--progress bar`` is obeyed where stderr is a pipe; a photo on stdin keeps it on."""
    arguments = ("check", many, "-", "--progress", "bar")
    piped = Terminal(hbseg, *arguments, tty=False, stdin=subprocess.PIPE)
    piped.until(re.compile(r"\d+/41 \d+%"))
    assert piped.interrupt() in (130, -signal.SIGINT)


@pytest.mark.parametrize(
    ("telling", "terminal", "shown"),
    [
        (Telling(), True, ProgressChoice.BAR),
        (Telling(), False, ProgressChoice.PLAIN),
        (Telling(-1), True, ProgressChoice.NONE),
        (Telling(-1, ProgressChoice.BAR), True, ProgressChoice.BAR),
        (Telling(0, ProgressChoice.PLAIN), True, ProgressChoice.PLAIN),
        (Telling(0, ProgressChoice.NONE), True, ProgressChoice.NONE),
    ],
)
def test_what_is_shown_where(telling: Telling, terminal: bool, shown: ProgressChoice) -> None:
    """A bar on a terminal, lines elsewhere, nothing with ``-q``; what was asked for goes first."""
    assert shown_progress(telling, terminal=terminal) is shown


@pytest.mark.parametrize("command", ["check", "plan"])
def test_check_and_plan_show_a_total(hbseg: Hbseg, many: Path, command: str) -> None:
    """While the last photo, on stdin, lets them wait, the bar says how many there are."""
    where = ("-o", "out") if command == "plan" else ()
    terminal = Terminal(hbseg, command, many, "-", *where, stdin=subprocess.PIPE)
    terminal.until(re.compile(r"\d+/41 \d+%"))
    assert terminal.interrupt() in (130, -signal.SIGINT)


def test_recompose_shows_a_total(hbseg: Hbseg, many: Path) -> None:
    """It knows from the journal how many photos there are."""
    assert hbseg("segment", many, "-o", "out").code == 0
    large = ("--include-empty", "--size", 2000, "--enlarge")  # slow enough for a bar
    ended = hbseg("recompose", "out", *large, "--progress", "bar")
    assert ended.code == 0
    assert re.search(r"\d+/40 \d+%", ended.err), ended.err
