"""A photo through standard input: known by its bytes, called as the user says."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Hbseg, files, photo
from fake_api import FakeApi
from standard_input import stdin_of
from waiting import until

from humanbody_cli.core.errors import PhotoError
from humanbody_cli.core.photo import Kind, Photo
from humanbody_cli.core.settings import InputSettings
from humanbody_cli.discovery.find import find
from humanbody_cli.discovery.single import single
from humanbody_cli.discovery.sources import Rules, examine
from humanbody_cli.discovery.walk import Walk


def through(tmp_path: Path, data: bytes, *more: str, **options: Any) -> list[Photo]:
    """The photos of ``-`` with these bytes on stdin."""
    path = tmp_path / "stdin"
    path.write_bytes(data)
    settings = InputSettings(inputs=("-", *more), name=options.pop("name", None))
    with stdin_of(path):
        return list(find(settings, Walk(), **options))


def test_each_photo_has_a_key_of_its_own(tmp_path: Path) -> None:
    """A, B and A again: two keys, so that A is known again and B replaces nothing."""
    keys = [through(tmp_path, data)[0].key for data in (b"A", b"B", b"A")]
    assert keys == ["-:" + hashlib.sha256(data).hexdigest() for data in (b"A", b"B", b"A")]
    (photo,) = through(tmp_path, b"A", "-")
    assert photo[2:] == ("stdin.png", -1, -1, Kind.STDIN, "", True, b"A")


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("a.jpg", "a.png"),
        ("trip/b.JPEG", "trip/b.png"),
        ("photo", "photo.png"),
        ("a.b.png", "a.b.png"),
        (".hidden.jpg", ".hidden.png"),
    ],
)
def test_it_is_called_as_the_user_says(tmp_path: Path, name: str, output: str) -> None:
    """``--name`` is its name, by the rule for files; then no earlier name stands against it."""
    (photo,) = through(tmp_path, b"A", name=name)
    assert (photo.name, photo.keeps_name) == (output, False)


def test_a_long_name_is_cut(tmp_path: Path) -> None:
    """A name of 300 characters still fits a file system."""
    (photo,) = through(tmp_path, b"A", name="trip/" + "x" * 300 + ".jpg")
    folder, base = os.path.split(photo.name)
    assert (folder, len(base)) == ("trip", 255)


def test_its_name_is_nobody_elses(tmp_path: Path) -> None:
    """A folder beside it has a photo of that name, a file too: each gets its own."""
    for name in ("photos/stdin.jpg", "STDIN.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    inputs = (str(tmp_path / "photos"), str(tmp_path / "STDIN.jpg"))
    photos = through(tmp_path, b"A", *inputs)
    names = {photo.key: photo.name for photo in photos}
    assert names[str(tmp_path / "photos/stdin.jpg")] == "stdin.png"
    assert len({name.casefold() for name in names.values()}) == 3


def test_no_more_is_read_than_the_bound(tmp_path: Path) -> None:
    """A stream that never ends does not fill the memory."""
    (photo,) = through(tmp_path, b"x" * 1000, stdin_bytes=100)
    assert photo.data == b"x" * 100


def test_its_bytes_are_checked_like_a_file_s(tmp_path: Path) -> None:
    """Nothing on stdin is a photo that is rejected."""
    (photo,) = through(tmp_path, b"")
    with pytest.raises(PhotoError) as caught:
        examine(photo, Rules())
    assert caught.value.rejected


def test_stdin_that_cannot_be_read_is_a_record(tmp_path: Path) -> None:
    """``hbseg segment - < folder``: no traceback and no silence."""
    with stdin_of(tmp_path):
        (photo,) = find(InputSettings(inputs=("-",)), Walk())
    assert (photo.kind, photo.trouble) == (
        Kind.TROUBLE,
        "cannot be read: Is a directory; check the path and its permissions",
    )


def test_the_key_in_a_journal_is_no_file() -> None:
    """What a journal knows as ``-:`` and a digest came through stdin and is not looked for."""
    assert single("-:" + "0" * 64).kind is Kind.STDIN
    assert single("-:0").kind is Kind.TROUBLE


def test_photos_of_several_runs_stand_side_by_side(
    paid: Hbseg, api: FakeApi, tmp_path: Path
) -> None:
    """Each under its own name and its folder; the first again costs no call."""
    one, two = (photo(tmp_path / f"{n}.jpg", seed=n).read_bytes() for n in (1, 2))
    where = ("-o", "out", "--endpoint", api.url, "--qps", 200)
    for data, name in ((one, "trip/a.jpg"), (two, "trip/b.jpg"), (one, "trip/a.jpg")):
        ended = paid("segment", "-", "--name", name, *where, stdin=data)
        assert ended.code == 0, ended.err
    assert len(api.stats.calls) == 2
    cutouts = [name for name in files(tmp_path / "out") if name.startswith("cutouts")]
    assert cutouts == ["cutouts/trip/a.png", "cutouts/trip/b.png"]


def test_names_through_find_keep_their_tree(paid: Hbseg, api: FakeApi, tmp_path: Path) -> None:
    """``find -print0 | hbseg segment --from-file - -0``: each result under its photo's path, and
    nothing is done twice."""
    for index, name in enumerate(("a/x.jpg", "b/x.jpg", "b/c/x.jpg")):
        photo(tmp_path / "photos" / name, seed=index)
    names = [str(path.relative_to(tmp_path)) for path in sorted((tmp_path / "photos").rglob("*"))]
    listed = "\0".join(["photos", *names, ""]).encode()
    where = ("-o", "out", "--endpoint", api.url, "--qps", 200)
    for _ in range(2):
        ended = paid("segment", "--from-file", "-", "-0", *where, stdin=listed)
        assert ended.code == 0, ended.err
    assert len(api.stats.calls) == 3
    cutouts = [name for name in files(tmp_path / "out") if name.startswith("cutouts")]
    assert cutouts == ["cutouts/a/x.png", "cutouts/b/c/x.png", "cutouts/b/x.png"]


def test_photos_of_a_folder_do_not_wait_for_stdin(
    paid: Hbseg, api: FakeApi, tmp_path: Path
) -> None:
    """``segment photos -`` publishes the folder's photos while stdin is still open, and then the
    one that came through it."""
    photo(tmp_path / "photos/a.jpg", seed=1)
    last = photo(tmp_path / "b.jpg", seed=2).read_bytes()
    arguments = ("segment", "photos", "-", "-o", "out", "--endpoint", api.url)
    with paid.start(*arguments, stdin=subprocess.PIPE) as running:
        assert running.stdin is not None
        first = tmp_path / "out/cutouts/a.png"
        until(first.exists, seconds=20)
        was_there = first.exists()
        running.stdin.write(last)
        running.stdin.close()
        assert running.wait(60) == 0
    assert was_there
    assert (tmp_path / "out/cutouts/stdin.png").exists()
