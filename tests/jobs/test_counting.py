"""Photos counted ahead, and the course of a run in the journal."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Hbseg, Run, photo

from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.outcomes import Outcome, Status, Tally
from humanbody_cli.core.photo import Photo
from humanbody_cli.core.settings import InputSettings, Shard
from humanbody_cli.discovery.find import find, find_to_count
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.jobs.progress.counting import Counting
from humanbody_cli.jobs.progress.course import Course, Recording
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.tables.runs import Sample

DONE = Outcome("a.jpg", Status.DONE)


def counted(inputs: InputSettings) -> int | None:
    """What a count ahead comes to."""
    counting = Counting.of(inputs, Walk())
    if counting is None:
        return None
    counting.count()
    assert counting.has_ended
    return counting.found


def test_the_count_is_that_of_the_run(photos: Path, tmp_path: Path) -> None:
    """Folders, files, lists and addresses, each photo once, and of a shard its part alone."""
    listed = tmp_path / "list"
    listed.write_text(f"{photos}/a.jpg\n{photos}/deeper\nhttp://example.com/x.jpg\n")
    for inputs in (
        InputSettings((str(photos), str(photos / "a.jpg"))),
        InputSettings((str(photos / "a.jpg"), "http://example.com/a.jpg")),
        InputSettings((str(photos),), from_file=str(listed)),
        InputSettings((str(photos),), shard=Shard(1, 2)),
    ):
        assert counted(inputs) == len(list(find(inputs, Walk())))


def test_a_count_takes_nothing_from_stdin(hbseg: Hbseg, photos: Path) -> None:
    """A list on stdin that is a file is counted by opening it again; a photo on stdin is left for
    the run, and so is a pipe."""
    script = (
        "import os, sys\n"
        "from humanbody_cli.core.settings import InputSettings\n"
        "from humanbody_cli.discovery.walk import Walk\n"
        "from humanbody_cli.jobs.progress.counting import Counting\n"
        "for inputs in (InputSettings(from_file='-'), InputSettings(('-',))):\n"
        "    counting = Counting.of(inputs, Walk())\n"
        "    counting and counting.count()\n"
        "    print(counting and counting.found)\n"
        "print(len(os.read(0, 9999)))\n"
    )
    names = f"{photos}/a.jpg\n{photos}/b.jpg\n"
    (hbseg.cwd / "list").write_text(names)
    command = [sys.executable, "-c", script]

    def printed(**stdin: Any) -> list[str]:
        options: dict[str, Any] = {"cwd": hbseg.cwd, "env": hbseg.environment(), **stdin}
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, **options)
        return str(ended.stdout).split()

    with (hbseg.cwd / "list").open() as file:
        assert printed(stdin=file) == ["2", "1", str(len(names))]
    assert printed(input=names) == ["None", "1", str(len(names))]


def test_a_named_pipe_is_not_counted(tmp_path: Path) -> None:
    """Its names come once."""
    os.mkfifo(tmp_path / "names")
    assert find_to_count(InputSettings(from_file=str(tmp_path / "names")), Walk()) is None


def test_a_count_that_fails_says_nothing() -> None:
    """The run's own walk meets the same error; the total stays a lower bound."""

    def chunks() -> Iterator[list[Photo]]:
        yield [Photo("a", "/a", "a.png", -1, -1)]
        raise UsageError("gone")

    counting = Counting(chunks())
    counting.count()
    assert (counting.found, counting.has_ended) == (1, False)


def test_a_cancelled_count_ends_at_once() -> None:
    """An endless walk is left with the next chunk."""

    def chunks() -> Iterator[list[Photo]]:
        while True:
            yield [Photo("a", "/a", "a.png", -1, -1)]

    counting = Counting(chunks())
    counting.cancel()
    counting.count()
    assert (counting.found, counting.has_ended) == (1, False)


# -- the course of a run --------------------------------------------------------------------------


def test_a_long_run_has_few_samples_evenly_spaced() -> None:
    """A day of samples four times a second leaves at most 500, and the last one at the end."""
    course = Course()
    for tick in range(4 * 86_400):
        course.note(Sample(tick / 4, done=tick))
    samples = course.whole(Sample(86_400.5, done=1))
    assert 200 < len(samples) <= 501
    assert (samples[0].seconds, samples[-1].seconds) == (0.0, 86_400.5)
    gaps = {b.seconds - a.seconds for a, b in itertools.pairwise(samples[:-1])}
    assert len(gaps) == 1


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal to be written."""
    (tmp_path / "out/.hbseg").mkdir(parents=True)
    with contextlib.closing(Journal(str(tmp_path / "out"))) as opened:
        yield opened


def test_a_killed_run_leaves_its_figures(journal: Journal) -> None:
    """What was noted last stays, and the next run closes the row."""
    tally, times = Tally(), iter((0.0, 5.0, 5.0, 11.0, 11.0, 11.0, 12.0, 12.0))
    recording = Recording(journal, tally, lambda: next(times))
    journal.begin_run("local")
    tally.add(DONE)
    recording.tick()
    assert journal.samples(1) == []
    recording.tick()
    assert [sample.seconds for sample in journal.samples(1)] == [0.0, 5.0, 11.0]
    journal.begin_run("local")
    killed, _ = journal.runs()
    assert (killed["reason"], killed["done"]) == ("killed", 1)
    assert killed["ended"] == killed["seen"]


def test_each_run_says_why_it_ended(run: Run, photos: Path, tmp_path: Path) -> None:
    """A whole run, one that met its limit of calls, and one that had nothing to do."""
    run(photos, "--max-calls", 1, code=5)
    run(photos)
    run(photos)
    with contextlib.closing(Journal(str(tmp_path / "out"), read_only=True)) as journal:
        limited, whole, idle = journal.runs()
        assert (limited["reason"], limited["exit_code"]) == ("call-limit", 5)
        assert "--max-calls" in limited["message"]
        assert (whole["reason"], whole["done"], whole["settled"]) == ("finished", 3, 1)
        assert (idle["reason"], idle["engine"], idle["settled"]) == ("finished", None, 4)
        assert journal.samples(idle["run"]) == []
        samples = journal.samples(whole["run"])
        assert samples[0] == Sample(0.0)
        assert samples[-1][1:6] == (3, 0, 3, 0, 3)
        assert samples[-1].latency > 0


def test_a_journal_of_an_earlier_version_is_read_and_extended(hbseg: Hbseg, photos: Path) -> None:
    """Without the columns of later versions it can be read; the next run adds them."""
    assert hbseg("segment", photos, "-o", "out").code == 0
    path = hbseg.cwd / "out/.hbseg/journal.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as db:
        for name in "refused rejected failed settled reason message seen samples".split():
            db.execute(f"ALTER TABLE runs DROP COLUMN {name}")
    with contextlib.closing(Journal(str(hbseg.cwd / "out"), read_only=True)) as journal:
        (old,) = journal.runs()
        assert (old["done"], old["reason"], journal.samples(1)) == (4, None, [])
    photo(photos / "new.jpg", seed=9)
    assert hbseg("segment", photos, "-o", "out").code == 0
    status = json.loads(hbseg("status", "out", "--json").out)
    assert (status["done"], status["runs"]) == (5, 2)
