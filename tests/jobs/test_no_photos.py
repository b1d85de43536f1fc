"""What hbseg made is no photo, whatever leads to it: nothing is paid for its own results."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Hbseg, Run, files, photo
from fake_api import FakeApi

from humanbody_cli.core.settings import InputSettings
from humanbody_cli.discovery.find import find
from humanbody_cli.discovery.walk import Walk

MARK = ".hbseg-recomposed"


def settles(run: Run, api: FakeApi, tmp_path: Path, *arguments: object) -> None:
    """A run, twice: the results stay what they are, and no call is made."""
    calls, before = len(api.stats.calls), files(tmp_path / "out")
    for _ in range(2):
        run(*arguments)
        assert (len(api.stats.calls), files(tmp_path / "out")) == (calls, before)


@pytest.mark.parametrize(
    "target", ["out/cutouts", "out/masks", "out/cutouts/deeper", "out/.hbseg", "out"]
)
def test_a_link_into_the_results_leads_to_no_photo(
    run: Run, api: FakeApi, photos: Path, tmp_path: Path, target: str
) -> None:
    """A link in the input to results, to a folder below them, or to the state; made while they are
    not there yet as well as later."""
    (photos / "link").symlink_to(tmp_path / target)
    run(photos, code=3 if target != "out/.hbseg" and target != "out" else 0)
    settles_at = len(api.stats.calls)
    assert settles_at == 4
    settles(run, api, tmp_path, photos)


def test_results_on_another_disk_that_is_an_input(run: Run, api: FakeApi, tmp_path: Path) -> None:
    """``out/cutouts`` is a link to a folder below the input: what it holds is still no photo."""
    photo(tmp_path / "data/a.jpg")
    (tmp_path / "data/cut").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/cutouts").symlink_to("../data/cut")
    run("data")
    assert len(api.stats.calls) == 1
    assert (tmp_path / "data/cut/a.png").exists()
    settles(run, api, tmp_path, "data")
    listed = tmp_path / "list"
    listed.write_text("data/a.jpg\ndata/cut\ndata/cut/a.png\nout/cutouts/a.png\n")
    settles(run, api, tmp_path, "--from-file", listed)


@pytest.mark.parametrize(
    "name", ["out/cutouts", "out/masks", "link", "link/deeper", "out/cutouts/a.png", "link/a.png"]
)
def test_results_that_are_named_are_told_to_be_none(
    run: Run, api: FakeApi, photos: Path, tmp_path: Path, name: str
) -> None:
    """A folder or file of results on the command line: a sentence that -q does not take away, and
    nothing is done."""
    (tmp_path / "link").symlink_to("out/cutouts")
    run(photos)
    ended = run(name, "-q")
    assert ended.err.startswith(f"{name}: results in this output folder are not photos")
    assert ended.err.count("\n") == 1
    settles(run, api, tmp_path, name)


def test_results_of_a_list_are_passed_by(
    run: Run, api: FakeApi, photos: Path, tmp_path: Path
) -> None:
    """What ``find -L`` names through a link is not taken, and what is no result is."""
    (photos / "link").symlink_to("../out/cutouts")
    (photos / "other").symlink_to(".")
    run("photos/a.jpg", "photos/b.jpg")
    names = ["a.jpg", "link", "link/a.png", "b.jpg", "link/b.png", "other/a.jpg"]
    listed = "".join(f"photos/{name}\n" for name in names).encode()
    ended = run("--from-file", "-", "--json", stdin=listed)
    assert [record["source"] for record in ended.records if "skipped" not in record] == [
        "photos/other/a.jpg"
    ]
    assert "3 other files skipped" in ended.err


# -- recomposed cutouts ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["photos", "find", "named"])
def test_recomposed_cutouts_below_the_photos_are_no_photos(
    run: Run, paid: Hbseg, api: FakeApi, photos: Path, tmp_path: Path, how: str
) -> None:
    """``--into`` a folder below the input: a further run makes no call, and a further recompose
    replaces its own. Walked, listed, and beside a photo of the user's that is put into a folder
    next to them."""
    run("photos")
    anew = ("recompose", "out", "--into", "photos/shop", "--format", "jpg")
    assert paid(*anew).code == 0
    made = sorted(path.name for path in (tmp_path / "photos/shop").rglob("*.jpg"))
    assert made == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    found = sorted(str(path.relative_to(tmp_path)) for path in photos.rglob("*.*"))
    (tmp_path / "list").write_text("\n".join(["photos", "photos/shop", *found]))
    inputs = {
        "photos": ("photos",),
        "find": ("--from-file", "list"),
        "named": ("photos", "photos/a.jpg"),
    }[how]
    settles(run, api, tmp_path, *inputs)
    ended = paid(*anew, "--size", "40")
    assert ended.code == 0, ended.err
    photo(photos / "shop/mine/new.jpg", seed=9)
    assert "other files skipped" in run("photos").err
    assert len(api.stats.calls) == 5


def test_a_folder_of_recomposed_cutouts_that_is_named_is_walked(
    paid: Hbseg, api: FakeApi, run: Run, photos: Path, tmp_path: Path
) -> None:
    """Who names it means it: with all that recompose wrote below it."""
    run("photos")
    assert paid("recompose", "out", "--into", "shop").code == 0
    walk = Walk()
    named = InputSettings(inputs=(str(tmp_path / "shop"),))
    assert len(list(find(named, walk))) == 4
    assert walk.skipped == 0


@pytest.mark.parametrize(
    ("into", "holder"),
    [("photos", "photos"), ("photos/deeper", "photos/deeper"), ("alone", "alone/deeper")],
)
def test_recomposing_into_photos_is_refused(
    run: Run, paid: Hbseg, photos: Path, tmp_path: Path, into: str, holder: str
) -> None:
    """A folder that holds photos of the journal takes no cutouts, even where no name is taken, and
    even where it is one below DIR: exit 2 before the first write."""
    photo(tmp_path / "alone/deeper/e.jpg", seed=8)
    run("photos", "alone/deeper")
    before = sorted([*photos.rglob("*"), *(tmp_path / "alone").rglob("*")])
    ended = paid("recompose", "out", "--into", into, "--format", "webp")
    assert ended.code == 2
    assert f"--into {into}: {holder} holds photos of out" in ended.err
    assert sorted([*photos.rglob("*"), *(tmp_path / "alone").rglob("*")]) == before


def test_a_folder_with_other_pictures_is_not_marked(
    run: Run, paid: Hbseg, photos: Path, tmp_path: Path
) -> None:
    """Pictures of somebody else's there may be photos: they stay photos, and the user is told. A
    folder from before marks were made, with nothing but recomposed cutouts, gets its mark."""
    run("photos")
    photo(tmp_path / "mixed/mine.jpg", seed=8)
    ended = paid("recompose", "out", "--into", "mixed")
    assert ended.code == 0
    assert "mixed: also holds other pictures" in ended.err
    assert not (tmp_path / "mixed" / MARK).exists()
    (tmp_path / "mixed/mine.jpg").unlink()
    assert paid("recompose", "out", "--into", "mixed").code == 0
    assert os.path.getsize(tmp_path / "mixed" / MARK) == 0
