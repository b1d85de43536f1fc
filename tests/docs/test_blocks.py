"""Every block of the documentation that can run, run as it is written, page by page.

Blocks without a language and those of a shell or of Python are run; a transcript, whose commands
are behind ``$``, has to print what it says, but for the seconds. Others are data (``json``,
``nginx``, ``cron`` and so on, most of them tested elsewhere) or output (``text``). A block that
cannot run says so, and why, behind its fence: `` ```sh not-run: needs root``.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest
from conftest import GRACE, KEY, ROOT, SECRET, Hbseg
from fake_api import FakeApi
from pages import Block, pages
from PIL import Image
from sessions import SHELLS, session

from humanbody_cli.core.api_spec import DEFAULT_ENDPOINT

DATA = ("text", "json", "toml", "ini", "cron", "nginx", "yaml", "{toctree}")

WITHOUT_KEY = ("README.md", "docs/models.md", "docs/tutorial.md", "docs/container.md")
"""Pages whose reader has no key until a block sets one. All others have one."""

MADE = {
    "README.md": ("out/cutouts/grace.png", "out/report.html", "me-cutout.png", "pass.jpg"),
    "docs/inputs.md": ("out/cutouts/a/b.png",),
    "docs/outputs.md": ("shop/a/b.webp", "out/report.html", "out/recomposed/a/b.jpg"),
    "docs/pipelines.md": ("me.png", "me.webp", "shop/a/b.jpg"),
    "docs/tutorial.md": ("out/report.html", "shop/large.jpg", "paid/cutouts/scan.png"),
}
"""Files that the blocks of a page make, among others."""

CALLS = {"docs/shards.md": 7, "docs/tutorial.md": 6}
"""Calls that the blocks of a page make: the folder of all shards is taken over without one."""

ELSEWHERE = {
    "README.zh-CN.md": "tests/docs/test_translation.py",  # its blocks are those of README.md
    "docs/configuration.md": "tests/cli/test_configuration_page.py",
    "docs/library.md": "tests/jobs/test_library_docs.py",
}
"""Pages whose blocks need more than a session, and the tests that run them."""

PAGES = {page.name: page for page in pages()}


def is_run(block: Block) -> bool:
    """Whether a block is typed into the session."""
    return block.language in (*SHELLS, "python") and block.not_run is None


RUN = [name for name in PAGES if name not in ELSEWHERE and any(map(is_run, PAGES[name].blocks))]


def test_every_block_is_run_or_says_why_not() -> None:
    """A block is run, is data, or names its reason. Few cannot be run."""
    reasons = []
    for page in PAGES.values():
        for block in page.blocks:
            where = f"{page.name}:{block.line}"
            if block.not_run is not None:
                assert len(block.not_run.split()) >= 2, f"{where}: give a reason"
                reasons.append(f"{where}: {block.not_run}")
            else:
                assert is_run(block) or block.language in DATA, f"{where}: {block.info}"
                assert is_run(block) or not block.commands, f"{where}: make it a console"
    assert len(reasons) <= 10, reasons


def test_pages_that_are_run_elsewhere_are() -> None:
    """Their tests name them."""
    for name, test in ELSEWHERE.items():
        if name in PAGES:
            assert Path(name).name in (ROOT / test).read_text(), test


@pytest.mark.parametrize("name", RUN)
def test_the_blocks_of_a_page(name: str, hbseg: Hbseg, api: FakeApi, tmp_path: Path) -> None:
    """Typed one after the other, no command fails, and transcripts come out as they are there."""
    page = PAGES[name]
    blocks = [block for block in page.blocks if is_run(block)]
    for program in ("jq", "curl"):
        if shutil.which(program) is None and any(program in block.text for block in blocks):
            pytest.skip(f"the page calls {program}")
    keys = {} if name in WITHOUT_KEY else {"HBSEG_API_KEY": KEY, "HBSEG_API_SECRET": SECRET}
    pace = {} if any(block.commands for block in blocks) else {"HBSEG_QPS": "100"}
    with session(tmp_path, hbseg.environment(HBSEG_ENDPOINT=api.url, **keys, **pace)) as one:
        if name == "docs/tutorial.md":
            photos_of_the_tutorial(tmp_path / "photos")
        one.run(page, blocks)
        for block in blocks:
            if block.commands:
                told = one.transcript(block).replace(api.url, DEFAULT_ENDPOINT)
                assert timeless(told) == timeless(block.text)
        assert_installable(one.noted())
    assert [path for path in MADE.get(name, ()) if not (tmp_path / path).exists()] == []
    assert len(api.stats.calls) == CALLS.get(name, len(api.stats.calls))


def photos_of_the_tutorial(folder: Path) -> None:
    """The photos that the page tells of: one that is accepted, and two that are not."""
    shutil.rmtree(folder)
    folder.mkdir()
    shutil.copy(GRACE, folder)
    with Image.open(GRACE) as photo:
        photo.resize((4300, 5040)).save(folder / "large.jpg", quality=60)
        photo.save(folder / "scan.tiff")


def timeless(text: str) -> str:
    """A transcript without the time that a run took."""
    return re.sub(r"\b(\d+ min )?[\d.]+ s\b", "N s", text)


def assert_installable(noted: list[str]) -> None:
    """What a page makes with make or installs exists."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in noted:
        words = line.split()
        if words[0] == "make":
            assert set(words[1:]) <= set(targets), line
        for extras in re.findall(r"\[([a-z,]+)\]", line):
            assert set(extras.split(",")) <= set(project["optional-dependencies"]), line
