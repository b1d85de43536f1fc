"""After the journal was lost, the proofs in published files lead to what was paid for, however many
runs it takes until each photo is met again."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from conftest import Hbseg, Run, photo
from fake_api import FakeApi
from finding import unclaimed_in

from humanbody_cli.storage.journal import Journal

COUNT = 6


def _photos(folder: Path) -> list[Path]:
    return [photo(folder / f"{n}.jpg", seed=n + 10 * ord(folder.name[0])) for n in range(COUNT)]


def _lose_journal(out: Path) -> None:
    for path in (out / ".hbseg").glob("journal*"):
        path.unlink()


def _rotate(photos: list[Path]) -> None:
    """Each photo gets the name of the next."""
    spare = photos[0].with_name("spare")
    photos[-1].rename(spare)
    for path, after in reversed(list(itertools.pairwise(photos))):
        path.rename(after)
    spare.rename(photos[0])


@pytest.mark.parametrize("first", ["photos/a", "photos/b", "photos/a/0.jpg"])
@pytest.mark.parametrize("options", [(), ("--no-mask",)])
def test_photos_that_the_first_run_did_not_meet_are_not_paid_for(
    run: Run, api: FakeApi, tmp_path: Path, first: str, options: tuple[str, ...]
) -> None:
    """All photos change names in a circle, and the journal is gone: a run over a part of them and
    one over all find every result, and so did the plan; then nothing is left to look through."""
    folders = [tmp_path / "photos/a", tmp_path / "photos/b"]
    paths = [path for folder in folders for path in _photos(folder)]
    run("photos")
    _lose_journal(tmp_path / "out")
    _rotate(paths)
    run(first, *options)
    run("photos")
    assert len(api.stats.calls) == 2 * COUNT
    run("photos")
    assert len(api.stats.calls) == 2 * COUNT
    if first != "photos/a/0.jpg":
        assert not (tmp_path / "out/.hbseg/replaced").exists()


def test_renamed_photos_are_found_run_by_run(
    run: Run, paid: Hbseg, api: FakeApi, tmp_path: Path
) -> None:
    """New names for all, and each photo in a run of its own; the plan foretells it."""
    paths = _photos(tmp_path / "photos")
    run("photos")
    _lose_journal(tmp_path / "out")
    for path in paths:
        path.rename(path.with_name(f"new{path.name}"))
    options = ("photos", "-o", "out", "--endpoint", api.url, "--json")
    assert json.loads(paid("plan", *options).out)["calls"] == 0
    for path in paths:
        run(f"photos/new{path.name}")
        assert json.loads(paid("plan", *options).out)["calls"] == 0
    assert len(api.stats.calls) == COUNT


def test_a_run_that_was_killed_before_it_began_hides_nothing(
    run: Run, api: FakeApi, tmp_path: Path
) -> None:
    """A new journal that no run has used yet tells as little as none: the files are looked through
    by the run that comes next."""
    paths = _photos(tmp_path / "photos")
    run("photos")
    _lose_journal(tmp_path / "out")
    _rotate(paths)
    Journal(str(tmp_path / "out")).close()
    run("photos/0.jpg")
    run("photos")
    assert len(api.stats.calls) == COUNT


def test_files_that_rows_tell_of_are_no_longer_looked_up(
    run: Run, api: FakeApi, tmp_path: Path
) -> None:
    """What a run has adopted is forgotten as unclaimed; what belongs to no photo stays known."""
    paths = _photos(tmp_path / "photos")
    run("photos")
    _lose_journal(tmp_path / "out")
    paths[0].rename(tmp_path / "kept.jpg")
    run("photos")
    assert unclaimed_in(tmp_path / "out") == 2
    (tmp_path / "photos/back.jpg").write_bytes((tmp_path / "kept.jpg").read_bytes())
    run("photos")
    assert len(api.stats.calls) == COUNT


def test_an_unclaimed_file_that_is_renamed_is_found(run: Run, api: FakeApi, tmp_path: Path) -> None:
    """The file at a photo's name was made of another one, and moves with that name."""
    inner = _photos(tmp_path / "photos/sub")
    run("photos/sub")
    _lose_journal(tmp_path / "out")
    _rotate(inner)
    # A photo without results has the name of another photo's result.
    sound = inner[0].read_bytes()
    inner[0].write_bytes(b"no picture yet")
    run("photos/sub/0.jpg", code=3)
    inner[0].write_bytes(sound)
    photo(tmp_path / "photos/0.jpg", seed=99)
    run("photos")
    assert len(api.stats.calls) == COUNT + 1
