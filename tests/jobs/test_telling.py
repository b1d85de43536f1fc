"""What a run says: the exit code, the summary, what is new, and what it never came to."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Hbseg
from fake_api import FakeApi
from fake_behaviour import Behaviour
from waiting import PATIENCE, until, waits


def test_old_rejects_need_not_alarm_every_night(hbseg: Hbseg, photos: Path) -> None:
    """With ``-q --ignore-known`` a reject is told once, with exit 3; the next nights are silent and
    exit 0, until there is a new one, which alone is told."""
    night = ("segment", photos, "-o", "out", "-q", "--ignore-known")
    (photos / "old.jpg").write_text("no picture")
    first = hbseg(*night)
    assert first.code == 3
    assert "old.jpg" in first.err
    again = hbseg(*night)
    assert (again.code, again.err) == (0, "")
    (photos / "new.jpg").write_text("no picture either")
    third = hbseg(*night)
    assert third.code == 3
    assert "new.jpg" in third.err and "old.jpg" not in third.err


def test_a_reject_that_is_looked_at_every_night_is_told_once(hbseg: Hbseg, photos: Path) -> None:
    """A photo that cannot be read is tried again by each run: the same verdict is no news."""
    night = ("segment", photos, "-o", "out", "-q", "--ignore-known")
    (photos / "gone.jpg").symlink_to("nowhere.jpg")
    first = hbseg(*night)
    assert first.code == 3
    assert "gone.jpg" in first.err
    again = hbseg(*night)
    assert (again.code, again.err) == (0, "")


def test_without_the_option_known_rejects_keep_the_exit_code(hbseg: Hbseg, photos: Path) -> None:
    """The exit code tells of every photo of the inputs that is left out."""
    (photos / "old.jpg").write_text("no picture")
    codes = [hbseg("segment", photos, "-o", "out").code for _ in range(2)]
    assert codes == [3, 3]


@pytest.mark.parametrize("command", ["segment", "plan", "check"])
def test_an_empty_folder_is_told(hbseg: Hbseg, tmp_path: Path, command: str) -> None:
    """A folder without photos, as where its disk is not mounted: one sentence that names it."""
    (tmp_path / "mnt/photos").mkdir(parents=True)
    where = () if command == "check" else ("-o", "out")
    ended = hbseg(command, "mnt/photos", *where)
    assert ended.code == 0
    assert "mnt/photos: no photos found" in ended.err


def test_a_run_that_never_began_counts_nothing(paid: Hbseg, photos: Path) -> None:
    """No "0 done" before the sentence that says why nothing was begun."""
    taken = paid("segment", photos, "-o", photos / "a.jpg" / "out")
    assert taken.code == 4
    assert "0 done" not in taken.err


@pytest.mark.parametrize("command", ["check", "plan", "segment"])
def test_a_mistyped_path_is_told_before_anything(hbseg: Hbseg, photos: Path, command: str) -> None:
    """One wrong path among good ones: exit 2, the path named, no counts."""
    where = () if command == "check" else ("-o", "out")
    ended = hbseg(command, photos, "fotos", *where)
    assert ended.code == 2
    assert "fotos" in ended.err
    assert "sound" not in ended.err + ended.out
    assert "done" not in ended.err + ended.out


# -- it always ends ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        (signal.SIGTERM, ("segment", "-", "photos", "-o", "out")),
        (signal.SIGINT, ("segment", "photos", "-", "-o", "out")),
        (signal.SIGTERM, ("segment", "--from-file", "-", "-o", "out")),
        (signal.SIGINT, ("segment", "-", "-o", "-")),
        (signal.SIGINT, ("check", "-")),
        (signal.SIGTERM, ("plan", "--from-file", "-", "-o", "out")),
    ],
)
def test_a_stdin_that_stays_silent_does_not_keep_it(
    hbseg: Hbseg, photos: Path, arguments: tuple[str, ...], number: signal.Signals
) -> None:
    """A read that never returns does not hold the process after a signal."""
    with hbseg.start(*arguments, stdin=subprocess.PIPE) as command:
        assert until(lambda: waits(command.pid))
        command.send_signal(number)
        code = command.wait(timeout=20)
    assert code in (128 + number, -number)


@dataclass(frozen=True)
class Dripping:
    """An address whose answer never ends, and whether anybody has asked for it."""

    url: str
    asked: threading.Event


@pytest.fixture
def dripping() -> Iterator[Dripping]:
    """An answer with a byte of its header every tenth of a second."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked, ended = threading.Event(), threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection:
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                asked.set()
                while not ended.wait(0.1):
                    connection.sendall(b"x")
            except OSError:
                return

    def serve() -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield Dripping(f"http://127.0.0.1:{listener.getsockname()[1]}/a.jpg", asked)
    ended.set()
    listener.close()


def test_an_address_that_drips_does_not_keep_it(hbseg: Hbseg, dripping: Dripping) -> None:
    """SIGTERM and the grace end a download that would go on for ever."""
    arguments = ("segment", dripping.url, "-o", "out", "--grace", 0.5, "--engine", "local")
    with hbseg.start(*arguments) as command:
        assert dripping.asked.wait(PATIENCE)
        command.send_signal(signal.SIGTERM)
        assert command.wait(timeout=20) == 143


def test_a_bad_key_ends_the_run_though_a_read_hangs(
    paid: Hbseg, dripping: Dripping, photos: Path
) -> None:
    """Not only a signal ends what never returns: any reason to stop has its time limit."""
    with FakeApi.in_thread(Behaviour(always="AUTHENTICATION_ERROR")) as api:
        arguments = ("segment", photos, dripping.url, "-o", "out", "--endpoint", api.url)
        ended = paid(*arguments, "--timeout", 0.5, "--grace", 0.5)
        assert ended.code == 4
        assert len(api.stats.calls) == 1


def test_a_parent_that_ignores_its_children_does_not_matter(hbseg: Hbseg, photos: Path) -> None:
    """A run started with SIGCHLD ignored, as some supervisors do, ends like any other."""
    code = [
        hbseg(
            *("segment", photos, "-o", "out"),
            preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
        ).code
        for _ in range(2)
    ]
    assert code == [0, 0]


def test_check_tells_of_each_photo(hbseg: Hbseg, photos: Path) -> None:
    """``-v`` has a line for an accepted photo too; without it only rejects have one."""
    (photos / "bad.jpg").write_text("no picture")
    told = hbseg("check", photos, "-v").err
    assert f"{photos}/a.jpg: accepted\n" in told
    assert f"{photos}/bad.jpg: " in told
    assert "a.jpg" not in hbseg("check", photos).err
