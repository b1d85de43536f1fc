"""The settings file: its text, its keys and its profiles. Which options there are is passed in."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from humanbody_cli.core.errors import UsageError

NAME = "config.toml"
_LARGEST = 1 << 20
"""Bytes; whatever is longer (a photo, /dev/zero) is not a settings file."""

SERVE = "serve"
"""The table of the server's options; in a profile, the table inside it."""
_PROFILE, _DEFAULT_PROFILE = "profile", "default-profile"
_KEY_PAIR = frozenset({"api-key", "api-secret", "credentials"})


class Kind(Enum):
    """What a key's value must be, in words."""

    FLAG = "true or false, without quotes"
    NUMBER = "a whole number"
    TEXT = "text in quotes, or a number"
    LIST = "a list of texts, such as ['a', 'b']"


@dataclass(frozen=True)
class Key:
    """A key of the file: the option ``table``, ``name`` that it sets, and of which kind its value
    is. A ``negated`` key, as ``no-sync``, is a flag that sets the opposite."""

    table: str
    name: str
    kind: Kind
    negated: bool = False


Keys = Mapping[tuple[str, str], Key]
"""By the table and name that are written in the file."""


@dataclass(frozen=True)
class Setting:
    """A value of the file: a flag, text (numbers are kept as text), or several texts. ``where``
    names file, table and key; ``profile`` is empty for a value outside of profiles."""

    value: bool | str | tuple[str, ...]
    where: str
    profile: str = ""


@dataclass(frozen=True)
class Settings:
    """What a file says for one profile. ``path`` is ``None`` if no folder for settings is known."""

    path: Path | None = None
    exists: bool = False
    profile: str | None = None
    profiles: tuple[str, ...] = ()
    values: Mapping[tuple[str, str], Setting] = field(default_factory=dict)


def default_path() -> Path | None:
    """The file in the user's configuration folder; ``None`` if the system knows of no such folder,
    as for a user without a home."""
    from platformdirs import user_config_path  # not paid for by --version and --help

    path = user_config_path("hbseg", appauthor=False) / NAME
    return path if path.is_absolute() else None


def read(path: Path | None, named: str | None) -> str | None:
    """The text of the file; ``None`` if it does not exist.

    ``named`` says who named the file (``--config``); it must exist then.

    Raises:
        UsageError: it cannot be read, or is not text.
    """
    if path is None:
        return None
    prefix = f"{named} " if named else ""
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        if named is None and _is_absent(path, error):
            return None
        reason = error.strerror or str(error)
        raise UsageError(
            f"{prefix}{path}: the settings file cannot be read: {reason}; check the path and its "
            "permissions"
        ) from None
    if len(data) > _LARGEST:
        raise UsageError(
            f"{prefix}{path} is larger than 1 MiB, so it is not a settings file; check the path"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{prefix}{path}, line {line}: this is not UTF-8 text; save the file as UTF-8"
        ) from None


def _is_absent(path: Path, error: OSError) -> bool:
    """Whether there is no file, or none that this user can see: HOME may be another user's."""
    if error.errno != errno.EACCES:
        return error.errno in (errno.ENOENT, errno.ENOTDIR) and not path.is_symlink()
    try:
        path.stat()
    except PermissionError:  # a folder on the way may not be entered
        return True
    return False


def settings(
    path: Path, text: str, wanted: tuple[str, str] | None, keys: Callable[[bool], Keys]
) -> Settings:
    """What the file says for a profile.

    ``wanted`` is the profile and who named it, ``None``: the file's own default. ``keys(False)``
    are the keys of the command that runs, ``keys(True)`` those of all commands.

    Raises:
        UsageError: anything in the file is wrong, whichever profile it is in.
    """
    document = _parsed(path, text)
    default = document.pop(_DEFAULT_PROFILE, None)
    profiles = document.pop(_PROFILE, {})
    _check_profiles(path, profiles, default)
    if wanted is None and default is not None:
        wanted = default, _DEFAULT_PROFILE
    if wanted is not None and wanted[0] not in profiles:
        raise UsageError(_no_profile(path, *wanted, list(profiles)))
    reader = _Reader(path, keys)
    values = dict(reader.values(document, ""))
    for name, table in profiles.items():
        own = dict(reader.values(table, name))
        if wanted is not None and name == wanted[0]:
            values = _over(values, own)
    return Settings(path, True, wanted[0] if wanted else None, tuple(profiles), values)


Values = dict[tuple[str, str], Setting]


def _over(values: Values, own: Values) -> Values:
    """The profile's values over the others. A key of its own never meets another's secret."""
    if any(name in _KEY_PAIR for _, name in own):
        values = {key: value for key, value in values.items() if key[1] not in _KEY_PAIR}
    return {**values, **own}


