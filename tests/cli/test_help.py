"""The help of the commands: sections, defaults, and what it says of variables."""

from __future__ import annotations

import re

import click
import pytest
from conftest import Hbseg

from humanbody_cli.cli import main
from humanbody_cli.cli.configuration.command import SECTIONS
from humanbody_cli.cli.configuration.option import OPTIONS, Option

LONG = ("segment", "watch", "plan", "recompose", "serve")


def _options(name: str) -> list[Option]:
    command = main.hbseg.get_command(click.Context(main.hbseg), name)
    assert command is not None
    return [param for param in command.params if isinstance(param, Option) and not param.hidden]


@pytest.mark.parametrize("name", LONG)
def test_options_are_in_sections(name: str) -> None:
    """Every option names a section that the help knows; none is longer than ten options."""
    counts = dict.fromkeys(SECTIONS, 0)
    for option in _options(name):
        counts[option.section] += 1
    assert counts[OPTIONS] == 0
    assert max(counts.values()) <= 10


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_option_is_shown_with_its_default(hbseg: Hbseg, name: str) -> None:
    """Sections in their order, texts in one column, each default on one line."""
    shown = hbseg(name, "--help", env={"COLUMNS": "80"}).out
    headings = re.findall(r"^([A-Z][\w ]+):$", shown, re.MULTILINE)
    assert headings == [section for section in SECTIONS if section in headings]
    for option in _options(name):
        assert re.search(rf"^  (-\w, )?({option.opts[0]}|{option.opts[-1]})\b", shown, re.MULTILINE)
        assert option.otherwise is None or f"[default: {option.otherwise}]" in shown
    assert "\xa0" not in shown
    listed = shown[shown.index(f"\n{headings[0]}:\n") : shown.index("  -h, --help")]
    starts = {len(line) - len(line.lstrip()) for line in listed.splitlines() if line}
    assert starts <= {0, 2, 30}


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("segment", "Each option can also be set by a variable (--from-file is HBSEG_FROM_FILE)"),
        ("serve", "Each option can also be set by a variable (--host is HBSEG_SERVE_HOST)"),
        ("report", "Each option but --output and --open can also be set by a variable (--price is"),
        ("status", "Each option but --failed and --null can also be set by a variable (--json is"),
    ],
)
def test_the_rule_of_the_variables(hbseg: Hbseg, name: str, rule: str) -> None:
    """One sentence with an example of the command's own, and its exceptions."""
    assert rule in " ".join(hbseg(name, "--help").out.split())
