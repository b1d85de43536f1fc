"""What the README promises exists, and what it prints is the program's."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from conftest import ROOT, Hbseg

from humanbody_cli.cli.main import COMMANDS, hbseg

README = (ROOT / "README.md").read_text()
AUTOMATION = (ROOT / "docs" / "automation.md").read_text()
PAGES = [
    ROOT / "README.zh-CN.md",
    *(ROOT / "docs" / f"{n}.md" for n in ("tutorial", "faq", "quality")),
]


def test_every_command_in_the_readme_exists() -> None:
    """Each ``hbseg NAME`` in the README is a command."""
    named = set(re.findall(r"\bhbseg ([a-z]+)\b", README)) - {"is"}
    assert named <= set(COMMANDS)
    assert {"segment", "report", "plan"} <= named


def test_every_option_in_the_readme_exists() -> None:
    """Each ``--option`` in the README and the pages is one of some command's."""
    known = {"--help", "--version"}
    for name in COMMANDS:
        command = hbseg.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        known |= {
            option for param in command.params for option in param.opts + param.secondary_opts
        }
    pages = README + "".join(page.read_text() for page in PAGES)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", pages)) <= known
    of_others = {"--system", "--now", "--global"}  # systemctl, pipx
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", AUTOMATION)) <= known | of_others


@pytest.mark.parametrize("name", COMMANDS)
def test_short_help_is_the_commands_own(name: str) -> None:
    """The list that ``hbseg --help`` prints without importing anything tells the truth."""
    command = hbseg.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert (command.help or "").startswith(COMMANDS[name].split(":")[0].rstrip("."))


def test_every_option_names_its_variable() -> None:
    """``HBSEG_`` and the option's own name, for every long option of ``segment``."""
    command = hbseg.get_command(None, "segment")  # type: ignore[arg-type]
    assert command is not None
    for param in command.params:
        if param.param_type_name == "option" and "--help" not in param.opts:
            long = next(name for name in param.opts if name.startswith("--"))
            assert param.envvar == "HBSEG_" + long[2:].upper().replace("-", "_")


def test_help_fits_a_terminal_of_80_columns(hbseg: Hbseg) -> None:
    """No line of any help text is wider than 80 columns."""
    for name in COMMANDS:
        ended = hbseg(name, "--help", env={"COLUMNS": "80"})
        assert ended.code == 0, ended.err
        assert max(map(len, ended.out.splitlines())) <= 80


def test_every_make_target_in_the_readme_exists() -> None:
    """``make NAME`` works for each NAME that the README, the CI script or the help shows."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", README + (ROOT / ".ci" / "run").read_text()))
    assert named - {"it"} <= targets


def test_the_changelog_and_the_version_agree() -> None:
    """``--version`` prints the package's version."""
    ended = subprocess.run(
        [sys.executable, "-m", "humanbody_cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert re.search(r"\d+\.\d+\.\d+", ended.stdout)
