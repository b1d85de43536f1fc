"""How many SQL statements a run makes for its photos."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

import pytest
from conftest import photo, run_settings
from fake_api import FakeApi

from humanbody_cli.jobs.segment import Run, prepare_folder
from humanbody_cli.storage.journal import Journal

MOST_FOR_EACH = 4


def _statements(photos: Path, out: Path, url: str) -> list[str]:
    """The statements of a run, from its beginning to its end."""
    prepare_folder(str(out))
    made: list[str] = []
    with contextlib.closing(Journal(str(out))) as journal:
        journal._db.set_trace_callback(made.append)
        assert Run(run_settings(photos, out, url), journal).run() == 0
    return made


def _is_about_a_photo(statement: str) -> bool:
    """Not one of those that a run makes once, however many photos it has."""
    text = statement.lower()
    once = ("pragma", " runs", "where status = 'pending'", "exists calls", " calls where")
    return not any(words in text for words in once) or "insert into photos" in text


@pytest.mark.parametrize("count", [1, 100])
def test_statements_for_a_new_photo(tmp_path: Path, api: FakeApi, count: int) -> None:
    """At most four for each photo and one for each call, in a folder of one as in a folder of a
    hundred."""
    for seed in range(count):
        photo(tmp_path / "photos" / f"{seed}.jpg", seed=seed)
    made = _statements(tmp_path / "photos", tmp_path / "out", api.url)
    about_photos = list(filter(_is_about_a_photo, made))
    kinds = Counter(" ".join(text.split()[:5]) for text in about_photos)
    calls = [text for text in about_photos if text.startswith("INSERT INTO calls")]
    assert len(calls) == len(api.stats.calls) == count
    assert len(about_photos) - len(calls) <= MOST_FOR_EACH * count, kinds
