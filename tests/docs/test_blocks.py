"""Every block of the documentation that can run, run as it is written, page by page.

Blocks without a language and those of a shell or of Python are run. Others are data (``json``,
``nginx``, ``cron`` and so on, most of them tested elsewhere) or output (``text``). A block that
cannot run says so, and why, behind its fence: `` ```sh not-run: needs root``.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import tomllib
from conftest import KEY, ROOT, SECRET, Hbseg
from fake_api import FakeApi
from pages import Block, pages
from sessions import SHELLS, session

DATA = ("text", "json", "toml", "ini", "cron", "nginx", "yaml", "{toctree}")

WITHOUT_KEY = ("README.md", "README.zh-CN.md", "docs/models.md")
"""Pages whose reader has no key until a block sets one. All others have one."""

PAGES = {page.name: page for page in pages()}


def is_run(block: Block) -> bool:
    """Whether a block is typed into the session."""
    return block.language in (*SHELLS, "python") and block.not_run is None


RUN = [name for name, page in PAGES.items() if any(map(is_run, page.blocks))]


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
    assert len(reasons) <= 10, reasons


@pytest.mark.parametrize("name", RUN)
def test_the_blocks_of_a_page(name: str, hbseg: Hbseg, api: FakeApi, tmp_path: Path) -> None:
    """Typed one after the other, no command fails."""
    page = PAGES[name]
    blocks = [block for block in page.blocks if is_run(block)]
    for program in ("jq", "curl"):
        if shutil.which(program) is None and any(program in block.text for block in blocks):
            pytest.skip(f"the page calls {program}")
    keys = {} if name in WITHOUT_KEY else {"HBSEG_API_KEY": KEY, "HBSEG_API_SECRET": SECRET}
    environment = hbseg.environment(HBSEG_ENDPOINT=api.url, HBSEG_QPS="100", **keys)
    with session(tmp_path, environment) as one:
        one.run(page, blocks)
        assert_installable(one.noted())
    if name == "docs/shards.md":  # the folder of all parts is adopted without a call
        assert len(api.stats.calls) == len(list((tmp_path / "photos").rglob("*.jpg")))


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
