"""``hbseg segment me.jpg -o me.png``: one file, whole or absent, paid for once, nobody else's."""

from __future__ import annotations

import io
import os
import pty
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import GRACE, Hbseg, Run, photo
from fake_api import FakeApi
from making import noise
from PIL import Image, ImageCms
from results import names
from waiting import until

from humanbody_cli.jobs.single.place import kept_answer

PAIR = {"HBSEG_API_KEY": "key", "HBSEG_API_SECRET": "secret"}


def test_the_file_is_written_and_nothing_else(one: Run, api: FakeApi, tmp_path: Path) -> None:
    """No folder, no state: me.png is the cutout that a run into a folder publishes."""
    ended = one("me.jpg", "-o", "me.png", "--json")
    assert names(tmp_path) == ["me.jpg", "me.png"]
    assert (ended.records[0]["status"], ended.records[0]["cutout"]) == ("done", "me.png")
    assert "me.png: written in" in ended.err
    one("me.jpg", "-o", "out")
    with Image.open(tmp_path / "me.png") as file, Image.open(tmp_path / "out/cutouts/me.png") as of:
        assert (file.mode, file.size) == ("RGBA", (96, 80))
        assert file.tobytes() == of.tobytes()


def test_a_second_run_is_free(one: Run, api: FakeApi, tmp_path: Path) -> None:
    """Same bytes and options: no call, the file untouched. ``--force``, another option and another
    photo at the name make it anew."""
    out = tmp_path / "new" / "me.png"
    one("me.jpg", "-o", out)
    before = out.stat()
    again = one("me.jpg", "-o", out, "--json")
    assert "already done" in again.err and again.records[0]["skipped"]
    shutil.copy(tmp_path / "me.jpg", tmp_path / "copy.jpg")
    one("copy.jpg", "-o", out)
    after = out.stat()
    assert len(api.stats.calls) == 1
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    one("me.jpg", "-o", out, "--force")
    one("me.jpg", "-o", out, "--edges", "soft")
    assert len(api.stats.calls) == 3
    photo(tmp_path / "me.jpg", seed=2)
    one("me.jpg", "-o", out, "--edges", "soft")
    assert len(api.stats.calls) == 4
    assert names(out.parent) == ["me.png"]


@pytest.mark.parametrize(
    ("name", "kind", "mode"), [("a.webp", "WEBP", "RGBA"), ("a.jpg", "JPEG", "RGB")]
)
def test_the_suffix_is_the_format(
    one: Run, tmp_path: Path, name: str, kind: str, mode: str
) -> None:
    """A WebP keeps the transparency, a JPEG is white behind the person; both have the profile."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with Image.open(GRACE) as image:
        image.save(tmp_path / "me.jpg", icc_profile=profile, quality=95)
    one("me.jpg", "-o", name)
    one("me.jpg", "-o", name, code=0)
    with Image.open(tmp_path / name) as made:
        assert (made.format, made.mode, made.size) == (kind, mode, (512, 600))
        assert made.info["icc_profile"] == profile
        corner = np.asarray(made)[0, 0]
    assert corner[-1] == 0 if mode == "RGBA" else (corner > 250).all()


def test_it_is_composed_as_recompose_does(one: Run, api: FakeApi, tmp_path: Path) -> None:
    """Crop, background, canvas and quality straight from ``segment``, to a file and to stdout."""
    shutil.copy(GRACE, tmp_path / "me.jpg")
    look = ("--crop", "--background", "#102030", "--canvas", "300x400", "--quality", "70")
    one("me.jpg", "-o", "a.jpg", *look)
    one("me.jpg", "-o", "out")
    hbseg = Hbseg(tmp_path)
    assert hbseg("recompose", "out", *look, "--format", "jpg").code == 0
    with (
        Image.open(tmp_path / "a.jpg") as made,
        Image.open(tmp_path / "out/recomposed/me.jpg") as other,
    ):
        assert made.size == (300, 400)
        assert np.abs(np.asarray(made)[0, 0].astype(int) - (0x10, 0x20, 0x30)).max() < 6
        assert made.tobytes() == other.tobytes()
    with (tmp_path / "b.jpg").open("wb") as out:
        arguments = ("segment", "me.jpg", "-o", "-", *look, "--format", "jpg")
        where = ("--endpoint", api.url)
        with Hbseg(tmp_path, PAIR).start(*arguments, *where, stdout=out) as command:
            assert command.wait(60) == 0
    assert (tmp_path / "b.jpg").read_bytes() == (tmp_path / "a.jpg").read_bytes()
    assert len(api.stats.calls) == 3


def test_exif_goes_along_only_if_it_is_kept(one: Run, tmp_path: Path) -> None:
    """In every format; the result is upright, so the orientation is dropped."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    with Image.open(GRACE) as image:
        image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "me.jpg", exif=exif)
    for name in ("a.png", "a.webp", "a.jpg"):
        one("me.jpg", "-o", name)
        with Image.open(tmp_path / name) as made:
            assert made.size == (512, 600)
            assert not made.getexif()
        one("me.jpg", "-o", name, "--metadata", "keep")
        with Image.open(tmp_path / name) as made:
            assert made.getexif().get(0x010F) == "Maker"
            assert 0x0112 not in made.getexif()


