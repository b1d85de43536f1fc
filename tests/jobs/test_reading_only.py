"""Commands that only look: for another user, on a read-only mount, beside a run, after a kill."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from calling import Called, done
from conftest import ROOT, Ended, Hbseg
from mounting import in_own_mounts

from humanbody_cli.core.errors import JournalError
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.tables import database

NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to be another user, to mount")

_AS_NOBODY = f"""
import contextlib, difflib, importlib, io, json, os, pkgutil, sys
sys.path.insert(0, {str(ROOT)!r})
import humanbody_cli
from PIL import Image
Image.init()  # everything is imported while it may be read
for module in pkgutil.walk_packages(humanbody_cli.__path__, "humanbody_cli."):
    if module.name != "humanbody_cli.__main__":
        importlib.import_module(module.name)
from humanbody_cli.cli import main as cli
for name in cli.COMMANDS:
    cli.hbseg.get_command(None, name)
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
for words in json.load(sys.stdin):
    sys.argv = ["hbseg", *words.split()]
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli._exit_code()
    out.flush()
    print(json.dumps([code, out.buffer.getvalue().decode(), err.getvalue()]))
"""

_KILLED = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from humanbody_cli.storage.journal import Journal
journal = Journal(sys.argv[1])
journal.begin_run("local")
journal._db.execute("UPDATE photos SET code = 'IN_THE_LOG'")
if len(sys.argv) > 2:
    print("ready", flush=True)
    sys.stdin.read()
os._exit(9)
"""


@pytest.fixture
def made() -> Iterator[Hbseg]:
    """An output folder with one photo done, in a folder that every user may read."""
    folder = Path(tempfile.mkdtemp(prefix="hbseg-test-"))
    folder.chmod(0o755)
    done(folder, "a.jpg")
    yield Hbseg(folder)
    shutil.rmtree(folder)


def beside(folder: Path) -> set[str]:
    """What lies in the state folder."""
    return set(os.listdir(folder / "out/.hbseg"))


def killed(folder: Path) -> None:
    """A run is killed whose last rows stand in the log alone."""
    command = [sys.executable, "-c", _KILLED, "out"]
    assert subprocess.run(command, cwd=folder, check=False).returncode == 9


def as_nobody(hbseg: Hbseg, *commands: str) -> list[Ended]:
    """Commands of another user, who may write nowhere below."""
    ended = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY],
        input=json.dumps(commands),
        cwd=hbseg.cwd,
        env=hbseg.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return [Ended(*json.loads(line)) for line in ended.stdout.splitlines()]


def mounted(hbseg: Hbseg, words: str) -> Ended:
    """A command that sees OUT on a read-only mount, in a mount namespace of its own."""
    script = (
        "mount --bind out out && mount -o remount,bind,ro out || exit 99\n"
        f"exec {sys.executable} -m humanbody_cli {words}"
    )
    return in_own_mounts(hbseg, script)


@as_root
def test_another_user_can_look(made: Hbseg) -> None:
    """``status``, ``plan``, ``recompose`` and ``report`` elsewhere need no write access to OUT, and
    leave nothing in it; ``report`` in it says that its page cannot be written."""
    before = beside(made.cwd)
    assert not any(name.endswith(("-wal", "-shm")) for name in before)
    (made.cwd / "shop").mkdir()
    (made.cwd / "shop").chmod(0o777)
    told, planned, made_anew, reported, *refusals = as_nobody(
        made,
        "status out",
        "plan photos -o out",
        "recompose out --into shop --edges hard",
        "report out -o shop/report.html",
        "report out",
        "recompose out",
    )
    assert told.code == 0, told.err
    assert "done              1" in told.out
    assert planned.code == 0, planned.err
    assert "settled    1 done" in planned.out
    assert made_anew.code == 0, made_anew.err
    assert (made.cwd / "shop/a.png").exists()
    assert reported.code == 0, reported.err
    assert len(list((made.cwd / "shop/report-files").rglob("*.webp"))) == 1
    for refused, says in zip(refusals, ("another place with -o FILE", "--into"), strict=True):
        assert refused.code == 4
        assert says in refused.err and "Traceback" not in refused.err
    assert beside(made.cwd) == before


@as_root
@pytest.mark.parametrize("lost", ["", "-shm"])
def test_another_user_sees_what_a_killed_run_left(made: Hbseg, lost: str) -> None:
    """Rows that stand in the log alone are told, with the log's index and without."""
    killed(made.cwd)
    if lost:
        (made.cwd / f"out/.hbseg/journal.sqlite3{lost}").unlink()
    before = beside(made.cwd)
    (told,) = as_nobody(made, "status out")
    assert told.code == 0, told.err
    assert "IN_THE_LOG" in told.out
    assert beside(made.cwd) == before


