"""A plan decides as the run does: copies of refused photos, results without rows, time."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

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
