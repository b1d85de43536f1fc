"""Output names: a pure function of a folder's listing, so that no two photos share one.

``a/b.jpg`` becomes ``a/b.png``. Where two sources of one folder would meet on a name (``b.jpg`` and
``b.png``, ``B.jpg`` and ``b.jpg``), each gets its full name: ``b.jpg.png``, ``b.png.png``. Names
that still differ only in case or Unicode form are told apart by a mark (``B.jpg~69317c95.png``),
because the output may be on a file system that sees one name in both, or be copied to one.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import repeat

from humanbody_cli.core.paths import Digests, to_text

MAX_NAME = 255
"""Bytes of one name on every common file system."""

SUFFIX = ".png"

_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt)."""


def folder_names(files: Sequence[str], folders: Iterable[str] = ()) -> dict[str, str]:
    """Output names for the photos of one folder; ``folders`` are names that are taken.

    Distinct file names get output names that are distinct even once they are `folded`.
    """
    names = {file: plain_name(file) for file in files}
    reserved = {folded(folder) for folder in folders}
    while crowded := _crowded(names, reserved):  # at most 64 rounds: each needs a longer name
        for file in crowded:
            names[file] = file + SUFFIX
    return _told_apart(names, reserved)


def namer(files: Sequence[str], folders: Iterable[str]) -> Callable[[Sequence[str]], list[str]]:
    """`folder_names` for some names at a time: in nearly every folder the plain names will do, and
    none has to be kept."""
    # Every output name ends in SUFFIX: folders without it cannot collide.
    taken = [folder for folder in folders if folded(folder).endswith(SUFFIX)]
    if not taken and _are_plain(files):
        return plain_names
    names = folder_names(files, taken)
    return lambda some: [names[file] for file in some]


def plain_name(file: str) -> str:
    """``b.jpg`` is ``b.png``."""
    stem, _, _ = file.rpartition(".")
    return (stem if stem.rstrip(".") else file) + SUFFIX


def plain_names(files: Sequence[str]) -> list[str]:
    """`plain_name` of each: at once where all have one suffix, which takes a fifth of the time."""
    text = "\0".join(files) + "\0"
    ending = text[text.rfind(".") :]
    if ending[0] != "." or text.startswith(".") or "\0." in text or "\0" in ending[:-1]:
        return [plain_name(file) for file in files]
    if text.count(ending) != len(files):
        return [plain_name(file) for file in files]
    return text.replace(ending, f"{SUFFIX}\0").split("\0")[:-1]


def _are_plain(files: Sequence[str]) -> bool:
    """Whether no plain name meets another, and none is to be cut."""
    # Numbers instead of names: a hundred thousand of these are 8 MB less. Two names with one number
    # do no harm: then the whole names are compared.
    if not all(map(str.isascii, files)):
        names = set(map(hash, map(folded, map(plain_name, files))))
        return len(names) == len(files) and all(map(_fits, map(plain_name, files)))
    if max(map(len, files), default=0) > MAX_NAME - len(SUFFIX):
        return False
    ending = files[0][files[0].rfind(".") :] if files else ""
    if ending.startswith(".") and all(map(str.endswith, files, repeat(ending))):
        if _is_of_one_case(files, ending):  # names are told apart without regard to case
            return True
        names = set(map(hash, map(str.lower, files)))  # as usual: then the whole names tell
    else:
        names = {hash(plain_name(file).lower()) for file in files}
    return len(names) == len(files)


def _is_of_one_case(files: Sequence[str], ending: str) -> bool:
    """Whether names differ in nothing that has an upper case: ``IMG_0001.JPG``, ``IMG_0002.JPG``.

    Then no two of these distinct names meet, and a set of 100,000 (7 MB) is not needed.
    """
    start = os.path.commonprefix(list(files))  # noqa: RUF071 - of characters, as wanted
    text = "\0".join(("", *files, "")).replace(f"\0{start}", "\0").replace(f"{ending}\0", "\0")
    return text == text.lower()


def _told_apart(names: dict[str, str], reserved: set[str]) -> dict[str, str]:
    """The same names, cut where they are too long and marked where they still meet something.

    Of several names that fold alike the first by `_rank` stays as it is.
    """
    keepers: dict[str, str] = {}
    for file in sorted(names, key=_rank):
        if _fits(names[file]):
            keepers.setdefault(folded(names[file]), file)
    taken = reserved | keepers.keys()
    final = dict(names)
    for file in sorted(names, key=_rank):
        fold = folded(names[file])
        if keepers.get(fold) != file or fold in reserved:
            final[file] = beside(taken, names[file], file)
            taken.add(folded(final[file]))
    return final


def _rank(name: str) -> tuple[bool, bytes]:
    """Names that are in their folded form (``a.jpg``) before others (``A.jpg``), each by order."""
    return folded(name) != _unicode(name), os.fsencode(name)


def _unicode(name: str) -> str:
    """A name's characters, whatever the file system's encoding: other systems store UTF-8."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def beside(taken: Collection[str], name: str, identity: str) -> str:
    """``name`` itself, or the first of its marked forms that is not among ``taken`` (folded)."""
    wanted = shortened(name)
    while folded(wanted) in taken:
        wanted = marked(name, identity)
        identity += SUFFIX
    return wanted


def _crowded(names: dict[str, str], reserved: set[str]) -> list[str]:
    """The files whose plain names meet another's; a full name is never changed again."""
    groups: dict[str, list[str]] = defaultdict(list)
    for file, name in names.items():
        groups[folded(name)].append(file)
    return [
        file
        for fold, group in groups.items()
        if len(group) > 1 or fold in reserved
        for file in group
        if names[file] != file + SUFFIX
    ]


