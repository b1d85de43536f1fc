"""Composed pictures: straight from ``segment FOLDER``, on exact canvases, of some photos, once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import GRACE, Ended, Hbseg, Run, files, photo
from fake_api import FakeApi
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from humanbody_cli.core.outcomes import DOUBTFUL
from humanbody_cli.core.settings import Edges
from humanbody_cli.imaging.cutouts import Recipe, compose_one

Recompose = Callable[..., Ended]
sides = st.integers(1, 60)
boxes = st.none() | st.tuples(sides, sides)


@pytest.fixture
def recompose(hbseg: Hbseg) -> Recompose:
    """``recompose out`` with these arguments."""

    def run(*arguments: object, code: int = 0, stdin: bytes = b"") -> Ended:
        ended = hbseg("recompose", "out", *arguments, stdin=stdin)
        assert ended.code == code, ended.err
        return ended

    return run


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder with its inode and time."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*.*")
        if path.is_file()
    }


# -- sizes -----------------------------------------------------------------------------------------


@given(sides, sides, boxes, boxes, st.booleans(), st.booleans())
def test_a_canvas_is_exact_and_nothing_grows_unasked(
    width: int,
    height: int,
    size: tuple[int, int] | None,
    canvas: tuple[int, int] | None,
    enlarge: bool,
    filled: bool,
) -> None:
    """The result has the canvas's size, or fits into the size; the cutout keeps its proportions
    within a pixel and its centre, and grows only if told."""
    recipe = Recipe(
        size=size, canvas=canvas, enlarge=enlarge, background=(0, 0, 0) if filled else None
    )
    pixels = Image.new("RGB", (width, height), (200, 100, 50))
    made = compose_one(pixels, Image.new("L", (width, height), 255), recipe)
    assert made.mode == ("RGB" if filled else "RGBA")
    left, top, right, bottom = made.getchannel(0).getbbox() or (0, 0, 0, 0)
    own = (right - left, bottom - top)
    if canvas is not None:
        assert made.size == canvas
        assert abs(left - (canvas[0] - right)) <= 1
        assert abs(top - (canvas[1] - bottom)) <= 1
    else:
        assert made.size == own
    given_boxes = [box for box in (size, canvas) if box]
    scale = min(
        (b / s for box in given_boxes for b, s in zip(box, (width, height), strict=True)),
        default=1.0,
    )
    scale = scale if enlarge else min(1.0, scale)
    assert own == tuple(max(1, round(side * scale)) for side in (width, height))


def test_padding_is_nothing_or_the_background(
    run: Run, recompose: Recompose, tmp_path: Path
) -> None:
    """Around the cutout there is nothing, or the colour that was asked for."""
    photo(tmp_path / "photos/a.png", size=(96, 80))
    run("photos")
    recompose("--canvas", "200x100", "--edges", "hard")
    with Image.open(tmp_path / "out/recomposed/a.png") as made:
        pixels = np.asarray(made)
    assert pixels.shape == (100, 200, 4)
    assert not pixels[:, :50].any() and not pixels[:10].any()
    with Image.open(tmp_path / "out/cutouts/a.png") as cutout:
        inner, alpha = pixels[10:90, 52:148], np.asarray(cutout)[..., 3]
    with Image.open(tmp_path / "photos/a.png") as own:
        assert np.array_equal(inner[..., 3], alpha)
        assert np.array_equal(inner[alpha == 255][:, :3], np.asarray(own)[alpha == 255])
    recompose("--canvas", "200", "--enlarge", "--background", "#ff0000", "--format", "webp")
    with Image.open(tmp_path / "out/recomposed/a.webp") as made:
        assert (made.size, made.mode) == ((200, 200), "RGB")
        assert np.abs(np.asarray(made)[0, 0].astype(int) - (255, 0, 0)).max() < 8


def test_quality_is_that_of_the_file(run: Run, recompose: Recompose, tmp_path: Path) -> None:
    """A lower quality makes smaller files, of JPEG and WebP; a PNG has none."""
    (tmp_path / "photos").mkdir()
    shutil.copy(GRACE, tmp_path / "photos/a.jpg")
    run("photos")
    for kind in ("jpg", "webp"):
        sizes = []
        for quality in (30, 92, 98):
            recompose("--format", kind, "--quality", quality)
            sizes.append((tmp_path / f"out/recomposed/a.{kind}").stat().st_size)
        assert sizes == sorted(sizes)
        assert sizes[0] * 2 < sizes[2]
    assert "--quality is that of a jpg or webp" in recompose("--quality", 50, code=2).err


def test_the_edges_are_those_of_segment(run: Run, recompose: Recompose, tmp_path: Path) -> None:
    """Without an option the recomposed cutout has the pixels of the published one."""
    photo(tmp_path / "photos/a.jpg")
    run("photos")
    recompose()
    with (
        Image.open(tmp_path / "out/recomposed/a.png") as made,
        Image.open(tmp_path / "out/cutouts/a.png") as cutout,
    ):
        assert np.array_equal(np.asarray(made)[..., 3], np.asarray(cutout)[..., 3])
    assert Recipe().edges is Edges.HARD


# -- once ------------------------------------------------------------------------------------------


def test_what_is_done_is_left_as_it_is(
    run: Run, recompose: Recompose, photos: Path, tmp_path: Path
) -> None:
    """Same photo, mask and options: no file is written. What lacks, or came of another mask or
    other options, is made; a photo that has changed since is named."""
    run(photos)
    look = ("--crop", "--format", "jpg")
    recompose(*look)
    before = stamps(tmp_path / "out/recomposed")
    again = recompose(*look, "--json")
    assert "4 done before" in again.err
    assert [record["skipped"] for record in again.records] == [True] * 4
    assert stamps(tmp_path / "out/recomposed") == before
    (tmp_path / "out/recomposed/b.jpg").unlink()
    photo(photos / "a.jpg", seed=77)
    run(photos)
    assert "2 done, 2 done before" in recompose(*look).err
    after = stamps(tmp_path / "out/recomposed")
    assert {name for name in after if after[name] != before[name]} == {"a.jpg", "b.jpg"}
    assert "4 done" in recompose(*look, "--background", "blue").err
    (photos / "b.jpg").write_bytes((photos / "a.jpg").read_bytes())
    (photos / "c.png").unlink()
    ended = recompose(*look, "--background", "blue", code=3)
    assert "b.jpg: SOURCE_CHANGED" in ended.err
    assert "3 done before" in ended.err


def test_a_background_picture_counts_by_its_pixels(
    run: Run, recompose: Recompose, tmp_path: Path
) -> None:
    """Another picture under the same name is another recipe."""
    photo(tmp_path / "photos/a.jpg")
    run("photos")
    for seed, says in ((1, "1 done,"), (1, "1 done before"), (2, "1 done,")):
        photo(tmp_path / "behind.png", seed=seed)
        assert says in recompose("--background", "behind.png").err


# -- some ------------------------------------------------------------------------------------------


def test_a_list_selects(run: Run, recompose: Recompose, photos: Path, tmp_path: Path) -> None:
    """Names as status prints them, and paths from the current folder; a name that no done photo has
    is reported, and the exit code is 3."""
    run("photos")
    listed = f"photos/a.jpg\n{photos}/deeper/d.jpg\r\n\nphotos/../photos/c.png\n".encode()
    recompose("--only", "-", stdin=listed)
    made = {name for name in stamps(tmp_path / "out/recomposed") if name.endswith("png")}
    assert made == {"a.png", "c.png", "deeper/d.png"}
    (tmp_path / "list").write_text("photos/b.jpg\nphotos/gone.jpg\n")
    ended = recompose("--only", "list", "--json", code=3)
    assert [(r["source"].rpartition("/")[2], r["code"]) for r in ended.records] == [
        ("b.jpg", None),
        ("gone.jpg", "NOT_DONE"),
    ]
    assert "--only gone: cannot be read" in recompose("--only", "gone", code=2).err


def test_the_doubtful_ones_alone(
    run: Run, recompose: Recompose, photos: Path, tmp_path: Path
) -> None:
    """Those that the run called doubtful; where there are none, a sentence says so."""
    run("photos")
    assert "nothing to do: no photo in out is doubtful" in recompose("--only", "doubtful").err
    photo(photos / "small.jpg", size=(48, 48))
    doubts = [record["doubt"] for record in run("photos", "--json").records]
    assert sum(doubt > DOUBTFUL for doubt in doubts) == 1
    (told,) = recompose("--only", "doubtful", "--json").records
    assert told["cutout"] == "out/recomposed/small.png"
    assert [path.name for path in (tmp_path / "out/recomposed").glob("*.png")] == ["small.png"]


# -- straight from a run ---------------------------------------------------------------------------


def test_a_run_composes_its_photos(run: Run, api: FakeApi, photos: Path, tmp_path: Path) -> None:
    """Masks and cutouts as always, then the pictures; a rerun makes only what is missing."""
    look = ("--format", "jpg", "--background", "white", "--canvas", "120")
    photo(tmp_path / "others/x.jpg", seed=50)
    run("others")
    run("photos", "--json", *look)
    made = {name for name in stamps(tmp_path / "out/recomposed") if name.endswith("jpg")}
    assert made == {"a.jpg", "b.jpg", "c.jpg", "deeper/d.jpg"}
    published = files(tmp_path / "out")
    assert len(published) == 10
    for name in made:
        with Image.open(tmp_path / "out/recomposed" / name) as picture:
            assert (picture.format, picture.size) == ("JPEG", (120, 120))
            assert picture.getpixel((0, 0)) == (255, 255, 255)
    before = stamps(tmp_path / "out/recomposed")
    (tmp_path / "out/recomposed/c.jpg").unlink()
    assert "1 done, 3 done before, in out/recomposed" in run("photos", *look).err
    after = stamps(tmp_path / "out/recomposed")
    assert {name for name in after if after[name] != before[name]} == {"c.jpg"}
    assert files(tmp_path / "out") == published
    assert len(api.stats.calls) == 5


def test_a_file_of_the_users_stops_one_picture(run: Run, photos: Path, tmp_path: Path) -> None:
    """It stays, its photo is told as failed, and the other pictures are composed."""
    shutil.copy(GRACE, photos / "a.jpg")
    shutil.copy(GRACE, photos / "b.jpg")
    made = tmp_path / "out/recomposed"
    made.mkdir(parents=True)
    (made / "a.jpg").write_text("of the user's")
    ended = run(photos, "--engine", "local", "--format", "jpg", code=3)
    assert "a.jpg: OUTPUT_NAME_TAKEN" in ended.err
    assert (made / "a.jpg").read_text() == "of the user's"
    with Image.open(made / "b.jpg") as composed:
        assert composed.format == "JPEG"


def test_the_runs_exit_code_stays(run: Run, photos: Path, tmp_path: Path) -> None:
    """A rejected photo is exit 3, and the others are composed; so is what --max-calls allowed."""
    (photos / "bad.jpg").write_bytes(b"no picture")
    run("photos", "--crop", code=3)
    assert len(list((tmp_path / "out/recomposed").rglob("*.png"))) == 4
    photo(photos / "new.jpg", seed=60)
    photo(photos / "new too.jpg", seed=61)
    run("photos", "--crop", "--max-calls", 1, "--concurrency", 1, code=5)
    assert len(list((tmp_path / "out/recomposed").rglob("*.png"))) == 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("photos", "--background", "nocolour"), "--background 'nocolour'"),
        (("photos", "--quality", "50"), "--quality is that of a jpg or webp"),
        (("-", "--crop"), "a photo from stdin is not kept"),
    ],
)
def test_a_run_that_cannot_compose_does_not_begin(
    run: Run, api: FakeApi, photos: Path, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    """Exit 2 before a call and a folder."""
    assert says in run(*arguments, code=2).err
    assert not api.stats.calls
    assert not (tmp_path / "out").exists()


def test_a_photo_among_composed_pictures_is_told_of(hbseg: Hbseg, tmp_path: Path) -> None:
    """A walk leaves out all pictures of a marked folder; one that hbseg did not make may be a photo
    that came later, and is not passed over without a word. A report's thumbnails are hbseg's."""
    photo(tmp_path / "photos/a.jpg", seed=1)
    assert hbseg("segment", "photos", "-o", "out").code == 0
    composed = hbseg("recompose", "out", "--include-empty", "--into", "photos/shop")
    assert composed.code == hbseg("report", "out", "-o", "photos/page.html").code == 0
    told = "that hbseg did not make skipped"
    assert told not in hbseg("segment", "photos", "-o", "out").err
    photo(tmp_path / "photos/shop/b.jpg", seed=2)
    ended = hbseg("segment", "photos", "-o", "out")
    assert f"photos/shop: 1 picture {told}" in ended.err
    assert ended.code == 0
