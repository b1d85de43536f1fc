"""Nothing that hbseg did not write is ever replaced: by ``recompose`` or ``-o -``."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from calling import Called, done, everything, refused, segmented
from conftest import Hbseg, photo
from hypothesis import given
from hypothesis import strategies as st
from making import noise, quarters, saved
from PIL import Image

from humanbody_cli.core.settings import Telling
from humanbody_cli.imaging import cutouts, proof
from humanbody_cli.imaging.pictures import configure_pillow
from humanbody_cli.imaging.png_check import SIGNATURE
from humanbody_cli.jobs.recompose import batch
from humanbody_cli.jobs.recompose.recipes import composed
from humanbody_cli.jobs.recompose.selection import Selection
from humanbody_cli.storage.layout import RECOMPOSED_SEAL

WHITE = ("--format", "jpg", "--background", "white")
FORMATS = {
    "png": (".png", ()),
    "png on a ground": (".png", ("--background", "#00ff00")),
    "webp": (".webp", ("--format", "webp")),
    "jpg": (".jpg", WHITE),
}


@pytest.fixture
def made(tmp_path: Path) -> Called:
    """Three photos, one in a folder below, and their results in ``out``."""
    return done(tmp_path, "a.jpg", "b.jpg", "deeper/c.jpg")


@pytest.mark.parametrize(
    "into", ["photos", "photos/.", "out/../photos", "link", "through/photos", "{}/photos"]
)
def test_the_photos_themselves_are_not_overwritten(made: Called, into: str) -> None:
    """However the photos' folder is named, as a link too: exit 2 before the first write."""
    (made.cwd / "link").symlink_to("photos")
    (made.cwd / "through").symlink_to(".")
    err = refused(made, "recompose", "out", *WHITE, "--into", into.format(made.cwd), code=2)
    assert "holds photos of out" in err


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_name_that_is_a_link_to_a_photo_is_no_place(
    made: Called, link: Callable[[Path, Path], None]
) -> None:
    """A hard link and a symbolic link to a photo are the photo, under whatever name."""
    (made.cwd / "shop").mkdir()
    link(made.cwd / "photos/a.jpg", made.cwd / "shop/b.jpg")
    err = refused(made, "recompose", "out", *WHITE, "--into", "shop", code=2)
    assert "shop/b.jpg is one of the photos" in err


@pytest.mark.parametrize(
    "into",
    [
        "out/masks",
        "out/cutouts",
        "out/.hbseg",
        "out/masks/new/folder",
        "elsewhere/../out/cutouts",
        "link",
        "link/deeper",
        "other/masks",
        "other/.hbseg/x",
        "masks-of-out",
    ],
)
def test_masks_cutouts_and_state_are_not_written_to(made: Called, into: str) -> None:
    """The folders of any output tree that only ``segment`` fills take no other files: exit 2."""
    (made.cwd / "link").symlink_to("out/masks")
    (made.cwd / "elsewhere").mkdir()
    (made.cwd / "other/.hbseg").mkdir(parents=True)
    (made.cwd / "masks-of-out").mkdir()
    (made.cwd / "out/masks").rename(made.cwd / "masks-of-out/masks")
    (made.cwd / "out/masks").symlink_to("../masks-of-out/masks")
    if into == "masks-of-out":
        into += "/masks"
    err = refused(made, "recompose", "out", "--into", into, code=2)
    assert "only hbseg segment writes to" in err


def test_a_folder_below_that_leads_to_masks_is_found(made: Called) -> None:
    """A link inside DIR does not lead past the rule."""
    (made.cwd / "shop").mkdir()
    (made.cwd / "shop/deeper").symlink_to("../out/masks")
    err = refused(made, "recompose", "out", "--into", "shop", code=2)
    assert "only hbseg segment writes to" in err


