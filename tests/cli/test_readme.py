"""Every block of the README that can run, run as it is written.

A key's dots are replaced by a key. ``make run``, ``make test`` and the installation are what CI
does.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from conftest import KEY, ROOT, SECRET, Hbseg
from fake_api import FakeApi
from shell import Shell, timeless

README = (ROOT / "README.md").read_text()
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
BLOCKS = [block for language, block in FENCED if not language]
TRANSCRIPTS = [block for language, block in FENCED if language == "console"]

FIRST = "hbseg segment ./photos -o ./out\nhbseg report ./out\n"
ONE = next(block for block in BLOCKS if block.startswith("hbseg segment me.jpg"))
WITH_KEY = next(block for block in BLOCKS if block.startswith("export HBSEG_API_KEY"))
ELSEWHERE = ("make run\n", "make test\n", "pipx install '.[local]'\n")


@pytest.fixture
def shell(hbseg: Hbseg, tmp_path: Path) -> Shell:
    """A shell without a key."""
    return Shell(tmp_path, hbseg.environment())


def test_each_block_has_its_test() -> None:
    """A block that is added to the README has to be run here too."""
    assert set(BLOCKS) == {FIRST, ONE, WITH_KEY, *ELSEWHERE}


def test_the_first_commands(shell: Shell) -> None:
    """A folder's photos become cutouts and masks, in the tree of the photos, and a page."""
    shell.run(FIRST)
    assert (shell.folder / "out/cutouts/a/grace.png").exists()
    assert (shell.folder / "out/masks/a/grace.png").exists()
    assert (shell.folder / "out/report.html").exists()


def test_one_photo(shell: Shell) -> None:
    """The files that the block names are written."""
    before = set(os.listdir(shell.folder))
    shell.run(ONE)
    written = set(os.listdir(shell.folder)) - before - {"state"}
    assert written == {"me-cutout.png", "cutout.webp", "pass.jpg"}


def test_with_a_key(shell: Shell, api: FakeApi) -> None:
    """The plan makes no call, the run one per photo."""
    key, secret = (f"{name}={value}" for name, value in (("KEY", KEY), ("SECRET", SECRET)))
    block = WITH_KEY.replace("KEY=...", key).replace("SECRET=...", secret)
    shell.environment["HBSEG_ENDPOINT"] = api.url
    shell.run(block)
    assert len(api.stats.calls) == 1
    assert (shell.folder / "out/cutouts/a/grace.png").exists()


def test_what_a_run_prints(shell: Shell) -> None:
    """The transcript is what the commands print on the sample photographs, but for the seconds."""
    shutil.copytree(ROOT / "sample_images", shell.folder / "sample_images")
    for transcript in TRANSCRIPTS:
        assert shell.transcript(transcript) == timeless(transcript)


def test_the_pictures_of_the_pages_exist_and_are_small() -> None:
    """Each picture that a page shows is there, has a text in its place, and under 300 kB."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    shown = [
        (page.parent / place, text)
        for page in pages
        for text, place in re.findall(r"!\[(.*?)\]\((.*?)\)", page.read_text())
    ]
    assert {"before-after.webp", "report.webp"} <= {path.name for path, _ in shown}
    for path, text in shown:
        assert text
        assert 0 < path.stat().st_size < 300_000
