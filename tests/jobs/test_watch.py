"""``hbseg watch`` in a process of its own, on a real folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Hbseg, files, photo
from fake_api import FakeApi
from fake_behaviour import Behaviour
from waiting import PATIENCE, until
from watch_harness import Harness, Plan

QUICK = ("--qps", 300, "--settle", 0.2)


class Watcher:
    """A watcher at work, and what it has written so far."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self._folder = folder

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._text("stdout").splitlines(keepends=True)]

    @property
    def said(self) -> str:
        return self._text("stderr")

    def _text(self, name: str) -> str:
        return (self._folder / name).read_text()

    def has_done(self, *names: str) -> bool:
        """Wait until these photos have been reported as done."""
        return until(lambda: {*names} <= {Path(one["source"]).name for one in self.records})

    def times(self, name: str) -> int:
        """How often this photo has been reported."""
        return [Path(one["source"]).name for one in self.records].count(name)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def watching(paid: Hbseg, *arguments: object) -> Iterator[Watcher]:
    """``hbseg watch --json`` with these arguments."""
    with (paid.cwd / "stdout").open("wb") as out, (paid.cwd / "stderr").open("wb") as err:
        process = paid.start("watch", *arguments, "--json", stdout=out, stderr=err)
    try:
        yield Watcher(process, paid.cwd)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("options", [(), ("--poll",)])
def test_photos_are_done_as_they_arrive(
    paid: Hbseg, api: FakeApi, photos: Path, options: tuple[str, ...]
) -> None:
    """Those that are there, a new one, one in a new folder, and one that is replaced; a renamed
    one costs no call. The results are those of ``segment``, which finds nothing left to do."""
    where = (photos, "-o", "out", "--endpoint", api.url)
    with watching(paid, *where, *QUICK, *options) as watcher:
        assert watcher.has_done("a.jpg", "b.jpg", "c.png", "d.jpg")
        photo(photos / "e.jpg", seed=10)
        photo(photos / "new" / "er" / "f.jpg", seed=11)
        assert watcher.has_done("e.jpg", "f.jpg")
        photo(photos / "a.jpg", seed=12)
        (photos / "b.jpg").rename(photos / "renamed.jpg")
        assert watcher.has_done("renamed.jpg")
        assert until(lambda: len(api.stats.calls) == 7)
        assert until(lambda: watcher.times("a.jpg") == 2)
        assert watcher.end() == 143
        assert "hbseg: interrupted" in watcher.said
    ended = paid("segment", *where)
    assert ended.code == 0, ended.err
    assert "6 done before" in ended.err or "7 done before" in ended.err
    assert len(api.stats.calls) == 7
    assert {f"cutouts/{name}.png" for name in ("a", "renamed", "deeper/d", "new/er/f")} <= {
        *files(paid.cwd / "out")
    }


def test_results_within_the_folder_are_no_photos(paid: Hbseg, api: FakeApi, photos: Path) -> None:
    """OUT inside INBOX does not loop: each photo costs one call, and then nothing happens."""
    with watching(paid, photos, "-o", photos / "out", "--endpoint", api.url, *QUICK) as watcher:
        assert watcher.has_done("a.jpg", "b.jpg", "c.png", "d.jpg")
        photo(photos / "e.jpg", seed=10)
        assert watcher.has_done("e.jpg")
        assert until(lambda: watcher.said.count(" done in ") >= 2)
        assert watcher.end(signal.SIGINT) == 130
    assert len(api.stats.calls) == len(watcher.records) == 5


def test_a_half_copied_file_waits(paid: Hbseg, api: FakeApi, photos: Path) -> None:
    """A file that stands still without its end is neither sent nor rejected; whole, it is done."""
    data = photo(paid.cwd / "whole.jpg", seed=20).read_bytes()
    half = photos / "half.jpg"
    half.write_bytes(data[:-100])
    with watching(paid, photos, "-o", "out", "--endpoint", api.url, *QUICK) as watcher:
        assert watcher.has_done("a.jpg", "b.jpg", "c.png", "d.jpg")
        photo(photos / "e.jpg", seed=10)
        assert watcher.has_done("e.jpg")
        half.write_bytes(data)
        assert watcher.has_done("half.jpg")
        assert watcher.end() == 143
    (record,) = (one for one in watcher.records if one["source"] == str(half))
    assert record["status"] == "done"
    assert len(api.stats.calls) == 6


def test_a_watcher_without_calls_left_waits_for_the_next_day(
    paid: Hbseg, api: FakeApi, photos: Path
) -> None:
    """It says so once, goes on with what needs no call, and ends at once by a signal."""
    where = ("-o", "out", "--endpoint", api.url, *QUICK, "--max-calls", "2/day")
    with watching(paid, photos, *where) as watcher:
        assert until(lambda: "waiting until" in watcher.said)
        assert watcher.end() == 143
    assert len(api.stats.calls) == 2
    assert watcher.said.count("waiting until") == 1
    again = paid("segment", photos, *where[:4], "--max-calls", "2/day")
    assert again.code == 5, again.err
    assert len(api.stats.calls) == 2


