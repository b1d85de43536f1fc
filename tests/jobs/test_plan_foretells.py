"""A plan decides as the run does: copies of refused photos, results without rows, time."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from conftest import Hbseg, photo
from fake_api import FakeApi
from fake_behaviour import Behaviour

REFUSED = "IMAGE_ERROR_UNSUPPORTED_FORMAT: image_file"


def _planned(hbseg: Hbseg, *arguments: object) -> dict[str, float]:
    record: dict[str, float] = json.loads(hbseg("plan", *arguments, "--json").out)
    return record


def test_a_copy_of_a_refused_photo_is_foretold(paid: Hbseg, tmp_path: Path) -> None:
    """The API refused the photo for good: a copy of it costs no call, in the plan as in the run."""
    source = photo(tmp_path / "photos/a.jpg")
    with FakeApi.in_thread(Behaviour(always=REFUSED)) as api:
        arguments = ("photos", "-o", "out", "--endpoint", api.url)
        assert paid("segment", *arguments).code == 3
        shutil.copy(source, tmp_path / "photos/b.jpg")
        assert _planned(paid, *arguments)["calls"] == 0
        assert paid("segment", *arguments).code == 3
        assert len(api.stats.calls) == 1


def test_results_that_no_row_tells_of_are_foretold(
    paid: Hbseg, api: FakeApi, photos: Path, tmp_path: Path
) -> None:
    """Published results that prove what they are of cost no call, in the plan as in the run."""
    arguments = (photos, "-o", "out", "--endpoint", api.url)
    assert paid("segment", *arguments).code == 0
    with sqlite3.connect(tmp_path / "out/.hbseg/journal.sqlite3") as db:
        db.execute("DELETE FROM photos")
    db.close()
    assert _planned(paid, *arguments)["calls"] == 0
    assert paid("segment", *arguments).code == 0
    assert len(api.stats.calls) == 4


def test_a_plan_takes_larger_photos_to_last_longer(hbseg: Hbseg, tmp_path: Path) -> None:
    """The embedded engine's time grows with a photo's pixels, and the plan's does so too."""
    photo(tmp_path / "small/a.jpg", size=(320, 240))
    photo(tmp_path / "large/a.jpg", size=(4000, 3000))
    small, large = (
        _planned(hbseg, folder, "-o", "out", "--engine", "local")["seconds"]
        for folder in ("small", "large")
    )
    assert large > small


def test_a_file_in_place_of_a_folder_is_foretold(hbseg: Hbseg, tmp_path: Path) -> None:
    """Where a file is in the way of a result's folder, plan rejects the photo as the run does."""
    photo(tmp_path / "photos/a/b.jpg")
    (tmp_path / "out/masks").mkdir(parents=True)
    (tmp_path / "out/masks/a").write_text("mine")
    arguments = ("photos", "-o", "out", "--engine", "local", "--json")
    planned = hbseg("plan", *arguments)
    assert planned.code == 3
    assert json.loads(planned.out)["rejected"] == {"OUTPUT_NAME_TAKEN": 1}
    assert hbseg("segment", *arguments).code == 3
    assert (tmp_path / "out/masks/a").read_text() == "mine"


def test_a_photo_that_keeps_its_name_is_foretold_under_it(hbseg: Hbseg, tmp_path: Path) -> None:
    """A photo named by itself keeps the name of its row: a file at another name is not in its
    way, neither for plan nor for the run."""
    first = photo(tmp_path / "b.jpg")
    photo(tmp_path / "b.jpeg", size=(90, 70))
    arguments = ("-o", "out", "--engine", "local")
    assert hbseg("segment", "b.jpg", "b.jpeg", *arguments).code == 0
    assert not (tmp_path / "out/masks/b.png").exists()
    (tmp_path / "out/masks/b.png").write_text("mine")
    os.utime(first, (1, 1))
    assert hbseg("plan", "b.jpg", *arguments).code == 0
    assert hbseg("segment", "b.jpg", *arguments).code == 0
    assert (tmp_path / "out/masks/b.png").read_text() == "mine"


@pytest.mark.parametrize("out", ["-", "me.png"])
def test_one_file_is_not_taken_for_a_folder(hbseg: Hbseg, tmp_path: Path, out: str) -> None:
    """A plan is about an output folder, and not about what ``segment`` writes to one file."""
    photo(tmp_path / "me.jpg")
    ended = hbseg("plan", "me.jpg", "-o", out)
    assert (ended.code, ended.out) == (2, "")
    assert "give -o FOLDER" in ended.err
