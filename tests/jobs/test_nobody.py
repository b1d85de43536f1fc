"""A photo without a person is done with an empty mask, and every command says so."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Ended, Hbseg, Run, files, photo, run_settings
from fake_answers import FAINT, Style
from fake_api import FakeApi
from fake_behaviour import Behaviour
from PIL import Image
from results import forget

from humanbody_cli.discovery.find import find
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.pipeline.decision import Decider
from humanbody_cli.pipeline.fingerprint import fingerprint_of
from humanbody_cli.pipeline.incremental import foreseen
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.publishing import Publisher

CODE, MESSAGE = "NOBODY_FOUND", "no person was found in this photo"
SOMEBODY, NOBODY = (96, 80), (90, 70)


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """Pictures of one size show nobody."""
    with FakeApi.in_thread(Behaviour(style=Style(nobody=(NOBODY,)))) as running:
        yield running


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder of a photo with a person and two without."""
    for name, size in (("a.jpg", SOMEBODY), ("b.jpg", NOBODY), ("c.jpg", NOBODY)):
        photo(tmp_path / "photos" / name, seed=ord(name[0]), size=size)
    return tmp_path / "photos"


def _codes(ended: Ended) -> dict[str, tuple[str, str | None]]:
    """Status and code of each record, by the letter that its photo is called."""
    return {Path(one["source"]).stem: (one["status"], one["code"]) for one in ended.records}


def _highest(path: Path, channel: str) -> int:
    with Image.open(path) as image:
        return max(image.getchannel(channel).tobytes())


def _is_blank(out: Path, name: str) -> bool:
    """Whether the mask shows nobody and the cutout nothing."""
    mask, cutout = _highest(out / "masks" / name, "L"), _highest(out / "cutouts" / name, "A")
    return mask <= 127 and cutout == 0


def test_a_photo_without_a_person_is_done_and_says_so(
    run: Run, api: FakeApi, mixed: Path, tmp_path: Path
) -> None:
    """Exit 0, an empty mask and an empty cutout; code and message are in the record, a line with
    -v and the summary's count."""
    ended = run(mixed, "--json", "-v")
    expected = {"a": ("done", None), "b": ("done", CODE), "c": ("done", CODE)}
    assert _codes(ended) == expected
    assert {one["message"] for one in ended.records} == {None, MESSAGE}
    assert ended.err.count(f": {CODE}: {MESSAGE}\n") == 2
    assert "3 done (nobody found in 2 photos) in " in ended.err
    assert _is_blank(tmp_path / "out", "b.png") and not _is_blank(tmp_path / "out", "a.png")
    assert _highest(tmp_path / "out/masks/b.png", "L") == FAINT  # the API's own mask
    again = run(mixed, "--json")
    assert "3 done before (nobody found in 2 photos) in " in again.err
    assert _codes(again) == expected
    assert len(api.stats.calls) == 3


def test_one_of_many_is_counted_in_a_second_run(run: Run, tmp_path: Path) -> None:
    """The quick check of settled photos leaves no photo without a person uncounted."""
    for seed in range(24):
        photo(tmp_path / f"photos/{seed:02}.jpg", seed=seed, size=SOMEBODY if seed else NOBODY)
    assert "24 done (nobody found in 1 photo) in" in run("photos").err
    assert "24 done before (nobody found in 1 photo) in" in run("photos").err


def test_status_counts_them(run: Run, hbseg: Hbseg, mixed: Path) -> None:
    """In words and as JSON, where each photo's record has the code too."""
    run(mixed)
    told = hbseg("status", "out").out
    assert "3 (nobody found in 2 photos)\n" in told
    assert f"        2  {CODE}\n" in told
    figures = json.loads(hbseg("status", "out", "--json").out)
    assert (figures["done"], figures["nobody_found"], figures["codes"]) == (3, 2, {CODE: 2})
    assert [one["code"] for one in figures["photos"]] == [None, CODE, CODE]
    assert hbseg("status", "out", "--failed").out == ""


def test_rows_of_earlier_versions_count_the_same(run: Run, hbseg: Hbseg, mixed: Path) -> None:
    """A row with coverage 0 and no code is of a photo without a person."""
    run(mixed)
    with sqlite3.connect(hbseg.cwd / "out/.hbseg/journal.sqlite3") as db:
        db.execute("UPDATE photos SET code = NULL, message = NULL")
    db.close()
    figures = json.loads(hbseg("status", "out", "--json").out)
    assert (figures["nobody_found"], figures["codes"]) == (2, {CODE: 2})
    assert [one["message"] for one in figures["photos"]] == [None, MESSAGE, MESSAGE]
    assert "3 done before (nobody found in 2 photos)" in run(mixed).err
    assert _codes(run(mixed, "--require-person", "--json", code=3))["b"] == ("rejected", CODE)


