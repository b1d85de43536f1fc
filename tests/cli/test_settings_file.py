"""The settings file: its values, profiles and ranks, seen in what the real command does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import KEY, ROOT, SECRET, Ended, Hbseg, files
from fake_api import FakeApi
from finding import common_user

from humanbody_cli.cli.configuration import settings_file
from humanbody_cli.core.errors import UsageError


def written(folder: Path, text: str) -> Path:
    """The default settings file of the command that runs in this folder."""
    path = folder / "config" / "hbseg" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def held(hbseg: Hbseg, *arguments: object, **options: Any) -> dict[str, Any]:
    """The values that ``hbseg config`` lists for ``segment``, by option."""
    ended = hbseg("config", "segment", "--json", *arguments, **options)
    assert ended.code == 0, ended.err
    options_ = json.loads(ended.out)["options"]
    return {name: row["value"] for name, row in options_.items() if row["source"] != "default"}


def test_a_run_takes_its_options_from_the_file(
    hbseg: Hbseg, photos: Path, api: FakeApi, tmp_path: Path
) -> None:
    """Key pair, host, output, flags and limits: the command line names the photos alone."""
    written(
        tmp_path,
        f'api-key = "{KEY}"\napi-secret = "{SECRET}"\nendpoint = "{api.url}"\nqps = 300\n'
        'output = "elsewhere"\nno-mask = true\nsync = false\nmax-calls = 3\njson = true\n',
    ).chmod(0o600)
    ended = hbseg("segment", photos)
    assert ended.code == 5, ended.err
    assert len(api.stats.calls) == len(ended.records) == 3
    made = files(tmp_path / "elsewhere")
    assert len(made) == 3 and all(name.startswith("cutouts/") for name in made)
    assert "chmod" not in ended.err


def test_option_variable_profile_file_default(hbseg: Hbseg, tmp_path: Path) -> None:
    """Each rank sets what none above it does; an empty variable sets nothing."""
    written(
        tmp_path,
        "qps = 1\nretries = 1\ntimeout = 1\n[profile.night]\nqps = 2\nretries = 2\n"
        "[profile.other]\nqps = 9\ngrace = 9\n",
    )
    night = held(hbseg, "--profile", "night", env={"HBSEG_QPS": "3", "HBSEG_TIMEOUT": ""})
    assert night == {"qps": "3", "retries": "2", "timeout": "1"}
    assert held(hbseg) == {"qps": "1", "retries": "1", "timeout": "1"}


def test_the_command_line_outranks_the_file(
    paid: Hbseg, photos: Path, api: FakeApi, tmp_path: Path
) -> None:
    """What is typed holds; a flag of the file is switched off by its variable."""
    written(tmp_path, 'max-calls = 1\nendpoint = "http://127.0.0.1:1"\nno-mask = true\n')
    typed = ("--endpoint", api.url, "--max-calls", 9, "--qps", 300)
    assert paid("segment", photos, "-o", "out", *typed, env={"HBSEG_NO_MASK": "0"}).code == 0
    assert len(api.stats.calls) == 4
    assert len(files(tmp_path / "out")) == 8


def test_which_profile_is_used(hbseg: Hbseg, tmp_path: Path) -> None:
    """Option, else variable, else the file's default."""
    written(
        tmp_path,
        'default-profile = "a"\n[profile.a]\nqps = 1\n[profile.b]\nqps = 2\n[profile."c d"]\n'
        "qps = 3\n",
    )
    assert held(hbseg) == {"qps": "1"}
    assert held(hbseg, env={"HBSEG_PROFILE": "b"}) == {"qps": "2"}
    assert held(hbseg, "--profile", "c d", env={"HBSEG_PROFILE": "b"}) == {"qps": "3"}


def test_the_server_has_a_table_of_its_own(hbseg: Hbseg, tmp_path: Path) -> None:
    """``qps`` is the rate of a client, ``[serve]``'s that of the server's callers."""
    written(tmp_path, "qps = 5\n[serve]\nqps = 7\n[profile.x.serve]\nport = 1\nqps = 8\n")
    listed = json.loads(hbseg("config", "--json", "--profile", "x").out)["options"]
    assert [listed[name]["value"] for name in ("qps", "serve.qps", "serve.port")] == [
        "5",
        "8",
        "1",
    ]
    written(tmp_path, '[serve]\nport = 0\nlatency = "slow"\n')
    ended = hbseg("serve")
    assert ended.code == 2 and "slow" in ended.err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("sync = false", False),
        ("sync = true", True),
        ("no-sync = true", False),
        ("no-sync = false", True),
    ],
)
def test_a_flag_and_its_opposite(hbseg: Hbseg, tmp_path: Path, text: str, value: bool) -> None:
    """Both names of a flag are keys."""
    written(tmp_path, text)
    assert held(hbseg) == {"sync": value}


