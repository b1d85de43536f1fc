"""``hbseg report``: what is written where, what is kept, and what is never touched."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from calling import Called, done, refused
from conftest import Hbseg
from making import jpeg
from mounting import in_own_mounts
from reporting import Folder, data_of, page_files, report, rows_of, seen, strips, thumbnails

from humanbody_cli.core.outcomes import Status
from humanbody_cli.jobs.report import template


@pytest.fixture
def made(tmp_path: Path) -> Called:
    """Three photos, one in a folder below, and their results in ``out``."""
    return done(tmp_path, "a.jpg", "b.jpg", "deeper/c.jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An output folder without photos, to be filled."""
    return Folder(tmp_path)


def test_the_most_urgent_photo_is_first(folder: Folder) -> None:
    """Nobody found, with the code, as earlier versions wrote it, or rejected for it; then doubt
    falling, then what failed, what was rejected, and what is sure."""
    for name, doubt in (("sure", 0.1), ("little", 0.2), ("most", 0.9), ("surest", 0.0)):
        folder.add(f"{name}.jpg", doubt=doubt)
    folder.add("old nobody.jpg", coverage=0.0, doubt=0.0)
    folder.add("nobody.jpg", coverage=0.0, doubt=0.8, code="NOBODY_FOUND")
    folder.leave_out("required.jpg", Status.REJECTED, "NOBODY_FOUND", "no person was found")
    folder.leave_out("heic.heic", Status.REJECTED, "IMAGE_ERROR_UNSUPPORTED_FORMAT", "use --fit")
    folder.leave_out("refused.jpg", Status.FAILED, "INVALID_IMAGE_FACE", "try another")
    rows = rows_of(report(folder))
    assert [(row["group"], row["name"]) for row in rows] == [
        ("nobody", "nobody.jpg"),
        ("nobody", "old nobody.jpg"),
        ("nobody", "required.jpg"),
        ("doubtful", "most.jpg"),
        ("doubtful", "little.jpg"),
        ("failed", "refused.jpg"),
        ("rejected", "heic.heic"),
        ("sure", "sure.jpg"),
        ("sure", "surest.jpg"),
    ]


def test_a_second_report_writes_nothing(made: Called) -> None:
    """Page and thumbnails stay as they are where nothing has changed."""
    assert made("report", "out").code == 0
    before = seen(made.cwd / "out")
    thumbs = seen(made.cwd / "out/report-files")
    assert len(thumbnails(made.cwd)) == 3
    assert made("report", "out").code == 0
    assert seen(made.cwd / "out") == before
    assert made("report", f"{made.cwd}/out/").code == 0
    assert len(thumbnails(made.cwd)) == 3
    assert seen(made.cwd / "out/report-files") == thumbs


def test_what_was_spent_is_told(made: Called) -> None:
    """If the price of a call is given; and when each photo ended."""
    for arguments, spent in ((("--price", "0.01CNY"), "0.03 CNY"), ((), None)):
        assert made("report", "out", *arguments).code == 0
        assert data_of(made.cwd / "out/report.html")["spent"] == spent
    ends = [row["finished"] for row in rows_of(made.cwd / "out/report.html")]
    assert all(0 <= time.time() - end < 600 for end in ends)


def test_a_changed_result_gets_another_thumbnail(made: Called) -> None:
    """Only its own, and the one that it had is removed."""
    assert made("report", "out").code == 0
    before = thumbnails(made.cwd)
    mask = made.cwd / "out/masks/a.png"
    shutil.copy(made.cwd / "out/cutouts/b.png", mask)
    assert made("report", "out").code == 0
    after = thumbnails(made.cwd)
    assert len(after - before) == len(before - after) == 1


def test_a_report_goes_with_its_folder(made: Called) -> None:
    """A copy of OUT shows every picture, with the photos gone, and a report on it makes none."""
    assert made("report", "out").code == 0
    shutil.copytree(made.cwd / "out", made.cwd / "copy")
    shutil.rmtree(made.cwd / "photos")
    before = thumbnails(made.cwd / "copy")
    assert made("report", "copy").code == 0
    page = made.cwd / "copy/report.html"
    assert strips(page) == before and len(before) == 3


def test_folders_may_be_named_like_those_of_results(tmp_path: Path) -> None:
    """Cutouts are linked by their names, wherever OUT is and whatever folders photos are in."""
    folder = Folder(tmp_path / "cutouts/masks")
    folder.add("cutouts/masks/a.jpg")
    (row,) = rows_of(report(folder))
    assert row["result"] == "cutouts/masks/a.jpg.png"


def test_thumbnails_are_not_photos(made: Called) -> None:
    """A walk of everything around OUT finds the photos alone, before a report and after it."""
    assert made("check", ".").err.startswith("3 accepted, 0 rejected")
    assert made("report", "out").code == 0
    assert made("report", "out", "-o", "elsewhere.html").code == 0
    assert made("check", ".").err.startswith("3 accepted, 0 rejected")


