"""README.zh-CN.md says what README.md says: commands, sections, links, and messages that exist."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from conftest import ROOT

ENGLISH = (ROOT / "README.md").read_text()
CHINESE = (ROOT / "README.zh-CN.md").read_text()


def blocks(page: str) -> list[str]:
    """The fenced blocks with their languages, without comments."""
    fenced = re.findall(r"^```.*?^```$", page, re.DOTALL | re.MULTILINE)
    return [re.sub(r" +#.*$", "", block, flags=re.MULTILINE) for block in fenced]


def prose(page: str) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)


def links(page: str) -> set[str]:
    """Where its links lead, those between both pages left out."""
    return set(re.findall(r"\]\((.*?)\)", page)) - {"README.md", "README.zh-CN.md"}


def code(page: str) -> set[str]:
    """What its prose has in backquotes."""
    return set(re.findall(r"`([^`]+)`", prose(page)))


@cache
def texts() -> str:
    """Every piece of text in the package's code; the literal parts of f-strings one by one."""
    trees = (ast.parse(path.read_text()) for path in (ROOT / "humanbody_cli").rglob("*.py"))
    return "\0".join(
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def messages() -> list[str]:
    """What the table of messages quotes."""
    _, _, table = CHINESE.partition("| 提示 |")
    table, _, _ = table.partition("\n\n")
    return [message for row in table.splitlines()[2:] for message in quoted(row)]


def quoted(row: str) -> list[str]:
    """What the first cell of a row has in backquotes."""
    return re.findall(r"`([^`]+)`", row.split("|")[1])


def test_both_pages_have_the_same_blocks() -> None:
    """The same commands and transcripts in the same order; only comments are translated."""
    assert blocks(CHINESE) == blocks(ENGLISH)


def test_both_pages_have_the_same_sections() -> None:
    """As many sections, each with as many list entries at least."""
    english, chinese = (
        re.split(r"^## ", prose(page), flags=re.MULTILINE) for page in (ENGLISH, CHINESE)
    )
    assert len(chinese) == len(english)
    for one, other in zip(english, chinese, strict=True):
        assert other.count("\n- ") >= one.count("\n- "), other


def test_both_pages_lead_to_the_same_places() -> None:
    """The same links and pictures, and from each page to the other."""
    assert links(CHINESE) == links(ENGLISH)
    assert "](README.zh-CN.md)" in ENGLISH
    assert "](README.md)" in CHINESE


def test_both_pages_name_the_same_options() -> None:
    """What the English page has in backquotes, the Chinese one has too."""
    assert code(ENGLISH) - code(CHINESE) == set()


@pytest.mark.parametrize("message", messages())
def test_the_messages_are_the_programs(message: str) -> None:
    """Each quoted message is in the package; an ellipsis stands for what varies."""
    for part in message.split("…"):
        assert part.strip() in texts(), part


def test_the_table_of_messages_is_read() -> None:
    """The test above would hold for an empty table too."""
    assert len(messages()) > 20
