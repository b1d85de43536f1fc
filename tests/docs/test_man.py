"""The man pages, docs/man/*.1, are those of the commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

MAN = ROOT / "docs" / "man"
PAGES = sorted(MAN.glob("*"))


def test_the_pages_are_those_of_the_commands(tmp_path: Path) -> None:
    """Written again, wherever and whenever, they are the same: else run `make man`."""
    for columns in ("40", "200"):
        subprocess.run(
            [sys.executable, ROOT / "docs" / "make_man.py", tmp_path],
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": columns, "LC_ALL": "C.UTF-8"},
            check=True,
        )
        written = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
        assert written == {path.name: path.read_text("utf-8") for path in PAGES}, "run make man"


def test_a_wheel_puts_them_where_man_looks() -> None:
    """``share/man/man1`` below the environment's folder; nothing else is in docs/man."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared["docs/man"] == "share/man/man1"
    assert {path.suffix for path in PAGES} == {".1"}


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_is_sound(page: Path) -> None:
    """groff has no warning, and prints hyphens and quotes that can be copied into a shell."""
    shown = subprocess.run(
        ["groff", "-ww", "-man", "-Tutf8", "-P-c", page], capture_output=True, check=True
    )
    assert shown.stderr == b""
    text = shown.stdout.decode()
    assert "\\" not in text.replace("\\(", "")
    assert "\u2019" not in text and "\u2018" not in text
    assert "--help" in text
