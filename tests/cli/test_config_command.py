"""``hbseg config``: what holds, where from, and a file to start with."""

from __future__ import annotations

import json
import re
import stat
import tomllib
from pathlib import Path

import pytest
from conftest import KEY, SECRET, Hbseg

from humanbody_cli.cli.main import COMMANDS


def test_each_value_and_where_it_is_from(hbseg: Hbseg, tmp_path: Path) -> None:
    """File, profile, every option under its section: variable, profile, file or default."""
    (tmp_path / "x.toml").write_text(
        'qps = 10\nfit = true\napi-secret = "hush"\nendpoint = "http://me:hush@example.com"\n'
        'default-profile = "day"\n[profile.day]\nmax-calls = "500/day"\n[profile.night]\n'
    )
    own = {"HBSEG_CONFIG": "x.toml", "HBSEG_API_KEY": KEY, "HBSEG_QUIET": "1", "HBSEG_FIT": "no"}
    ended = hbseg("config", "segment", env=own)
    assert ended.code == 0, ended.err
    lines = [re.split(r"  +", line.strip()) for line in ended.out.splitlines()]
    assert lines[0] == [f"settings file: {tmp_path / 'x.toml'}", "(named by HBSEG_CONFIG)"]
    assert ["profile:", "day", "(default-profile)"] in lines
    for row in (
        ["qps", "10", "settings file"],
        ["fit", "false", "HBSEG_FIT"],
        ["quiet", "true", "HBSEG_QUIET"],
        ["max-calls", "500/day", "[profile.day]"],
        ["api-key", "(set)", "HBSEG_API_KEY"],
        ["api-secret", "(set)", "settings file"],
        ["endpoint", "http://example.com", "settings file"],
        ["credentials", "-", "default"],
        ["threads", "one per core", "default"],
        ["timeout", "60", "default"],
    ):
        assert row in lines
    assert "hush" not in ended.out and KEY not in ended.out
    assert not any(line[0].startswith("serve.") for line in lines)


def test_for_a_program(hbseg: Hbseg, tmp_path: Path) -> None:
    """``--json``: the file, the profile, and of each option value, source and place."""
    (tmp_path / "x.toml").write_text(f'api-secret = "{SECRET}"\n[profile.a]\nport = 1\n')
    wrong = hbseg("config", "--json", "--config", "x.toml", "--profile", "a")
    assert wrong.code == 2 and "port in [profile.a] is an option of hbseg serve" in wrong.err
    (tmp_path / "x.toml").write_text(f'api-secret = "{SECRET}"\n[profile.a.serve]\nport = 1\n')
    ended = hbseg("config", "--json", "--config", "x.toml", "--profile", "a")
    listed = json.loads(ended.out)
    path = str(tmp_path / "x.toml")
    assert listed["file"] == {"path": path, "exists": True, "by": "--config"}
    assert (listed["profile"], listed["profile_by"], listed["profiles"]) == (
        "a",
        "--profile",
        ["a"],
    )
    assert listed["options"]["serve.port"] == {
        "value": "1",
        "source": "profile",
        "where": "x.toml: port in [profile.a.serve]",
    }
    secret = {"value": None, "source": "file", "where": "x.toml: api-secret", "set": True}
    assert listed["options"]["api-secret"] == secret
    assert listed["options"]["api-key"]["set"] is False
    assert SECRET not in ended.out


def test_without_a_file(hbseg: Hbseg, tmp_path: Path) -> None:
    """It says where the file would be, and that it is not there."""
    first = hbseg("config").out.splitlines()[0]
    assert str(tmp_path / "config" / "hbseg" / "config.toml") in first
    assert "does not exist" in first


def test_a_wrong_value_of_any_command_is_found(hbseg: Hbseg, tmp_path: Path) -> None:
    """Values are checked when their command runs; here all of them are."""
    (tmp_path / "x.toml").write_text('settle = "soon"\n')
    assert hbseg("config", "segment", "--config", "x.toml").code == 0
    ended = hbseg("config", "--config", "x.toml")
    assert ended.code == 2 and ended.err.startswith("hbseg: x.toml: settle: 'soon'")


def test_an_unknown_command(hbseg: Hbseg) -> None:
    """The commands that there are."""
    ended = hbseg("config", "segmnt")
    assert ended.code == 2 and "segmnt is not a command; there are segment, watch" in ended.err


def test_the_example_is_written_once(hbseg: Hbseg, tmp_path: Path) -> None:
    """In new folders, for its owner alone; what is there is never replaced."""
    path = tmp_path / "config" / "hbseg" / "config.toml"
    ended = hbseg("config", "--init")
    assert (ended.code, ended.out) == (0, f"{path}\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert hbseg("config").code == 0
    path.write_text("qps = 1\n")
    ended = hbseg("config", "--init")
    assert ended.code == 2 and "exists, and is not replaced" in ended.err
    assert path.read_text() == "qps = 1\n"
    (tmp_path / "file").touch()
    ended = hbseg("config", "--init", "--config", "file/x.toml")
    assert ended.code == 4 and ended.err.startswith("hbseg: cannot write file/x.toml: ")


def test_the_example_has_every_option(hbseg: Hbseg, tmp_path: Path) -> None:
    """As it is, it sets nothing; with every comment sign removed it is TOML with every key."""
    assert hbseg("config", "--init", "--config", "x.toml").code == 0
    text = (tmp_path / "x.toml").read_text()
    assert tomllib.loads(text) == {"serve": {}}
    keys = re.sub(r"^# (?=[a-z-]+ = |\[)", "", text, flags=re.MULTILINE)
    found = tomllib.loads(keys)
    assert set(found.pop("profile")) == {"night"}
    found.pop("default-profile")
    named = {*found.pop("serve"), *found}
    listed = json.loads(hbseg("config", "--json").out)["options"]
    assert named == {name.removeprefix("serve.") for name in listed}


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "completion"])
def test_each_command_reads_the_file(hbseg: Hbseg, tmp_path: Path, name: str) -> None:
    """A key that nobody knows stops every command that has settings, before anything else is
    looked at."""
    (tmp_path / "x.toml").write_text("nonsense = 1\n")
    words = {"segment": "x", "watch": "x", "serve": "", "config": ""}.get(name, "x").split()
    ended = hbseg(name, *words, "--config", "x.toml")
    assert ended.code == 2 and "x.toml: nonsense is not a setting" in ended.err
