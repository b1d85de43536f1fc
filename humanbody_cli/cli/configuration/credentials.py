"""The key pair of the API: from environment, settings file or a file of its own."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
from click.core import ParameterSource

from humanbody_cli.cli.configuration.option import settings_of
from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.settings import Credentials, readable_by_others
from humanbody_cli.jobs.setup.checks import checked_pair

_RANKS = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)
_LARGEST = 1 << 16
"""Bytes of a file with a key pair."""


def key_pair(
    api_key: str | None, api_secret: str | None, credentials: str | None
) -> Credentials | None:
    """The configured key pair, ``None`` if there is none; the file ``credentials`` comes first,
    unless the pair is from a source of a higher rank.

    Raises:
        UsageError: only half of a pair is given, or the file cannot be used.
    """
    key, secret = (api_key or "").strip(), (api_secret or "").strip()
    if credentials is not None and file_comes_first(key, secret):
        return from_file(Path(credentials))
    if not key and not secret:
        return None
    if not secret:
        raise UsageError(
            "an API key is given without its secret: set HBSEG_API_SECRET too, or api-secret in "
            "the settings file"
        )
    if not key:
        raise UsageError(
            "an API secret is given without its key: set HBSEG_API_KEY too, or api-key in the "
            "settings file"
        )
    _check_halves(key, secret)
    return checked_pair(key, secret, "the API key and its secret")


def file_comes_first(key: str, secret: str) -> bool:
    """Whether the file ``--credentials`` has a rank at least as high as key and secret."""
    pair_rank = min(_rank("api_key") if key else 9, _rank("api_secret") if secret else 9)
    return _rank("credentials") <= pair_rank


def _source(name: str) -> ParameterSource | None:
    return click.get_current_context().get_parameter_source(name)


def _rank(name: str) -> int:
    source = _source(name)
    return _RANKS.index(source) if source in _RANKS else len(_RANKS)


def _check_halves(key: str, secret: str) -> None:
    """Refuse half of the settings file's pair with another half; warn of a secret that others can
    read."""
    settings = settings_of(click.get_current_context())
    names = ("api_key", "api_secret")
    is_from_file = [_source(name) is ParameterSource.DEFAULT_MAP for name in names]
    own = [settings.values.get(("", name)) for name in ("api-key", "api-secret")]
    kept = tuple(str(setting.value).strip() for setting in own if setting is not None)
    if any(is_from_file) and len(kept) == 2 and kept != (key, secret):
        raise UsageError(
            f"the API key and its secret are from different places, and {settings.path} has a pair "
            "of its own; set both HBSEG_API_KEY and HBSEG_API_SECRET, or neither"
        )
    if is_from_file[1] and settings.path is not None:
        with contextlib.suppress(OSError):  # a pipe or a file that has gone since it was read
            _warn_if_open(settings.path)


def _warn_if_open(path: Path) -> None:
    if readable_by_others(path):
        click.echo(f"hbseg: {path} can be read by others; run chmod 600 {path}", err=True)


def from_file(path: Path) -> Credentials:
    """The key pair in a file of assignments or JSON.

    Raises:
        UsageError: the file cannot be read, or has no such pair.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST + 1).decode("utf-8-sig")
        _warn_if_open(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(
            f"--credentials {path}: cannot be read: {reason}; check the path and its permissions, "
            "and that it is a text file with api_key=... and api_secret=..."
        ) from None
    if len(text) > _LARGEST:
        raise UsageError(
            f"--credentials {path}: too large for a file with a key and its secret; check the path"
        )
    found = _of_json(text, path) if text.lstrip().startswith("{") else dict(_pairs(text, path))
    missing = [name for name in ("api_key", "api_secret") if name not in found]
    if missing:
        raise UsageError(
            f"--credentials {path}: {' and '.join(missing)} missing; the file needs api_key=... "
            "and api_secret=..., one per line, or JSON with both"
        )
    return checked_pair(found["api_key"], found["api_secret"], f"--credentials {path}")


# No message quotes the file: it contains a secret.


def _name(name: str) -> str:
    return name.lower().replace("-", "_").removeprefix("hbseg_")


def _of_json(text: str, path: Path) -> dict[str, str]:
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"--credentials {path}, line {error.lineno}: this is not JSON: {error.msg}; write "
            '{"api_key": "...", "api_secret": "..."}'
        ) from None
    except (ValueError, RecursionError):
        raise UsageError(
            f"--credentials {path}: this is not JSON with a key pair; "
            'write {"api_key": "...", "api_secret": "..."}'
        ) from None
    found = {_name(name): value for name, value in fields.items()}
    for name in ("api_key", "api_secret"):
        if not isinstance(found.get(name, ""), str):
            raise UsageError(f"--credentials {path}: {name} must be text, in quotes")
    return {name: value.strip() for name, value in found.items() if isinstance(value, str)}


_PAIR = re.compile(
    r"""(?:export\s+)?([A-Za-z_][\w-]*)[ \t]*=[ \t]*"""
    r"""(?:"([^"]*)"|'([^']*)'|([^\s"';]*))(?=[\s;]|$);?"""
)
"""A pair as shells and systemd write it. Nothing is expanded in the value: it is a secret, not a
program. Several pairs may stand on one line, as `hbseg serve` prints them, which is why no library
for .env files can be used: to those the second pair is a part of the first's value."""

_OTHER = re.compile(r"(?i:(?:export\s+)?(?!(?:hbseg_)?api[_-](?:key|secret)\b)[a-z_]\w*\s*=)")
"""Another variable of an environment file, whose value need not be understood."""


def _pairs(text: str, path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        rest, is_other = line.strip(), False
        while rest and not rest.startswith("#"):
            found = _PAIR.match(rest)
            if found is None and (is_other or _OTHER.match(rest)):
                break
            if found is None:
                raise UsageError(
                    f"--credentials {path}, line {number}: this is not NAME=VALUE; write "
                    'api_key=... or export HBSEG_API_KEY="...", with both quotes or none'
                )
            name = _name(found[1])
            is_other = name not in ("api_key", "api_secret")
            yield name, (found[2] or found[3] or found[4] or "").strip()
            rest = rest[found.end() :].lstrip()
