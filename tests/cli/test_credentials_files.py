"""Files with a key pair, and which of several pairs is used: read by the code that the command
calls, and shown by real runs where ranks matter."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from conftest import KEY, SECRET, Ended, Hbseg
from fake_api import FakeApi
from fake_behaviour import Behaviour

from humanbody_cli.cli.configuration.credentials import from_file
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import Credentials

PAIR = Credentials(KEY, SECRET)


def _file(folder: Path, data: str | bytes) -> Path:
    path = folder / "pair"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    "text",
    [
        f"api_key={KEY}\napi_secret={SECRET}\n",
        f"api_key={KEY} api_secret={SECRET}",
        f"export HBSEG_API_KEY={KEY} HBSEG_API_SECRET={SECRET}\n",
        f"export HBSEG_API_KEY={KEY}; export HBSEG_API_SECRET={SECRET};\n",
        f"export HBSEG_API_KEY=\"{KEY}\"\nexport HBSEG_API_SECRET='{SECRET}'\n",
        f"# key\n\n  API_KEY={KEY}  # mine\n\tAPI_SECRET={SECRET}\t#his\n",
        f"api-key = {KEY}\napi-secret = {SECRET}\n",
        f'api_key = "{KEY}"\r\napi_secret = "{SECRET}"\r\n',
        f"\ufeffapi_key={KEY}\r\napi_secret={SECRET}\r\n",
        f"api_key=old\napi_secret={SECRET}\napi_key={KEY}\n",
        f'HBSEG_QPS=3\nHBSEG_OUTPUT=/srv/my cutouts\nX="\nHBSEG_API_KEY={KEY}\n'
        f"HBSEG_API_SECRET={SECRET}\n",
        json.dumps({"api_key": KEY, "api_secret": SECRET, "qps": 3}),
        "\ufeff \n" + json.dumps({"HBSEG_API_KEY": KEY, "HBSEG_API_SECRET": f" {SECRET}\n"}),
    ],
)
def test_a_key_pair_as_people_write_it(tmp_path: Path, text: str) -> None:
    """Assignments of shells and services, what ``hbseg serve`` prints, and JSON."""
    assert from_file(_file(tmp_path, text)) == PAIR


@pytest.mark.parametrize("value", ["a#b", "$HOME", "a\\b", "a=b", "`id`", "a b", "a;b"])
def test_a_value_is_not_a_program(tmp_path: Path, value: str) -> None:
    """In single quotes a value is what a shell makes of it, and nothing of it is expanded."""
    path = _file(tmp_path, f"api_key=k\napi_secret='{value}'\n")
    shell = subprocess.run(
        ["sh", "-c", f'. {path}; printf %s "$api_secret"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert from_file(path).api_secret == shell.stdout == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ": api_key and api_secret missing; the file needs api_key=... and api_secret=..."),
        ("api_key=k\n", ": api_secret missing"),
        ("api_key=k\napi_secret\n", ", line 2: this is not NAME=VALUE"),
        ("api_key=k\n\napi_secret: hush\n", ", line 3: this is not NAME=VALUE"),
        ('api_key=k\napi_secret="hush\n', ", line 2: this is not NAME=VALUE"),
        ("api_key=k\napi_secret=hush hush\n", ", line 2: this is not NAME=VALUE"),
        ("api_key=k\rapi_secret='hush'hush", ", line 2: this is not NAME=VALUE"),
        ("api_key=k\napi_secret=\n", ": the secret is not ASCII text of 1 to 256 characters"),
        ("api_key=k\napi_secret=“hush”\n", ": the secret is not ASCII text"),
        ("api_key=k\napi_secret=" + "h" * 300, ": the secret is not ASCII text"),
        ('{"api_key": "k",\n "api_secret": "hush"', ", line 2: this is not JSON"),
        ('{"api_key": "k",\n "api_secret": hush}', ", line 2: this is not JSON"),
        ('{"api_key": "k", "api_secret": 1234}', ": api_secret must be text, in quotes"),
        ('{"api_key": "k", "api_secret": {"hush": 1}}', ": api_secret must be text, in quotes"),
        ('{"pair": {"api_key": "k", "api_secret": "hush"}}', ": api_key and api_secret missing"),
        ('{"a":' * 100_000, " too large for a file with a key and its secret"),
        ('{"a":' * 9000, ": this is not JSON with a key pair"),
        (b"api_key=k\napi_secret=h\xff\n", ": cannot be read: it is not UTF-8 text"),
        ("api_key=k\napi_secret=hush\n".encode("utf-16"), ": cannot be read: it is not UTF-8"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path: Path, text: str | bytes, says: str) -> None:
    """What is wrong, and where; no word of the content."""
    path = _file(tmp_path, text)
    with pytest.raises(UsageError) as refused:
        from_file(path)
    said = str(refused.value)
    assert f"--credentials {path}{says.replace(' too', ': too')}" in said
    assert "hush" not in said and "1234" not in said and "\n" not in said


def _run(hbseg: Hbseg, photos: Path, accepted: str, *options: str, **env: str) -> Ended:
    """A run against an API that accepts one key alone."""
    with FakeApi.in_thread(Behaviour(keys=((accepted, f"secret-of-{accepted}"),))) as api:
        ended = hbseg(
            *("segment", photos / "a.jpg", "-o", "out", "--force", "--qps", 300),
            *("--endpoint", api.url, "--config", "x.toml", *options),
            env=env,
        )
        assert "secret-of" not in ended.err
        assert bool(api.stats.calls) == (ended.code != 2)
    return ended


def test_the_pair_of_the_highest_rank_is_used(hbseg: Hbseg, photos: Path, tmp_path: Path) -> None:
    """A pair in the environment outranks the settings file's credentials, a profile's the rest."""
    for name in ("file", "pair"):
        (tmp_path / name).write_text(f"api_key={name}\napi_secret=secret-of-{name}\n")
        (tmp_path / name).chmod(0o600)
    settings = tmp_path / "x.toml"
    settings.write_text(
        'api-key = "top"\napi-secret = "secret-of-top"\n[profile.pair]\ncredentials = "pair"\n'
        '[profile.half]\napi-key = "night"\n'
    )
    settings.chmod(0o600)
    env = {"HBSEG_API_KEY": "env", "HBSEG_API_SECRET": "secret-of-env"}
    for accepted, options, variables in (
        ("top", (), {}),
        ("pair", ("--profile", "pair"), {}),
        ("env", ("--profile", "pair"), env),
        ("file", ("--credentials", "file"), env),
        ("file", (), {**env, "HBSEG_CREDENTIALS": "file"}),
    ):
        ended = _run(hbseg, photos, accepted, *options, **variables)
        assert ended.code == 0, (accepted, ended.err)


def test_halves_of_two_pairs_are_not_put_together(
    hbseg: Hbseg, photos: Path, tmp_path: Path
) -> None:
    """A key never meets another's secret; a secret may be kept apart from the key in the file."""
    settings = tmp_path / "x.toml"
    whole = 'api-key = " top"\napi-secret = "secret-of-top"\n'
    settings.write_text(f'{whole}[profile.half]\napi-key = "night"\n')
    settings.chmod(0o600)
    halves = ({"HBSEG_API_KEY": "env"}, {"HBSEG_API_SECRET": "secret-of-env"})
    for half in halves:
        ended = _run(hbseg, photos, "top", **half)
        assert ended.code == 2 and "from different places" in ended.err
    ended = _run(hbseg, photos, "top", "--profile", "half")
    assert ended.code == 2 and "an API key is given without its secret" in ended.err
    apart = {"HBSEG_API_SECRET": "secret-of-night"}
    assert _run(hbseg, photos, "top").code == 0
    assert _run(hbseg, photos, "night", "--profile", "half", **apart).code == 0