def test_a_second_name_and_a_count(hbseg: Hbseg, tmp_path: Path) -> None:
    """Each long name of an option is a key; ``-vv`` is a number."""
    written(tmp_path, "changed-only = true\nverbose = 2\nprice = 0.010\nsize = 800\n")
    wanted = {"ignore-known": True, "verbose": "2", "price": "0.010", "size": "800"}
    assert held(hbseg) == wanted


def test_home_in_a_path(photos: Path, tmp_path: Path) -> None:
    """``~/`` is the user's home, as the shell has it."""
    written(tmp_path, 'output = "~/of mine"\nengine = "local"\nno-mask = true\n')
    (tmp_path / "work").mkdir()
    own = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    ended = Hbseg(tmp_path / "work", own)("segment", photos / "a.jpg")
    assert ended.code == 0, ended.err
    assert (tmp_path / "of mine" / "cutouts" / "a.png").exists()


def test_a_file_is_read_as_editors_write_it(hbseg: Hbseg, tmp_path: Path) -> None:
    """With a byte order mark, with CRLF, or through a pipe."""
    path = written(tmp_path, "")
    path.write_bytes(b"\xef\xbb\xbfqps = 4\r\n# \xe7\xbd\xb2\r\nfit = true\r\n")
    assert held(hbseg) == {"qps": "4", "fit": True}
    ended = hbseg("config", "--config", "/dev/stdin", "--json", stdin=b"qps = 6")
    assert json.loads(ended.out)["options"]["qps"]["value"] == "6"


def test_another_file_is_named(hbseg: Hbseg, tmp_path: Path) -> None:
    """By option or variable; ``/dev/null`` is a file without settings."""
    written(tmp_path, "qps = 1")
    for name in ("two", "three"):
        (tmp_path / name).write_text(f"qps = {len(name)}")
    assert held(hbseg, env={"HBSEG_CONFIG": "two"}) == {"qps": "3"}
    assert held(hbseg, "--config", "three", env={"HBSEG_CONFIG": "two"}) == {"qps": "5"}
    assert held(hbseg, env={"HBSEG_CONFIG": "/dev/null"}) == {}


def _in_nothing(*arguments: str, **variables: str) -> Ended:
    """The command as cron may start it: without HOME, PATH or anything else."""
    ended = subprocess.run(
        [sys.executable, "-m", "humanbody_cli", *arguments],
        env={"PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def test_no_home_is_needed(tmp_path: Path, photos: Path) -> None:
    """No HOME, or one that does not exist or is a file: commands run with their defaults."""
    check = ("check", str(photos))
    assert _in_nothing(*check, XDG_CONFIG_HOME=str(tmp_path)).code == 0
    assert _in_nothing(*check, HOME=str(tmp_path / "gone")).code == 0
    (tmp_path / "file").touch()
    assert _in_nothing(*check, HOME=str(tmp_path / "file")).code == 0


def test_a_home_that_may_not_be_entered_has_no_settings(open_folder: Path) -> None:
    """Another user's HOME holds no settings of this user; a file or link that is there and cannot
    be read is an error."""
    locked = open_folder / "locked"
    locked.mkdir()
    (locked / "config.toml").write_text("qps = 1")
    path = open_folder / "config.toml"
    path.write_text("qps = 1")
    path.chmod(0)
    locked.chmod(0)
    (open_folder / "link.toml").symlink_to("gone.toml")
    with pytest.raises(UsageError, match=r"link.toml: .*No such file"):
        settings_file.read(open_folder / "link.toml", None)
    with common_user():
        assert settings_file.read(locked / "config.toml", None) is None
        with pytest.raises(UsageError, match="cannot be read: Permission denied"):
            settings_file.read(path, None)
        with pytest.raises(UsageError, match=r"--config .*Permission denied"):
            settings_file.read(locked / "config.toml", "--config")


def test_help_and_version_do_not_depend_on_it(hbseg: Hbseg, tmp_path: Path) -> None:
    """A broken file is no reason not to help, and help shows the built-in defaults."""
    written(tmp_path, "timeout = 17\n")
    first = hbseg("segment", "--help").out
    written(tmp_path, "broken")
    assert hbseg("segment", "--help").out == first
    assert "[default: 60]" in first
    assert hbseg("--version").code == hbseg("--help").code == hbseg("config", "-h").code == 0
    assert hbseg("config").code == 2


def test_a_log_is_not_appended_to_it(hbseg: Hbseg, photos: Path, tmp_path: Path) -> None:
    """The next run could not read it."""
    path = written(tmp_path, "qps = 1\n")
    ended = hbseg("check", photos, "--log-file", path)
    assert ended.code == 2 and "that is the settings file" in ended.err
    assert path.read_text() == "qps = 1\n"
