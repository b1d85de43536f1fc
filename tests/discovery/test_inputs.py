"""One photo has one key and one output name in a run, however many inputs lead to it."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from finding import fill, found, names_in, written
from hypothesis import given, settings
from hypothesis import strategies as st

from humanbody_cli.core.paths import absolute
from humanbody_cli.core.photo import Kind
from humanbody_cli.core.settings import InputSettings
from humanbody_cli.discovery.find import find, walk_order
from humanbody_cli.discovery.inputs import arranged
from humanbody_cli.discovery.tree import is_picture
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.storage.names import folded


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """An empty folder that is the current one."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


@pytest.mark.parametrize(
    "inputs",
    [
        ("photos", "photos/a.jpg"),
        ("photos/a.jpg", "photos"),
        ("photos/sub/c.jpg", "photos", "./photos/a.jpg", "photos/sub/../a.jpg"),
        ("photos", "photos/sub"),
        ("photos/sub", "photos"),
        ("photos/sub/", "photos/sub/deep", "photos"),
        ("//{}/photos", "photos/"),
    ],
)
def test_what_lies_in_a_named_folder_is_met_once(here: Path, inputs: tuple[str, ...]) -> None:
    """A file or folder named beside the folder that holds it changes nothing, in either order."""
    fill(here, "photos/a.jpg", "photos/b.jpg", "photos/b.png", "photos/sub/deep/d.jpg")
    fill(here, "photos/sub/c.jpg")
    inputs = tuple(name.format(str(here).lstrip("/")) for name in inputs)
    both, alone = found(*inputs), found("photos")
    assert [(photo.key, photo.name) for photo in both] == [
        (photo.key, photo.name) for photo in alone
    ]


def test_what_a_folders_walk_leaves_out_is_found_by_its_own_name(here: Path) -> None:
    """Hidden files and folders, and files that are not called like pictures, are met if named."""
    fill(here, "p/a.jpg", "p/.b.jpg", "p/scan", "p/scan.jpg", "p/.trip/c.jpg")
    photos = found("p/scan", "p/.b.jpg", "p", "p/.trip")
    assert len({photo.key for photo in photos}) == len(photos) == 5
    assert len({folded(photo.name) for photo in photos}) == 5


def test_results_of_another_run_are_found_if_named_inside_a_walk(here: Path) -> None:
    """``photos photos/old``: each photo of ``old`` once, and its results, for they were named."""
    fill(
        here, "photos/a.jpg", "photos/old/.hbseg/x", "photos/old/b.jpg", "photos/old/cutouts/c.png"
    )
    assert sorted(names_in("photos", "photos/old")) == ["a.png", "old/b.png", "old/cutouts/c.png"]


def test_find_s_output_is_the_folder(here: Path) -> None:
    """``find photos`` lists folders, what is in them and more: each photo is met once, under the
    name that ``photos`` alone gives it."""
    fill(here, "photos/a.jpg", "photos/sub/b.jpg", "photos/sub/deep/c.jpg", "photos/sub/deep/d.jpg")
    names = sorted(Path("photos").rglob("*"))
    listed = found(from_file=written(here / "list", "photos", *names, "./photos/a.jpg"))
    alone = found("photos")
    assert [(p.key, p.name) for p in listed] == [(p.key, p.name) for p in alone]


def test_a_list_and_the_command_line_meet_a_photo_once(here: Path) -> None:
    """What was named on the command line is not met again in the list."""
    fill(here, "photos/a.jpg", "photos/b.jpg", "more/c.jpg")
    listed = written(here / "list", "photos/a.jpg", "photos", "more/c.jpg", "more/c.jpg")
    keys = [photo.key for photo in found("photos", from_file=listed)]
    assert keys == [str(here / name) for name in ("photos/a.jpg", "photos/b.jpg", "more/c.jpg")]


