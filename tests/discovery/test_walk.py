"""Finding photos: real folders, links, lists and shards."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standard_input import stdin_of
from walking import common_user, fill, found, names_in

from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.photo import Kind, Photo
from humanbody_cli.core.settings import InputSettings, Shard, Wanted
from humanbody_cli.discovery.lists import listed
from humanbody_cli.discovery.walk import Walk, find, single
from humanbody_cli.pipeline import incremental
from humanbody_cli.pipeline.fingerprint import Fingerprint, Selection
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.publishing import Publisher


def test_a_folder_is_walked_by_name_and_depth(tmp_path: Path) -> None:
    """Photos come sorted, a folder's own before those of its subfolders, with mirrored names."""
    fill(tmp_path, "b.jpg", "a.png", "Z.jpeg", "sub/c.jpg", "sub/deep/d.jpg", "also/e.jpg")
    assert names_in(tmp_path) == [
        "Z.png",
        "a.png",
        "b.png",
        "also/e.png",
        "sub/c.png",
        "sub/deep/d.png",
    ]


def test_a_photo_knows_its_file(tmp_path: Path) -> None:
    """Source is what the user would type, key the absolute path; size and time are the file's, once
    it was looked at."""
    fill(tmp_path, "in/sub/a.jpg")
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        (unseen,) = found("in")
        photo = unseen.seen()
        status = (tmp_path / "in/sub/a.jpg").stat()
    finally:
        os.chdir(before)
    assert photo.source == "in/sub/a.jpg"
    assert photo.key == str(tmp_path / "in/sub/a.jpg")
    assert (unseen.size, unseen.mtime) == (-1, -1)
    assert (photo.size, photo.mtime) == (9, status.st_mtime_ns)
    assert photo.kind is Kind.FILE


@pytest.mark.parametrize("spelled", ["{}", "{}/", "{}/.", "{}/sub/.."])
def test_a_folders_spelling_does_not_change_its_photos(tmp_path: Path, spelled: str) -> None:
    """The same folder spelled another way gives the same keys and names."""
    fill(tmp_path, "a.jpg", "sub/b.jpg")
    photos = found(spelled.format(tmp_path))
    assert [photo.name for photo in photos] == ["a.png", "sub/b.png"]
    assert [photo.key for photo in photos] == [f"{tmp_path}/a.jpg", f"{tmp_path}/sub/b.jpg"]
    assert all(Path(photo.source).exists() for photo in photos)


def test_hidden_entries_are_skipped(tmp_path: Path) -> None:
    """Files and folders whose names begin with a dot are nobody's photos."""
    fill(tmp_path, ".a.jpg", ".thumbs/b.jpg", "sub/.c.jpg", "d.jpg", "._d.jpg")
    assert names_in(tmp_path) == ["d.png"]


def test_a_hidden_folder_that_is_named_is_walked(tmp_path: Path) -> None:
    """What the user names is taken, hidden or not."""
    fill(tmp_path, ".trip/a.jpg", ".b.jpg")
    assert names_in(tmp_path / ".trip") == ["a.png"]
    assert names_in(tmp_path / ".b.jpg") == [".b.png"]


def test_files_that_are_no_pictures_are_counted(tmp_path: Path) -> None:
    """Other files are passed over in silence, and how many they were is known."""
    fill(tmp_path, "a.jpg", "notes.txt", "movie.mp4", "sub/LICENSE", "sub/b.jpg.txt", ".hidden.txt")
    walk = Walk()
    assert names_in(tmp_path, walk=walk) == ["a.png"]
    assert walk.skipped == 4


def test_a_file_called_jpg_is_no_picture(tmp_path: Path) -> None:
    """A name without a dot has no suffix."""
    fill(tmp_path, "jpg", "sub/png")
    assert names_in(tmp_path) == []


def test_every_picture_suffix_is_found_in_any_case(tmp_path: Path) -> None:
    """Pictures that only --fit reads are found too: silence would lose them."""
    kinds = "jpg jpeg JPG jpe jfif PNG webp heic HEIF avif tif tiff bmp gif".split()
    fill(tmp_path, *(f"{n}.{kind}" for n, kind in enumerate(kinds)))
    assert len(found(tmp_path)) == len(kinds)


