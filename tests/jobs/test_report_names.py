"""Names and messages in the report's page: shown as text, linked, listed, never markup."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser, Tab, Trouble
from calling import Called
from conftest import Hbseg
from hypothesis import given
from hypothesis import strategies as st
from reporting import PAINTED, Folder, data_of, names, opened

from humanbody_cli.core.outcomes import Status
from humanbody_cli.jobs.report.template import escaped

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium, which is not installed"
)

ATTACK = "<img src=x onerror=window.broken=1>"
ODD = {
    f"{ATTACK}\"'&amp;.jpg": f"{ATTACK}\"'&amp;.jpg",
    "<!--<script>.jpg": "<!--<script>.jpg",
    "line\nend\t.jpg": "line\\nend\\t.jpg",
    "right\u202egpj.exe": "right\\u202egpj.exe",
    "paragraph\u2028\u2029.jpg": "paragraph\\u2028\\u2029.jpg",
    "zero\u200bwidth\u2066.jpg": "zero\\u200bwidth\\u2066.jpg",
    os.fsdecode(b"latin \xe4\xff.jpg"): "latin \\xe4\\xff.jpg",
    "100%2e#hash?query;semi:colon\\.jpg": "100%2e#hash?query;semi:colon\\.jpg",
    "\u05e9\u05dc\u05d5\u05dd \u4f60\u597d \U0001f600.jpg": (
        "\u05e9\u05dc\u05d5\u05dd \u4f60\u597d \U0001f600.jpg"
    ),
    "${template} $data.jpg": "${template} $data.jpg",
}
"""Names of photos, and how a person sees them."""

FOLDER = "</script><script>window.broken=1<"


TALL = 2400
"""A window in which all of them are seen at once."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on photos of odd names, and one with an odd code and message."""
    folder = Folder(tmp_path_factory.mktemp("report"))
    for name in ODD:
        folder.add(f"{FOLDER}/{name}", doubt=0.5)
    message = f"</script>{ATTACK}\u202e\u2028\x1b[31m"
    folder.leave_out("plain.jpg", Status.FAILED, ATTACK, message)
    folder.close()
    ended = Called(folder.root)("report", "out")
    assert ended.code == 0, ended.err
    return folder.root / "out/report.html"


@pytest.fixture
def tab(browser: Browser, page: Path) -> Iterator[Tab]:
    """The report, opened."""
    yield from opened(browser, page, height=TALL)


def photo_of(page: Path, name: str) -> str:
    """The path of a photo of `page`."""
    return f"{page.parent.parent}/photos/{FOLDER}/{name}"


@needs_chromium
def test_names_are_text(tab: Tab) -> None:
    """Every name and message is shown in full as text, and none becomes an element or runs."""
    assert sorted(names(tab)) == sorted([*ODD.values(), "plain.jpg"])
    tab.key("ArrowDown")
    tab.key("End")
    tab.key("Enter")
    (text,) = tab.texts("#about")
    assert f"</script>{ATTACK}\\u202e\\u2028\\x1b[31m" in text
    assert tab.js("window.broken === undefined")
    assert tab.js("document.scripts.length") == 2
    assert tab.js("document.querySelectorAll('[src=x], [onerror]').length") == 0


@needs_chromium
def test_pictures_of_any_name_are_found(tab: Tab) -> None:
    """Photos, cutouts and masks are linked and shown, whatever their names are."""
    tab.until(PAINTED)
    tab.key("ArrowDown")
    tab.key("Enter")
    tab.key("s")
    for _ in ODD:
        sources = "[...document.querySelectorAll('#side img')]"
        tab.until(f"{sources}.every((one) => one.src && !one.src.includes('report-files'))")
        assert tab.js(f"{sources}.every((one) => one.naturalWidth === 240)")
        tab.key("ArrowRight")


@needs_chromium
def test_nothing_foreign_can_run(browser: Browser, page: Path) -> None:
    """The page's policy stops scripts, styles, frames, pictures and calls that are not its own."""
    tab = browser.tab()
    tab.open(page)
    for attempt in (
        "document.body.innerHTML = '<b>x</b>'",
        "document.body.setAttribute('onclick', 'window.broken = 1')",
        "document.createElement('script').text = 'window.broken = 1'",
    ):
        with pytest.raises(Trouble, match="Trusted"):
            tab.js(attempt)
    assert tab.js("window.broken === undefined")
    refused = "fetch('https://example.com/').then(() => 'sent', () => 'refused')"
    assert tab.js(refused) == "refused"
    loads = "one.onerror = () => done('refused'); one.src = 'https://example.com/x.png'"
    outside = f"new Promise((done) => {{ const one = new Image(); {loads}; }})"
    assert tab.js(outside) == "refused"
    sent = [one for one in tab.requests() if one.startswith("http")]
    failed = [event for event in tab.events if event["method"] == "Network.loadingFailed"]
    assert len(sent) == len(failed) and all(one["params"].get("blockedReason") for one in failed)
    tab.close()


