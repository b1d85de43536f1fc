"""The thumbnails of ``hbseg report``: what is in them, what is kept, and how they are told of."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Browser, Tab, chromium
from calling import Called, done
from making import jpeg, other_profile
from PIL import Image
from reporting import PAINTED, Folder, opened, report, rows_of, seen, strips, thumbnails

from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.core.settings import ProgressChoice, Telling
from humanbody_cli.imaging import pictures
from humanbody_cli.jobs.report.thumbnails import SIDE
from humanbody_cli.jobs.report.write import write
from humanbody_cli.storage.journal import Journal

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium, which is not installed"
)

PHOTO, CUTOUT, MASK = 1, 2, 4
"""The bits of ``panes``."""


@pytest.fixture
def made(tmp_path: Path) -> Called:
    """Three photos, one in a folder below, and their results in ``out``."""
    return done(tmp_path, "a.jpg", "b.jpg", "deeper/c.jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An output folder without photos, to be filled."""
    return Folder(tmp_path)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with chromium() as running:
        yield running


def test_pictures_that_are_gone_or_damaged_are_not_shown(folder: Folder) -> None:
    """The page is written all the same, with what there is."""
    folder.add("no photo.jpg").unlink()
    folder.add("changed.jpg").write_bytes(jpeg())
    folder.add("no mask.jpg")
    (folder.root / "out/masks/no mask.jpg.png").unlink()
    folder.add("half a cutout.jpg")
    cutout = folder.root / "out/cutouts/half a cutout.jpg.png"
    cutout.write_bytes(cutout.read_bytes()[:-60])
    folder.add_address("https://photos.example.com/x.jpg")
    page = report(folder)
    rows = {row["name"]: row["panes"] for row in rows_of(page)}
    assert rows == {
        "no photo.jpg": CUTOUT | MASK,
        "changed.jpg": CUTOUT | MASK,
        "no mask.jpg": PHOTO | CUTOUT,
        "half a cutout.jpg": PHOTO | MASK,
        "x.jpg": 0,
    }
    assert strips(page) == thumbnails(folder.root)


def test_what_was_missing_is_added_and_nothing_is_lost(folder: Folder) -> None:
    """Thumbnails without the photo stay as they are until it is back; once it is in them, they stay
    although it is gone again."""
    photo, away = folder.add("a.jpg"), folder.root / "away.jpg"
    os.rename(photo, away)
    page = report(folder)
    before = seen(page.parent)
    called = Called(folder.root)
    assert called("report", page.parent).code == 0 and seen(page.parent) == before
    for source, target in ((away, photo), (photo, away)):
        os.rename(source, target)
        assert called("report", page.parent).code == 0
        (row,) = rows_of(page)
        assert row["panes"] == PHOTO | CUTOUT | MASK and thumbnails(folder.root) == strips(page)


def test_photo_cutout_and_mask_are_side_by_side(folder: Folder) -> None:
    """Each in the middle of a square of its own, the cutout transparent where there is nobody."""
    folder.add("a.jpg")
    report(folder)
    (file,) = (folder.root / "out").rglob("report-files/*/*.webp")
    with Image.open(file) as strip:
        assert (strip.format, strip.mode, strip.size) == ("WEBP", "RGBA", (3 * SIDE, SIDE))
        middle, corner = SIDE // 2, (4, SIDE // 6 + 4)  # the photos are 3 to 2
        pixels = [
            [pixel(strip, at * SIDE + x, y) for x, y in ((middle, middle), corner, (4, 4))]
            for at in range(3)
        ]
    blue, red, white, black, clear = (20, 70, 200), (200, 60, 40), (255,) * 3, (0,) * 3, None
    assert [[near(pixel) for pixel in one] for one in pixels] == [
        [near((*blue, 255)), near((*red, 255)), clear],
        [near((*blue, 255)), clear, clear],
        [near((*white, 255)), near((*black, 255)), clear],
    ]


def pixel(image: Image.Image, x: int, y: int) -> Any:
    """One pixel."""
    return image.getpixel((x, y))