def test_a_file_that_is_named_needs_no_suffix(tmp_path: Path) -> None:
    """A file on the command line is a photo whatever it is called."""
    fill(tmp_path, "scan", "b.dat")
    assert names_in(tmp_path / "scan", tmp_path / "b.dat") == ["scan.png", "b.png"]


def test_links_to_folders_and_files_are_followed(tmp_path: Path) -> None:
    """A link is walked as what it leads to, under its own name."""
    fill(tmp_path, "elsewhere/a.jpg", "elsewhere/b.jpg", "in/c.jpg")
    (tmp_path / "in/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/d.jpg").symlink_to(tmp_path / "elsewhere/a.jpg")
    assert names_in(tmp_path / "in") == ["c.png", "d.png", "linked/a.png", "linked/b.png"]


@pytest.mark.parametrize("target", [".", "..", "../sub", "../../in"])
def test_link_loops_end(tmp_path: Path, target: str) -> None:
    """A link back into a folder that is being walked is not followed again."""
    fill(tmp_path, "in/a.jpg", "in/sub/b.jpg")
    (tmp_path / "in/sub/loop").symlink_to(target)
    names = names_in(tmp_path / "in")
    assert names == ["a.png", "sub/b.png"]


def test_two_folders_that_link_to_each_other_end(tmp_path: Path) -> None:
    """Each photo of such a pair is found by either way, and the walk ends."""
    fill(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "a/to_b").symlink_to("../b")
    (tmp_path / "b/to_a").symlink_to("../a")
    assert names_in(tmp_path) == ["a/1.png", "a/to_b/2.png", "b/2.png", "b/to_a/1.png"]


def test_dangling_and_circular_links_become_records(tmp_path: Path) -> None:
    """A link that leads nowhere is handed on as a photo: reading it will say why it is rejected."""
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "round.jpg").symlink_to("round.jpg")
    photos = found(tmp_path)
    assert [(photo.name, photo.size, photo.mtime) for photo in photos] == [
        ("gone.png", -1, -1),
        ("round.png", -1, -1),
    ]


def test_a_dangling_link_that_is_named_becomes_a_record(tmp_path: Path) -> None:
    """On the command line too: it is there, so it is no wrong path, but it cannot be read."""
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (photo,) = found(tmp_path / "gone.jpg")
    assert photo.kind is Kind.TROUBLE
    assert "cannot be read" in photo.trouble


def test_pipes_and_sockets_do_not_hold_the_walk_up(tmp_path: Path) -> None:
    """A FIFO or socket named like a photo is handed on without being opened."""
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.jpg"))
        assert names_in(tmp_path) == ["pipe.png", "socket.png"]


def test_a_folder_named_like_a_photo_is_walked(tmp_path: Path) -> None:
    """A folder called b.jpg is a folder; the photo beside it that needs b.png keeps its place."""
    fill(tmp_path, "b.jpg/a.jpg", "b.png/c.jpg", "B.jpeg")
    names = names_in(tmp_path)
    assert sorted(names) == ["B.jpeg.png", "b.jpg/a.png", "b.png/c.png"]


def test_an_unreadable_folder_becomes_a_record(open_folder: Path) -> None:
    """A folder that may not be listed is reported, and the walk goes on behind it."""
    fill(open_folder, "a.jpg", "locked/b.jpg", "sub/c.jpg")
    (open_folder / "locked").chmod(0)
    with common_user():
        photos = found(open_folder)
    kinds = {photo.name: photo.kind for photo in photos}
    assert kinds == {"a.png": Kind.FILE, "locked.png": Kind.TROUBLE, "sub/c.png": Kind.FILE}
    (trouble,) = (photo for photo in photos if photo.kind is Kind.TROUBLE)
    assert trouble.trouble == "cannot be read: Permission denied"
    assert trouble.key == str(open_folder / "locked")
    (open_folder / "locked").chmod(0o755)