@as_root
@pytest.mark.parametrize("was_killed", [False, True])
def test_a_read_only_mount_can_be_looked_at(made: Hbseg, was_killed: bool) -> None:
    """The same on a mount that takes nothing, as root too."""
    if was_killed:
        killed(made.cwd)
    told = mounted(made, "status out")
    assert told.code == 0, told.err
    assert ("IN_THE_LOG" in told.out) is was_killed
    assert mounted(made, "plan photos -o out").code == 0
    assert mounted(made, "recompose out --into shop --edges hard").code == 0
    refused = mounted(made, "report out")
    assert refused.code == 4
    assert "cannot write out/report-files" in refused.err and "-o FILE" in refused.err


@as_root
def test_another_user_can_look_while_a_run_is_at_work(made: Hbseg) -> None:
    """What the run has written so far is told, and the run is not disturbed."""
    run = [sys.executable, "-c", _KILLED, "out", "wait"]
    pipe = subprocess.PIPE
    with subprocess.Popen(run, cwd=made.cwd, stdin=pipe, stdout=pipe) as running:
        assert running.stdout is not None and running.stdin is not None
        assert running.stdout.readline() == b"ready\n"
        (told,) = as_nobody(made, "status out")
        running.stdin.close()
    assert told.code == 0, told.err
    assert "IN_THE_LOG" in told.out


@as_root
def test_a_guests_look_leaves_the_owner_able_to_write(made: Hbseg) -> None:
    """A user who may write into OUT, as one of a group, leaves no files of his own beside the
    journal: its owner's next run could not write to them."""
    (made.cwd / "out/.hbseg").chmod(0o777)
    before = beside(made.cwd)
    (told,) = as_nobody(made, "status out")
    assert told.code == 0, told.err
    assert beside(made.cwd) == before


def test_without_a_temporary_folder_the_journal_is_read(
    made: Hbseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of a journal that is whole by itself is made in memory."""
    monkeypatch.setattr(database, "_is_own", lambda _: False)
    monkeypatch.setattr(tempfile, "tempdir", str(made.cwd / "nowhere"))
    journal = Journal(str(made.cwd / "out"), read_only=True)
    assert sum(photos for _, _, photos, _ in journal.counts()) == 1
    journal.close()
    killed(made.cwd)
    (made.cwd / "out/.hbseg/journal.sqlite3-shm").unlink()
    with pytest.raises(JournalError, match="set TMPDIR"):
        Journal(str(made.cwd / "out"), read_only=True)


def test_a_copy_that_a_run_wrote_into_is_made_again(
    made: Hbseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that changes while it is copied is copied once more; one that always does is told
    of."""
    path = database.path_in(str(made.cwd / "out"))
    copies = 0
    real = database._copy

    def disturbed(where: str) -> sqlite3.Connection:
        nonlocal copies
        copies += 1
        if copies <= busy:
            os.utime(where, ns=(0, copies))
        return real(where)

    monkeypatch.setattr(database, "_is_own", lambda _: False)
    monkeypatch.setattr(database, "_copy", disturbed)
    busy = 2
    database.open_to_read(path).close()
    assert copies == 3
    busy = 99
    with pytest.raises(JournalError, match="keeps changing"):
        database.open_to_read(path)


@pytest.mark.parametrize("words", ["status out", "status out --json", "status out --failed"])
@pytest.mark.parametrize(
    ("harm", "says"),
    [
        ("PRAGMA user_version=99", "newer hbseg"),
        ("DROP TABLE photos", "is empty"),
        (b"this is no database at all" * 200, "is damaged"),
        (b"", "is empty"),
        (None, "no run has written here yet"),
    ],
    ids=["later", "no tables", "no database", "nothing in it", "none"],
)
def test_a_journal_that_cannot_be_used(
    tmp_path: Path, words: str, harm: str | bytes | None, says: str
) -> None:
    """Damaged, of another version, or hardly begun: exit 4, one sentence, nothing on stdout. None
    at all: exit 2, as OUT is mistyped."""
    (tmp_path / "out/.hbseg").mkdir(parents=True)
    path = tmp_path / "out/.hbseg/journal.sqlite3"
    Journal(str(tmp_path / "out")).close()
    if isinstance(harm, str):
        db = sqlite3.connect(path)
        db.execute(harm)
        db.close()
    elif harm is None:
        path.unlink()
    else:
        path.write_bytes(harm)
    told = Called(tmp_path)(*words.split())
    assert (told.code, told.out) == (2 if harm is None else 4, ""), told.err
    assert says in told.err and told.err.count("\n") == 1


def test_whatever_is_damaged_is_told_in_one_sentence(made: Hbseg) -> None:
    """Bytes changed anywhere in a journal: it is read, or an error of ours is raised."""
    from humanbody_cli.core.errors import HbsegError
    from humanbody_cli.jobs.inspection import status

    path = made.cwd / "out/.hbseg/journal.sqlite3"
    whole = path.read_bytes()
    chance = random.Random(5)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 3, 40])):
            data[chance.choice([chance.randrange(len(data)), chance.randrange(200)])] ^= (
                1 << chance.randrange(8)
            )
        path.write_bytes(data)
        try:
            journal = Journal(str(made.cwd / "out"), read_only=True)
            status.counts(journal)
            list(journal.outcomes())
            journal.close()
        except HbsegError as error:
            refused += error.exit_code == 4
    assert refused