def test_a_secret_in_a_settings_file_that_others_can_read(
    hbseg: Hbseg, photos: Path, api: FakeApi, tmp_path: Path
) -> None:
    """One line says so, and nothing of the secret is printed or kept."""
    settings = tmp_path / "x.toml"
    settings.write_text(f'api-key = "{KEY}"\napi-secret = "{SECRET}"\nendpoint = "{api.url}"\n')
    settings.chmod(0o644)
    ended = hbseg("segment", photos, "-o", "out", "--qps", 300, "--config", "x.toml", "-vv")
    assert ended.code == 0, ended.err
    assert ended.err.count("x.toml can be read by others; run chmod 600 x.toml") == 1
    shown = hbseg("config", "--config", "x.toml").out + hbseg("config", "--json").out
    kept = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert SECRET not in ended.out + ended.err + shown
    assert SECRET.encode() not in kept


def test_the_secret_is_not_an_option(hbseg: Hbseg, photos: Path) -> None:
    """It is refused on the command line, not offered in the help, and not repeated."""
    ended = hbseg("segment", photos, "-o", "out", "--api-secret", SECRET)
    assert ended.code == 2 and "HBSEG_API_SECRET" in ended.err
    assert SECRET not in ended.err
    assert "--api-secret" not in hbseg("segment", "--help").out
