"""Every photo that the user named: folders, addresses, stdin, parts of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from finding import fill, found, names_in
from hypothesis import given
from hypothesis import strategies as st

from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.photo import Kind, Photo
from humanbody_cli.core.settings import InputSettings, Shard, Wanted
from humanbody_cli.discovery.find import find
from humanbody_cli.discovery.single import single
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.pipeline import incremental
from humanbody_cli.pipeline.decision import Decider
from humanbody_cli.pipeline.fingerprint import Fingerprint
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.naming import OutputNames
from humanbody_cli.storage.publishing import Publisher


def test_several_folders_keep_apart(tmp_path: Path) -> None:
    """With several folders each is under its own name, with more of its path where needed."""
    fill(tmp_path, "x/photos/a.jpg", "y/photos/a.jpg", "other/a.jpg", "z.jpg")
    inputs = [tmp_path / name for name in ("x/photos", "y/photos", "other", "z.jpg")]
    assert names_in(*inputs) == ["x/photos/a.png", "y/photos/a.png", "other/a.png", "z.png"]


def test_an_input_named_twice_counts_once(tmp_path: Path) -> None:
    """The same folder or file twice, by a link or another spelling, is walked once, unprefixed."""
    fill(tmp_path, "in/a.jpg", "b.jpg")
    (tmp_path / "link").symlink_to("in")
    assert names_in(tmp_path / "in", tmp_path / "in/", tmp_path / "link") == ["a.png"]
    assert names_in(tmp_path / "b.jpg", f"{tmp_path}/./b.jpg") == ["b.png"]


def test_a_missing_input_is_a_usage_error(tmp_path: Path) -> None:
    """A wrong path on the command line stops the run before it begins, and is named."""
    fill(tmp_path, "a.jpg")
    photos = find(InputSettings(inputs=(str(tmp_path), str(tmp_path / "nope"))), Walk())
    with pytest.raises(UsageError, match=r"nope: there is no such file or folder"):
        next(photos)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.com/a/b.jpg", "b.png"),
        ("http://example.com/b.jpg?size=9&x=/c.png#d", "b.png"),
        ("https://example.com", "photo.png"),
        ("https://example.com/", "photo.png"),
        ("https://example.com/a/", "a.png"),
        ("https://example.com/%e4%b8%ad.jpg", "\u4e2d.png"),
        ("https://example.com/..%2f..%2fetc%2fpasswd", "passwd.png"),
        ("https://example.com/..", "photo.png"),
        ("https://example.com/.hidden.jpg", "hidden.png"),
        ("https://example.com/a%00b.jpg", "ab.png"),
        ("https://example.com/" + "x" * 400 + ".jpg", None),
    ],
)
def test_addresses_get_names(url: str, name: str | None) -> None:
    """An address is a photo named after its last part, and never leaves the output folder."""
    (photo,) = found(url)
    assert (photo.kind, photo.source, photo.key) == (Kind.URL, url, url)
    assert "/" not in photo.name
    assert len(os.fsencode(photo.name)) <= 255
    assert name is None or photo.name == name


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=80))
def test_no_address_escapes_the_output(text: str) -> None:
    """Whatever an address looks like, its name is one plain file name."""
    name = single("http://h/" + text).name
    assert "/" not in name
    assert "\0" not in name
    assert not name.startswith(".")


def test_standard_input_is_one_photo() -> None:
    """``-`` is one photo called stdin.png."""
    (photo,) = found("-", "-")
    assert (photo.kind, photo.name) == (Kind.STDIN, "stdin.png")


def test_a_list_names_files_folders_and_addresses(tmp_path: Path) -> None:
    """A list is the command line continued: folders are walked, what is missing is a record."""
    fill(tmp_path, "in/a.jpg", "b.jpg")
    path = tmp_path / "list"
    path.write_text(f"{tmp_path}/b.jpg\n{tmp_path}/in\nhttp://h/c.jpg\n{tmp_path}/nope.jpg\n")
    photos = found(from_file=str(path))
    assert [photo.name for photo in photos] == ["b.png", "in/a.png", "c.png", "nope.jpg.png"]
    assert [photo.kind for photo in photos] == [Kind.FILE, Kind.FILE, Kind.URL, Kind.TROUBLE]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_are_a_partition(tmp_path: Path, count: int) -> None:
    """Every photo is in exactly one shard, and no shard is starved."""
    fill(tmp_path, *(f"{n % 7}/{n}.jpg" for n in range(140)))
    everything = found(tmp_path)
    parts = [found(tmp_path, shard=Shard(n + 1, count)) for n in range(count)]
    assert sorted(photo for part in parts for photo in part) == sorted(everything)
    assert min(len(part) for part in parts) > 140 // count // 2


def test_shards_do_not_depend_on_where_the_photos_lie(tmp_path: Path) -> None:
    """The same tree at another place, as on another machine, is parted the same way."""
    for place in ("here", "somewhere/else"):
        fill(tmp_path / place, *(f"{n}.jpg" for n in range(40)))
    here, there = (
        [photo.name for photo in found(tmp_path / place, shard=Shard(2, 3))]
        for place in ("here", "somewhere/else")
    )
    assert here == there


class LargeJournal(Journal):
    """A journal that says that it is large."""

    def is_large(self) -> bool:
        return True


def test_names_from_a_pipe_do_not_wait_for_the_next(tmp_path: Path) -> None:
    """However large the journal: each photo is due before the pipe is asked for another."""
    (tmp_path / ".hbseg").mkdir()
    journal = LargeJournal(str(tmp_path))
    asked = []

    def one_by_one() -> Iterator[list[Photo]]:
        for name in ("a.jpg", "b.jpg"):
            asked.append(name)
            yield [Photo(name, f"/{name}", f"{name}.png", 1, 1)]

    publisher = Publisher(str(tmp_path), durable=False)
    decider = Decider(journal, publisher, Fingerprint("api", Wanted()))
    names = OutputNames(journal, publisher, lambda key: None)
    due = incremental.due(
        *(one_by_one(), journal, decider, lambda status, keys: None, names),
        at_once=True,
    )
    assert next(due).photo.source == "a.jpg"
    assert asked == ["a.jpg"]
    journal.close()