@pytest.mark.parametrize("options", [(), ("--no-mask",), ("--no-cutout",), ("--edges", "soft")])
def test_the_code_is_found_again_in_files_without_rows(
    run: Run, api: FakeApi, mixed: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Published just before a power cut: what the files prove is read from them, no call is made,
    and a run that requires a person takes them away."""
    run(mixed, *options)
    before = files(tmp_path / "out")
    forget(tmp_path / "out")
    assert _codes(run(mixed, *options, "--json"))["c"] == ("done", CODE)
    assert files(tmp_path / "out") == before
    forget(tmp_path / "out")
    ended = run(mixed, *options, "--require-person", "--json", code=3)
    assert _codes(ended)["c"] == ("rejected", CODE)
    assert {Path(name).stem for name in files(tmp_path / "out")} == {"a"}
    assert len(api.stats.calls) == 3


def test_blank_files_that_were_deleted_cost_no_call(
    run: Run, api: FakeApi, mixed: Path, tmp_path: Path
) -> None:
    """Whoever clears blank results away and runs again gets them again, unpaid: the row suffices to
    make them, unlike those of a photo with a person."""
    run(mixed)
    for kind in ("masks", "cutouts"):
        for name in ("b.png", "c.png"):
            (tmp_path / "out" / kind / name).unlink()
    assert "2 done (nobody found in 2 photos), 1 done before in" in run(mixed).err
    assert _is_blank(tmp_path / "out", "b.png")
    assert len(api.stats.calls) == 3


@pytest.mark.parametrize("options", [(), ("--no-cutout",)])
def test_stdout_gets_the_empty_result_and_stderr_a_note(
    paid: Hbseg, api: FakeApi, mixed: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """One photo to stdout: exit 0, unless a person is required: then exit 3 and no byte."""
    where = ("segment", mixed / "b.jpg", "-o", "-", "--endpoint", api.url, *options)
    with (tmp_path / "b.png").open("wb") as out, (tmp_path / "said").open("wb") as said:
        assert paid.start(*where, stdout=out, stderr=said).wait(90) == 0
    assert _highest(tmp_path / "b.png", "L" if options else "A") <= FAINT
    assert f"b.jpg: {CODE}: {MESSAGE}\n" in (tmp_path / "said").read_text()
    ended = paid(*where, "--require-person")
    assert (ended.code, ended.out) == (3, "")
    assert f"b.jpg: {CODE}: {MESSAGE}\n" in ended.err


def test_the_embedded_engine_says_so_too(hbseg: Hbseg, tmp_path: Path) -> None:
    """Its masks are judged as the API's are."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (200, 160), (90, 140, 200)).save(folder / "sky.png")
    ended = hbseg("segment", folder, "-o", "out", "--engine", "local", "--json")
    assert (ended.code, _codes(ended)) == (0, {"sky": ("done", CODE)})
    again = hbseg("segment", folder, "-o", "out", "--engine", "local", "--require-person")
    assert again.code == 3
    assert files(tmp_path / "out") == {}


def test_recompose_leaves_them_out_unless_told(run: Run, hbseg: Hbseg, mixed: Path) -> None:
    """No blank pictures: only photos with a person are composed, and the number of the others is
    said; --include-empty composes them all."""
    run(mixed)
    ended = hbseg("recompose", "out", "--format", "jpg", "--background", "white")
    assert ended.code == 0, ended.err
    left_out = "left out: 2 photos in which nobody was found (hbseg recompose --include-empty)"
    assert left_out in ended.err
    made = {path.name for path in (hbseg.cwd / "out/recomposed").glob("*.jpg")}
    assert made == {"a.jpg"}
    ended = hbseg("recompose", "out", "--format", "jpg", "--include-empty")
    assert ended.code == 0, ended.err
    assert "left out" not in ended.err
    assert len(list((hbseg.cwd / "out/recomposed").glob("*.jpg"))) == 3


def test_recompose_of_nobody_alone(run: Run, hbseg: Hbseg, mixed: Path) -> None:
    """Nothing to compose is no error, and it is said why."""
    run(mixed / "b.jpg")
    ended = hbseg("recompose", "out")
    assert ended.code == 0
    left_out = "left out: 1 photo in which nobody was found (hbseg recompose --include-empty)\n"
    assert ended.err == left_out
    assert left_out in run(mixed / "b.jpg", "--crop").err


def test_they_are_foreseen_as_settled(run: Run, api: FakeApi, mixed: Path, tmp_path: Path) -> None:
    """The total counted ahead does not take them for photos that are left to do, unless the run
    requires a person."""
    run(mixed)
    settings = run_settings(mixed, tmp_path / "out", api.url)
    found = list(find(settings.inputs, Walk()))
    journal = Journal(str(tmp_path / "out"), read_only=True)
    for required, settled in ((False, 3), (True, 1)):
        wanted = replace(settings.wanted, require_person=required)
        fingerprint = fingerprint_of(replace(settings, wanted=wanted))
        decider = Decider(journal, Publisher(journal.root, durable=False), fingerprint)
        assert foreseen(found, journal, decider) == settled
    journal.close()


def test_a_watcher_forgets_one_that_was_moved_away(
    run: Run, paid: Hbseg, api: FakeApi, mixed: Path
) -> None:
    """Killed with a done photo before it again, and the photo is gone since: it is done, as it was,
    and not pending for ever."""
    run(mixed)
    with sqlite3.connect(paid.cwd / "out/.hbseg/journal.sqlite3") as db:
        db.execute("UPDATE photos SET status = 'pending' WHERE name = X'622e706e67'")
    db.close()
    (mixed / "b.jpg").unlink()
    where = (mixed, "-o", "out", "--endpoint", api.url, "--poll", "--max-duration", "1s")
    assert paid("watch", *where).code == 5
    figures = json.loads(paid("status", "out", "--json").out)
    assert (figures["done"], figures["pending"], figures["nobody_found"]) == (3, 0, 2)
    assert len(api.stats.calls) == 3
