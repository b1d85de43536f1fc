"""The inputs put in order: each once, and each photo reached by one of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import NamedTuple

from humanbody_cli.core.paths import Digests, absolute
from humanbody_cli.storage.names import folder_names, root_names

STDIN = "-"


def is_url(name: str) -> bool:
    """Whether an input is an address."""
    return name.startswith(("http://", "https://"))


def is_path(name: str) -> bool:
    """Whether an input is the path of a file or folder."""
    return name != STDIN and not is_url(name)


class Input(NamedTuple):
    """One input: a file, a folder, an address or ``-``.

    ``key`` is its absolute path, ``prefix`` the output folder of its photos (with a slash, or
    empty), ``base`` a file's output name if its neighbours decide it. An input inside a folder that
    is also walked is ``nested``: it comes after that folder, whose walk usually finds it.
    """

    name: str
    key: str
    prefix: str = ""
    base: str = ""
    is_folder: bool = False
    nested: bool = False


@dataclass
class Named:
    """Inputs in the order in which they are processed. ``reals`` maps a folder's real path to the
    first of its names that was given."""

    inputs: list[Input] = field(default_factory=list)
    reals: dict[str, str] = field(default_factory=dict)

    @property
    def roots(self) -> list[Input]:
        """Folders that are not inside another one."""
        return [one for one in self.inputs if one.is_folder and not one.nested]

    def met(self, *, listed: bool) -> Met | None:
        """Remembers photos that were met; ``None`` if none can be met twice."""
        nested = [one for one in self.inputs if one.nested]
        folders = tuple(os.path.join(one.key, "") for one in nested if one.is_folder)
        if listed or len(folders) > _FEW:
            return Met()
        if not nested:
            return None
        return Met(folders, frozenset(one.key for one in nested if not one.is_folder))


def arranged(names: Iterable[str], note: Callable[[str], None]) -> Named:
    """Each input once; ``note`` receives a sentence for each folder skipped as a second name.

    Output names do not depend on the order of the inputs: a photo that is given beside its folder
    is left to that folder's walk.
    """
    named = Named()
    keys: dict[str, str] = {}
    for name in names:
        keys.setdefault(absolute(name) if is_path(name) else name, name)
    folders = {key: name for key, name in keys.items() if is_path(name) and os.path.isdir(name)}
    for key, name in list(folders.items()):
        if is_second_name(named.reals, name, note):
            del folders[key], keys[key]
    holder = cache(partial(holder_of, folders=folders))  # once for the files of a folder
    holders = {key: _holder(key, folders, holder) for key in keys}
    roots = [key for key in folders if holders[key] is None]
    prefixes = {
        key: prefix + "/" if prefix else ""
        for key, prefix in zip(roots, root_names(roots), strict=True)
    }
    bases = _bases([key for key, name in keys.items() if is_path(name) and key not in folders])

    def made(key: str) -> Input:
        root, is_folder = holders[key], key in folders
        prefix = prefixes.get(key, "")
        if root is not None:
            below = relative(key if is_folder else os.path.dirname(key), root)
            prefix = prefixes[root] + (below + "/" if below else "")
        return Input(keys[key], key, prefix, bases.get(key, ""), is_folder, nested=root is not None)

    # Sorting is stable: first what is not nested, then nested folders, then nested files.
    named.inputs = sorted(map(made, keys), key=lambda one: (one.nested, one.nested > one.is_folder))
    return named


def is_second_name(reals: dict[str, str], name: str, note: Callable[[str], None]) -> bool:
    """Whether a folder was given before under another name; ``note`` then receives a sentence."""
    first = reals.setdefault(os.path.realpath(name), name)
    if first == name or absolute(first) == absolute(name):
        return False
    note(f"{name}: the same folder as {first}; its photos are processed once, as those of {first}")
    return True


def holder_of(key: str, folders: Collection[str]) -> str | None:
    """The outermost of ``folders`` whose walk reaches ``key``; walks skip hidden entries."""
    holder = None
    while key != os.sep:
        key, base = os.path.split(key)
        if not base or base[0] == ".":
            break
        if key in folders:
            holder = key
    return holder


def _holder(key: str, folders: Collection[str], holder: Callable[[str], str | None]) -> str | None:
    """`holder_of`, computed once per containing folder."""
    above, base = os.path.split(key)
    if not folders or not base or base[0] == "." or above == key:
        return None
    return holder(above) or (above if above in folders else None)


def relative(key: str, folder: str) -> str:
    """The path of ``key`` below a folder that contains it; empty for the folder itself."""
    return key[len(folder) :].lstrip(os.sep)


def is_within(key: str, folder: str) -> bool:
    """Whether a path is a folder or something below it."""
    return key == folder or key.startswith(os.path.join(folder, ""))


def _bases(files: Iterable[str]) -> dict[str, str]:
    """Output names of files given one by one, by the rules for their folder."""
    folders: dict[str, list[str]] = {}
    for file in files:
        folder, base = os.path.split(file)
        folders.setdefault(folder, []).append(base)
    return {
        os.path.join(folder, base): name
        for folder, bases in folders.items()
        for base, name in folder_names(bases).items()
    }


_FEW = 30


@dataclass
class Met:
    """Photos and folders that were met and may be met again: those below ``folders``, and
    ``files``. Others are not remembered."""

    folders: tuple[str, ...] = ("",)
    files: frozenset[str] = frozenset()
    _photos: Digests = field(default_factory=Digests)
    _folders: Digests = field(default_factory=Digests)

    def is_new(self, key: str) -> bool:
        """Whether a photo is met for the first time; it counts as met from now on."""
        if not key.startswith(self.folders) and key not in self.files:
            return True
        return self._photos.add(key)

    def has_met(self, key: str) -> bool:
        """Whether a photo was met."""
        return key in self._photos

    def walks(self, folder: str) -> None:
        """Remember that a whole folder is being walked."""
        self._folders.add(folder)

    def has_walked(self, folder: str) -> bool:
        """Whether a whole folder was walked."""
        return folder in self._folders


class Common:
    """The deepest folder that contains every path that was added, or is one of them."""

    def __init__(self) -> None:
        self._path: str | None = None

    def add(self, name: str) -> None:
        """Add an input of a list; addresses and stdin are ignored."""
        if not is_path(name):
            return
        key = absolute(name)
        if self._path is None:
            self._path = key
        elif not is_within(key, self._path):
            self._path = os.path.commonpath((self._path, key))

    def folder(self) -> str:
        """That folder; for a single file, the folder that contains it."""
        path = self._path or os.sep
        return path if os.path.isdir(path) else os.path.dirname(path)


def place_below(bases: Iterable[str], key: str) -> str:
    """The path of a list's name in the output: below the first of ``bases`` that contains it, else
    its whole path."""
    return relative(key, next((base for base in bases if is_within(key, base)), os.sep))