def test_a_report_elsewhere(made: Called) -> None:
    """``-o FILE`` puts the page there and its thumbnails beside it; OUT is as before."""
    before = seen(made.cwd / "out")
    (made.cwd / "web").mkdir()
    ended = made("report", "out", "-o", "web/page.html")
    assert (ended.code, ended.out) == (0, "web/page.html\n")
    assert seen(made.cwd / "out") == before
    assert len(list((made.cwd / "web/page-files").rglob("*.webp"))) == 3
    assert data_of(made.cwd / "web/page.html")["results"] == "../out"


@pytest.mark.parametrize(
    ("file", "says"), [("page.txt", ".html"), ("out/masks/page.html", "only hbseg segment writes")]
)
def test_a_page_cannot_be_anywhere(made: Called, file: str, says: str) -> None:
    """Neither under a name that browsers do not open, nor among results."""
    assert says in refused(made, "report", "out", "-o", file, code=2)


@pytest.mark.parametrize("kind", ["file", "link", "edited", "folder"])
def test_a_page_of_the_users_is_not_replaced(made: Called, kind: str) -> None:
    """A report.html that hbseg did not write, or not so: exit 4, and the file is named."""
    place = made.cwd / "out/report.html"
    if kind == "edited":
        assert made("report", "out").code == 0
        place.write_bytes(place.read_bytes().replace(b"3 done", b"3 fine"))
    elif kind == "file":
        place.write_text("<h1>my own</h1>")
    elif kind == "folder":
        place.mkdir()
    else:
        (made.cwd / "mine.html").write_text("<h1>my own</h1>")
        place.symlink_to("../mine.html")
    err = refused(made, "report", "out", code=4)
    assert "cannot write out/report.html" in err and "move it away" in err


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "mine.jpg").write_bytes(jpeg())


def _link(path: Path) -> None:
    path.symlink_to("../photos")


def _file(path: Path) -> None:
    path.write_text("mine")


@pytest.mark.parametrize("make", [_folder, _link, _file])
def test_a_folder_of_the_users_is_not_used(made: Called, make: Callable[[Path], None]) -> None:
    """Thumbnails go into no folder that hbseg did not make: photos in it would be hidden."""
    make(made.cwd / "out/report-files")
    err = refused(made, "report", "out", code=4)
    assert "cannot write out/report-files" in err and "-o FILE" in err


def test_further_pages_of_the_users_are_not_removed(made: Called) -> None:
    """Only pages of an earlier version's report go."""
    assert made("report", "out").code == 0
    page = (made.cwd / "out/report.html").read_bytes()
    (made.cwd / "out/report-2.html").write_bytes(page)
    (made.cwd / "out/report-3.html").write_text("<h1>my own</h1>")
    assert made("report", "out").code == 0
    assert not (made.cwd / "out/report-2.html").exists()
    assert (made.cwd / "out/report-3.html").read_text() == "<h1>my own</h1>"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount")
def test_a_full_disk_is_told_once(made: Called) -> None:
    """One sentence and exit code 4; the page that was there stays."""
    hbseg = Hbseg(made.cwd)
    (made.cwd / "small").mkdir()
    script = (
        "mount -t tmpfs -o size=32k tmpfs small || exit 99\n"
        f"exec {sys.executable} -m humanbody_cli report out -o small/page.html"
    )
    told = in_own_mounts(hbseg, script)
    assert (told.code, told.out) == (4, "")
    assert told.err.count("\n") == 1 and "the disk is full" in told.err


def test_the_page_is_opened(made: Called) -> None:
    """``--open`` hands the page's address to the browser, or says that there is none."""
    browser = made.cwd / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > opened\n')
    browser.chmod(browser.stat().st_mode | stat.S_IXUSR)
    hbseg = Hbseg(made.cwd)
    told = hbseg("report", "out", "--open", env={"BROWSER": f"{browser} %s"})
    assert told.code == 0, told.err
    address = (made.cwd / "opened").read_text().strip()
    assert address == (made.cwd / "out/report.html").as_uri()
    (made.cwd / "empty").mkdir()
    nothing = {"BROWSER": "", "DISPLAY": "", "PATH": str(made.cwd / "empty")}
    told = hbseg("report", "out", "--open", env=nothing)
    assert told.code == 0 and told.out == "out/report.html\n"
    assert "no browser was found" in told.err


def test_every_file_of_the_page_is_used() -> None:
    """The page is put together from all files in its folder, in plain ASCII, none of which could
    end the element that it stands in."""
    names = {path.name for path in page_files().iterdir()}
    assert names == {"page.html", "page.css", *template.SCRIPTS}
    for name in names - {"page.html"}:
        text = (page_files() / name).read_bytes().decode("ascii").lower()
        assert "</s" not in text and "<!--" not in text and "\r" not in text
        assert "innerhtml" not in text and "eval(" not in text