def test_a_folder_that_vanishes_becomes_a_record(tmp_path: Path) -> None:
    """A folder that goes away while the walk is on is reported, and the walk goes on."""
    fill(tmp_path, "a.jpg", "gone/b.jpg", "last/c.jpg")
    walk = find(InputSettings(inputs=(str(tmp_path),)), Walk())
    assert next(walk).name == "a.png"
    shutil.rmtree(tmp_path / "gone")
    assert [photo.kind for photo in walk] == [Kind.TROUBLE, Kind.FILE]


def test_folders_deeper_than_pythons_stack_are_walked(tmp_path: Path) -> None:
    """A tree of more folders than Python has stack frames is a tree like any other."""
    depth, before = 1200, Path.cwd()
    os.chdir(tmp_path)
    try:
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        Path("a.jpg").write_bytes(b"x")
        os.chdir(tmp_path)
        assert [photo.name for photo in found(".")] == ["d/" * depth + "a.png"]
    finally:
        os.chdir(before)
        subprocess.run(["rm", "-r", "d"], cwd=tmp_path, check=True)  # shutil goes no deeper


def test_the_run_s_output_is_not_its_input(tmp_path: Path) -> None:
    """The output folder is left out wherever the walk meets it, by a link too."""
    fill(tmp_path, "in/a.jpg", "in/out/cutouts/a.png", "in/out/masks/a.png")
    (tmp_path / "in/link").symlink_to("out")
    walk = Walk()
    walk.avoid(str(tmp_path / "in/sub/../out"))
    assert len(found(tmp_path / "in", walk=walk)) == 5  # no such path: nothing to leave out
    walk.avoid(str(tmp_path / "in/out"))
    assert names_in(tmp_path / "in", walk=walk) == ["a.png"]


def test_outputs_of_other_runs_are_skipped(tmp_path: Path) -> None:
    """A tree that holds another run's state is results, not photos; how many were met is known."""
    fill(tmp_path, "a.jpg", "old/.hbseg/journal.sqlite", "old/cutouts/a.png", "b/c.jpg")
    walk = Walk()
    assert names_in(tmp_path, walk=walk) == ["a.png", "b/c.png"]
    assert walk.outputs_skipped == 1


def test_an_output_that_is_named_is_walked(tmp_path: Path) -> None:
    """Who names another run's output folder means it."""
    fill(tmp_path, "old/.hbseg/journal.sqlite", "old/cutouts/a.png")
    assert names_in(tmp_path / "old") == ["cutouts/a.png"]


def test_the_walk_is_lazy(tmp_path: Path) -> None:
    """The first photo comes before any further folder is listed."""
    fill(tmp_path, "1.jpg", "a/2.jpg", "b/3.jpg")
    walk = find(InputSettings(inputs=(str(tmp_path),)), Walk())
    assert next(walk).name == "1.png"
    fill(tmp_path, "a/later.jpg", "b/later.jpg")
    assert [photo.name for photo in walk] == ["a/2.png", "a/later.png", "b/3.png", "b/later.png"]


def test_names_of_any_bytes_are_found(tmp_path: Path) -> None:
    """Newlines, spaces, bytes that are no UTF-8 and names of 255 bytes are names like others."""
    names = [b"a\nb.jpg", b" .jpg", b"\xff\xfe.jpg", b"x" * 251 + b".jpg", b"\xe2\x82\xac.jpg"]
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(b"x")
    photos = found(tmp_path)
    assert sorted(os.fsencode(os.path.basename(photo.source)) for photo in photos) == sorted(names)
    assert all(os.stat(photo.source).st_size == photo.seen().size == 1 for photo in photos)
    assert len({photo.name for photo in photos}) == len(names)


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


LISTS = [
    (b"a.jpg\nb.jpg\n", False, ["a.jpg", "b.jpg"]),
    (b"a.jpg\nb.jpg", False, ["a.jpg", "b.jpg"]),
    (b"a.jpg\r\nb c.jpg\r\n\r\n", False, ["a.jpg", "b c.jpg"]),
    (b"\n\na.jpg\n\n", False, ["a.jpg"]),
    (b" a.jpg \n", False, [" a.jpg "]),
    (b"a\nb.jpg\0c.jpg\0", True, ["a\nb.jpg", "c.jpg"]),
    (b"c.jpg\r\0d.jpg", True, ["c.jpg\r", "d.jpg"]),
    (b"\xff\xfe.jpg\n", False, ["\udcff\udcfe.jpg"]),
    (b"", False, []),
    (b"\0\0", True, []),
]


