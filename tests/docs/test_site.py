"""The site that Sphinx builds without a warning; its pages load nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pages import DOCS, ROOT

pytest.importorskip("sphinx", reason="the extra docs is not installed")

LOADING = {
    "link": ("href",),
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src",),
    "audio": ("src",),
    "object": ("data",),
    "use": ("href",),
}
"""What a browser fetches by itself; ``a`` is followed by a person."""


def build(docs: Path, out: Path, builder: str = "html") -> subprocess.CompletedProcess[str]:
    """Build as ``make docs`` does."""
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", builder, docs, out],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "http_proxy": "http://127.0.0.1:9"},
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    out = tmp_path_factory.mktemp("site")
    ended = build(DOCS, out)
    assert (ended.returncode, ended.stderr) == (0, "")
    return out


class Fetched(HTMLParser):
    """The addresses that a page makes a browser fetch, and its links for people."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.addresses += [values[name] for name in LOADING.get(tag, ()) if name in values]
        if tag == "a" and "href" in values:
            self.links.append(values["href"])


def test_every_page_is_built(site: Path) -> None:
    """Each page of ``docs`` is one of the site."""
    for path in DOCS.rglob("*.md"):
        assert (site / path.relative_to(DOCS)).with_suffix(".html").exists(), path


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    """No page, style sheet or script names a font, a picture or a script of another host."""
    for path in site.rglob("*.html"):
        fetched = Fetched(path.read_text("utf-8")).addresses
        assert [one for one in fetched if re.match(r"(https?:)?//", one)] == [], path
        assert all((path.parent / one.split("?")[0]).exists() for one in fetched if one[0] != "#")
    for path in site.rglob("*.css"):
        text = path.read_text("utf-8")
        assert not re.search(r"(url\(['\"]?|@import ['\"]?)(https?:)?//", text), path
    for path in site.rglob("*.js"):
        assert not re.search(r"(fetch|import)\(['\"](https?:)?//", path.read_text("utf-8")), path


def test_links_beyond_the_pages_lead_to_the_code_host(site: Path) -> None:
    """A site has no ``../ARCHITECTURE.md``."""
    for path in site.rglob("*.html"):
        for link in Fetched(path.read_text("utf-8")).links:
            if not re.match(r"https:|mailto:|#", link):
                target = (path.parent / link.split("#")[0]).resolve()
                assert target.is_relative_to(site) and target.exists(), (path, link)


def test_a_page_without_a_place_is_an_error(tmp_path: Path) -> None:
    """A page that no table of contents names fails the build, so that none is forgotten."""
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "docs" / "forgotten.md").write_text("# Forgotten\n")
    ended = build(tmp_path / "docs", tmp_path / "out", "dummy")
    assert ended.returncode != 0
    assert "forgotten.md" in ended.stderr
