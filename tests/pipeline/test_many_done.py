"""A second run over folders of many photos, whose rows and files are compared all at once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from conftest import Ended, Run, files, photo
from finding import fill, found
from hypothesis import given
from hypothesis import strategies as st

from humanbody_cli.core.paths import to_bytes
from humanbody_cli.core.photo import Photo, Siblings, chunked, key_of, keys_of
from humanbody_cli.core.settings import InputSettings
from humanbody_cli.discovery.find import find_groups
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.storage.names import plain_name, plain_names

COUNT = 120
"""Photos of a folder: enough to be looked at together."""


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Copies of two photos, so that two calls do for all, in a folder and a subfolder."""
    for seed, folder in enumerate(("photos", "photos/sub")):
        first = photo(tmp_path / folder / "000.jpg", seed=seed)
        for number in range(1, COUNT):
            shutil.copy2(first, first.with_name(f"{number:03}.jpg"))
    return tmp_path / "photos"


def _done(ended: Ended) -> list[str]:
    """The photos that a run did not skip."""
    return [Path(one["source"]).name for one in ended.records if not one.get("skipped")]


@pytest.mark.parametrize("kind", ["masks", "cutouts"])
@pytest.mark.parametrize("harm", ["removed", "cut", "emptied"])
def test_a_lost_result_among_many_is_made_again(
    run: Run, many: Path, tmp_path: Path, kind: str, harm: str
) -> None:
    """Deleted or cut short: that photo alone is done, and all files are as before."""
    run(many)
    before = files(tmp_path / "out")
    assert _done(run(many, "--json")) == []
    path = tmp_path / "out" / kind / "sub" / "057.png"
    if harm == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] if harm == "cut" else b"")
    assert _done(run(many, "--json")) == ["057.jpg"]
    assert files(tmp_path / "out") == before


def test_a_change_among_many_photos_is_seen(run: Run, many: Path) -> None:
    """Touched, replaced by other bytes, gone, new: only these are done, all others skipped."""
    run(many)
    os.utime(many / "001.jpg", (1, 1))
    photo(many / "sub" / "002.jpg", seed=99)
    (many / "003.jpg").unlink()
    photo(many / "004a.jpg", seed=98)
    ended = run(many, "--json")
    assert sorted(_done(ended)) == ["001.jpg", "002.jpg", "004a.jpg"]
    assert len(ended.records) == 2 * COUNT


def test_a_photo_whose_name_is_another_s_now_is_done(run: Run, many: Path, tmp_path: Path) -> None:
    """A folder that takes the place of a photo's output gives that photo another name."""
    run(many)
    photo(many / "057.png" / "a.jpg", seed=99)
    assert sorted(_done(run(many, "--json"))) == ["057.jpg", "a.jpg"]
    assert (tmp_path / "out" / "masks" / "057.jpg.png").is_file()


def test_a_folder_reached_by_a_way_up_is_done(run: Run, many: Path, tmp_path: Path) -> None:
    """``..`` behind a link leads to the link's target, for all photos of a folder alike."""
    (tmp_path / "link").symlink_to(many / "sub")
    named = f"{tmp_path}/link/../sub"
    run(named)
    assert _done(run(named, "--json")) == []


_names = st.lists(
    st.binary(min_size=1, max_size=6)
    .filter(lambda name: not set(name) & {0, ord("/")} and not name.startswith(b"."))
    .map(lambda name: os.fsdecode(name + b".jpg")),
    unique=True,
    min_size=1,
)


@given(_names)
def test_siblings_are_what_each_of_them_is(names: list[str]) -> None:
    """Keys and output names of all at once are those of each photo, text or not."""
    photos = Siblings("in/", "/home/in/", "prefix/", names, plain_names)
    each = list(photos)
    assert len(photos) == len(each) == len(names)
    assert keys_of(photos) == keys_of(each) == [key_of(one) for one in each]
    assert photos.names() == [to_bytes(one.name) for one in each]
    assert plain_names(names) == [plain_name(name) for name in names]


@pytest.mark.parametrize("files", [[], ["a"], ["a..jpg", "b.jpg"], [".jpg"], ["a.JPG", "b.jpg"]])
def test_plain_names_of_odd_files(files: list[str]) -> None:
    """No suffix, several dots, nothing but a suffix, two suffixes: as for each by itself."""
    assert plain_names(files) == [plain_name(file) for file in files]


def test_groups_keep_the_order_of_the_walk(tmp_path: Path) -> None:
    """Few photos are put together, many of one folder stay together, none is lost."""
    for folder, count in (("a", 3), ("b", 250), ("c", 2), ("d", 4)):
        fill(tmp_path, *(f"{folder}/{number:03}.jpg" for number in range(count)))
    chunks = list(chunked(find_groups(InputSettings((str(tmp_path),)), Walk()), 300))
    assert [(len(chunk), isinstance(chunk, Siblings)) for chunk in chunks] == [
        *((3, False), (250, True), (6, False))
    ]
    photos: list[Photo] = [photo for chunk in chunks for photo in chunk]
    assert photos == found(tmp_path)
    assert [len(chunk) for chunk in chunked([photos], 100)] == [100, 100, 59]
