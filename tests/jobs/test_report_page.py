"""The page of ``hbseg report`` in a real Chromium, opened from the disk."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser, Tab
from calling import Called
from PIL import Image
from reporting import PAINTED, Folder, data_of, names, opened

from humanbody_cli.core.outcomes import Status
from humanbody_cli.jobs.report import template

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not installed")

WIDTHS = (1300, 800, 390)
DOUBTS = {"a/one.jpg": 0.3, "a/two.jpg": 0.05, "b/three.jpg": 0.62, "b/four.jpg": 0.01}
IN_ORDER = ["empty.jpg", "three.jpg", "one.jpg", "broken.jpg", "phone.heic", "two.jpg", "four.jpg"]
"""The photos of `page`, the most urgent one first."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on seven photos: four with masks, one of nobody, one that failed, one rejected."""
    folder = Folder(tmp_path_factory.mktemp("report"))
    for name, doubt in DOUBTS.items():
        folder.add(name, doubt=doubt, coverage=0.1 + doubt)
    folder.add("b/empty.jpg", coverage=0.0, doubt=0.0)
    folder.leave_out("b/broken.jpg", Status.FAILED, "INTERNAL_ERROR", "it failed; run again")
    folder.leave_out("phone.heic", Status.REJECTED, "UNSUPPORTED_FORMAT", "a HEIC; use --fit")
    folder.close()
    ended = Called(folder.root)("report", "out")
    assert ended.code == 0, ended.err
    return folder.root / "out/report.html"


@pytest.fixture
def tab(browser: Browser, page: Path) -> Iterator[Tab]:
    """The report, opened."""
    yield from opened(browser, page)


def current(tab: Tab) -> str | None:
    """The name on the card that has the focus."""
    name = "document.activeElement.querySelector('.name > bdi:last-child')?.textContent ?? null"
    found: str | None = tab.js(name)
    return found