def test_without_output_it_is_named_after_the_photo(one: Run, api: FakeApi, tmp_path: Path) -> None:
    """Beside the photo, in the format that is asked for; never one name for two photos. A later
    walk does not take these cutouts for photos."""
    folder = tmp_path / "photos"
    photo(folder / "a b.jpg", seed=1)
    photo(folder / "c.jpg", seed=2)
    photo(folder / "c.png", seed=3)
    for name in ("a b.jpg", "c.jpg", "c.png"):
        one(folder / name)
    one("photos/a b.jpg", "--format", "jpg")
    made = ["a b-cutout.jpg", "a b-cutout.png", "c.jpg-cutout.png", "c.png-cutout.png"]
    assert names(folder) == sorted([*made, "a b.jpg", "c.jpg", "c.png"])
    assert len(api.stats.calls) == 4
    ended = one(folder, "-o", "out", "--json")
    assert len(ended.records) == 3
    photo(folder / "d-cutout.png", seed=9)
    assert len(one(folder, "-o", "out", "--json").records) == 4


@pytest.mark.parametrize("how", ["itself", "link", "hard link", "stdin"])
def test_the_photo_itself_is_never_written_to(
    one: Run, api: FakeApi, tmp_path: Path, how: str
) -> None:
    """By no name: exit 2, before a call."""
    before = (tmp_path / "me.jpg").read_bytes()
    out = "other.jpg" if how.endswith("link") else "me.jpg"
    if how == "link":
        (tmp_path / out).symlink_to("me.jpg")
    elif how == "hard link":
        (tmp_path / out).hardlink_to(tmp_path / "me.jpg")
    if how == "stdin":
        with (
            (tmp_path / "me.jpg").open("rb") as file,
            Hbseg(tmp_path, PAIR).start(
                "segment", "-", "-o", "me.jpg", stdin=file, stderr=subprocess.PIPE
            ) as command,
        ):
            _, err = command.communicate(timeout=60)
        assert (command.returncode, b"is the photo itself" in err) == (2, True)
    else:
        assert "is the photo itself" in one("me.jpg", "-o", out, code=2).err
    assert (tmp_path / "me.jpg").read_bytes() == before
    assert not api.stats.calls


@pytest.mark.parametrize("what", ["text", "picture", "edited", "link", "recomposed", "published"])
def test_what_it_did_not_write_is_not_replaced(
    one: Run, api: FakeApi, tmp_path: Path, what: str
) -> None:
    """Exit 4 before a call, the file as it was; with ``--force`` too."""
    out = tmp_path / "x.png"
    if what == "text":
        out.write_text("mine")
    elif what == "picture":
        noise((20, 20)).save(out)
    elif what == "edited":
        one("me.jpg", "-o", out)
        out.write_bytes(out.read_bytes() + b"!")
    elif what == "link":
        out.symlink_to("nowhere.png")
    else:
        one("me.jpg", "-o", "out")
        assert Hbseg(tmp_path)("recompose", "out").code == 0
        shutil.copy(tmp_path / f"out/{'recomposed' if what[0] == 'r' else 'cutouts'}/me.png", out)
    calls = len(api.stats.calls)
    before = os.readlink(out) if what == "link" else out.read_bytes()
    for more in ((), ("--force",)):
        assert "cannot write" in one("me.jpg", "-o", out, *more, code=4).err
    assert (os.readlink(out) if what == "link" else out.read_bytes()) == before
    assert len(api.stats.calls) == calls


def test_results_of_a_folder_are_not_written_to(one: Run, api: FakeApi, tmp_path: Path) -> None:
    """A file within masks, cutouts or the state belongs to the runs over that folder."""
    one("me.jpg", "-o", "out")
    for name in ("out/cutouts/me.png", "out/masks/new.png", "out/.hbseg/x.png"):
        assert "give another name" in one("me.jpg", "-o", name, code=2).err
    assert len(api.stats.calls) == 1


