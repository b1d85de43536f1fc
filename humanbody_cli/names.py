"""Output names: a pure function of a folder's listing, so that no two photos share one.

``a/b.jpg`` becomes ``a/b.png``. Where two sources of one folder would meet on a name (``b.jpg`` and
``b.png``, ``B.jpg`` and ``b.jpg``), each keeps its own: ``b.jpg.png``, ``b.png.png``.
"""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat

MAX_NAME = 255
"""Bytes of one name on every common file system."""

SUFFIX = ".png"


def folder_names(files: Sequence[str], folders: Iterable[str] = ()) -> dict[str, str]:
    """Output names for the photos of one folder; ``folders`` are names that are taken.

    Distinct file names always get distinct output names.
    """
    names = {file: plain_name(file) for file in files}
    reserved = {_folded(folder) for folder in folders}
    while crowded := _crowded(names, reserved):
        for file in crowded:
            names[file] = file + SUFFIX
    return _told_apart(names, reserved)


def namer(files: Sequence[str], folders: Sequence[str]) -> Callable[[str], str]:
    """`folder_names` for one name at a time: in nearly every folder the plain names will do, and
    none has to be kept."""
    if _are_plain(files, folders):
        return plain_name
    return folder_names(files, folders).__getitem__


def plain_name(file: str) -> str:
    """``b.jpg`` is ``b.png``."""
    stem, _, _ = file.rpartition(".")
    return (stem if stem.rstrip(".") else file) + SUFFIX


def _are_plain(files: Sequence[str], folders: Sequence[str]) -> bool:
    """Whether no plain name meets another or a folder's, and none is to be cut."""
    longest = max(map(len, files), default=0)
    if folders or longest > MAX_NAME - len(SUFFIX) or not all(map(str.isascii, files)):
        return False
    # Numbers instead of names: a hundred thousand of these are 8 MB less. Two names of one number
    # are no harm: then the long way is taken.
    ending = files[0][files[0].rfind(".") :] if files else ""
    if all(map(str.endswith, files, repeat(ending))):  # as usual: then the whole names tell
        stems = set(map(hash, map(str.lower, files)))
    else:
        stems = {hash(file[: file.rfind(".")].lower()) for file in files}
    return len(stems) == len(files)


def _told_apart(names: dict[str, str], reserved: set[str]) -> dict[str, str]:
    """The same names, cut where they are too long and marked where they still meet something."""
    fitting = {name for name in names.values() if shortened(name) == name}
    taken: set[str] = set()
    final: dict[str, str] = {}
    for file, name in names.items():
        wanted, identity = shortened(name), file
        while wanted in taken or _folded(wanted) in reserved or (wanted in fitting - {name}):
            wanted = marked(name, identity)
            identity += SUFFIX
        taken.add(wanted)
        final[file] = wanted
    return final


def _crowded(names: dict[str, str], reserved: set[str]) -> list[str]:
    """The files whose plain names meet another's; a full name is never changed again."""
    groups: dict[str, list[str]] = defaultdict(list)
    for file, name in names.items():
        groups[_folded(name)].append(file)
    return [
        file
        for folded, group in groups.items()
        if len(group) > 1 or folded in reserved
        for file in group
        if names[file] != file + SUFFIX
    ]


def _folded(name: str) -> str:
    """How a file system that ignores case and Unicode form sees a name."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def shortened(name: str) -> str:
    """A name that fits: too long ones are cut and told apart by a digest of the whole."""
    # Four bytes a character at the most: most names need no encoding to be known as short.
    if len(name) * 4 <= MAX_NAME or len(os.fsencode(name)) <= MAX_NAME:
        return name
    return marked(name, name)


def marked(name: str, identity: str) -> str:
    """``b.png`` as ``b~1a2b3c4d.png``, the digest taken from ``identity``."""
    mark = "~" + digest(identity)[:8]
    folder, base = os.path.split(name)
    stem = os.fsencode(base.removesuffix(SUFFIX))[: MAX_NAME - len(mark) - len(SUFFIX)]
    # Cutting bytes may split a character: what is left of it is dropped, other bytes are kept.
    cut = stem.decode("utf-8", "ignore") if _is_text(base) else os.fsdecode(stem)
    return os.path.join(folder, cut + mark + SUFFIX)


def digest(name: str) -> str:
    """The sha256 of a name's bytes, hexadecimal."""
    import hashlib  # takes 3 ms to load, and a run with nothing to do needs it for no name

    return hashlib.sha256(os.fsencode(name)).hexdigest()


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def root_names(folders: Sequence[str]) -> list[str]:
    """A prefix for each of several input folders (absolute paths): its own name.

    Folders of one name take as many of their parents' names as tell them apart. A single folder
    has no prefix.
    """
    if len(folders) < 2:
        return [""] * len(folders)
    parts = [[part for part in folder.split(os.sep) if part] or ["root"] for folder in folders]
    depth = [1] * len(folders)
    while True:
        prefixes = ["/".join(part[-n:]) for part, n in zip(parts, depth, strict=True)]
        groups: dict[str, list[int]] = defaultdict(list)
        for index, prefix in enumerate(prefixes):
            groups[_folded(prefix)].append(index)
        clashing = [i for group in groups.values() if len(group) > 1 for i in group]
        deeper = [i for i in clashing if depth[i] < len(parts[i])]
        if not deeper:
            for index in clashing:  # "/" beside a folder called root
                prefixes[index] = marked(prefixes[index], folders[index]).removesuffix(SUFFIX)
            return prefixes
        for index in deeper:
            depth[index] += 1