def test_a_refused_key_ends_a_watcher(paid: Hbseg, photos: Path) -> None:
    """Exit 4 after one call, so that a service manager notices."""
    with FakeApi.in_thread(Behaviour(keys=(("other", "pair"),))) as api:
        ended = paid("watch", photos, "-o", "out", "--endpoint", api.url, *QUICK)
        assert ended.code == 4, ended.err
        assert len(api.stats.calls) == 1


def test_a_watcher_ends_after_its_time(paid: Hbseg, api: FakeApi, photos: Path) -> None:
    """``--max-duration`` ends it with exit 5, whether or not there was anything to do."""
    where = ("watch", photos, "-o", "out", "--endpoint", api.url, *QUICK, "--max-duration")
    for seconds in ("4s", "1s"):
        ended = paid(*where, seconds)
        assert ended.code == 5, ended.err
        assert "--max-duration" in ended.err
    assert "1s" not in ended.out
    assert len(api.stats.calls) == 4


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("missing", "-o", "out"), "missing: there is no such folder"),
        (("photos", "-o", "-"), "give -o FOLDER"),
        (("photos", "-o", "me.png"), "-o me.png is the name of one picture"),
        (("photos", "-o", "out", "--force"), "--force would process"),
        (("photos", "-o", "out", "--max-calls", "5/week"), "'5/week' is not a number of calls"),
        (("photos", "-o", "out", "--max-duration", "2 weeks"), "'2 weeks' is not a time"),
    ],
)
def test_what_cannot_be_watched(
    paid: Hbseg, photos: Path, arguments: tuple[str, ...], reason: str
) -> None:
    """One sentence and exit 2."""
    assert photos.is_dir()
    ended = paid("watch", *arguments)
    assert ended.code == 2
    assert reason in ended.err
    assert "Traceback" not in ended.err


def test_a_missing_extra_is_named(paid: Hbseg, photos: Path, tmp_path: Path) -> None:
    """Without watchfiles the message says what to install, and ``--poll`` does without."""
    script = (
        "import sys; sys.modules['watchfiles'] = None\n"
        "from humanbody_cli.cli.main import main; main()"
    )
    command = [sys.executable, "-c", script, "watch", str(photos), "-o", str(tmp_path / "out")]
    env = paid.environment()
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith("hbseg: hbseg watch needs watchfiles: pip install 'hbseg[")
    command += ["--poll", "--max-duration", "1s", "--settle", "5"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 5, ended.stderr


def test_a_system_that_cannot_report_changes(paid: Hbseg, photos: Path, tmp_path: Path) -> None:
    """For example because of its limit on watched folders: exit 4, and the advice to poll."""
    (tmp_path / "watchfiles.py").write_text(
        "def watch(*folders, **options): raise OSError('OS file watch limit reached')"
    )
    paths = os.pathsep.join([paid.environment()["PYTHONPATH"], str(tmp_path)])
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (photos, empty):
        command = ("watch", folder, "-o", "out", "--engine", "local")
        ended = paid(*command, env={"PYTHONPATH": paths})
        assert ended.code == 4, ended.err
        assert "OS file watch limit reached" in ended.err
        assert "or use --poll" in ended.err


def test_an_idle_watcher_ends_at_once(paid: Hbseg, photos: Path, tmp_path: Path) -> None:
    """SIGTERM before the first photo: exit 143, and the run is noted as interrupted, unless it is
    the first of its folder: a journal without a run counts as lost, so that results are looked up.
    """
    (tmp_path / "empty").mkdir()
    assert paid("segment", photos, "-o", "out", "--engine", "local").code == 0
    with watching(paid, "empty", "-o", "out", "--engine", "local") as watcher:
        assert until(lambda: "watching" in watcher.said)
        assert watcher.end() == 143
    last = json.loads(paid("status", "out", "--json").out)["last_run"]
    assert (last["exit_code"], last["reason"]) == (143, "interrupted")


def test_a_folder_that_is_away_for_a_while(paid: Hbseg, api: FakeApi, photos: Path) -> None:
    """An unmounted disk ends nothing: it is waited for, and what is new on it is done."""
    with watching(paid, photos, "-o", "out", "--endpoint", api.url, *QUICK, "--poll") as watcher:
        assert watcher.has_done("a.jpg", "b.jpg", "c.png", "d.jpg")
        photos.rename(photos.with_name("away"))
        assert until(lambda: "is gone; waiting for it" in watcher.said)
        photo(photos.with_name("away") / "e.jpg", seed=10)
        photos.with_name("away").rename(photos)
        assert watcher.has_done("e.jpg")
        assert watcher.end() == 143
    assert len(api.stats.calls) == 5
    assert [one["status"] for one in watcher.records if not one.get("skipped")] == ["done"] * 5


@pytest.mark.parametrize("polls", [False, True])
def test_kills_while_files_arrive(tmp_path: Path, polls: bool) -> None:
    """Copied slowly, moved in, renamed and replaced while the watcher is killed: every final file
    is done, no half copy is sent, and a call is repeated only if a kill lost its answer."""
    seed = int(os.environ.get("HBSEG_CRASH_SEED", "20181025"))
    report = Harness(tmp_path, Plan(seed, files=80, kills=3, polls=polls)).run()
    assert report.problems == [], f"{report}\nagain with HBSEG_CRASH_SEED={seed}"