def test_stdout_that_is_a_terminal_is_refused(paid: Hbseg, one: Run, api: FakeApi) -> None:
    """``-o -`` on a real terminal: exit 2 before a call, and nothing is printed on it."""
    master, slave = pty.openpty()
    arguments = ("segment", "me.jpg", "-o", "-", "--endpoint", api.url)
    with paid.start(*arguments, stdout=slave, stderr=subprocess.PIPE) as command:
        _, err = command.communicate(timeout=60)
    os.close(slave)
    with pytest.raises(OSError, match="Input/output error"):  # nothing was written
        os.read(master, 1)
    os.close(master)
    assert command.returncode == 2
    assert b"redirect it (> me.png)" in err
    assert not api.stats.calls


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("-o", "a.png", "--format", "jpg"), "is not the name of a jpg"),
        (("-o", "a.png", "--quality", "80"), "--quality is that of a jpg or webp"),
        (("-o", "a.png", "--enlarge"), "give --size or --canvas too"),
        (("-o", "a.png", "--margin", "0.1"), "give --crop too"),
        (("-o", "a.jpg", "--no-cutout"), "--no-cutout leaves the mask"),
        (("-o", "a.jpg", "--background", "nocolour"), "--background 'nocolour'"),
        (("-o", "-", "--json"), "--json would mix with it"),
        (("-o", "a.tif"), "can be a .png, .webp or .jpg file"),
    ],
)
def test_options_that_contradict_each_other(
    one: Run, api: FakeApi, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    """One sentence, exit 2, no call and no file."""
    assert says in one("me.jpg", *options, code=2).err
    assert not api.stats.calls
    assert names(tmp_path) == ["me.jpg"]


def test_a_mask_alone(one: Run, tmp_path: Path) -> None:
    """``--no-cutout`` writes the mask."""
    ended = one("me.jpg", "-o", "mask.png", "--no-cutout", "--json")
    assert (ended.records[0]["mask"], ended.records[0]["cutout"]) == ("mask.png", None)
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.mode == "L"


def test_a_photo_that_is_rejected_leaves_nothing(one: Run, api: FakeApi, tmp_path: Path) -> None:
    """Exit 3 with its code, no file, no call."""
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    ended = one("bad.jpg", "-o", "bad.png", code=3)
    assert "bad.jpg: IMAGE_ERROR_UNSUPPORTED_FORMAT" in ended.err
    assert names(tmp_path) == ["bad.jpg", "me.jpg"]
    assert not api.stats.calls


def test_two_runs_do_not_write_one_file(one: Run, api: FakeApi, tmp_path: Path) -> None:
    """The second exits 6 before a call."""
    with kept_answer(str(tmp_path / "me.png")):
        ended = one("me.jpg", "-o", tmp_path / "me.png", code=6)
    assert "another run is writing this file; wait for it, or give --lock-wait" in ended.err
    assert not api.stats.calls
    one("me.jpg", "-o", tmp_path / "me.png")
    assert names(tmp_path) == ["me.jpg", "me.png"]


def test_a_run_waits_for_another_if_told(paid: Hbseg, api: FakeApi, tmp_path: Path) -> None:
    """``--lock-wait``: it begins once the other has ended."""
    photo(tmp_path / "me.jpg")
    arguments = ("segment", "me.jpg", "-o", "me.png", "--endpoint", api.url, "--log-file", "log")
    with kept_answer(str(tmp_path / "me.png")):
        command = paid.start(*arguments, "--lock-wait", 60)
        assert until((tmp_path / "log").exists)
    with command:
        assert command.wait(60) == 0
    assert names(tmp_path) == ["log", "me.jpg", "me.png"]


def test_no_folder_no_call(one: Run, api: FakeApi, tmp_path: Path) -> None:
    """A file where the folder should be: exit 4 before a call."""
    (tmp_path / "file").write_text("x")
    one("me.jpg", "-o", "file/me.png", code=4)
    assert not api.stats.calls


@pytest.mark.parametrize("name", ["-x.png", "ü ß.png", "new\nline.png", "'\"<&>.png", "%s{}.png"])
def test_odd_names(one: Run, tmp_path: Path, name: str) -> None:
    """Any name is a name."""
    one("me.jpg", f"--output={name}")
    with Image.open(io.BytesIO((tmp_path / name).read_bytes())) as made:
        assert made.mode == "RGBA"
