"""A result is shown for a photo only if it was made of that photo's bytes, as asked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from conftest import Hbseg, Run, files, photo
from fake_api import FakeApi
from PIL import Image
from results import LARGE, SMALL, forget, is_soft, size_of, snapshot


@pytest.mark.parametrize(
    "inputs",
    [
        ("photos/a.jpg", "photos"),
        ("photos", "photos/a.jpg"),
        ("photos", "photos/deeper"),
        ("photos/deeper", "photos"),
        ("photos", "./photos", "photos/deeper/../a.jpg"),
    ],
)
def test_a_photo_met_twice_is_one_photo(
    run: Run, api: FakeApi, photos: Path, tmp_path: Path, inputs: tuple[str, ...]
) -> None:
    """A file beside its own folder, nested and repeated folders: one call and one result a photo,
    and the same command again makes no call and changes no file."""
    run(*inputs)
    before = snapshot(tmp_path / "out")
    assert (len(api.stats.calls), len(before)) == (4, 8)
    run(*inputs)
    assert (len(api.stats.calls), snapshot(tmp_path / "out")) == (4, before)


def test_what_find_lists_settles(run: Run, api: FakeApi, photos: Path, tmp_path: Path) -> None:
    """``find photos`` names folders and the files in them: each photo is done once, in its tree."""
    listed = b"".join(
        os.fsencode(os.path.relpath(path, tmp_path)) + b"\n"
        for path in [photos, *sorted(photos.rglob("*"))]
    )
    run("--from-file", "-", stdin=listed)
    before = snapshot(tmp_path / "out")
    assert {name for name in before if name.startswith("cutouts")} == {
        *("cutouts/a.png", "cutouts/b.png", "cutouts/c.png", "cutouts/deeper/d.png")
    }
    run("--from-file", "-", stdin=listed)
    assert (len(api.stats.calls), snapshot(tmp_path / "out")) == (4, before)


def test_a_path_back_through_a_link_is_another_photo(run: Run, tmp_path: Path) -> None:
    """``x.jpg`` and ``link/../x.jpg`` are two files: both are done, each as itself."""
    photo(tmp_path / "x.jpg", seed=1, size=SMALL)
    photo(tmp_path / "elsewhere/x.jpg", seed=2, size=LARGE)
    (tmp_path / "elsewhere/deep").mkdir()
    (tmp_path / "link").symlink_to("elsewhere/deep")
    ended = run("x.jpg", "link/../x.jpg", "--json")
    made = {record["source"]: record["cutout"] for record in ended.records}
    sizes = {}
    for source, cutout in made.items():
        with Image.open(tmp_path / cutout) as image:
            sizes[source] = image.size
    assert sizes == {"x.jpg": SMALL, "link/../x.jpg": LARGE}


def test_names_follow_the_inputs_in_one_run(run: Run, api: FakeApi, tmp_path: Path) -> None:
    """First the inner folder alone, then the outer one: every name is the outer run's at once, each
    with its own picture, and a further run changes nothing."""
    photo(tmp_path / "photos/sub/x.jpg", seed=1, size=SMALL)
    photo(tmp_path / "photos/x.jpg", seed=2, size=LARGE)
    run("photos/sub")
    assert size_of(tmp_path / "out", "x.png") == SMALL
    run("photos")
    assert size_of(tmp_path / "out", "x.png") == LARGE
    assert size_of(tmp_path / "out", "sub/x.png") == SMALL
    before = snapshot(tmp_path / "out")
    assert len(before) == 4
    run("photos")
    assert (len(api.stats.calls), snapshot(tmp_path / "out")) == (2, before)


def test_a_file_named_by_itself_keeps_its_name(run: Run, api: FakeApi, tmp_path: Path) -> None:
    """Done as part of its folder, then named alone: its results stay where they are."""
    source = photo(tmp_path / "photos/sub/x.jpg", seed=1)
    run("photos")
    before = snapshot(tmp_path / "out")
    run(source)
    run("--from-file", "-", stdin=f"{source}\n".encode())
    assert (len(api.stats.calls), snapshot(tmp_path / "out")) == (1, before)


def test_photos_that_changed_places_pay_nothing(run: Run, api: FakeApi, tmp_path: Path) -> None:
    """Two photos swap their names: each gets its own results back, without a call."""
    one = photo(tmp_path / "photos/a.jpg", seed=1, size=SMALL)
    other = photo(tmp_path / "photos/b.jpg", seed=2, size=LARGE)
    run("photos")
    one.rename(tmp_path / "spare")
    other.rename(one)
    (tmp_path / "spare").rename(other)
    run("photos")
    assert len(api.stats.calls) == 2
    assert size_of(tmp_path / "out", "a.png") == LARGE
    assert size_of(tmp_path / "out", "b.png") == SMALL
    assert not list((tmp_path / "out/.hbseg").glob("replaced/*"))


def test_an_older_photo_in_the_same_place_is_not_its_predecessor(
    run: Run, api: FakeApi, tmp_path: Path
) -> None:
    """``cp -p`` and ``mv`` bring a photo that is older than the result of the one before it: where
    no row tells what the result is of, it is not taken for the new photo's."""
    source = photo(tmp_path / "photos/a.jpg", seed=1)
    run("photos")
    photo(source, seed=2)
    os.utime(source, (1_000_000_000, 1_000_000_000))
    forget(tmp_path / "out")
    run("photos")
    assert len(api.stats.calls) == 2


