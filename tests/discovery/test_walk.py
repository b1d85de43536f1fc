"""The walk of a folder: hidden entries, links, output folders, what cannot be read."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from finding import common_user, fill, found, names_in

from humanbody_cli.core.photo import Kind
from humanbody_cli.core.settings import InputSettings
from humanbody_cli.discovery.find import find
from humanbody_cli.discovery.walk import Walk


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
    """A file on the command line is a photo, whatever its name."""
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
    """On the command line too: the link exists, so the path is not wrong, but it cannot be read."""
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
    assert (
        trouble.trouble == "cannot be read: Permission denied; check the path and its permissions"
    )
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
    """A folder that holds another run's state holds results, not photos."""
    fill(tmp_path, "a.jpg", "old/.hbseg/journal.sqlite", "old/cutouts/a.png", "b/c.jpg")
    walk = Walk()
    assert names_in(tmp_path, walk=walk) == ["a.png", "b/c.png"]


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
