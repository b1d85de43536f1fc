"""What was named, put in order: each input once, and each photo reached by one way."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from humanbody_cli.names import folder_names, root_names, short_digest
from humanbody_cli.paths import absolute

STDIN = "-"


def is_url(name: str) -> bool:
    """Whether an input is an address."""
    return name.startswith(("http://", "https://"))


def is_path(name: str) -> bool:
    """Whether an input is the path of a file or folder."""
    return name != STDIN and not is_url(name)


class Input(NamedTuple):
    """Something that was named.

    ``key`` is its absolute path, ``prefix`` the output folder of what it holds (with a slash, or
    empty), ``base`` a file's output name where its neighbours decide it. What lies inside a folder
    that is walked too is ``nested``: it comes after that folder, by whose walk it is usually met.
    """

    name: str
    key: str
    prefix: str = ""
    base: str = ""
    is_folder: bool = False
    nested: bool = False


@dataclass
class Named:
    """Inputs in the order in which they are to be taken. ``reals`` tells which folder was named
    first of those that are one folder by their links."""

    inputs: list[Input] = field(default_factory=list)
    reals: dict[str, str] = field(default_factory=dict)

    @property
    def roots(self) -> list[Input]:
        """Folders that lie in no other."""
        return [one for one in self.inputs if one.is_folder and not one.nested]

    @property
    def any_nested(self) -> bool:
        """Whether some photos can be met twice."""
        return any(one.nested for one in self.inputs)


def arranged(names: Iterable[str], note: Callable[[str], None]) -> Named:
    """Each input once. ``note`` is told of folders that are left out as second names of another.

    What a photo is called does not depend on the order of the inputs: what is named beside the
    folder that holds it is left to that folder's walk.
    """
    named = Named()
    keys: dict[str, str] = {}
    for name in names:
        keys.setdefault(absolute(name) if is_path(name) else name, name)
    folders = {key: name for key, name in keys.items() if is_path(name) and os.path.isdir(name)}
    for key, name in list(folders.items()):
        if is_second_name(named.reals, name, note):
            del folders[key], keys[key]
    holders = {key: holder_of(key, folders) for key in keys}
    roots = [key for key in folders if holders[key] is None]
    prefixes = {
        key: prefix + "/" if prefix else ""
        for key, prefix in zip(roots, root_names(roots), strict=True)
    }
    bases = _bases([key for key, name in keys.items() if is_path(name) and key not in folders])

    def made(key: str) -> Input:
        holder, is_folder = holders[key], key in folders
        prefix = prefixes.get(key, "")
        if holder is not None:
            below = relative(key if is_folder else os.path.dirname(key), holder)
            prefix = prefixes[holder] + (below + "/" if below else "")
        return Input(
            keys[key], key, prefix, bases.get(key, ""), is_folder, nested=holder is not None
        )

    # Sorting is stable: first what is not nested, then nested folders, then nested files.
    named.inputs = sorted(map(made, keys), key=lambda one: (one.nested, one.nested > one.is_folder))
    return named


def is_second_name(reals: dict[str, str], name: str, note: Callable[[str], None]) -> bool:
    """Whether a folder was named before, by way of a link; ``note`` is told so."""
    first = reals.setdefault(os.path.realpath(name), name)
    if first == name or absolute(first) == absolute(name):
        return False
    note(f"{name}: the same folder as {first}; its photos are done once, as those of {first}")
    return True


def holder_of(key: str, folders: Collection[str]) -> str | None:
    """The outermost of ``folders`` whose walk comes to ``key``; walks leave hidden entries out."""
    holder = None
    while key != os.sep:
        key, base = os.path.split(key)
        if not base or base[0] == ".":
            break
        if key in folders:
            holder = key
    return holder


def relative(key: str, folder: str) -> str:
    """The path of ``key`` below a folder that holds it; empty for the folder itself."""
    return key[len(folder) :].lstrip(os.sep)


def is_within(key: str, folder: str) -> bool:
    """Whether a path is a folder's own, or that of something below it."""
    return key == folder or key.startswith(os.path.join(folder, ""))


def _bases(files: Iterable[str]) -> dict[str, str]:
    """Output names of files that were named one by one: by the rule of the folder they lie in."""
    folders: dict[str, list[str]] = {}
    for file in files:
        folder, base = os.path.split(file)
        folders.setdefault(folder, []).append(base)
    return {
        os.path.join(folder, base): name
        for folder, bases in folders.items()
        for base, name in folder_names(bases).items()
    }


@dataclass
class Met:
    """Photos and folders that a run has come to, where it may come to them again."""

    _photos: set[bytes] = field(default_factory=set)
    _folders: set[bytes] = field(default_factory=set)

    def is_new(self, key: str) -> bool:
        """Whether a photo is met for the first time. It counts as met from now on."""
        before = len(self._photos)
        self._photos.add(short_digest(key))
        return len(self._photos) > before

    def has_met(self, key: str) -> bool:
        """Whether a photo was met."""
        return short_digest(key) in self._photos

    def walks(self, folder: str) -> None:
        """Note that all that is in a folder is being walked."""
        self._folders.add(short_digest(folder))

    def has_walked(self, folder: str) -> bool:
        """Whether a folder was walked whole."""
        return short_digest(folder) in self._folders


class Common:
    """The deepest folder that is, or holds, every path that it was told of."""

    def __init__(self) -> None:
        self._path: str | None = None

    def add(self, name: str) -> None:
        """One more input of a list; addresses and stdin lie in no folder."""
        if not is_path(name):
            return
        key = absolute(name)
        if self._path is None:
            self._path = key
        elif not is_within(key, self._path):
            self._path = os.path.commonpath((self._path, key))

    def folder(self) -> str:
        """That folder; a single file's own."""
        path = self._path or os.sep
        return path if os.path.isdir(path) else os.path.dirname(path)


def place_below(base: str, key: str) -> str:
    """Where a list's name belongs in the output: its path below ``base``, its whole path where it
    lies elsewhere."""
    return relative(key, base if is_within(key, base) else os.sep)