@needs_chromium
def test_marked_photos_are_copied(browser: Browser, page: Path) -> None:
    """The list has their paths, one per line, in the order of the page."""
    for tab in opened(browser, page, height=TALL):
        permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
        browser.call(
            "Browser.grantPermissions", permissions=permissions, browserContextId=tab.context
        )
        for name in (f"{ATTACK}\"'&amp;.jpg", "100%2e#hash?query;semi:colon\\.jpg"):
            at = names(tab).index(name)
            tab.js(f"document.querySelector('.card[data-position=\"{at}\"] .mark').click()")
        tab.click("#copy")
        tab.until("!document.getElementById('message').hidden")
        assert "Copied 2 names" in tab.texts("#message")[0]
        text = str(tab.js("navigator.clipboard.readText()"))
        assert sorted(text.splitlines()) == sorted(
            photo_of(page, name)
            for name in (f"{ATTACK}\"'&amp;.jpg", "100%2e#hash?query;semi:colon\\.jpg")
        )
        assert text.endswith("\n")


@needs_chromium
def test_a_list_that_cannot_be_copied_is_selected(browser: Browser, page: Path) -> None:
    """Where the browser refuses, the list is shown and selected, ready for Ctrl+C."""
    for tab in opened(browser, page, height=TALL):
        tab.js("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        at = names(tab).index("plain.jpg")
        tab.js(f"document.querySelector('.card[data-position=\"{at}\"] .mark').click()")
        tab.click("#copy")
        tab.until("document.getElementById('list').open")
        assert tab.js("String(getSelection())") == f"{page.parent.parent}/photos/plain.jpg\n"


@needs_chromium
def test_a_list_of_any_names_is_saved(browser: Browser, page: Path, tmp_path: Path) -> None:
    """Names that are no text, or of several lines, are not copied; the file has them byte for byte,
    and ``segment --from-file`` finds every photo in it."""
    for tab in opened(browser, page, height=TALL):
        how = {"behavior": "allow", "downloadPath": str(tmp_path)}
        browser.call("Browser.setDownloadBehavior", browserContextId=tab.context, **how)
        tab.key("a")
        tab.click("#copy")
        tab.until("!document.getElementById('message').hidden")
        assert "cannot be copied" in tab.texts("#message")[0]
        tab.click("#download")
        tab.until("document.getElementById('message').innerText.startsWith('Saved 11 names')")
        assert "marked-nul.txt -0" in tab.texts("#message")[0]
        listed = tmp_path / "marked-nul.txt"
        while not listed.exists():
            tab.js("new Promise((done) => setTimeout(done, 15))")
        paths = [photo_of(page, name) for name in ODD]
        paths.append(f"{page.parent.parent}/photos/plain.jpg")
        assert sorted(listed.read_bytes().split(b"\0")) == sorted([b"", *map(os.fsencode, paths)])
    told = Hbseg(tmp_path)("check", "--from-file", listed, "-0", "--json")
    assert sorted(record["source"] for record in told.records) == sorted(paths)


@needs_chromium
def test_marks_are_kept(browser: Browser, page: Path) -> None:
    """Until they are cleared: a long list is looked through in several sittings."""
    for tab in opened(browser, page, height=TALL):
        tab.key("a")
        tab.open(page)
        tab.until("document.querySelector('.card')")
        assert tab.texts("#marked-count") == ["11 marked"]
        tab.click("#unmark")
        tab.open(page)
        tab.until("document.querySelector('.card')")
        assert tab.js("document.getElementById('marked').hidden")


@given(st.recursive(st.text() | st.none() | st.integers(), st.lists))
def test_data_cannot_leave_its_element(value: object) -> None:
    """Whatever text is in it: no character that HTML reads, and the same values come out."""
    import json

    text = escaped(value)
    assert text.isascii() and not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_names_that_are_no_text_are_kept(page: Path) -> None:
    """The page's data hold each byte of a name, so that links and lists are right."""
    data = data_of(page)
    found = {row[data["columns"].index("name")] for row in data["photos"]}
    assert found == {*ODD, "plain.jpg"}
