"""Every link of the pages leads somewhere. Addresses elsewhere are checked for form only."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pages import ROOT, Page, pages

PAGES = {page.name: page for page in pages()}


def trouble(page: Page, target: str) -> str | None:
    """What is wrong with a link; ``None`` if nothing is."""
    parts = urlsplit(target)
    if parts.scheme:
        sound = parts.scheme in ("https", "mailto") and (parts.netloc or parts.path)
        return None if sound else "is not an https address"
    path = page.path
    if parts.path:
        path = (page.path.parent / unquote(parts.path)).resolve()
        if parts.path.startswith("/") or not path.is_relative_to(ROOT):
            return "leaves the repository"
        if not path.exists():
            return "names no file"
    if parts.fragment and path.suffix == ".md" and parts.fragment not in Page.read(path).anchors():
        return "names no heading"
    return None


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_somewhere(name: str) -> None:
    """Files and headings exist, and addresses elsewhere are https."""
    page = PAGES[name]
    found = {target: trouble(page, target) for target in page.links()}
    assert {target: what for target, what in found.items() if what} == {}


def test_the_links_are_found() -> None:
    """The search for links does not pass because it finds none."""
    assert sum(len(list(page.links())) for page in PAGES.values()) > 60


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    """A file that is missing, a heading that is missing, an address of another kind."""
    path = tmp_path / "page.md"
    path.write_text(
        "# A heading: `x` & y\n\n[a](b.md) [b](#a-heading-x--y) [c](#none) [d](http://h/)\n`[e](f)`\n"
        "```\n[g](h)\n```\n"
    )
    page = Page.read(path)
    found = {target: trouble(page, target) for target in page.links()}
    assert found == {
        "b.md": "leaves the repository",
        "#a-heading-x--y": None,
        "#none": "names no heading",
        "http://h/": "is not an https address",
    }


def test_pictures_are_small_and_have_a_text_in_their_place() -> None:
    """Each picture of a page has a description, and under 300 kB."""
    shown = [
        (page.path.parent / place, text)
        for page in PAGES.values()
        for text, place in re.findall(r"!\[(.*?)\]\((.*?)\)", "\n".join(page.prose))
    ]
    assert {path.name for path, _ in shown} == {"before-after.webp", "report.webp"}
    for path, text in shown:
        assert text
        assert 0 < path.stat().st_size < 300_000