def near(pixel: Any) -> tuple[int, ...] | None:
    """A colour in coarse steps, as WebP keeps it; ``None`` if it is transparent."""
    return tuple((part + 16) // 48 for part in pixel[:3]) if pixel[3] > 128 else None


def test_thumbnails_of_earlier_versions_are_removed(made: Called) -> None:
    """They are not used any more; no other file is touched."""
    assert made("report", "out").code == 0
    (old := made.cwd / "out/report-files/0/0123456789abcdef0123.webp").parent.mkdir(exist_ok=True)
    (mine := old.with_name("mine.webp")).write_bytes(b"mine")
    old.write_bytes(b"old")
    assert made("report", "out").code == 0
    assert mine.exists() and not old.exists()


def test_a_photo_that_the_browser_cannot_show_is_shown(folder: Folder) -> None:
    """A HEIC that was rejected has a thumbnail like any other."""
    heif = pytest.importorskip("pillow_heif")
    path = folder.root / "photos/phone.heic"
    path.parent.mkdir()
    heif.from_bytes("RGB", (64, 48), bytes(64 * 48 * 3)).save(path)
    folder.leave_out("phone.heic", Status.REJECTED, "IMAGE_ERROR_UNSUPPORTED_FORMAT", "use --fit")
    (row,) = rows_of(page := report(folder))
    assert row["panes"] == PHOTO and strips(page) == thumbnails(folder.root)


def test_the_colours_are_those_of_srgb(folder: Folder) -> None:
    """A strip has no profile: the pixels of each picture are converted from its own, and a broken
    profile is left aside."""
    for name, profile in (("a.jpg", other_profile()), ("b.jpg", b"no profile")):
        path = folder.add(name)
        Image.new("RGB", (60, 60), (250, 0, 0)).save(path, icc_profile=profile)
        outcome = Outcome(str(path), Status.FAILED, code="X", message="x")
        folder.finish(outcome, name, size=None)
    for row in rows_of(report(folder)):
        file = folder.root / f"out/report-files/{row['strip'][0]}/{row['strip']}-1.webp"
        with Image.open(file) as strip:
            red, _, blue = pixel(strip, SIDE // 2, SIDE // 2)[:3]
            assert "icc_profile" not in strip.info
        assert (blue > 200 and red < 60) if row["name"] == "a.jpg" else (red > 200 and blue < 60)


def test_transparency_survives_another_colour_space() -> None:
    """A cutout's alpha is not touched by the conversion to sRGB."""
    cutout = Image.new("RGBA", (2, 1), (250, 0, 0, 255))
    cutout.putpixel((1, 0), (250, 0, 0, 0))
    made = pictures.to_srgb(cutout, other_profile())
    assert made.mode == "RGBA" and made.getchannel("A").tobytes() == b"\xff\x00"
    assert pixel(made, 0, 0)[2] > 200


def test_progress_is_told_as_by_other_commands(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    """In plain lines, one per photo with -v, and not at all with -q."""
    for name in ("a.jpg", "b.jpg"):
        folder.add(name)
    folder.leave_out("gone.jpg", Status.FAILED, "X", "x")
    folder.close()
    plain = Telling(progress=ProgressChoice.PLAIN, interval=0.0)
    for telling, told in (
        (plain, ("1 of 2 photos done (50%)", "2 of 2 photos done (100%)")),
        (Telling(verbosity=1), ("photos/a.jpg: thumbnails made", "photos/b.jpg: thumbnails made")),
        (Telling(verbosity=-1), ()),
    ):
        shutil.rmtree(folder.root / "out/report-files", ignore_errors=True)
        journal = Journal(str(folder.root / "out"), read_only=True)
        write(journal, None, None, telling)
        journal.close()
        err = capsys.readouterr().err
        assert all(line in err for line in told)
        assert told or not err


@needs_chromium
def test_thumbnails_stand_in_for_pictures_that_are_gone(browser: Browser, tmp_path: Path) -> None:
    """With photo and results gone the large view shows the thumbnails: in the slider as large as
    the photo, side by side each one alone."""
    folder = Folder(tmp_path)
    folder.add("a.jpg")
    page = report(folder)
    for name in ("photos", "out/cutouts", "out/masks"):
        shutil.rmtree(tmp_path / name)
    tab = browser.tab()
    tab.open(page)
    tab.key("ArrowRight")
    tab.key("Enter")
    tab.until("document.getElementById('before').naturalWidth")
    tab.until("document.getElementById('after-image').naturalWidth")
    left, top, wide, high = tab.box("#compare")
    shown = screen(tab)
    assert shade(shown, left + 8, top + 8) == shade(shown, left + 8, top + high - 8) == "red"
    assert shade(shown, left + wide * 0.45, top + high * 0.4) == "blue"
    assert shade(shown, left + wide * 0.55, top + high * 0.4) == "blue"
    assert shade(shown, left + wide - 8, top + 8) == "gray"
    tab.key("s")
    tab.until("[...document.querySelectorAll('#side img')].every((one) => one.naturalWidth)")
    shown = screen(tab)
    for at, (middle, corner) in enumerate((("blue", "red"), ("blue", "gray"), ("gray", "gray"))):
        boxes = f"document.querySelectorAll('#side .pane')[{at}].getBoundingClientRect()"
        left, top, wide, high = tab.js(f"((r) => [r.x, r.y, r.width, r.height])({boxes})")
        assert shade(shown, left + wide / 2, top + high / 2) == middle
        assert shade(shown, left + 8, top + high / 2 - wide / 3 + 8) == corner
        assert shade(shown, left + wide / 2, top + 8) == "gray"
    tab.close()


def screen(tab: Tab) -> Image.Image:
    """What is seen now."""
    tab.js("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
    return Image.open(io.BytesIO(tab.screenshot())).convert("RGB")


def shade(image: Image.Image, x: float, y: float) -> str:
    """The colour of a pixel of a photo, or gray for anything else."""
    pixel: Any = image.getpixel((int(x), int(y)))
    red, _, blue = pixel
    return "red" if red > blue + 80 else "blue" if blue > red + 80 else "gray"


@needs_chromium
def test_a_photo_is_one_picture(browser: Browser, tmp_path: Path) -> None:
    """Photo, cutout and mask come in one file; the view of cutouts shows its middle."""
    folder = Folder(tmp_path)
    for name in ("a.jpg", "b.jpg"):
        folder.add(name)
    for tab in opened(browser, report(folder)):
        tab.until(PAINTED)
        requests = [name for name in tab.requests() if "report-files" in name]
        assert len(requests) == len(set(requests)) == 2
        tab.js(
            "(() => { const view = document.getElementById('view'); view.value = 'cutouts';"
            "view.dispatchEvent(new Event('change')); })()"
        )
        tab.until(PAINTED)
        left, top, wide, high = tab.box(".card .pane")
        shown = screen(tab)
        assert shade(shown, left + wide / 2, top + high / 2) == "blue"
        assert shade(shown, left + 12, top + high / 3) == "gray"
        assert shade(shown, left + wide - 12, top + high / 3) == "gray"


@needs_chromium
def test_canvases_are_used_again(browser: Browser, tmp_path: Path) -> None:
    """However far a page is scrolled, and in whichever view: browsers free the pixels of a canvas
    late, so no more are made than are in sight at once."""
    folder = Folder(tmp_path)
    with folder.journal.exclusive(), folder.journal.transaction():
        for number in range(90):
            folder.add(f"{number:02}.jpg")
    for tab in opened(browser, report(folder)):
        tab.js(
            "window.made = 0; const make = document.createElement.bind(document);"
            "document.createElement = (tag) => { made += tag === 'canvas'; return make(tag); };"
        )
        for _ in range(3):
            for key in ("End", "Home"):
                tab.key("ArrowDown")
                tab.key(key)
                tab.until(PAINTED)
        assert tab.js("made") < 30
        canvases = "[...document.querySelectorAll('.card canvas')]"
        for view, shape in (("cutouts", 1), ("side", 3)):
            tab.js(f"showView('{view}')")
            tab.until(PAINTED)
            assert set(tab.js(f"{canvases}.map((one) => one.width / one.height)")) == {shape}
        assert tab.js("grid.spare.every((one) => !one.isConnected && !one.dataset.src)")


@needs_chromium
def test_a_damaged_thumbnail_is_told(browser: Browser, tmp_path: Path) -> None:
    """In place of its pictures, and its canvas shows nothing of another photo later."""
    folder = Folder(tmp_path)
    folder.add("a.jpg")
    page = report(folder)
    (file,) = page.parent.rglob("report-files/*/*.webp")
    file.write_bytes(b"RIFF")
    for tab in opened(browser, page):
        tab.until("document.querySelectorAll('.card .empty').length === 3")
        assert tab.texts(".pane") == ["no photo", "no cutout", "no mask"]
        assert tab.js("document.querySelectorAll('.card canvas').length") == 0
