"""The page's files, put together: one HTML file that loads nothing but pictures.

Style and script stand in the page itself and are named by their digests in its Content-Security-
Policy, so that nothing else runs, wherever the page is opened from. The data stand in a block that
is no script, with the characters escaped that could end it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from string import Template
from typing import Any

from humanbody_cli.imaging import proof
from humanbody_cli.jobs.report.place import SEAL

_FOLDER = Path(__file__).with_name("page")

SCRIPTS = ("names.js", "plot.js", "backdrop.js", "grid.js", "viewer.js", "marks.js", "page.js")
"""In this order they make one script; the last one starts it."""


def page(title: str, data: dict[str, Any]) -> bytes:
    """The whole page with its data, sealed. ``title`` is plain text without markup."""
    style, script = _file("page.css"), "".join(map(_file, SCRIPTS))
    text = Template(_file("page.html")).substitute(
        seal=proof.blank(SEAL),
        title=title,
        style_digest=_digest(style),
        script_digest=_digest(script),
        style=style,
        script=script,
        data=escaped(data),
    )
    return proof.sealed(text.encode("utf-8"), SEAL)


def escaped(data: object) -> str:
    """JSON that is safe within an HTML element: ASCII only, and no character that HTML reads."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _file(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def _digest(text: str) -> str:
    """As Content Security Policy Level 3 names it: base64 of the sha256 of the element's text."""
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("utf-8")
