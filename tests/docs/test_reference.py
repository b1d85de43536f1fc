"""The generated pages, and the tables that are held against the code."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from make_reference import HERE, OWN_CODES, pages
from pages import DOCS

from humanbody_cli.core import api_spec, errors

RUNNING = (DOCS / "running.md").read_text()


def test_the_reference_is_up_to_date() -> None:
    """``make reference`` would change nothing: each command, option, default and code is there."""
    there = {path.name: path.read_text("utf-8") for path in HERE.iterdir()}
    written = pages()
    assert sorted(there) == sorted(written)
    for name, text in written.items():
        assert there[name] == text, f"docs/reference/{name} is out of date: run make reference"


def test_every_code_has_a_meaning() -> None:
    """The API's codes are in its table; each other code of ``core/api_spec.py`` is explained."""
    constants = {
        value
        for name, value in vars(api_spec).items()
        if name.isupper() and isinstance(value, str) and re.fullmatch(r"[A-Z_]{5,}", value)
    }
    assert constants == {*OWN_CODES, *(code for code in api_spec.BY_CODE if " " not in code)}


def subclasses(root: type[errors.HbsegError]) -> Iterator[type[errors.HbsegError]]:
    """A class of errors and all below it."""
    yield root
    for one in root.__subclasses__():
        yield from subclasses(one)


def test_the_table_of_exit_codes_is_complete() -> None:
    """Success, each exit code of the tree of errors, and those of signals."""
    listed = re.findall(r"^\| ([\d, ]+) \|", RUNNING, re.MULTILINE)
    codes = {int(code) for cell in listed for code in cell.split(",")}
    assert codes == {0, 130, 143, *(one.exit_code for one in subclasses(errors.HbsegError))}


@pytest.mark.parametrize("name", ["segment.md", "serve.md"])
def test_an_option_has_all_its_parts(name: str) -> None:
    """Name, value, default, variable and help are in one row."""
    text = pages()[name]
    rows = {row.split("`")[1]: row for row in text.splitlines() if row.startswith("| `-")}
    expected = {
        "segment.md": ("--qps N\\|auto", "Default: `3`", "`HBSEG_QPS`", "quota"),
        "serve.md": ("--port N", "Default: `8000`", "`HBSEG_SERVE_PORT`", "Port"),
    }
    option, *parts = expected[name]
    assert all(part in rows[option] for part in parts)
