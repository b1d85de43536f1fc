"""Results that were set aside stay until a run that wants them has had them."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest
from conftest import Run, photo
from fake_api import FakeApi

from humanbody_cli.core.settings import Wanted
from humanbody_cli.pipeline.earlier import unclaimed
from humanbody_cli.pipeline.fingerprint import Fingerprint
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.publishing import Publisher


def _swap(one: Path, other: Path) -> None:
    spare = one.with_name("spare")
    one.rename(spare)
    other.rename(one)
    spare.rename(other)


def _aside(tmp_path: Path) -> list[str]:
    folder = tmp_path / "out/.hbseg/replaced"
    return sorted(os.listdir(folder)) if folder.exists() else []


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two photos, each in a folder of its own."""
    return photo(tmp_path / "photos/a/x.jpg", seed=1), photo(tmp_path / "photos/b/x.jpg", seed=2)


def test_masks_of_swapped_photos_outlive_a_run_without_masks(
    run: Run, api: FakeApi, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """Two photos change places, and a run makes cutouts alone: their masks, which were paid for,
    still serve the next run."""
    run("photos")
    _swap(*pair)
    run("photos", "--no-mask")
    run("photos")
    assert len(api.stats.calls) == 2
    assert _aside(tmp_path) == []


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (("photos/a", "photos/b"), ("photos/b", "photos/a")),
        (("photos",), ("photos/a", "photos/b")),
        (("photos",), ("photos/b/x.jpg", "photos")),
        (("photos",), ("photos/a/x.jpg", "photos/b/x.jpg")),
    ],
)
@pytest.mark.parametrize("options", [(), ("--no-mask",)])
def test_swapped_photos_are_not_paid_for_one_by_one(
    run: Run,
    api: FakeApi,
    pair: tuple[Path, Path],
    tmp_path: Path,
    first: tuple[str, ...],
    then: tuple[str, ...],
    options: tuple[str, ...],
) -> None:
    """Two photos change places, and a run meets one of them alone: what it sets aside is still
    there for the run that meets the other one, and gone once both have their results."""
    for inputs in first:
        run(inputs)
    _swap(*pair)
    for inputs in then:
        run(inputs, *options)
    run("photos")
    assert len(api.stats.calls) == 2
    assert _aside(tmp_path) == []


def test_what_nobody_can_come_for_is_removed(
    run: Run, api: FakeApi, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """A photo is replaced by a new one, and every other is as its row says: the old results go
    when the run ends, though it met this photo alone."""
    run("photos")
    photo(pair[0], seed=3)
    run("photos/a/x.jpg")
    assert len(api.stats.calls) == 3
    assert _aside(tmp_path) == []


def test_what_waits_for_a_photo_does_not_wait_for_ever(
    run: Run, api: FakeApi, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """A photo that no run meets has changed: what may be its results waits for a month."""
    run("photos")
    _swap(*pair)
    run("photos/a/x.jpg")
    assert len(_aside(tmp_path)) == 2
    out = str(tmp_path / "out")
    publisher, fingerprint = Publisher(out, durable=False), Fingerprint("api", Wanted())
    with contextlib.closing(Journal(out)) as journal:
        for later, left in ((-60.0, 2), (60.0, 0)):
            now = time.time() + unclaimed.KEPT_ASIDE + later
            unclaimed.tidy(journal, publisher, fingerprint, now=now)
            assert len(_aside(tmp_path)) == left


def test_a_result_that_a_photo_has_again_waits_no_longer(
    run: Run, api: FakeApi, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """Two of three photos change places and are met one by one, while the third stays changed:
    the two have their results, so nothing of theirs is kept aside."""
    other = photo(tmp_path / "photos/c/x.jpg", seed=3)
    run("photos")
    _swap(*pair)
    os.utime(other)
    for inputs in ("photos/a/x.jpg", "photos/b/x.jpg"):
        run(inputs)
    assert len(api.stats.calls) == 3
    assert _aside(tmp_path) == []
