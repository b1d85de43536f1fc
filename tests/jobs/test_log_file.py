"""The log file: what it holds, and that it never costs a run."""

from __future__ import annotations

import json
import resource
from datetime import datetime
from pathlib import Path

import pytest
from conftest import KEY, SECRET, Hbseg, Run
from fake_api import FakeApi


def lines(path: Path) -> list[str]:
    """The lines of a log, each of which is whole."""
    text = path.read_text()
    assert text.endswith("\n")
    return text.splitlines()


def test_a_log_as_text(run: Run, photos: Path, tmp_path: Path) -> None:
    """Each line has a time and a level; each photo has a line, and so has the summary. A second
    command is appended."""
    (photos / "bad.jpg").write_text("no picture")
    run(photos, "--log-file", "run.log", "-q", code=3)
    written = lines(tmp_path / "run.log")
    for line in written:
        moment, level, _ = line.split(" ", 2)
        assert datetime.fromisoformat(moment).tzinfo is not None
        assert level in ("info", "warning", "error")
    text = "\n".join(written)
    assert text.count(": done in ") == 4
    assert "bad.jpg: IMAGE_ERROR_UNSUPPORTED_FORMAT: " in text
    assert "4 done, 1 rejected (1 damaged) in " in text
    run(photos, "--log-file", "run.log", "-q", code=3)
    assert lines(tmp_path / "run.log")[: len(written)] == written


def test_a_log_as_json(run: Run, photos: Path, tmp_path: Path) -> None:
    """One object per line; that of a photo has its record."""
    (photos / "bad.jpg").write_text("no picture")
    run(photos, "--log-file", "run.log", "--log-format", "json", code=3)
    records = [json.loads(line) for line in lines(tmp_path / "run.log")]
    assert all({"time", "level", "event", "message"} <= set(record) for record in records)
    made = [record["photo"] for record in records if record["event"] == "photo"]
    assert sorted(photo["status"] for photo in made) == ["done"] * 4 + ["rejected"]
    assert all(photo["cutout"] for photo in made if photo["status"] == "done")


@pytest.mark.parametrize("out", ["-", "made.png"])
def test_a_single_photo_is_in_the_log(
    paid: Hbseg, api: FakeApi, photos: Path, tmp_path: Path, out: str
) -> None:
    """To stdout as to a file: a line for the photo, done or rejected."""
    (photos / "bad.jpg").write_text("no picture")
    log = ("--log-file", "run.log", "--log-format", "json", "-q", "--endpoint", api.url)
    for name, status, code in (("a.jpg", "done", 0), ("bad.jpg", "rejected", 3)):
        with paid.start("segment", photos / name, "-o", out, *log) as command:
            assert command.wait(60) == code
        records = [json.loads(line) for line in lines(tmp_path / "run.log")]
        made = [record["photo"] for record in records if record["event"] == "photo"]
        assert (Path(made[-1]["source"]).name, made[-1]["status"]) == (name, status)


def test_the_error_that_ends_a_command_is_in_the_log(hbseg: Hbseg, photos: Path) -> None:
    """Also one that comes before the first photo."""
    ended = hbseg("segment", photos, "-o", "out", "--engine", "api", "--log-file", "run.log")
    assert ended.code == 4
    assert " error hbseg: --engine api needs a key" in (hbseg.cwd / "run.log").read_text()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_is_in_the_log(run: Run, photos: Path, tmp_path: Path, log_format: str) -> None:
    """Neither the secret nor the whole key."""
    run(photos, "--log-file", "run.log", "--log-format", log_format, "-v")
    text = (tmp_path / "run.log").read_text()
    assert SECRET not in text and KEY not in text


def test_a_full_disk_does_not_end_the_run(paid: Hbseg, run: Run, photos: Path) -> None:
    """A log that may not grow is told of once; every photo is done, and what is in it is whole."""
    log = paid.cwd / "run.log"
    limit = 2**20
    log.write_bytes(b"x" * (limit - 61) + b"\n")
    ended = run(
        photos,
        *("--log-file", "run.log"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert ended.err.count("the log run.log cannot be written: ") == 1
    assert "4 done" in ended.err
    assert log.stat().st_size <= limit


@pytest.mark.parametrize("command", ["segment", "check", "plan", "recompose"])
@pytest.mark.parametrize(
    ("name", "words"),
    [("gone/run.log", "No such file or directory"), ("photos/a.jpg", "is not a log")],
)
def test_a_log_that_cannot_be_is_a_usage_error(
    hbseg: Hbseg, photos: Path, command: str, name: str, words: str
) -> None:
    """Told before anything is done, and a photo is not written into."""
    assert hbseg("segment", photos, "-o", "out").code == 0
    before = (photos / "a.jpg").read_bytes()
    what = ("out", "--include-empty") if command == "recompose" else (photos,)
    where = ("-o", "new") if command in ("segment", "plan") else ()
    ended = hbseg(command, *what, *where, "--log-file", name)
    assert ended.code == 2
    assert f"--log-file {name}: " in ended.err and words in ended.err
    assert (photos / "a.jpg").read_bytes() == before
    assert not (hbseg.cwd / "new/masks").exists()


@pytest.mark.parametrize("option", ["--from-file", "--credentials", "--output", "--only"])
def test_a_log_is_no_other_file_of_the_command(hbseg: Hbseg, photos: Path, option: str) -> None:
    """A list and the file with the key stay as they are, and no log is where a result belongs."""
    file = hbseg.cwd / "me.png"
    file.write_text("api_key=k\napi_secret=s\n")
    command = ("recompose", "out") if option == "--only" else ("segment", photos / "a.jpg")
    ended = hbseg(*command, option, file, "--log-file", "./me.png")
    assert ended.code == 2
    assert f"--log-file ./me.png: that is the file of {option}" in ended.err
    assert file.read_text() == "api_key=k\napi_secret=s\n"


def test_a_format_without_a_log_is_a_usage_error(hbseg: Hbseg, photos: Path) -> None:
    """An option that would do nothing is not accepted silently."""
    assert hbseg("check", photos, "--log-format", "json").code == 2


@pytest.mark.parametrize("name", ["photos/run.log", "photos/run.jpg", "out/run.log"])
def test_a_log_is_taken_for_nothing(run: Run, photos: Path, tmp_path: Path, name: str) -> None:
    """A log among the photos is no photo and no other file, whichever way it is reached."""
    ended = run(photos, "--log-file", name)
    assert "4 done in " in ended.err and "skipped" not in ended.err
    again = run(photos, tmp_path / name, "--log-file", name)
    assert "4 done before in " in again.err and "skipped" not in again.err


@pytest.mark.parametrize("command", ["check", "plan", "recompose"])
def test_other_commands_log_too(hbseg: Hbseg, photos: Path, command: str) -> None:
    """Each photo has its line."""
    assert hbseg("segment", photos, "-o", "out").code == 0
    (photos / "bad.jpg").write_text("no picture")
    what = ("out", "--include-empty") if command == "recompose" else (photos,)
    where = ("-o", "out") if command == "plan" else ()
    hbseg(command, *what, *where, "--log-file", "run.log")
    text = (hbseg.cwd / "run.log").read_text()
    assert ("a.jpg: " if command == "recompose" else "bad.jpg: ") in text
