"""docs/configuration.md: its settings file is one, and its commands and credentials work."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT, Hbseg

from humanbody_cli.cli.configuration.credentials import from_file
from humanbody_cli.core.settings import Credentials

PAGE = (ROOT / "docs" / "configuration.md").read_text()


def _blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [block for name, block in found if name == language]


def test_the_commands_of_the_page(hbseg: Hbseg, tmp_path: Path) -> None:
    """Each is run with the page's settings file in place, but the one that writes a file."""
    (settings,) = _blocks("toml")
    path = tmp_path / "config" / "hbseg" / "config.toml"
    commands = [line for block in _blocks("") for line in block.splitlines()]
    assert len(commands) == 5
    commands.sort(key=lambda line: "--init" not in line)  # it would find the page's file
    for line in commands:
        words = shlex.split(line)
        env = dict(word.split("=", 1) for word in words[: words.index("hbseg")])
        ended = hbseg(*words[words.index("hbseg") + 1 :], env=env)
        assert ended.code == 0, ended.err
        path.write_text(settings)
    listed = json.loads(hbseg("config", "--json", "--profile", "night").out)["options"]
    assert listed["qps"]["source"] == listed["ignore-known"]["source"] == "profile"
    assert listed["credentials"]["value"] == str(tmp_path / ".config" / "hbseg" / "key")


@pytest.mark.parametrize("text", _blocks("sh") + _blocks("json"))
def test_the_credentials_of_the_page(tmp_path: Path, text: str) -> None:
    """Both forms."""
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    assert from_file(path) == Credentials("your-key", "your-secret")
