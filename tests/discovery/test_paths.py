"""Paths as bytes in any locale, times that fit the journal, links that lead nowhere."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from conftest import ROOT, Hbseg
from finding import common_user, fill, found
from hypothesis import given
from hypothesis import strategies as st

from humanbody_cli.core.paths import NO_TIME, mtime_of, to_bytes, to_text
from humanbody_cli.core.photo import Kind
from humanbody_cli.discovery.single import single
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.pipeline.earlier.stat_check import StatChecker

FIRST, LAST = -(2**63), 2**63 - 1


@given(st.binary(max_size=40))
def test_any_bytes_are_a_path(data: bytes) -> None:
    """Bytes, text and back: nothing is lost, and it is the way of the operating system."""
    assert to_bytes(to_text(data)) == data
    assert to_text(data) == os.fsdecode(data)


_LOCALE = """
import os, sys
from humanbody_cli.storage.names import marked
from humanbody_cli.core.paths import to_bytes
from humanbody_cli.discovery.find import find
from humanbody_cli.discovery.single import single
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.core.settings import InputSettings
assert sys.getfilesystemencoding() == "iso8859-1", sys.getfilesystemencoding()
folder = sys.argv[1]
listed = os.path.join(folder, "..", "list")
photos = [
    *find(InputSettings((folder,)), Walk()),
    *find(InputSettings(from_file=listed), Walk()),
    single("http://h/%e4%b8%ad.jpg"),
]
for photo in photos:
    print(to_bytes(photo.key).hex(), to_bytes(photo.name).hex())
    assert photo.key.startswith("http") or os.path.exists(to_bytes(photo.key))
print(to_bytes(marked("x" * 240 + os.fsdecode(b"\\xe2\\x82\\xac" * 4) + ".png", "x")).hex())
"""


def _latin_1(folder: Path) -> dict[str, str]:
    """An environment with a Latin-1 locale, which is made for the purpose."""
    if shutil.which("localedef") is None:
        pytest.skip("this system cannot make a locale (localedef)")
    made = folder / "en_US.ISO-8859-1"
    command = ("localedef", "-c", "-i", "en_US", "-f", "ISO-8859-1", str(made))
    subprocess.run(command, check=False, capture_output=True)
    if not (made / "LC_CTYPE").exists():
        pytest.skip("this system has no sources of locales")
    wanted = {"LOCPATH": str(folder), "LC_ALL": "en_US.ISO-8859-1", "PYTHONUTF8": "0"}
    return {**os.environ, **wanted}


def test_a_locale_that_is_not_utf_8_changes_no_key_and_no_name(tmp_path: Path) -> None:
    """Under a Latin-1 locale the same files have the same bytes for keys and output names: a run of
    cron's knows what a run at the terminal did."""
    environment = _latin_1(tmp_path)
    names = [b"\xc3\xa9.jpg", b"\xe9.jpg", b"\xe4\xb8\xad/a.jpg", b"e\xcc\x81.jpg", b"x.jpg"]
    names.append(b"\xe4\xb8\xad" * 83 + b".jpeg")
    folder = os.path.join(os.fsencode(tmp_path), b"in \xc3\xa9")
    paths = [os.path.join(folder, name) for name in names]
    for path in paths:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")
    (tmp_path / "list").write_bytes(b"\n".join(paths))
    latin, utf8 = (
        sorted(
            subprocess.run(
                [sys.executable, "-c", script, folder],
                env=env,
                cwd=ROOT,
                capture_output=True,
                check=True,
            ).stdout.split(b"\n")
        )
        for script, env in (
            (_LOCALE, environment),
            (_LOCALE.replace('"iso8859-1"', '"utf-8"'), {**os.environ, "PYTHONUTF8": "1"}),
        )
    )
    assert latin == utf8


@pytest.mark.parametrize(
    ("time", "kept"),
    [
        (0, 0),
        (LAST, LAST),
        (LAST + 1, LAST),
        (10**30, LAST),
        (FIRST - 1, FIRST),
        (NO_TIME, NO_TIME - 1),  # -1 says that there is no time
    ],
)
def test_times_fit_the_journal(time: int, kept: int) -> None:
    """SQLite holds 64 bits; a time beyond them is its nearest neighbour there."""
    status = cast("os.stat_result", SimpleNamespace(st_mtime_ns=time))
    assert mtime_of(status) == kept


