"""``--require-person``: photos without a person are rejected, and paid for once all the same."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Hbseg, Run, files, photo, run_settings
from fake_answers import Style
from fake_api import FakeApi
from fake_behaviour import Behaviour
from PIL import Image

from humanbody_cli.core.settings import Wanted
from humanbody_cli.jobs import segment
from humanbody_cli.storage.disk import RealDisk

CODE = "NOBODY_FOUND"
NOBODY = (90, 70)
REQUIRED = "--require-person"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """Pictures of one size show nobody."""
    with FakeApi.in_thread(Behaviour(style=Style(nobody=(NOBODY,)))) as running:
        yield running


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder of a photo with a person and one without."""
    photo(tmp_path / "photos/a.jpg", seed=1)
    photo(tmp_path / "photos/b.jpg", seed=2, size=NOBODY)
    return tmp_path / "photos"


def _names(out: Path) -> set[str]:
    return set(files(out))


PERSON = {"masks/a.png", "cutouts/a.png"}
BOTH = {*PERSON, "masks/b.png", "cutouts/b.png"}


def test_a_photo_without_a_person_is_rejected(
    run: Run, hbseg: Hbseg, api: FakeApi, mixed: Path, tmp_path: Path
) -> None:
    """Exit 3; nothing is published of it; the row has the code and the one call."""
    ended = run(mixed, REQUIRED, "--json", code=3)
    (rejected,) = (one for one in ended.records if one["status"] == "rejected")
    assert (rejected["code"], rejected["attempts"], rejected["coverage"]) == (CODE, 1, 0.0)
    assert (rejected["mask"], rejected["cutout"], rejected["engine"]) == (None, None, "api")
    assert "1 done, 1 rejected (1 without a person) in " in ended.err
    assert _names(tmp_path / "out") == PERSON
    assert hbseg("status", "out", "--failed").out == f"{mixed / 'b.jpg'}\n"
    figures = json.loads(hbseg("status", "out", "--json").out)
    assert (figures["nobody_found"], figures["codes"], figures["calls"]) == (0, {CODE: 1}, 2)
    again = run(mixed, REQUIRED, code=3)
    assert "1 done before, 1 rejected before" in again.err
    assert run(mixed, REQUIRED, "--ignore-known", "-q").err == ""
    assert len(api.stats.calls) == 2


