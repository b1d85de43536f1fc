"""What is wrong with a settings file is told in one sentence that names file and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import Hbseg

WRONG = [
    ("max_calls = 5", "x.toml: max_calls is not a setting; did you mean max-calls?"),
    ("thread = 5", "x.toml: thread is not a setting; did you mean threads?"),
    ("zzzzzz = 5", "x.toml: zzzzzz is not a setting; hbseg config lists them all"),
    ("[profile.a]\nretrys = 5", "x.toml: retrys in [profile.a] is not a setting; did you mean ret"),
    ("inputs = ['a']", "x.toml: inputs is not a setting"),
    ("config = 'y'", "x.toml: config is not a setting"),
    ("qps = 1\nfit = yes", "x.toml, line 2: this is not TOML: invalid value; write KEY = VALUE"),
    ("qps = 1\nqps = 2", "x.toml, line 2: this is not TOML: cannot overwrite a value"),
    ("a = [", "x.toml, line 1: this is not TOML"),
    ("x = " + "[" * 5000, "x.toml: a number or list in it is too long to be read"),
    ("qps = " + "9" * 5000, "x.toml: a number or list in it is too long to be read"),
    ("quiet = 1", "x.toml: quiet must be true or false, without quotes"),
    ("fit = 'yes'", "x.toml: fit must be true or false, without quotes"),
    ("verbose = true", "x.toml: verbose must be a whole number"),
    ("qps = true", "x.toml: qps must be text in quotes, or a number"),
    ("output = ['a']", "x.toml: output must be text in quotes, or a number"),
    ("output = 2026-01-01", "x.toml: output must be text in quotes, or a number"),
    ("sync = true\nno-sync = true", "x.toml: no-sync and sync are one option; remove one of them"),
    ("qps = 'fast'", "x.toml: qps: 'fast' is neither 'auto' nor a number of calls per second"),
    ("retries = -1", "x.toml: retries: -1 is not in the range x>=0; correct it there, or remove"),
    ("timeout = nan", "x.toml: timeout: 'nan' is not a finite number"),
    ("engine = 'cloud'", "x.toml: engine: 'cloud' is not one of 'auto', 'api', 'local'"),
    (
        "endpoint = 'z'",
        "--endpoint 'z' is not an address such as https://api-cn.faceplusplus.com "
        "(--endpoint is set by x.toml: endpoint)",
    ),
    (
        "no-mask = true\nno-cutout = true",
        "drop one (--no-mask is set by x.toml: no-mask, --no-cutout is set by x.toml: no-cutout)",
    ),
    ("model = '~/gone'", "(--model is set by x.toml: model)"),
    ('name = "a\\u0000b"', "x.toml: name contains a NUL character"),
    ("[segment]\nqps = 3", "x.toml: segment is not a table of this file"),
    ("port = 1", "x.toml: port is an option of hbseg serve, which stands in [serve]; move it"),
    ("[serve]\nretries = 1", "x.toml: retries in [serve] is not an option of the server"),
    ("serve = 1", "x.toml: serve is not a setting"),
    ("profile = 'a'", "x.toml: profile must be a table such as [profile.night]"),
    ("[profile]\nqps = 1", "x.toml: qps in [profile] must be a table, [profile.qps]"),
    (
        "default-profile = 'b'\n[profile.a]",
        "default-profile b: x.toml has no [profile.b]; there are a",
    ),
    ("default-profile = 3", "x.toml: default-profile must be the name of a profile, in quotes"),
]


def _said(hbseg: Hbseg, *arguments: object, **options: Any) -> str:
    ended = hbseg(*arguments, **options)
    assert ended.code == 2, ended.err
    assert ended.out == ""
    (line,) = ended.err.splitlines()
    return line.removeprefix("hbseg: ")


@pytest.mark.parametrize(("text", "says"), WRONG)
def test_a_wrong_file(hbseg: Hbseg, photos: Path, tmp_path: Path, text: str, says: str) -> None:
    """Exit 2 and one line: the file, the key or line, what is wrong, what to do; nothing done."""
    (tmp_path / "x.toml").write_text(text)
    said = _said(hbseg, "segment", photos, "-o", "out", "--config", "x.toml")
    assert said.startswith(says) or said.endswith(says), said
    assert not (tmp_path / "out").exists()


def test_a_profile_that_is_not_used_is_checked_too(hbseg: Hbseg, tmp_path: Path) -> None:
    """Its night would come; and a command that has none of the keys says so as well."""
    (tmp_path / "x.toml").write_text("[profile.day]\n[profile.night]\nmax-call = 1\n")
    said = _said(hbseg, "status", "out", "--config", "x.toml", "--profile", "day")
    assert said == "x.toml: max-call in [profile.night] is not a setting; did you mean max-calls?"


def test_who_named_a_missing_file_or_profile(hbseg: Hbseg, tmp_path: Path) -> None:
    """Option or variable."""
    gone = "the settings file cannot be read: No such file or directory; check the path"
    assert f"--config gone: {gone}" in _said(hbseg, "status", "out", "--config", "gone")
    assert f"HBSEG_CONFIG gone: {gone}" in _said(hbseg, "status", "o", env={"HBSEG_CONFIG": "gone"})
    assert "Is a directory" in _said(hbseg, "status", "out", "--config", ".")
    said = _said(hbseg, "status", "out", env={"HBSEG_PROFILE": "night"})
    assert said.startswith("HBSEG_PROFILE night: there is no settings file ")
    assert "'hbseg config --init'" in said
    (tmp_path / "x.toml").write_text("[profile.night]\n")
    said = _said(hbseg, "status", "out", "--config", "x.toml", "--profile", "Night")
    assert said.endswith("no [profile.Night]; there are night; did you mean night?")


def test_what_is_no_settings_file(hbseg: Hbseg, tmp_path: Path) -> None:
    """Bytes that are not text, and a device without an end."""
    (tmp_path / "x.toml").write_bytes(b"qps = 1\nname = '\xff'\n")
    assert "x.toml, line 2: this is not UTF-8 text" in _said(
        hbseg, "status", "o", "--config", "x.toml"
    )
    assert "larger than 1 MiB" in _said(hbseg, "status", "o", "--config", "/dev/zero")


@pytest.mark.parametrize("text", ["api-secret = ['hush']", "api-secret = {a = 'hush'}"])
def test_a_secret_is_not_quoted(hbseg: Hbseg, tmp_path: Path, text: str) -> None:
    """Not even where it is not a secret's kind of value."""
    (tmp_path / "x.toml").write_text(text)
    assert "hush" not in _said(hbseg, "status", "o", "--config", "x.toml")


def test_a_wrong_variable_is_named(hbseg: Hbseg, photos: Path) -> None:
    """A value of the environment was not typed, so its option's name alone would not help."""
    arguments = ("segment", photos, "-o", "out")
    said = _said(hbseg, *arguments, env={"HBSEG_QPS": "z"})
    assert said.startswith("HBSEG_QPS: 'z' is neither")
    said = _said(
        hbseg, *arguments, env={"HBSEG_ENGINE": "api", "HBSEG_MODEL": str(photos / "a.jpg")}
    )
    assert "(--engine is set by HBSEG_ENGINE, --model is set by HBSEG_MODEL)" in said