@pytest.mark.parametrize(("data", "nul", "expected"), LISTS)
def test_lists_are_read_as_they_are_written(
    tmp_path: Path, data: bytes, nul: bool, expected: list[str]
) -> None:
    """Lines or NUL-separated names, Windows ends, any bytes; empty ones are passed over."""
    path = tmp_path / "list"
    path.write_bytes(data)
    assert list(listed(str(path), nul=nul)) == expected


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=600))
def test_long_lists_come_whole(
    tmp_path_factory: pytest.TempPathFactory, names: list[bytes]
) -> None:
    """A NUL-separated list of any names, however long, gives those names back; but a list may begin
    with a byte order mark, which is no part of its first name."""
    names = [b"first", *(name.replace(b"\0", b"0") for name in names)] * 3
    path = tmp_path_factory.getbasetemp() / "long-list"
    path.write_bytes(b"\0".join(names))
    assert [os.fsencode(name) for name in listed(str(path), nul=True)] == names


def test_a_list_names_files_folders_and_addresses(tmp_path: Path) -> None:
    """A list is the command line continued: folders are walked, what is missing is a record."""
    fill(tmp_path, "in/a.jpg", "b.jpg")
    path = tmp_path / "list"
    path.write_text(f"{tmp_path}/b.jpg\n{tmp_path}/in\nhttp://h/c.jpg\n{tmp_path}/nope.jpg\n")
    photos = found(from_file=str(path))
    assert [photo.name for photo in photos] == ["b.png", "in/a.png", "c.png", "nope.jpg.png"]
    assert [photo.kind for photo in photos] == [Kind.FILE, Kind.FILE, Kind.URL, Kind.TROUBLE]


def test_a_list_with_nul_bytes_read_as_lines_makes_no_traceback(tmp_path: Path) -> None:
    """Who forgets -0 after find -print0 gets a record or a usage error."""
    path = tmp_path / "list"
    path.write_bytes(b"a.jpg\0b.jpg\0")
    with contextlib.suppress(UsageError):
        assert [photo.kind for photo in found(from_file=str(path))] == [Kind.TROUBLE]


def test_a_list_is_read_as_it_comes(tmp_path: Path) -> None:
    """The first name of a list that is still being written is handed on at once."""
    read, write = os.pipe()
    with open(write, "wb", buffering=0) as list_end:
        names = listed(f"/dev/fd/{read}", nul=False)
        list_end.write(b"first.jpg\nsec")
        assert next(names) == "first.jpg"
        list_end.write(b"ond.jpg\n")
        assert next(names) == "second.jpg"
    assert list(names) == []
    os.close(read)


def test_a_list_on_standard_input(tmp_path: Path) -> None:
    """``--from-file -`` reads the names from standard input and leaves it open."""
    path = tmp_path / "list"
    path.write_bytes(b"a.jpg\nb.jpg\n")
    with stdin_of(path) as descriptor:
        assert list(listed("-", nul=False)) == ["a.jpg", "b.jpg"]
        os.fstat(descriptor)


@pytest.mark.parametrize("name", ["nope", "."])
def test_a_list_that_cannot_be_read_is_a_usage_error(tmp_path: Path, name: str) -> None:
    """A list that is missing or a folder is the user's mistake, and says so."""
    with pytest.raises(UsageError, match=r"--from-file .* cannot be read"):
        list(listed(str(tmp_path / name), nul=False))


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

    selection = Selection(str(tmp_path), Fingerprint("api", Wanted()))
    due = incremental.due(
        *(one_by_one(), journal, selection, lambda status, keys: None),
        *(Publisher(str(tmp_path), durable=False), lambda key: None),
        at_once=True,
    )
    assert next(due).photo.source == "a.jpg"
    assert asked == ["a.jpg"]
    journal.close()
