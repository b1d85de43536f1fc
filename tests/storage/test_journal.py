"""The journal and what a second run makes of it."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Hbseg, files, photo
from fake_api import FakeApi
from fake_behaviour import Behaviour
from PIL import Image

Segment = Callable[..., int]
"""Runs ``segment photos -o out`` with further arguments; how many calls it made."""


@pytest.fixture
def segment(paid: Hbseg, photos: Path, api: FakeApi) -> Segment:
    """See `Segment`."""

    def run(*arguments: object, code: int = 0, inputs: object = photos) -> int:
        before = len(api.stats.calls)
        ended = paid(
            *("segment", inputs, "-o", "out", "--endpoint", api.url, "--qps", 200, *arguments)
        )
        assert ended.code == code, ended.err
        assert "Traceback" not in ended.err
        return len(api.stats.calls) - before

    return run


def test_a_finished_run_run_again_makes_no_call(segment: Segment, tmp_path: Path) -> None:
    """Nothing left to do: no call, no byte changed, exit 0."""
    assert segment() == 4
    before = files(tmp_path / "out")
    assert segment() == 0
    assert files(tmp_path / "out") == before


def test_a_changed_photo_is_done_again(segment: Segment, photos: Path, tmp_path: Path) -> None:
    """New bytes at the same path cost one call; the others none."""
    segment()
    before = files(tmp_path / "out")
    photo(photos / "a.jpg", seed=50, size=(120, 100))
    assert segment() == 1
    with Image.open(tmp_path / "out/masks/a.png") as mask:
        assert mask.size == (120, 100)
    assert before["masks/b.png"] == files(tmp_path / "out")["masks/b.png"]


def test_a_touched_photo_costs_nothing(segment: Segment, photos: Path) -> None:
    """Only the bytes count: a new time stamp is noted, and no call is made."""
    segment()
    os.utime(photos / "a.jpg")
    assert segment() == 0


def test_a_moved_folder_costs_nothing(segment: Segment, photos: Path, tmp_path: Path) -> None:
    """The same bytes elsewhere are known by what they are."""
    segment()
    shutil.move(photos, tmp_path / "moved")
    assert segment(inputs=tmp_path / "moved") == 0


def test_a_lost_or_damaged_output_is_made_again(segment: Segment, tmp_path: Path) -> None:
    """A row alone is no proof: the files must be there in full."""
    segment()
    before = files(tmp_path / "out")
    (tmp_path / "out/masks/a.png").unlink()
    (tmp_path / "out/cutouts/b.png").write_bytes(b"short")
    assert segment() <= 2
    assert set(files(tmp_path / "out")) == set(before)
    for data in files(tmp_path / "out").values():
        Image.open(io.BytesIO(data)).load()


def test_copies_cost_one_call(segment: Segment, photos: Path, tmp_path: Path) -> None:
    """Photos with the same bytes, in one run or across runs, are sent once; each has outputs."""
    for index in range(5):
        shutil.copy(photos / "a.jpg", photos / f"copy{index}.jpg")
    assert segment() == 4
    shutil.copy(photos / "b.jpg", photos / "later.jpg")
    assert segment() == 0
    made = files(tmp_path / "out")
    assert made["cutouts/copy3.png"] == made["cutouts/a.png"]
    assert made["cutouts/later.png"] == made["cutouts/b.png"]
    assert len(made) == 20


def test_a_new_neighbour_changes_names_and_costs_nothing(
    segment: Segment, photos: Path, tmp_path: Path
) -> None:
    """``a.jpg`` alone is ``a.png``; beside ``a.png`` each keeps its own name, for one call."""
    segment()
    first = files(tmp_path / "out")["cutouts/a.png"]
    photo(photos / "a.png", seed=60)
    assert segment() == 1
    made = files(tmp_path / "out")
    assert made["cutouts/a.jpg.png"] == first
    assert "cutouts/a.png.png" in made and "cutouts/a.png" not in made
    (photos / "a.png").unlink()
    assert segment() == 0
    assert files(tmp_path / "out")["cutouts/a.png"] == first


def test_force_does_everything_again(segment: Segment) -> None:
    """``--force`` pays again, once a photo."""
    segment()
    assert segment("--force") == 4


def test_an_option_that_only_composes_uses_the_paid_mask(segment: Segment, tmp_path: Path) -> None:
    """Soft edges come from the mask that is already there: no call."""
    segment()
    hard = files(tmp_path / "out")
    assert segment("--edges", "soft") == 0
    soft = files(tmp_path / "out")
    assert soft["masks/a.png"] == hard["masks/a.png"]
    assert soft["cutouts/a.png"] != hard["cutouts/a.png"]
    assert segment("--edges", "soft") == 0


def test_a_mask_that_was_not_asked_for_is_fetched_when_it_is(
    segment: Segment, tmp_path: Path
) -> None:
    """``--no-mask`` first, masks later: the photos are sent again, for what is missing."""
    segment("--no-mask")
    assert not (tmp_path / "out/masks").exists()
    assert segment() == 4
    assert len(files(tmp_path / "out")) == 8


def test_rejects_are_remembered(segment: Segment, photos: Path) -> None:
    """A reject stays one until it changes, keeps the exit code at 3, and then is done."""
    (photos / "bad.jpg").write_text("no picture")
    assert segment(code=3) == 4
    assert segment(code=3) == 0
    photo(photos / "bad.jpg", seed=70)
    assert segment() == 1


def test_failures_for_good_wait_for_retry_failed(paid: Hbseg, photos: Path) -> None:
    """A photo that the API refused is not paid for again, until ``--retry-failed``."""
    with FakeApi.in_thread(Behaviour(always="IMAGE_ERROR_UNSUPPORTED_FORMAT: image_file")) as api:
        arguments = ("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 200)
        assert [paid(*arguments).code, len(api.stats.calls)] == [3, 4]
        assert [paid(*arguments).code, len(api.stats.calls)] == [3, 4]
        api.reset(Behaviour())
        assert [paid(*arguments, "--retry-failed").code, len(api.stats.calls)] == [0, 4]


def test_transient_failures_are_tried_again_by_themselves(paid: Hbseg, photos: Path) -> None:
    """What failed because the server did is done by the next run."""
    with FakeApi.in_thread(Behaviour(script=("internal",))) as api:
        arguments = ("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 200)
        assert paid(*arguments, "--retries", 0).code == 3
        assert paid(*arguments).code == 0
        assert len(api.stats.calls) == 5


def test_outputs_without_a_row_are_adopted(segment: Segment, tmp_path: Path) -> None:
    """Valid files that no row tells of are taken up without a call, invalid ones are made anew."""
    segment()
    before = files(tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / ".hbseg")
    (tmp_path / "out/cutouts/b.png").write_bytes(before["cutouts/b.png"][:-20])
    assert segment() == 1
    assert files(tmp_path / "out") == before


@pytest.mark.parametrize("damage", ["truncated", "garbage", "no SQLite", "overwritten page"])
def test_a_damaged_journal_is_rebuilt_from_the_outputs(
    paid: Hbseg, photos: Path, api: FakeApi, tmp_path: Path, damage: str
) -> None:
    """It is said, the damaged file is kept, and nothing is paid for twice."""
    arguments = ("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 200)
    assert paid(*arguments).code == 0
    path = tmp_path / "out/.hbseg/journal.sqlite3"
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "garbage":
        data = bytearray(os.urandom(len(data)))
    elif damage == "no SQLite":
        data = bytearray(b"hello")
    else:
        data[4096:8192] = b"\xff" * 4096
    path.write_bytes(data)
    ended = paid(*arguments)
    if ended.code == 4:  # found only while the run was at it: said, and rebuilt by the next one
        assert "damaged" in ended.err
        ended = paid(*arguments)
    assert ended.code == 0, ended.err
    assert len(api.stats.calls) == 4
    assert "Traceback" not in ended.err
    assert list(path.parent.glob("*damaged*"))


def test_a_journal_of_a_later_version_is_left_alone(segment: Segment, tmp_path: Path) -> None:
    """A newer format is an error that says so, and the file is not touched."""
    segment()
    path = tmp_path / "out/.hbseg/journal.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = path.read_bytes()
    assert segment(code=4) == 0
    assert path.read_bytes() == before


def test_what_the_api_was_paid_for_is_not_replaced_by_the_embedded_engine(
    segment: Segment,
    hbseg: Hbseg,
    photos: Path,
    tmp_path: Path,
) -> None:
    """A cron job that lost its key leaves paid results alone, unless the engine is named."""
    segment()
    before = files(tmp_path / "out")
    assert hbseg("segment", photos, "-o", "out").code == 0
    assert files(tmp_path / "out") == before
    assert hbseg("segment", photos, "-o", "out", "--engine", "local").code == 0
    assert files(tmp_path / "out") != before


def test_a_power_cut_between_files_and_row_costs_nothing(segment: Segment, tmp_path: Path) -> None:
    """Rows that a power cut took are written again from the published files."""
    segment()
    before = files(tmp_path / "out")
    with sqlite3.connect(tmp_path / "out/.hbseg/journal.sqlite3") as db:
        db.execute("DELETE FROM photos")
    db.close()
    assert segment() == 0
    assert files(tmp_path / "out") == before


def test_something_in_the_way_is_this_photos_trouble_only(segment: Segment, tmp_path: Path) -> None:
    """A folder at a photo's output name: no call for it, the others are done, exit 3."""
    (tmp_path / "out/masks/a.png").mkdir(parents=True)
    assert segment(code=3) == 3
    shutil.rmtree(tmp_path / "out/masks/a.png")
    assert segment() == 1


def test_a_read_only_output_ends_before_money_is_spent(
    paid: Hbseg, photos: Path, api: FakeApi
) -> None:
    """An output that cannot be made: exit 4, one sentence, no call."""
    ended = paid("segment", photos, "-o", "/proc/out", "--endpoint", api.url)
    assert ended.code == 4
    assert "cannot write /proc/out" in ended.err
    assert not api.stats.calls


def test_shards_share_the_work(segment: Segment, tmp_path: Path) -> None:
    """Every photo belongs to exactly one part."""
    assert segment("--shard", "1/2") + segment("--shard", "2/2") == 4
    assert len(files(tmp_path / "out")) == 8


def test_the_record_in_the_journal_is_the_one_that_was_printed(
    paid: Hbseg, photos: Path, api: FakeApi
) -> None:
    """``segment --json`` and ``status --json`` tell the same of each photo."""
    ended = paid("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 200, "--json")
    told = {record["source"]: record for record in ended.records}
    kept = {r["source"]: r for r in json.loads(paid("status", "out", "--json").out)["photos"]}
    assert kept == told
