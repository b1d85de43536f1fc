"""Which results of earlier runs are still shown: other servers, models and edges, edited files."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from conftest import Hbseg, Run, files, photo
from fake_answers import Style
from fake_api import FakeApi
from fake_behaviour import Behaviour
from PIL import Image
from results import LARGE, SMALL, is_soft, size_of, snapshot

# -- what must not stay ------------------------------------------------------------------------


def test_another_engines_mask_does_not_stay(
    run: Run, hbseg: Hbseg, photos: Path, tmp_path: Path
) -> None:
    """The embedded engine's mask goes when the API's cutout comes with ``--no-mask``."""
    assert hbseg("segment", photos, "-o", "out").code == 0
    run(photos, "--no-mask")
    assert not [name for name in files(tmp_path / "out") if name.startswith("masks")]


def test_a_mask_of_the_same_call_stays(run: Run, photos: Path, tmp_path: Path) -> None:
    """``--no-mask`` wants no new mask; one that the API was paid for is still this photo's."""
    run(photos)
    before = snapshot(tmp_path / "out")
    run(photos, "--no-mask")
    assert snapshot(tmp_path / "out") == before


@pytest.mark.parametrize("new", [b"no picture at all", b""])
def test_the_cutout_of_a_replaced_photo_does_not_stay(run: Run, tmp_path: Path, new: bytes) -> None:
    """A photo was replaced by a file that is rejected: nothing of the old photo is at its name."""
    source = photo(tmp_path / "photos/a.jpg", seed=1)
    run("photos")
    source.write_bytes(new)
    run("photos", code=3)
    assert files(tmp_path / "out") == {}


def test_the_cutout_of_a_photo_replaced_by_a_refused_one_does_not_stay(
    paid: Hbseg, tmp_path: Path
) -> None:
    """The same where the API refuses the new photo."""
    source = photo(tmp_path / "photos/a.jpg", seed=1)
    refused = "IMAGE_ERROR_UNSUPPORTED_FORMAT: image_file"
    with FakeApi.in_thread(Behaviour(script=("ok", refused))) as api:
        arguments = ("segment", "photos", "-o", "out", "--endpoint", api.url)
        assert paid(*arguments).code == 0
        photo(source, seed=2)
        assert paid(*arguments).code == 3
    assert files(tmp_path / "out") == {}


def test_a_photo_that_cannot_be_read_keeps_its_results(run: Run, tmp_path: Path) -> None:
    """A disk that is away says nothing about the photo: what was paid for stays."""
    source = photo(tmp_path / "photos/a.jpg", seed=1)
    run("photos")
    before = files(tmp_path / "out")
    data = source.read_bytes()
    source.unlink()
    source.symlink_to("nowhere.jpg")
    run("photos", code=3)
    assert files(tmp_path / "out") == before
    source.unlink()
    source.write_bytes(data)
    assert "1 done" in run("photos").err


# -- which server, which model -----------------------------------------------------------------