@pytest.mark.parametrize("kind", ["file", "dangling link", "link", "fifo"])
def test_a_file_of_the_users_is_not_replaced(made: Called, kind: str) -> None:
    """Whatever hbseg did not write stays: exit 4 before the first write, and the file is named."""
    place = made.cwd / "shop/b.png"
    place.parent.mkdir()
    (made.cwd / "precious").write_text("of the user's")
    if kind == "file":
        place.write_text("of the user's")
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to("../precious" if kind == "link" else "nowhere")
    err = refused(made, "recompose", "out", "--into", "shop", code=4)
    assert "cannot write shop/b.png" in err and "--into" in err
    assert os.path.lexists(place)


def test_a_published_cutout_is_a_file_of_somebody_elses(made: Called) -> None:
    """What ``segment`` published, copied elsewhere, is not taken for a recomposed one."""
    (made.cwd / "shop").mkdir()
    (made.cwd / "shop/b.png").write_bytes((made.cwd / "out/cutouts/b.png").read_bytes())
    assert "cannot write shop/b.png" in refused(made, "recompose", "out", "--into", "shop", code=4)


@pytest.mark.parametrize("kind", FORMATS)
def test_its_own_results_are_replaced_and_edited_ones_are_not(made: Called, kind: str) -> None:
    """A second ``recompose`` needs no option. What was edited since, even by a program that keeps
    the file's comments, is the user's."""
    suffix, options = FORMATS[kind]
    assert made("recompose", "out", *options).code == 0
    first = everything(made.cwd / "out/recomposed")
    assert set(first) == {f"{name}{suffix}" for name in ("a", "b", "deeper/c")}
    assert made("recompose", "out", *options, "--size", "40").code == 0
    second = everything(made.cwd / "out/recomposed")
    assert all(first[name] != second[name] for name in first)
    assert made("recompose", "out", *options).code == 0
    assert {n: d for n, (d, _) in everything(made.cwd / "out/recomposed").items()} == {
        name: data for name, (data, _) in first.items()
    }
    edited = made.cwd / f"out/recomposed/b{suffix}"
    _edit(edited)
    err = refused(made, "recompose", "out", *options, code=4)
    assert f"out/recomposed/b{suffix}" in err and "changed since" in err
    edited.unlink()
    assert made("recompose", "out", *options).code == 0


def _edit(path: Path) -> None:
    """Save a picture anew with its colours changed and its comments as they were."""
    with Image.open(path) as image:
        image.load()
        kept = {name: image.info[name] for name in ("comment", "xmp") if name in image.info}
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path, image.format, **kept)


def test_a_recomposed_cutout_that_became_a_photo_is_one(made: Called) -> None:
    """Results that were taken as photos of another run are photos, our seal or not."""
    assert made("recompose", "out", *WHITE, "--into", "shop").code == 0
    segmented(made.cwd, "shop", "second")
    assert "shop holds photos of second" in refused(
        made, "recompose", "second", *WHITE, "--into", "shop", code=2
    )


def test_two_photos_of_one_place_do_not_replace_each_other(tmp_path: Path) -> None:
    """Where two names are one file, the first photo keeps it and the second is told: exit 3."""
    hbseg = done(tmp_path, "x/a.jpg", "y/a.jpg")
    (tmp_path / "shop/x").mkdir(parents=True)
    (tmp_path / "shop/y").symlink_to("x")
    for _ in range(2):
        ended = hbseg("recompose", "out", "--into", "shop", "--json")
        assert ended.code == 3, ended.err
        assert sorted(record["status"] for record in ended.records) == ["done", "failed"]
        failed = next(record for record in ended.records if record["status"] == "failed")
        assert failed["code"] == "OUTPUT_NAME_TAKEN"