def _parsed(path: Path, text: str) -> dict[str, Any]:
    import tomllib

    try:
        # Numbers stay as they are written, for the option to read.
        return tomllib.loads(text, parse_float=str)
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error))
        what = found[1] if found else str(error)
        line = found[2] if found and found[2] else text.rstrip().count("\n") + 1
        raise UsageError(
            f"{path}, line {line}: this is not TOML: {what[:1].lower()}{what[1:]}; write "
            'KEY = VALUE, with text in quotes, such as qps = "auto"'
        ) from None
    except (ValueError, RecursionError):
        raise UsageError(
            f"{path}: a number or list in it is too long to be read; shorten it"
        ) from None


def _check_profiles(path: Path, profiles: Any, default: Any) -> None:
    if not isinstance(profiles, dict):
        raise UsageError(
            f"{path}: {_PROFILE} must be a table such as [profile.night]; {_DEFAULT_PROFILE} = "
            '"night" names the one to use'
        )
    for name, table in profiles.items():
        if not isinstance(table, dict):
            raise UsageError(
                f"{path}: {name} in [profile] must be a table, [profile.{name}]; values that "
                "hold without a profile come first in the file, before every table"
            )
    if default is not None and not isinstance(default, str):
        raise UsageError(f"{path}: {_DEFAULT_PROFILE} must be the name of a profile, in quotes")


def _no_profile(path: Path, name: str, by: str, profiles: list[str]) -> str:
    known = f"there are {', '.join(profiles)}" if profiles else "there are no profiles in it"
    return f"{by} {name}: {path} has no [profile.{name}]; {known}{_meant(name, profiles)}"


def _meant(name: str, names: list[str]) -> str:
    """A hint at the name that was probably meant."""
    from difflib import get_close_matches

    close = get_close_matches(name.lower().replace("_", "-"), names, n=1)
    return f"; did you mean {close[0]}?" if close else ""


@dataclass(frozen=True)
class _Reader:
    """Reads tables of a file."""

    path: Path
    keys: Callable[[bool], Keys]

    def values(self, table: Mapping[str, Any], profile: str) -> Iterator[tuple[Any, Setting]]:
        """The values of a profile, or of the file outside its profiles."""
        header = f"profile.{profile}" if profile else ""
        own = {name: value for name, value in table.items() if not _is_serve(name, value)}
        yield from self._table(own, "", header, profile)
        if len(own) < len(table):
            inner = f"{header}.{SERVE}" if header else SERVE
            yield from self._table(table[SERVE], SERVE, inner, profile)

    def _table(
        self, table: Mapping[str, Any], of: str, header: str, profile: str
    ) -> Iterator[tuple[Any, Setting]]:
        seen: dict[str, str] = {}
        for name, value in table.items():
            where = f"{self.path}: {name}" + (f" in [{header}]" if header else "")
            key = self._key(of, name, value, where)
            if key.name in seen:
                raise UsageError(f"{where} and {seen[key.name]} are one option; remove one of them")
            seen[key.name] = name
            yield (of, key.name), Setting(_value(key, value, where), where, profile)

    def _key(self, of: str, name: str, value: object, where: str) -> Key:
        for everything in (False, True):
            if key := self.keys(everything).get((of, name)):
                return key
        if isinstance(value, dict):
            raise UsageError(
                f"{where} is not a table of this file, which has [profile.NAME] and [serve]; the "
                "keys of other commands stand before the tables or in a profile; move them there"
            )
        keys = self.keys(True)
        other = "" if of else SERVE
        if (other, name) in keys:
            raise UsageError(f"{where} is {_PLACES[other]}; move it there")
        meant = _meant(name, [known for table, known in keys if table == of])
        raise UsageError(f"{where} is not a setting{meant or '; hbseg config lists them all'}")


_PLACES = {
    "": "not an option of the server, and stands before the tables or in [profile.NAME]",
    SERVE: "an option of hbseg serve, which stands in [serve]",
}


def _is_serve(name: str, value: object) -> bool:
    return name == SERVE and isinstance(value, dict)


def _value(key: Key, value: object, where: str) -> bool | str | tuple[str, ...]:
    if key.kind is Kind.FLAG and isinstance(value, bool):
        return value is not key.negated
    if key.kind is Kind.NUMBER and type(value) is int:
        return str(value)
    if key.kind is Kind.LIST and isinstance(value, list) and all(map(_is_text, value)):
        return tuple(_text(one, where) for one in value)
    if key.kind in (Kind.TEXT, Kind.LIST) and _is_text(value):
        text = _text(value, where)
        return (text,) if key.kind is Kind.LIST else text
    # The value is not quoted: it may be a secret.
    raise UsageError(f"{where} must be {key.kind.value}")


def _is_text(value: object) -> bool:
    return isinstance(value, str) or type(value) is int


def _text(value: object, where: str) -> str:
    """Text as the shell would pass it: ``~/`` is the user's home."""
    try:
        text = str(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        raise UsageError(f"{where} is a number of too many digits; shorten it") from None
    if "\0" in text:
        raise UsageError(f"{where} contains a NUL character, which no value can; remove it")
    return os.path.expanduser(text) if text.startswith("~/") else text