def test_another_server_is_another_engine(paid: Hbseg, photos: Path, tmp_path: Path) -> None:
    """What a rehearsal against one server made is no answer of another."""
    style = Style(true_colours=True)
    with FakeApi.in_thread(Behaviour()) as one, FakeApi.in_thread(Behaviour(style=style)) as other:
        for api in (one, other):
            arguments = ("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 300)
            planned = json.loads(paid("plan", *arguments[1:], "--json").out)
            assert planned["calls"] == 4
            assert paid(*arguments).code == 0
            assert len(api.stats.calls) == 4
        assert paid(*arguments).code == 0
        assert len(other.stats.calls) == 4


def test_one_server_may_be_spelled_in_many_ways(
    run: Run, paid: Hbseg, api: FakeApi, photos: Path
) -> None:
    """Capital letters, a slash and the API's own path name the same server: no further call."""
    run(photos)
    port = api.url.rpartition(":")[2]
    for endpoint in (f"HTTP://127.0.0.1:{port}/", f"http://127.0.0.1:0{port}"):
        assert paid("segment", photos, "-o", "out", "--endpoint", endpoint).code == 0
    assert len(api.stats.calls) == 4


def test_an_unpublished_answer_is_of_one_server(paid: Hbseg, tmp_path: Path) -> None:
    """An answer that a killed rehearsal left is not taken for the API's own."""
    photo(tmp_path / "photos/a.jpg", seed=1)
    with FakeApi.in_thread(Behaviour()) as one, FakeApi.in_thread(Behaviour()) as other:
        arguments = ("segment", "photos", "-o", "out", "--qps", 300)
        (tmp_path / "out/cutouts").mkdir(parents=True)
        (tmp_path / "out/cutouts/.hbseg-x").touch()
        assert paid(*arguments, "--endpoint", one.url).code == 0
        answers = tmp_path / "out/.hbseg/answers"
        answers.mkdir(exist_ok=True)
        import hashlib

        sha256 = hashlib.sha256((tmp_path / "photos/a.jpg").read_bytes()).hexdigest()
        images = one.answers.images((tmp_path / "photos/a.jpg").read_bytes())
        import base64

        body = json.dumps(
            {
                "result": base64.b64encode(images.result).decode(),
                "body_image": base64.b64encode(images.body_image).decode(),
            }
        )
        (answers / "0").write_bytes(f"{sha256}\n{body}".encode())
        shutil.rmtree(tmp_path / "out/cutouts")
        shutil.rmtree(tmp_path / "out/masks")
        for path in (tmp_path / "out/.hbseg").glob("journal*"):
            path.unlink()
        assert paid(*arguments, "--endpoint", other.url).code == 0
        assert len(other.stats.calls) == 1


def test_results_of_the_api_are_not_replaced_by_a_rehearsal(
    run: Run, hbseg: Hbseg, photos: Path, tmp_path: Path
) -> None:
    """Without a key and an engine, results of any server stay."""
    run(photos)
    before = snapshot(tmp_path / "out")
    assert hbseg("segment", photos, "-o", "out").code == 0
    assert snapshot(tmp_path / "out") == before


def test_a_journal_of_an_earlier_version_is_taken_up(
    run: Run, api: FakeApi, photos: Path, tmp_path: Path
) -> None:
    """Rows that name no server, and files without a proof inside: no call, no change."""
    run(photos)
    with sqlite3.connect(tmp_path / "out/.hbseg/journal.sqlite3") as db:
        db.execute(
            "UPDATE photos SET shape = 'fit=0;edges=hard;metadata=strip;engine=api', "
            "checked = 'fit=0;edges=hard;metadata=strip;engine=api'"
        )
        for name, data in files(tmp_path / "out").items():
            bare = _without_proof(data)
            (tmp_path / "out" / name).write_bytes(bare)
            column = name.split("/")[0].removesuffix("s") + "_size"
            db.execute(
                f"UPDATE photos SET {column} = ? WHERE name = ?",
                (len(bare), os.fsencode(name.split("/", 1)[1])),
            )
    db.close()
    before = snapshot(tmp_path / "out")
    run(photos)
    assert (len(api.stats.calls), snapshot(tmp_path / "out")) == (4, before)
    os.utime(photos / "a.jpg")
    run(photos)
    assert (len(api.stats.calls), snapshot(tmp_path / "out")) == (4, before)
    one, other = (photos / name for name in ("a.jpg", "deeper/d.jpg"))
    swapped = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(swapped)
    run(photos)
    run(photos, "--edges", "soft")
    assert len(api.stats.calls) == 4


def _without_proof(data: bytes) -> bytes:
    length = int.from_bytes(data[33:37], "big")
    assert data[37:41] == b"hbSG"
    return data[:33] + data[33 + 12 + length :]


def test_how_a_model_is_fed_is_part_of_the_result(hbseg: Hbseg, tmp_path: Path) -> None:
    """Another preset, or another model under the same file name: the photos are done again."""
    bundled = (
        Path(__file__).resolve().parents[2]
        / "humanbody_cli/embedded/models/selfie_segmentation.onnx"
    )
    model = tmp_path / "mine.onnx"
    shutil.copy(bundled, model)
    photo(tmp_path / "photos/a.jpg", seed=1)
    fed = ("--model", model, "--preset", "selfie")
    arguments = ("segment", "photos", "-o", "out", "--engine", "local", "--json")

    def skipped(*options: object) -> bool:
        ended = hbseg(*arguments, *options)
        assert ended.code == 0, ended.err
        return bool(ended.records[0].get("skipped"))

    assert [skipped(*fed), skipped(*fed)] == [False, True]
    assert [skipped(*fed, "--mean", "0.1,0.1,0.1"), skipped(*fed)] == [False, False]
    model.write_bytes(model.read_bytes() + b"\x92\x01\x00")  # one more field of its metadata
    assert skipped(*fed) is False


def test_published_files_tell_nothing_about_the_machine(
    run: Run, api: FakeApi, photos: Path, tmp_path: Path
) -> None:
    """A cutout may be shown to anybody: no address and no path is in it."""
    run(photos)
    for data in files(tmp_path / "out").values():
        assert b"127.0.0.1" not in data
        assert os.fsencode(tmp_path) not in data
        Image.open(io.BytesIO(data)).load()


def test_an_edited_cutout_is_the_users(run: Run, photos: Path, tmp_path: Path) -> None:
    """A cutout that the user has edited stays where it is, as it is, when its photo's output name
    changes; the photo is done under its new name."""
    run(photos)
    edited = tmp_path / "out/cutouts/a.png"
    with Image.open(edited) as image:
        image.convert("LA").save(edited)
    mine = edited.read_bytes()
    photo(photos / "a.png", seed=60)
    run(photos)
    assert edited.read_bytes() == mine
    assert {"cutouts/a.jpg.png", "cutouts/a.png.png"} <= set(files(tmp_path / "out"))


def test_swapped_photos_find_their_masks_for_other_edges(
    run: Run, api: FakeApi, tmp_path: Path
) -> None:
    """Two photos swap their names and the edges change: the cutouts are composed of the masks."""
    one = photo(tmp_path / "photos/a.jpg", seed=1, size=SMALL)
    other = photo(tmp_path / "photos/b.jpg", seed=2, size=LARGE)
    run("photos")
    one.rename(tmp_path / "spare")
    other.rename(one)
    (tmp_path / "spare").rename(other)
    run("photos", "--edges", "soft")
    assert len(api.stats.calls) == 2
    assert size_of(tmp_path / "out", "a.png") == LARGE
    assert is_soft(tmp_path / "out", "a.png")


def test_masks_outlive_a_lost_journal_and_other_edges(
    run: Run, api: FakeApi, photos: Path, tmp_path: Path
) -> None:
    """Without a journal, and with other edges, the masks that prove themselves are enough."""
    run(photos)
    shutil.rmtree(tmp_path / "out/.hbseg")
    run(photos, "--edges", "soft")
    assert len(api.stats.calls) == 4
    assert is_soft(tmp_path / "out", "a.png")


def test_what_is_kept_for_an_unreadable_photo_serves_its_copies(
    run: Run, api: FakeApi, tmp_path: Path
) -> None:
    """A link whose target moved, and a new link to it: the first one's results serve the second."""
    target = photo(tmp_path / "store/x.jpg")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").symlink_to(target)
    run("photos")
    moved = tmp_path / "store/y.jpg"
    target.rename(moved)
    run("photos", code=3)
    (tmp_path / "photos/b.jpg").symlink_to(moved)
    run("photos", code=3)
    assert len(api.stats.calls) == 1


def test_one_intact_copy_of_many_is_found(run: Run, api: FakeApi, tmp_path: Path) -> None:
    """Of thirty copies the last one alone has its results: none is paid for again."""
    first = photo(tmp_path / "photos/00.jpg")
    for index in range(1, 30):
        shutil.copy(first, tmp_path / f"photos/{index:02}.jpg")
    run("photos")
    for kind in ("masks", "cutouts"):
        for path in sorted((tmp_path / "out" / kind).iterdir())[:-1]:
            path.unlink()
    run("photos")
    assert len(api.stats.calls) == 1
    assert len(files(tmp_path / "out")) == 60


def test_a_photo_that_became_a_pipe_has_no_results(run: Run, tmp_path: Path) -> None:
    """What is no file any more is rejected, and the old photo's cutout goes."""
    source = photo(tmp_path / "photos/a.jpg")
    run("photos")
    source.unlink()
    os.mkfifo(source)
    run("photos", code=3)
    assert files(tmp_path / "out") == {}


def test_names_that_differ_only_in_case_differ_between_runs_too(
    run: Run, api: FakeApi, tmp_path: Path
) -> None:
    """``one/A.jpg`` in one run and ``two/a.jpg`` in the next: where the file system ignores case
    neither takes the other's place, and neither is paid for again."""
    photo(tmp_path / "one/A.jpg", seed=1)
    photo(tmp_path / "two/a.jpg", seed=2)
    for _ in range(2):
        run("one")
        run("two")
    names = [name.lower() for name in files(tmp_path / "out")]
    assert len(set(names)) == len(names) == 4
    assert len(api.stats.calls) == 2


def test_the_lock_is_no_link(hbseg: Hbseg, photos: Path, tmp_path: Path) -> None:
    """A link where the lock belongs is refused, and what it leads to stays as it is."""
    (tmp_path / "out/.hbseg").mkdir(parents=True)
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    (tmp_path / "out/.hbseg/lock").symlink_to(mine)
    ended = hbseg("segment", photos, "-o", "out")
    assert ended.code == 4
    assert "Traceback" not in ended.err
    assert mine.read_text() == "mine"