def test_what_comes_while_it_works_is_not_replaced(
    made: Called, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is put at a photo's place after the first look is that photo's trouble only."""
    from humanbody_cli.storage.journal import Journal

    def slow(*arguments: Any) -> bytes:
        (made.cwd / "shop/b.png").write_text("of the user's")
        return composed(*arguments)

    monkeypatch.setattr(batch, "composed", slow)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.chdir(made.cwd)
    journal = Journal("out", read_only=True)
    code = batch.run(journal, cutouts.Recipe(), Selection(), "shop", json=False, telling=Telling())
    journal.close()
    assert code == 3
    assert (made.cwd / "shop/b.png").read_text() == "of the user's"
    assert "b.jpg: OUTPUT_NAME_TAKEN" in capsys.readouterr().err


def test_a_cutout_beyond_what_the_format_holds_is_that_photos(tmp_path: Path) -> None:
    """A WebP has 16,383 pixels a side: a longer photo fails with a remedy, the others are done."""
    photo(tmp_path / "photos/long.png", size=(16500, 60))
    photo(tmp_path / "photos/short.png", seed=3)
    segmented(tmp_path, "photos", "out", fit=True)
    ended = Called(tmp_path)("recompose", "out", "--format", "webp", "--edges", "hard")
    assert ended.code == 3, ended.err
    assert "long.png: TOO_LARGE_FOR_FORMAT" in ended.err and "--size" in ended.err
    assert (tmp_path / "out/recomposed/short.webp").exists()


# -o -


@pytest.mark.parametrize("how", ["named", "stdin"])
def test_a_cutout_is_not_written_into_its_photo(made: Called, how: str) -> None:
    """``hbseg segment a.jpg -o - >> a.jpg`` is refused before anything is written."""
    path = made.cwd / "photos/a.jpg"
    before = path.read_bytes()
    with path.open("ab") as out, path.open("rb") as source:
        name = "photos/a.jpg" if how == "named" else "-"
        pipes = {"stdin": source, "stdout": out, "stderr": subprocess.PIPE}
        with Hbseg(made.cwd).start("segment", name, "-o", "-", **pipes) as process:
            _, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert b"is also stdout" in err
    assert path.read_bytes() == before


# Seals


LABELS = cutouts.Labels(RECOMPOSED_SEAL, proof.digest_of("photo", "recipe"), b"profile")


def sealed_files() -> dict[str, bytes]:
    """A sealed picture of each format."""
    configure_pillow()
    picture = quarters((20, 10))
    transparent = picture.convert("RGBA")
    return {
        kind: cutouts.encoded(image, cutouts.Recipe(format=kind[:4].strip()), LABELS)
        for kind, image in (
            ("png", transparent),
            ("png RGB", picture),
            ("jpg", picture),
            ("webp", transparent),
        )
    }


SEALED = sealed_files()


@pytest.mark.parametrize("kind", SEALED)
def test_a_sealed_picture_is_a_sound_picture(kind: str) -> None:
    """Pillow reads it with every checksum, and finds the profile; the seal is whole."""
    data = SEALED[kind]
    assert proof.is_sealed(data, RECOMPOSED_SEAL)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.size == (20, 10)
        assert image.info["icc_profile"] == b"profile"
    if kind.startswith("png"):
        with Image.open(io.BytesIO(data)) as image:
            image.verify()


@given(st.sampled_from(sorted(SEALED)), st.data())
def test_any_change_breaks_a_seal(kind: str, draw: st.DataObject) -> None:
    """A byte changed, added or lost anywhere, in the seal itself too: the file is no more ours."""
    data = SEALED[kind]
    at = draw.draw(st.integers(0, len(data) - 1))
    byte = draw.draw(st.binary(min_size=1, max_size=1))
    how = draw.draw(st.sampled_from(["change", "add", "lose"]))
    changed = data[:at] + (b"" if how == "lose" else byte) + data[at + (how != "add") :]
    assert proof.is_sealed(changed, RECOMPOSED_SEAL) is (changed == data)


@given(st.binary(max_size=300))
def test_what_was_not_sealed_is_not_ours(data: bytes) -> None:
    """Arbitrary bytes, with the words of a seal in them too, bear none."""
    for before in (b"", SIGNATURE):
        for words in (b"", b"hbseg-recomposed:", proof.blank("recomposed").encode()):
            assert not proof.is_sealed(before + words + data, "recomposed")


def test_a_seal_tells_who_wrote_the_file() -> None:
    """A seal of one kind is none of another."""
    text = proof.sealed(f"<!-- {proof.blank('report')} -->".encode(), "report")
    assert proof.is_sealed(text, "report")
    assert not proof.is_sealed(text, "recomposed")
    assert not proof.is_sealed(saved(noise((9, 9)), "PNG"), "recomposed")