@pytest.mark.parametrize("by_list", [False, True])
def test_a_path_back_through_a_link_is_another_photo(here: Path, by_list: bool) -> None:
    """``link/../x.jpg`` lies beside the link's target: it is not the photo beside the link."""
    fill(here, "x.jpg", "real/x.jpg", "real/deep/y.jpg", "real/photos/z.jpg", "photos/z.jpg")
    (here / "link").symlink_to("real/deep")
    inputs = ("x.jpg", "link/../x.jpg", "link/../photos", "photos")
    listed = written(here / "list", *inputs)
    photos = found(from_file=listed) if by_list else found(*inputs)
    keys = [
        str(here / name) for name in ("x.jpg", "real/x.jpg", "real/photos/z.jpg", "photos/z.jpg")
    ]
    assert sorted(photo.key for photo in photos) == sorted(keys)
    assert len({folded(photo.name) for photo in photos}) == 4
    assert all(os.path.samefile(photo.source, photo.key) for photo in photos)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_an_absolute_path_leads_to_the_same_file(data: st.DataObject) -> None:
    """However links and ``..`` alternate in a path, its absolute form has no ``..`` and leads where
    the path leads."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder, "a/b/x", "a/x", "x", "c/d/x")
        (folder / "a/b/up").symlink_to("../../c/d")
        (folder / "c/back").symlink_to("../a/b")
        (folder / "l").symlink_to("a/b")
        steps = st.sampled_from(["a", "b", "..", ".", "up", "c", "d", "back", "l", ""])
        path = "/".join([name, *data.draw(st.lists(steps, max_size=8)), "x"])
        key = absolute(path)
        assert ".." not in key.split("/")
        if os.path.exists(path):
            assert os.path.samefile(path, key)


def test_a_link_and_its_target_are_two_photos(here: Path) -> None:
    """Two names of one file that are both given are both done: none vanishes."""
    fill(here, "a.jpg")
    (here / "b.jpg").symlink_to("a.jpg")
    assert names_in("a.jpg", "b.jpg") == ["a.png", "b.png"]
    assert names_in(from_file=written(here / "list", "b.jpg", "a.jpg")) == ["b.png", "a.png"]


@pytest.mark.parametrize("by_list", [False, True])
def test_a_second_name_of_a_folder_is_told(here: Path, by_list: bool) -> None:
    """A folder and a link to it: walked once, and the user reads which name was left out."""
    fill(here, "photos/a.jpg")
    (here / "link").symlink_to("photos")
    walk = Walk()
    if by_list:
        found(from_file=written(here / "list", "photos", "link"), walk=walk)
    else:
        assert names_in("photos", "link", walk=walk) == ["a.png"]
    (note,) = walk.notes
    assert note.startswith("link: the same folder as photos")


def test_the_same_folder_spelled_twice_is_no_news(here: Path) -> None:
    """``photos photos/`` names one folder, and nothing is left out."""
    fill(here, "photos/a.jpg")
    walk = Walk()
    assert names_in("photos", "photos/", "./photos", walk=walk) == ["a.png"]
    assert walk.notes == []


def test_a_path_with_a_slash_behind_a_file_is_not_the_file(here: Path) -> None:
    """``x.jpg/`` cannot be read, and ``x.jpg`` is not lost by it."""
    fill(here, "x.jpg")
    kinds = [photo.kind for photo in found(from_file=written(here / "l", "x.jpg/", "x.jpg"))]
    assert kinds == [Kind.TROUBLE, Kind.FILE]


def test_few_photos_are_written_down(here: Path) -> None:
    """A file named beside its folder does not make the run remember every photo of the folder."""
    fill(here, "photos/sub/a.jpg", "photos/b.jpg", "photos/c.jpg")
    for inputs, count in ((("photos", "photos/b.jpg"), 1), (("photos", "photos/sub"), 1)):
        met = arranged(inputs, pytest.fail).met(listed=False)
        assert met is not None
        assert sum(map(len, Walk().folder("photos", "", met))) == 3
        assert len(met._photos) == count
    assert arranged(["photos"], pytest.fail).met(listed=False) is None


def test_an_empty_folder_is_told(here: Path) -> None:
    """An input folder without photos, which may be a disk that is away, is not passed in silence:
    alone, among others, below another, in a list."""
    for name in ("none", "photos/none"):
        (here / name).mkdir(parents=True)
    fill(here, "photos/a.jpg", "texts/a.txt", "texts/deep/b.txt")
    walk = Walk()
    assert names_in("none", "photos", "texts", "photos/none", walk=walk) == ["photos/a.png"]
    assert walk.notes == [
        "none: no photos found (is it mounted?)",
        "texts: no photos found (only 2 other files)",
        "photos/none: no photos found (is it mounted?)",
    ]
    walk = Walk()
    found(from_file=written(here / "list", "photos", "none"), walk=walk)
    assert walk.notes == ["none: no photos found (is it mounted?)"]


def test_a_folder_whose_photos_were_met_is_not_empty(here: Path) -> None:
    """Nothing new in it, yet nothing is wrong with it."""
    fill(here, "photos/sub/a.jpg")
    walk = Walk()
    found("photos", "photos/sub", walk=walk)
    found(from_file=written(here / "list", "photos/sub/a.jpg", "photos/sub", "photos"), walk=walk)
    assert walk.notes == []


def test_notes_stay_few(here: Path) -> None:
    """A thousand empty folders make no thousand lines."""
    for number in range(100):
        (here / f"{number}").mkdir()
    walk = Walk()
    found(*range(100), walk=walk)
    assert len(walk.notes) == 21


# -- any tree, any inputs ------------------------------------------------------------------------


_PARTS = ["a", "A", "b", ".h", "b.png", "\u00e9", "e\u0301"]


_FILES = ["x.jpg", "X.jpg", "x.png", "b.jpg", "scan", ".k.jpg", "\u00e9.jpg", "e\u0301.jpg"]


_paths = st.lists(st.sampled_from(_PARTS), max_size=3).flatmap(
    lambda parts: st.sampled_from(_FILES).map(lambda file: "/".join([*parts, file]))
)


@st.composite
def _trees(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Files of a tree, and inputs among them and their folders, spelled in several ways."""
    files = draw(st.lists(_paths, min_size=1, max_size=12, unique=True))
    places = {parent for file in files for parent in map(str, Path(file).parents)} | set(files)
    inputs = draw(st.lists(st.sampled_from(sorted(places)), min_size=1, max_size=5))
    spelled = draw(st.lists(st.sampled_from(["{}", "./{}", ".//{}"]), min_size=5, max_size=5))
    return files, [how.format(name) for how, name in zip(spelled, inputs, strict=False)]


