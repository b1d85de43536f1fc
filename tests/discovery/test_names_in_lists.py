"""The output names of photos from lists, and what a list does not name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from finding import fill, found, names_in, written

from humanbody_cli.discovery.walk import Walk
from humanbody_cli.storage.names import folded


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """An empty folder that is the current one."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def test_who_was_named_keeps_a_name(here: Path) -> None:
    """Photos that a list or the command line named keep the name that they have in the output;
    those of a walked folder are called by their folder's listing."""
    fill(here, "photos/a.jpg", "b.jpg", "more/c.jpg")
    listed = written(here / "list", "more")
    photos = found("photos", "b.jpg", "http://h/u.jpg", from_file=listed)
    assert {photo.name: photo.keeps_name for photo in photos} == {
        "a.png": False,
        "b.png": True,
        "u.png": True,
        "c.png": True,
    }


# -- names of lists ------------------------------------------------------------------------------


def test_a_list_keeps_the_tree(here: Path) -> None:
    """Names of a list keep their path below the folder that they have in common."""
    fill(here, "in/a/x.jpg", "in/b/x.jpg", "in/b/c/x.jpg")
    listed = written(here / "list", "in/a/x.jpg", here / "in/b/x.jpg", "in/b/c/x.jpg")
    assert names_in(from_file=listed) == ["a/x.png", "b/x.png", "b/c/x.png"]
    assert names_in(from_file=listed, base="in/b/..") == ["a/x.png", "b/x.png", "b/c/x.png"]
    assert names_in(from_file=listed, base=".") == ["in/a/x.png", "in/b/x.png", "in/b/c/x.png"]


def test_a_base_by_way_of_a_link_is_the_same_base(here: Path) -> None:
    """``--base "$PWD"`` below a link to a folder: the names need not lead through that link."""
    fill(here, "real/a/x.jpg")
    (here / "link").symlink_to("real")
    listed = written(here / "list", "real/a/x.jpg", "link/a/x.jpg")
    assert names_in(from_file=listed, base="link")[0] == "a/x.png"


def test_names_outside_the_base_keep_their_whole_path(here: Path) -> None:
    """What lies elsewhere is under its absolute path, and nothing is lost."""
    fill(here, "in/a.jpg", "else/a.jpg", "else/deep/b.jpg")
    listed = written(here / "list", "in/a.jpg", "else/a.jpg", "else/deep")
    root = str(here).lstrip("/")
    assert names_in(from_file=listed, base="in") == [
        "a.png",
        f"{root}/else/a.png",
        f"{root}/else/deep/b.png",
    ]


@pytest.mark.parametrize("names", [["in/a/x.jpg"], ["in/a"], ["in/a", "in/a/x.jpg"]])
def test_a_single_name_has_no_folder(here: Path, names: list[str]) -> None:
    """One file, or one folder, is what it is on the command line."""
    fill(here, "in/a/x.jpg")
    assert names_in(from_file=written(here / "list", *names)) == ["x.png"]


def test_a_list_s_folders_are_walked_in_their_place(here: Path) -> None:
    """A folder of a list is walked under its own path below the base."""
    fill(here, "in/a/x.jpg", "in/a/deep/y.jpg", "in/b.jpg")
    listed = written(here / "list", "in/b.jpg", "in/a")
    assert names_in(from_file=listed) == ["b.png", "a/x.png", "a/deep/y.png"]


def test_neighbours_in_a_list_get_names_of_their_own(here: Path) -> None:
    """The first to come has the short name; the next its full one or a mark; no photo's name is
    another's folder."""
    fill(here, "b.jpg", "b.png", "B.JPG", "b.png.png/x.jpg", "b.gif")
    listed = written(here / "list", "b.jpg", "b.png", "B.JPG", "b.png.png/x.jpg", "b.gif")
    names = names_in(from_file=listed)
    assert names[0] == "b.png"
    folds = [folded(name) for name in names]
    assert len(set(folds)) == 5
    assert not {fold.split("/")[0] for fold in folds if "/" in fold} & set(folds)


def test_files_of_several_folders_that_share_a_name(here: Path) -> None:
    """Named one by one they all land in one folder: each has a name of its own there."""
    fill(here, "a/x.jpg", "b/x.jpg", "c/X.jpg", "photos/x.jpg", "photos/sub/y.jpg")
    names = names_in("a/x.jpg", "b/x.jpg", "c/X.jpg", "photos")
    assert {"x.png", "sub/y.png"} <= set(names)  # these are the folder's, in either order
    assert len({folded(name) for name in names}) == 5


def test_results_are_not_done_again_by_a_list(here: Path) -> None:
    """``find .`` with the output inside: what the run itself made is not a photo."""
    fill(here, "a.jpg", "out/cutouts/a.png", "out/masks/a.png", "out/.hbseg/journal.sqlite")
    walk = Walk()
    walk.avoid("out")
    listed = written(here / "list", *sorted(Path().rglob("*")), "out/cutouts")
    assert names_in(from_file=listed, walk=walk) == ["a.png"]


# -- what is empty -------------------------------------------------------------------------------


def test_an_empty_list_is_told(here: Path) -> None:
    """A ``find`` that found nothing feeds a list without names."""
    walk = Walk()
    assert found(from_file=written(here / "list"), walk=walk) == []
    assert walk.notes == [f"--from-file {here}/list: the list is empty"]