def test_a_photo_from_stdin_is_not_its_predecessor(run: Run, api: FakeApi, tmp_path: Path) -> None:
    """stdin has no time: what lies at its name is its result only if it proves that."""
    one, two = (photo(tmp_path / f"{n}.jpg", seed=n).read_bytes() for n in (1, 2))
    run("-", stdin=one)
    forget(tmp_path / "out")
    run("-", stdin=one)
    assert len(api.stats.calls) == 1
    forget(tmp_path / "out")
    run("-", stdin=two)
    assert len(api.stats.calls) == 2


def test_results_of_another_engine_are_not_adopted(
    run: Run, hbseg: Hbseg, api: FakeApi, photos: Path, tmp_path: Path
) -> None:
    """What the embedded engine made is not recorded as the API's, whatever became of the rows."""
    assert hbseg("segment", photos, "-o", "out").code == 0
    forget(tmp_path / "out")
    run(photos)
    assert len(api.stats.calls) == 4


def test_results_with_other_edges_are_not_adopted(run: Run, photos: Path, tmp_path: Path) -> None:
    """Hard cutouts that no row tells of do not pass for soft ones."""
    run(photos)
    forget(tmp_path / "out")
    run(photos, "--edges", "soft")
    assert is_soft(tmp_path / "out", "a.png")


@pytest.mark.parametrize("what", ["rows", "journal", "state"])
def test_a_lost_journal_costs_no_call(
    run: Run, api: FakeApi, photos: Path, tmp_path: Path, what: str
) -> None:
    """Untouched photos and results prove themselves: without rows, without the journal's file, and
    without the whole state folder, nothing is paid for again and no byte changes."""
    run(photos)
    before = files(tmp_path / "out")
    if what == "rows":
        forget(tmp_path / "out")
    elif what == "journal":
        for path in (tmp_path / "out/.hbseg").glob("journal*"):
            path.unlink()
    else:
        shutil.rmtree(tmp_path / "out/.hbseg")
    run(photos)
    assert (len(api.stats.calls), files(tmp_path / "out")) == (4, before)


def test_after_a_lost_journal_copies_and_renamed_photos_find_their_results(
    run: Run, api: FakeApi, photos: Path, tmp_path: Path
) -> None:
    """What the files are made of is read from the files: a photo that has another name by now, and
    a copy that comes before its twin, cost no call."""
    run(photos)
    for path in (tmp_path / "out/.hbseg").glob("journal*"):
        path.unlink()
    (photos / "a.jpg").rename(photos / "renamed.jpg")
    shutil.copy(photos / "deeper/d.jpg", photos / "0.jpg")
    run(photos)
    assert len(api.stats.calls) == 4
    assert {"cutouts/renamed.png", "cutouts/0.png"} <= set(files(tmp_path / "out"))


def test_a_result_does_not_change_the_name_of_another(paid: Hbseg, api: FakeApi) -> None:
    """``me.png`` made from ``me.jpg`` is no second photo: the cutout beside the photo is up to date
    under the name that it had, and no call is made."""
    photo(paid.cwd / "me.jpg")
    where = ("--endpoint", api.url)
    for output in ((), ("-o", "me.png")):
        assert paid("segment", "me.jpg", *output, *where).code == 0
    ended = paid("segment", "me.jpg", *where)
    assert (ended.code, len(api.stats.calls)) == (0, 2)
    assert ended.err.startswith("me-cutout.png: already done")
