"""How Sphinx builds these pages into a site: ``make docs``. Nothing is fetched, then or later."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from pygments.lexers.special import TextLexer

from humanbody_cli import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_ROOT = Path(__file__).resolve().parent.parent
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]

project = "hbseg"
author = "hbseg"
project_copyright = "the authors of hbseg"
version = release = __version__

extensions = ["myst_parser"]
myst_heading_anchors = 4
exclude_patterns = ["man", "images", "static"]
highlight_language = "sh"  # of blocks that name none
smartquotes = False  # "--fit" is not a dash
nitpicky = True

html_theme = "furo"
html_title = f"hbseg {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False


def _beyond_these_pages(app: Sphinx, docname: str, source: list[str]) -> None:
    """Point links that leave this folder, which a code host follows, at the code host."""
    home = _PROJECT.get("urls", {}).get("Homepage", "").rstrip("/")
    up = r"\]\(\.\./" if "/" not in docname else r"\]\(\.\./\.\./"
    source[0] = re.sub(up, f"]({home}/blob/HEAD/", source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _beyond_these_pages)
    app.add_lexer("cron", TextLexer)