def choose(tab: Tab, selector: str, value: str) -> None:
    """Choose an option as a person does, whose choice the page is told of."""
    tab.js(
        f"(() => {{ const one = document.querySelector('{selector}'); one.value = '{value}';"
        "one.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )


def option(tab: Tab, selector: str, text: str) -> str:
    """The value of the option that begins with a text."""
    options = f"[...document.querySelector('{selector}').options]"
    return str(tab.js(f"{options}.find((one) => one.text.startsWith('{text}')).value"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_opens(browser: Browser, page: Path, width: int, dark: bool) -> None:
    """At any width and in both schemes: the most doubtful first, all pictures shown, nothing wider
    than the window, nothing loaded but files beside it, no complaint in the console."""
    tab = browser.tab(width=width, dark=dark)
    tab.open(page)
    tab.until(PAINTED)
    assert names(tab)[:2] == IN_ORDER[:2]
    assert tab.js("document.documentElement.scrollWidth") <= width
    left, _, wide, _ = tab.box(".card")
    assert left >= 0 and left + wide <= width
    shade = tab.js("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(shade) < 3 * 128) is dark
    requests = tab.requests()
    assert len(requests) == 1 + tab.js("document.querySelectorAll('.card canvas').length") > 2
    assert all(one.startswith(page.parent.as_uri() + "/") for one in requests)
    assert tab.complaints() == []
    tab.close()


def test_the_order_is_what_was_asked_for(tab: Tab) -> None:
    """By doubt at first; by name, by the person's size."""
    assert names(tab) == IN_ORDER
    choose(tab, "#sort", "name")
    assert names(tab)[:3] == ["phone.heic", "one.jpg", "two.jpg"]
    choose(tab, "#sort", "large")
    assert names(tab)[:2] == ["three.jpg", "one.jpg"]
    choose(tab, "#sort", "small")
    assert names(tab)[:2] == ["empty.jpg", "four.jpg"]
    choose(tab, "#sort", "doubt")
    assert names(tab) == IN_ORDER


def test_the_latest_photo_may_be_first(browser: Browser, page: Path) -> None:
    """By the time at which a photo ended; those that have not ended are last."""
    data = data_of(page)
    at = data["columns"].index("finished")
    for number, row in enumerate(data["photos"]):
        row[at] = 1_800_000_000 + number if number else None
    timed = page.with_name("timed.html")
    timed.write_bytes(template.page("timed", data))
    for tab in opened(browser, timed):
        choose(tab, "#sort", "latest")
        assert names(tab) == [*reversed(IN_ORDER[1:]), IN_ORDER[0]]


def test_photos_are_filtered(tab: Tab) -> None:
    """By group, folder and code, and by words of name and message; what is left is in order."""
    tab.click(".chip.doubtful")
    assert names(tab) == ["three.jpg", "one.jpg"]
    choose(tab, "#folder", option(tab, "#folder", "a "))
    assert names(tab) == ["one.jpg"]
    tab.click(".chip.nobody")
    assert names(tab) == [] and tab.texts("#none") != [""]
    tab.click("#reset")
    assert names(tab) == IN_ORDER
    choose(tab, "#code", "UNSUPPORTED_FORMAT")
    assert names(tab) == ["phone.heic"]
    choose(tab, "#code", "")
    tab.key("/")
    tab.type("Failed B/")
    tab.until("document.querySelectorAll('.card').length === 1")
    assert names(tab) == ["broken.jpg"]


def test_why_a_photo_is_flagged_is_said_in_words(tab: Tab) -> None:
    """The card has the figure, the large view explains it; a failure shows what to do."""
    cards = tab.texts(".card")
    assert "Nobody found" in cards[0]
    assert "Doubtful 0.62" in cards[1] and "62 %" in cards[1]
    tab.click(".card[data-position='1'] .pane")
    (text,) = tab.texts("#about")
    assert "doubt is 0.62, above 0.15" in text and "not surely" in text
    tab.key("ArrowRight")
    tab.key("ArrowRight")
    (text,) = tab.texts("#about")
    assert "INTERNAL_ERROR" in text and "it failed; run again" in text


@pytest.mark.parametrize("width", WIDTHS)
def test_the_slider_is_moved(browser: Browser, page: Path, width: int) -> None:
    """By mouse, by key and by touch: the cutout begins where the divider is."""
    for tab in opened(browser, page, width=width):
        tab.click(".card[data-position='1'] .pane")
        tab.until("document.getElementById('after-image').naturalWidth")
        left, top, wide, high = tab.box("#compare")
        middle = top + high / 2

        def place(part: float, left: float = left, wide: float = wide) -> float:
            return left + wide * part

        assert split(tab) == pytest.approx(50)
        tab.drag((place(0.5), middle), (place(0.2), middle))
        assert split(tab) == pytest.approx(20, abs=1)
        tab.key("ArrowRight")  # the slider has the focus now
        assert split(tab) == pytest.approx(22, abs=1)
        tab.touch_drag((place(0.22), middle), (place(0.8), middle))
        tab.until("document.getElementById('slider').value > 70")
        assert split(tab) == pytest.approx(80, abs=3)
        tab.key("[")
        assert split(tab) == pytest.approx(75, abs=3)
        assert tab.texts("#position") == ["2 of 7"]


def split(tab: Tab) -> float:
    """Where the cutout begins, in percent of the width."""
    clip = str(tab.js("getComputedStyle(document.querySelector('.after')).clipPath"))
    return float(clip.removesuffix("%)").rsplit(" ", 1)[1])


def test_the_large_view_shows_the_pictures_themselves(tab: Tab) -> None:
    """Not their thumbnails, once they are loaded; side by side there are three."""
    tab.key("ArrowRight")
    tab.key("ArrowRight")
    tab.key("Enter")
    tab.until("document.getElementById('before').src.endsWith('/photos/b/three.jpg')")
    tab.until("document.getElementById('after-image').src.endsWith('/cutouts/b/three.jpg.png')")
    tab.key("s")
    sources = "[...document.querySelectorAll('#side img')].map((one) => one.src)"
    tab.until(f"{sources}.every((one) => !one.includes('report-files'))")
    assert len(tab.js(sources)) == 3
    tab.key("Escape")
    tab.until("!document.getElementById('viewer').open")
    assert current(tab) == "three.jpg"


def test_keys_lead_through_the_page(tab: Tab) -> None:
    """Arrows move, space marks, a marks all, ? and Escape open and close the help."""
    tab.key("ArrowDown")
    assert current(tab) == "empty.jpg"
    tab.key("ArrowRight")
    assert current(tab) == "three.jpg"
    tab.key(" ")
    assert tab.texts("#marked-count") == ["1 marked"]
    tab.key("ArrowLeft")
    tab.key(" ")
    assert tab.texts("#marked-count") == ["2 marked"]
    tab.key("a")
    assert tab.texts("#marked-count") == ["7 marked"]
    tab.key("?")
    assert tab.js("document.getElementById('help').open")
    tab.key("Escape")
    tab.until("!document.getElementById('help').open")
    tab.key("End")
    assert current(tab) == IN_ORDER[-1]


def test_the_background_is_chosen(tab: Tab, tmp_path: Path) -> None:
    """A colour, a picture of the user's own, and the checkerboard again."""
    behind = "getComputedStyle(document.querySelector('.pane.cutout'))"
    assert "conic-gradient" in tab.js(f"{behind}.backgroundImage")
    tab.click(".swatch.green")
    assert tab.js(f"{behind}.backgroundColor") == "rgb(0, 177, 64)"
    Image.new("RGB", (30, 20), (250, 0, 0)).save(tmp_path / "mine.png")
    tab.choose_file("#picture", tmp_path / "mine.png")
    tab.until(f"{behind}.backgroundImage.startsWith('url(\"blob:')")
    tab.click(".swatch.checks")
    assert "conic-gradient" in tab.js(f"{behind}.backgroundImage")


def test_light_and_dark_are_switched_and_kept(tab: Tab, page: Path) -> None:
    """The button overrules the system's choice, also when the page is opened again."""
    shade = "getComputedStyle(document.body).backgroundColor"
    light = tab.js(shade)
    tab.click("#theme")
    assert (dark := tab.js(shade)) != light
    tab.open(page)
    assert tab.js(shade) == dark
    tab.click("#theme")
    assert tab.js(shade) == light


def test_only_what_is_seen_is_in_the_page(browser: Browser, tmp_path: Path) -> None:
    """Of 3,000 photos a few cards exist at a time; the last one is reached by a key."""
    folder = Folder(tmp_path)
    with folder.journal.exclusive(), folder.journal.transaction():
        for number in range(3000):
            folder.leave_out(f"{number:04}.jpg", Status.REJECTED, "TOO_LARGE", "shrink it")
    folder.close()
    assert Called(tmp_path)("report", "out").code == 0
    for tab in opened(browser, tmp_path / "out/report.html"):
        assert len(names(tab)) < 40
        tab.key("ArrowDown")
        tab.key("End")
        assert current(tab) == "2999.jpg"
        shown = names(tab)
        assert len(shown) < 40 and all(one < other for one, other in pairwise(shown))
        tab.js("scrollTo(0, 0)")
        tab.until("document.querySelector('.card[data-position=\"0\"]')")


def test_a_run_is_plotted(browser: Browser, page: Path) -> None:
    """Calls, refusals, photos and latency over the time of a run, each with its highest figure."""
    samples = [
        [0, 0, 0, 0, 0, 0, 0.0],
        [10, 40, 0, 50, 10, 40, 20.0],
        [20, 120, 0, 130, 10, 120, 160.0],
    ]
    run = {"started": 1.8e9, "ended": 1.8e9 + 20, "engine": "api", "calls": 130, "refused": 10}
    run |= {"done": 120, "rejected": 0, "failed": 0, "exit_code": 0, "reason": "finished"}
    data = {
        **data_of(page),
        "calls": 130,
        "spent": "1.30 CNY",
        "runs": [{**run, "samples": samples}],
    }
    plotted = page.with_name("plotted.html")
    plotted.write_bytes(template.page("plotted", data))
    for tab in opened(browser, plotted):
        tab.click("#numbers summary")
        labels = "[...document.querySelectorAll('.chart svg')].map((one) => one.ariaLabel)"
        assert tab.js(labels) == [
            "Calls per second: at most 8.0, over 20 s",
            "Refused per second: at most 1.0, over 20 s",
            "Photos per second: at most 8.0, over 20 s",
            "Mean latency: at most 1.8 s, over 20 s",
        ]
        (table,) = tab.texts("#runs tbody")
        assert "finished, exit 0" in table and "20 s" in table
        assert "130" in " ".join(tab.texts("#figures"))
        assert "1.30 CNY" in " ".join(tab.texts("#figures"))