@pytest.mark.parametrize("seconds", [10_400_000_000, -10_400_000_000])
def test_a_photo_of_the_far_future_or_past_is_the_same_next_time(seconds: int) -> None:
    """A camera with a wrong clock, or a broken archive: 1640 and 2299 are times of photos, and the
    quick look of the next run knows them again."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # ext4 holds no year 1640
    with tempfile.TemporaryDirectory(dir=place) as folder:
        path = Path(folder) / "a.jpg"
        path.write_bytes(b"x")
        os.utime(path, (seconds, seconds))
        if path.stat().st_mtime != seconds:
            pytest.skip("this file system has no such time")
        (seen,) = (photo.seen() for photo in found(folder))
        assert seen.mtime == single(str(path)).mtime == (LAST if seconds > 0 else FIRST)
        looks = StatChecker(None, None)
        row = (os.fsencode(path), b"a.png", 1, seen.mtime, None, None)
        assert looks.is_whole(row)
        os.utime(path, (1, 1))
        assert not looks.is_whole(row)


def test_a_linked_folder_that_cannot_be_read_is_a_record(open_folder: Path) -> None:
    """Links to what is away, forbidden, circular or too long may have been folders of photos: each
    is told like a folder that cannot be read, and the rest is walked."""
    fill(open_folder, "in/a.jpg", "in/sub/b.jpg", "locked/photos/c.jpg", "in/notes.txt")
    links = {
        "away": "../nowhere/photos",
        "forbidden": "../locked/photos",
        "long": "x" * 300,
        "round": "round",
        "shut": "../locked",
        "sub/text": "../notes.txt",
    }
    for name, target in links.items():
        (open_folder / "in" / name).symlink_to(target)
    (open_folder / "locked").chmod(0)
    walk = Walk()
    with common_user():
        photos = found(open_folder / "in", walk=walk)
    troubles = {
        os.path.basename(photo.key): photo.trouble.removeprefix("cannot be read: ")
        for photo in photos
        if photo.kind is Kind.TROUBLE
    }
    reasons = {
        "away": errno.ENOENT,
        "forbidden": errno.EACCES,
        "long": errno.ENAMETOOLONG,
        "round": errno.ELOOP,
        "shut": errno.EACCES,
    }
    advice = "; check the path and its permissions"
    assert troubles == {name: os.strerror(reason) + advice for name, reason in reasons.items()}
    assert [photo.name for photo in photos if photo.kind is Kind.FILE] == ["a.png", "sub/b.png"]
    assert walk.skipped == 2


def test_a_linked_photo_that_cannot_be_read_stays_a_photo(open_folder: Path) -> None:
    """Called like a picture it is handed on: reading it says what is wrong with it."""
    fill(open_folder, "in/a.jpg", "locked/b.jpg")
    (open_folder / "in/b.jpg").symlink_to("../locked/b.jpg")
    (open_folder / "locked").chmod(0)
    with common_user():
        photos = found(open_folder / "in")
    assert [(photo.name, photo.kind) for photo in photos] == [
        ("a.png", Kind.FILE),
        ("b.png", Kind.FILE),
    ]


def test_folders_that_differ_in_case_do_not_mix(tmp_path: Path) -> None:
    """``A/x.jpg`` and ``a/x.jpg``: their results keep apart where the output ignores case."""
    fill(tmp_path, "A/x.jpg", "a/x.jpg", "a/deep/y.jpg", "b/x.jpg")
    names = [photo.name for photo in found(tmp_path)]
    assert names == ["A~559aead0/x.png", "a/x.png", "a/deep/y.png", "b/x.png"]


@pytest.mark.parametrize("command", ["segment", "plan", "check"])
@pytest.mark.parametrize("name", [".", "..", "x/../y", "list"])
def test_a_deleted_working_folder_is_told(hbseg: Hbseg, command: str, name: str) -> None:
    """Relative names have no meaning there: one sentence and exit 2 for every input."""
    gone = hbseg.cwd / "gone"
    gone.mkdir()
    listed = ["--from-file", "-"] if name == "list" else [name]
    out = [] if command == "check" else ["-o", str(hbseg.cwd / "out")]
    words = shlex.join([sys.executable, "-m", "humanbody_cli", command, *listed, *out])
    ended = subprocess.run(
        ["sh", "-c", f"rmdir {shlex.quote(str(gone))} && exec {words}"],
        cwd=gone,
        env=hbseg.environment(),
        input="a.jpg\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "current folder has been deleted" in ended.stderr or "no such file" in ended.stderr
