"""One folder of a walk: its entries sorted by kind, and whether it is an output folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from humanbody_cli.core.errors import OutputError
from humanbody_cli.core.paths import absolute
from humanbody_cli.storage import ownership
from humanbody_cli.storage.layout import BESIDE, RECOMPOSED_MARK, RESULTS, SINGLE_SEAL, STATE
from humanbody_cli.storage.names import folder_aliases

API_SUFFIXES = frozenset("jpg jpeg jpe jfif png".split())
"""Suffixes of the formats that the API accepts."""

PICTURE_SUFFIXES = API_SUFFIXES | frozenset("webp heic heif hif avif tif tiff bmp gif".split())
"""Suffixes of pictures in a walk. Formats that the API does not accept are rejected with a hint at
``--fit`` rather than skipped: a photo that is skipped silently is lost."""

_USUAL = (".jpg", ".JPG", ".jpeg", ".png")
"""The most common suffixes, tested first because a walk tests every file."""

_BESIDE = BESIDE + "."


@dataclass
class Listing:
    """A folder's entries as sorted names (``DirEntry`` objects take 100 MB per 100,000 files).

    ``broken`` are entries that may be folders and cannot be read, each with the reason.
    ``results_removed``: pictures were left out because they are results.
    """

    identity: tuple[int, int]
    pictures: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    broken: list[tuple[str, OSError]] = field(default_factory=list)
    others: int = 0
    is_output: bool = False
    is_recomposed: bool = False
    results_removed: bool = False

    def sort_out(self, entries: Iterable[os.DirEntry[str]]) -> None:
        """Sort entries into pictures, folders and others."""
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                self.is_output |= name == STATE
                self.is_recomposed |= name == RECOMPOSED_MARK
                continue
            try:
                is_folder = entry.is_dir()
            except OSError as error:
                self._cannot_tell(name, error)
                continue
            if is_folder:
                self.folders.append(name)
            elif _BESIDE in name and _is_cutout(entry):
                self.others += 1
            elif name.endswith(_USUAL) or is_picture(name):
                self.pictures.append(name)
            elif entry.is_symlink() and (reason := _dangling(entry)):
                self.broken.append((name, reason))
            else:
                self.others += 1
        self.pictures.sort()
        self.folders.sort()
        self.broken.sort(key=lambda entry: entry[0])

    def _cannot_tell(self, name: str, error: OSError) -> None:
        """An entry that cannot be examined. If named like a photo, reading it will report why;
        otherwise it may be a folder of photos."""
        if is_picture(name):
            self.pictures.append(name)
        else:
            self.broken.append((name, error))


@dataclass(frozen=True)
class OwnOutput:
    """The run's own output folder. Its results are never photos, even if they are reached by links
    or a second mount point: its masks and cutouts may be links to another disk."""

    identity: tuple[int, int]
    kinds: tuple[str, ...]
    """The folders of its state and results; the run may create them."""

    places: tuple[str, ...]
    """Their absolute paths, both as spelled and with links resolved."""

    _found: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, root: str) -> OwnOutput:
        """The output folder ``root``.

        Raises:
            OSError: it does not exist.
        """
        status = os.stat(root)
        kinds = [os.path.join(root, kind) for kind in (STATE, *RESULTS)]
        places = dict.fromkeys(
            path for kind in kinds for path in (absolute(kind), os.path.realpath(kind))
        )
        return cls((status.st_dev, status.st_ino), tuple(kinds), tuple(places))

    def holds(self, folder: str) -> bool:
        """Whether a folder, with or without its links resolved, holds results or the state."""
        return self.names(absolute(folder)) or self.names(os.path.realpath(folder))

    def names(self, key: str) -> bool:
        """Whether an absolute path is spelled as one within the results or the state."""
        return any(key == own or key.startswith(own + os.sep) for own in self.places)

    def is_result(self, folder: Folder, listing: Listing) -> bool:
        """Whether a folder of a walk is within the results or the state.

        Below any other folder, only a link or a mount leads there.
        """
        if listing.identity in self._identities():
            return True
        is_entry = not folder.above or os.path.islink(folder.path)
        return is_entry and self.names(os.path.realpath(folder.path))

    def _identities(self) -> set[tuple[int, int]]:
        for path in [path for path in self.kinds if path not in self._found]:
            with contextlib.suppress(OSError):  # does not exist yet
                status = os.stat(path)
                self._found[path] = (status.st_dev, status.st_ino)
        return set(self._found.values())


def is_picture(name: str) -> bool:
    """Whether a file name has the suffix of a picture."""
    stem, _, suffix = name.rpartition(".")
    return bool(stem) and suffix.lower() in PICTURE_SUFFIXES


def _is_cutout(entry: os.DirEntry[str]) -> bool:
    """Whether `hbseg segment me.jpg` wrote this file beside its photo, ``me.jpg``."""
    from humanbody_cli.imaging import proof  # loads zlib; few walks meet such a name

    try:
        is_candidate = is_picture(entry.name) and entry.is_file(follow_symlinks=False)
        if not is_candidate or not proof.may_be_sealed(entry.path, SINGLE_SEAL):
            return False
        return ownership.made_of(entry.path, SINGLE_SEAL) is not None
    except (OSError, OutputError):  # reading it as a photo will say why
        return False


def _dangling(entry: os.DirEntry[str]) -> OSError | None:
    """Why a link is dangling, if it is: its target may be a folder on an absent disk."""
    try:
        entry.stat()
    except OSError as error:
        return error
    return None


@dataclass(frozen=True)
class Part:
    """A part of a tree, by absolute paths: the photos of ``folders``, and those of ``trees`` and of
    all folders below them."""

    folders: frozenset[str]
    trees: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        ways = {path for path in self.folders | self.trees for path in upwards(path)}
        object.__setattr__(self, "_ways", frozenset(ways))

    def holds(self, folder: str) -> bool:
        """Whether a folder's own photos belong to it."""
        return folder in self.folders or any(path in self.trees for path in upwards(folder))

    def leads_to(self, folder: str) -> bool:
        """Whether a folder, or one below it, belongs to it."""
        ways: frozenset[str] = vars(self)["_ways"]
        return folder in ways or self.holds(folder)


def upwards(path: str) -> Iterator[str]:
    """A path and the folders that contain it."""
    while True:
        yield path
        above = os.path.dirname(path)
        if above == path:
            return
        path = above


class Folder(NamedTuple):
    """A folder to be walked. ``above`` are the folders that contain it, by device and inode."""

    path: str
    absolute: str
    prefix: str
    above: tuple[tuple[int, int], ...] = ()

    def listing(self) -> Listing:
        """Its entries, sorted by name.

        Raises:
            OSError: it cannot be listed.
        """
        status = os.stat(self.path)
        listing = Listing((status.st_dev, status.st_ino))
        with os.scandir(self.path) as entries:
            listing.sort_out(entries)
        return listing

    def below(self, listing: Listing) -> list[Folder]:
        """Its subfolders, sorted by name."""
        aliases = folder_aliases(listing.folders)
        above = (*self.above, listing.identity)
        return [
            Folder(
                os.path.join(self.path, name),
                os.path.join(self.absolute, name),
                f"{self.prefix}{aliases.get(name, name)}/",
                above,
            )
            for name in listing.folders
        ]