@given(_trees(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_any_inputs_meet_each_photo_once(
    tree: tuple[list[str], list[str]], chance: random.Random
) -> None:
    """Folders, files and lists of them, nested and repeated: each photo that an input leads to is
    met, once, under a name of its own on every file system."""
    files, inputs = tree
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        try:
            for file in files:
                if not Path(file).is_dir():
                    fill(Path(), file)
            expected = {photo.key for one in inputs for photo in found(one)}
            listed = written(Path("list"), *inputs)
            split = chance.randint(0, len(inputs))
            some = written(Path("some"), *inputs[split:])
            for photos in (
                found(*inputs),
                found(from_file=listed),
                found(*inputs[:split], from_file=some),
            ):
                assert sorted(photo.key for photo in photos) == sorted(expected)
                names = [folded(photo.name) for photo in photos]
                assert len(set(names)) == len(names)
                above = {str(parent) for one in names for parent in Path(one).parents}
                assert not above & set(names)
        finally:
            os.chdir(before)


@given(_trees())
@settings(max_examples=50, deadline=None)
def test_the_order_is_the_walk_s(tree: tuple[list[str], list[str]]) -> None:
    """`walk_order` puts the photos of folders as the walk meets them, and knows which it meets."""
    files, inputs = tree
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        try:
            for file in files:
                fill(Path(), file)
            named = InputSettings(inputs=tuple(inputs))
            place = walk_order(named)
            walked = [photo.key for photo in find(named, Walk()) if not photo.keeps_name]
            places = [place(key) for key in walked]
            assert None not in places
            assert places == sorted(places)  # type: ignore[type-var]
            for file in files:
                key = os.path.abspath(file)
                is_met = place(key) is not None and is_picture(os.path.basename(file))
                assert is_met == (key in walked)
            assert place("http://h/a.jpg") is place("-:0") is None
        finally:
            os.chdir(before)