def folded(name: str) -> str:
    """A name or path as the file system sees it that tells the fewest names apart.

    Unicode's toNFKC_Casefold (The Unicode Standard, 3.13, D146): no finer than APFS and HFS+ (case
    and canonical form), ext4's casefold (which drops ignorable characters too), exFAT, and ZFS with
    formKC. Dots and spaces at a name's end do not count, as on exFAT and SMB.
    """
    if not name.isascii():
        name = unicodedata.normalize("NFD", _unicode(name))
        once = unicodedata.normalize("NFKC", name.casefold())
        bare = _IGNORABLE.sub("", unicodedata.normalize("NFKC", once.casefold()))
        name = unicodedata.normalize("NFKC", bare)
    if name.endswith((".", " ")) or "./" in name or " /" in name:
        name = "/".join(part.rstrip(". ") for part in name.split("/"))
    return name.lower() if name.isascii() else name


def folded_name(name: bytes) -> bytes:
    """`folded` for a name as the journal has it."""
    return folded(to_text(name)).encode("utf-8", "surrogateescape")


def _fits(name: str) -> bool:
    # At most four bytes per character: most names need no encoding to be known as short.
    return len(name) * 4 <= MAX_NAME or len(os.fsencode(name)) <= MAX_NAME


def shortened(name: str) -> str:
    """A name that fits: too long ones are cut and told apart by a digest of the whole."""
    return name if _fits(name) else marked(name, name)


def marked(name: str, identity: str, suffix: str = SUFFIX) -> str:
    """``b.png`` as ``b~1a2b3c4d.png``, the digest taken from ``identity``. A folder's ``suffix`` is
    empty."""
    mark = f"~{short_digest(identity)[:8]}{suffix}".encode()
    folder, base = os.path.split(name)
    whole = os.fsencode(base.removesuffix(suffix))
    stem = whole[: MAX_NAME - len(mark)]
    if _is_text(whole):  # cutting bytes may have split a character: what is left of it is dropped
        stem = stem.decode("utf-8", "ignore").encode()
    return os.path.join(folder, os.fsdecode(stem + mark))


def short_digest(name: str) -> str:
    """The sha256 of a name's bytes, hexadecimal."""
    import hashlib  # takes 3 ms to load, and a run with nothing to do needs it for no name

    return hashlib.sha256(os.fsencode(name)).hexdigest()


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def folder_aliases(folders: Sequence[str]) -> dict[str, str]:
    """Output names for those subfolders of one folder that cannot keep their own.

    Of several folders that fold alike (``A`` and ``a``) the first by `_rank` keeps its name and the
    others are marked: a file system that sees one folder in both would mix what they hold.
    """
    taken = {folded(folder) for folder in folders}
    if len(taken) == len(folders):
        return {}
    aliases: dict[str, str] = {}
    keepers: dict[str, str] = {}
    for folder in sorted(folders, key=_rank):
        if keepers.setdefault(folded(folder), folder) != folder:
            aliases[folder] = _folder_beside(taken, folder)
            taken.add(folded(aliases[folder]))
    return aliases


def _folder_beside(taken: Collection[str], folder: str) -> str:
    wanted = identity = folder
    while folded(wanted) in taken:
        wanted = marked(folder, identity, "")
        identity += "/"
    return wanted


class Claims:
    """Output names that were given to photos of many folders, one by one.

    Of two names that fold alike the first to come keeps its form.
    """

    def __init__(self) -> None:
        self._files = Digests()
        self._folders = Digests()
        self._last = ("", "")

    def claim(self, name: str, identity: str) -> str:
        """``name``, or a marked form of it, that no photo and no folder has: it is taken now."""
        folder, slash, base = name.rpartition("/")
        folder = self.folder(folder) + slash
        wanted = folder + shortened(base)
        while (fold := folded(wanted)) in self._folders or not self._files.add(fold):
            wanted = folder + marked(base, identity)
            identity += SUFFIX
        return wanted

    def folder(self, path: str) -> str:
        """The path of a folder in the output, marked where a photo has its name."""
        if path != self._last[0]:
            self._last = (path, self._folder(path))
        return self._last[1]

    def _folder(self, path: str) -> str:
        whole = ""
        for part in path.split("/"):
            wanted, identity = whole + part, path
            while (fold := folded(wanted)) in self._files:
                wanted = whole + marked(part, identity, "")
                identity += "/"
            self._folders.add(fold)
            whole = wanted + "/"
        return whole[:-1]


def root_names(folders: Sequence[str]) -> list[str]:
    """A prefix for each of several input folders (absolute paths): its own name.

    Folders of one name take as many of their parents' names as tell them apart; so do folders whose
    prefix would be inside another's. A single folder has no prefix.
    """
    if len(folders) < 2:
        return [""] * len(folders)
    parts = [[part for part in folder.split(os.sep) if part] or ["root"] for folder in folders]
    depth = [1] * len(folders)
    while True:
        prefixes = ["/".join(part[-n:]) for part, n in zip(parts, depth, strict=True)]
        clashing = _clashing(prefixes)
        deeper = [i for i in clashing if depth[i] < len(parts[i])]
        if not deeper:
            for index in clashing:  # "/" beside a folder called root
                prefixes[index] = marked(prefixes[index], folders[index], "")
            return prefixes
        for index in deeper:
            depth[index] += 1


def _clashing(prefixes: Sequence[str]) -> list[int]:
    """Which prefixes fold like another or contain another; failing these, are contained."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, prefix in enumerate(prefixes):
        groups[folded(prefix)].append(index)
    above = {
        fold[:end] for fold in groups for end in (m.start() for m in re.finditer("/", fold))
    } & groups.keys()
    return [
        index
        for fold, group in groups.items()
        if len(group) > 1 or fold in above
        for index in group
    ]