@pytest.mark.parametrize(
    "options", [(), ("--no-mask",), ("--no-cutout",), ("--edges", "soft"), ("--fit",)]
)
def test_changing_ones_mind_costs_no_call(
    run: Run, api: FakeApi, mixed: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """A rejected photo gets its empty results without a call once no person is required, and a
    done one is rejected and its results are withdrawn; so on as often as one likes."""
    run(mixed, REQUIRED, code=3)
    for _ in range(2):
        ended = run(mixed, *options, "--json")
        assert [one["code"] for one in ended.records if one["source"].endswith("b.jpg")] == [CODE]
        published = files(tmp_path / "out")
        assert {name for name in published if "b" in name} <= BOTH - PERSON
        assert sum("b.png" in name for name in published) == (1 if "--no" in str(options) else 2)
        run(mixed, *options)
        assert files(tmp_path / "out") == published
        assert CODE in run(mixed, *options, REQUIRED, code=3).err
        assert not any("b.png" in name for name in files(tmp_path / "out"))
    assert len(api.stats.calls) == 2


def test_empty_results_are_what_they_claim(run: Run, mixed: Path, tmp_path: Path) -> None:
    """Made of the row alone: an empty mask and a transparent cutout of the photo's size."""
    run(mixed, REQUIRED, code=3)
    run(mixed)
    for kind, channel in (("masks", "L"), ("cutouts", "A")):
        with Image.open(tmp_path / "out" / kind / "b.png") as image:
            assert image.size == NOBODY
            assert image.getchannel(channel).getextrema() == (0, 0)


def test_a_plan_foretells_it(run: Run, paid: Hbseg, api: FakeApi, mixed: Path) -> None:
    """Whether the photo stands rejected or done, a plan says what the run then does."""
    arguments = ("plan", mixed, "-o", "out", "--endpoint", api.url, "--json")
    run(mixed)
    told = json.loads(paid(*arguments, REQUIRED).out)
    assert (told["calls"], told["rejected"], told["settled"]) == (0, {CODE: 1}, {"done": 1})
    assert paid(*arguments, REQUIRED).code == 3
    run(mixed, REQUIRED, code=3)
    told = json.loads(paid(*arguments, REQUIRED).out)
    assert (told["calls"], told["rejected"]) == (0, {})
    assert told["settled"] == {"done": 1, "rejected": 1}
    ended = paid(*arguments)
    told = json.loads(ended.out)
    assert (ended.code, told["calls"], told["copies"], told["rejected"]) == (0, 0, 1, {})


class NoRename(RealDisk):
    """A disk that takes answers and no results."""

    def rename(self, old: str, new: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_kept_answer_is_judged_too(
    run: Run, paid: Hbseg, api: FakeApi, mixed: Path, tmp_path: Path
) -> None:
    """Paid for by a run whose disk failed: plan and run reject the photo without a call."""
    settings = run_settings(mixed / "b.jpg", tmp_path / "out", api.url)
    assert segment.segment(settings, NoRename()) == 4
    arguments = (mixed / "b.jpg", "-o", "out", "--endpoint", api.url, "--json", REQUIRED)
    assert json.loads(paid("plan", *arguments).out)["rejected"] == {CODE: 1}
    run(mixed / "b.jpg", REQUIRED, code=3)
    assert len(api.stats.calls) == 1
    assert not list((tmp_path / "out/.hbseg").glob("*/*.answer"))


def test_a_rejection_needs_no_room_for_files(api: FakeApi, mixed: Path, tmp_path: Path) -> None:
    """Nothing is written for such a photo, so a disk that takes no file does not stop the run."""
    settings = run_settings(mixed / "b.jpg", tmp_path / "out", api.url)
    required = replace(settings, wanted=Wanted(require_person=True))
    assert segment.segment(required, NoRename()) == 3


def test_copies_share_the_answer(run: Run, api: FakeApi, mixed: Path) -> None:
    """Copies in the same run or a later one, under a new name or after a touch: one call."""
    for name in ("c.jpg", "d.jpg"):
        shutil.copy(mixed / "b.jpg", mixed / name)
    assert "3 rejected" in run(mixed, REQUIRED, code=3).err
    assert len(api.stats.calls) == 2
    shutil.copy(mixed / "b.jpg", mixed / "e.jpg")
    (mixed / "c.jpg").rename(mixed / "f.jpg")
    os.utime(mixed / "b.jpg", (1, 1))
    run(mixed, REQUIRED, code=3)
    run(mixed)
    assert len(api.stats.calls) == 2


def test_what_is_retried_and_what_is_forced(run: Run, api: FakeApi, mixed: Path) -> None:
    """It has not failed, so --retry-failed leaves it alone; --force asks again."""
    run(mixed, REQUIRED, code=3)
    run(mixed, REQUIRED, "--retry-failed", code=3)
    assert len(api.stats.calls) == 2
    run(mixed, REQUIRED, "--force", code=3)
    assert len(api.stats.calls) == 4


def test_a_photo_that_could_not_be_read_for_a_while(run: Run, api: FakeApi, mixed: Path) -> None:
    """What its answer said stays known while the photo cannot be read."""
    run(mixed, REQUIRED, code=3)
    path, away = mixed / "b.jpg", mixed.parent / "b.jpg"
    path.rename(away)
    path.symlink_to(path)
    for _ in range(2):
        run(path, REQUIRED, code=3)
    path.unlink()
    away.rename(path)
    run(mixed, REQUIRED, code=3)
    run(mixed)
    assert len(api.stats.calls) == 2


def test_other_bytes_are_asked_about(run: Run, api: FakeApi, mixed: Path, tmp_path: Path) -> None:
    """A photo that is replaced by one with a person is done."""
    run(mixed, REQUIRED, code=3)
    photo(mixed / "b.jpg", seed=3)
    run(mixed, REQUIRED)
    assert _names(tmp_path / "out") == BOTH
    assert len(api.stats.calls) == 3


def test_files_of_the_users_own_stay(run: Run, mixed: Path, tmp_path: Path) -> None:
    """A result that was edited is not withdrawn when its photo is rejected."""
    run(mixed)
    Image.new("L", NOBODY, 255).save(tmp_path / "out/masks/b.png")
    edited = (tmp_path / "out/masks/b.png").read_bytes()
    run(mixed, REQUIRED, code=3)
    assert (tmp_path / "out/masks/b.png").read_bytes() == edited
    assert _names(tmp_path / "out") == {*PERSON, "masks/b.png"}


def test_a_first_rejection_alarms(run: Run, mixed: Path) -> None:
    """With --ignore-known a photo that was done so far is newly rejected, once."""
    run(mixed)
    ended = run(mixed, REQUIRED, "--ignore-known", code=3)
    assert "1 photo newly rejected or failed" in ended.err
    run(mixed, REQUIRED, "--ignore-known")
    os.utime(mixed / "b.jpg", (1, 1))
    run(mixed, REQUIRED, "--ignore-known")


def test_one_file_is_judged_as_a_folder_is(
    paid: Hbseg, api: FakeApi, mixed: Path, tmp_path: Path
) -> None:
    """A file that shows nobody is done without the option and rejected with it, whichever came
    first: the exit code tells, and all of it costs one call."""
    where = ("segment", mixed / "b.jpg", "-o", tmp_path / "b.png", "--endpoint", api.url, "--json")
    for _ in range(2):
        assert paid(*where, REQUIRED).code == 3
        assert not (tmp_path / "b.png").exists()
    for _ in range(2):
        ended = paid(*where)
        assert (ended.code, ended.records[0]["code"]) == (0, CODE)
    before = (tmp_path / "b.png").read_bytes()
    ended = paid(*where, REQUIRED)
    assert (ended.code, ended.records[0]["status"]) == (3, "rejected")
    assert (tmp_path / "b.png").read_bytes() == before
    assert not list(tmp_path.glob(".hbseg-*"))
    assert len(api.stats.calls) == 1
