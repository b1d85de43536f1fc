"""The values that travel with a photo: how it was found, its row in the journal, its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from humanbody_cli.core.errors import PhotoError
from humanbody_cli.core.outcomes import Outcome, is_nobody
from humanbody_cli.core.paths import all_to_bytes, mtime_of, to_bytes

PROOFLESS = ";proofless"
"""Marks a row whose files have no proofs; it follows the rules that its photo was checked by."""

LOOKUP_SIZE = 500
"""Photos looked up in one query."""


class Kind(Enum):
    """Where a photo's bytes come from."""

    FILE = "file"
    URL = "url"
    STDIN = "stdin"
    TROUBLE = "trouble"  # something that may hold photos and cannot be read


class Photo(NamedTuple):
    """A photo that was found and not yet opened.

    ``source`` is how the user would name it. ``key`` is what it is known by: a file's absolute
    path, an address, ``-:`` and the sha256 of what came through stdin; only a file's begins with a
    slash. ``name`` is its output name; with ``keeps_name`` a name that an earlier run gave it takes
    precedence. ``size`` (bytes) and ``mtime`` (ns) are the file's: -1 until `seen`, and where
    there is no file. ``data`` are the bytes of a photo from stdin.
    """

    source: str
    key: str
    name: str
    size: int
    mtime: int
    kind: Kind = Kind.FILE
    trouble: str = ""
    keeps_name: bool = False
    data: bytes = b""

    def seen(self) -> Photo:
        """The same photo with the size and time of its file, which the walk does not read."""
        if self.kind is not Kind.FILE:
            return self
        try:
            status = os.stat(self.source)
        except OSError:  # a dangling link: reading it will say so
            return self
        return self._replace(size=status.st_size, mtime=mtime_of(status))


def key_of(photo: Photo) -> bytes:
    """A photo's key in the journal: the bytes of its path, even if they are not text."""
    return to_bytes(photo.key)


class Siblings:
    """Photos of one folder, as files that were found by a walk: each is made a `Photo` only once it
    is looked at by itself, which for most photos of a second run never happens.

    ``here`` is the folder as the user named it, ``below`` its absolute path, ``prefix`` that of
    their output names, each with a slash or empty. ``names_of`` makes output names of file names.
    """

    __slots__ = ("_files", "_names_of", "below", "here", "prefix")

    def __init__(
        self,
        here: str,
        below: str,
        prefix: str,
        files: Sequence[str],
        names_of: Callable[[Sequence[str]], list[str]],
    ) -> None:
        self.here = here
        self.below = below
        self.prefix = prefix
        # One text: a folder of a hundred thousand photos is 6 MB less.
        self._files = "\0".join(files)
        self._names_of = names_of

    def __len__(self) -> int:
        return self._files.count("\0") + 1

    def __iter__(self) -> Iterator[Photo]:
        here, below, prefix = self.here, self.below, self.prefix
        files = self._files.split("\0")
        for file, name in zip(files, self._names_of(files), strict=True):
            yield Photo(here + file, below + file, prefix + name, -1, -1)

    def keys(self) -> list[bytes]:
        """`key_of` each photo."""
        return all_to_bytes(self.below, self._files.split("\0"))

    def names(self) -> list[bytes]:
        """The output name that each photo wants."""
        return all_to_bytes(self.prefix, self._names_of(self._files.split("\0")))


Group = Siblings | list[Photo]
"""Photos that are found together."""


def keys_of(photos: Group) -> list[bytes]:
    """The keys of photos in the journal."""
    return photos.keys() if isinstance(photos, Siblings) else [key_of(photo) for photo in photos]


class Known(NamedTuple):
    """The part of a journal's row that decides what its photo needs. Sizes in bytes.

    ``shape`` is the text of the `Fingerprint` that its results were made with, ``checked`` names
    the rules that it was checked by, ``run`` is the number of the run that wrote the row.
    """

    key: bytes
    source: bytes
    name: bytes
    size: int
    mtime: int
    shape: str | None
    engine: str | None
    status: str
    code: str | None
    message: str | None
    transient: int
    mask_size: int | None
    cutout_size: int | None
    sha256: str | None
    checked: str | None
    run: int | None
    coverage: float | None

    def size_of(self, kind: str) -> int | None:
        """The size of a published file, one of ``masks`` or of ``cutouts``; ``None`` for none."""
        return self.mask_size if kind == "masks" else self.cutout_size

    @property
    def is_proofless(self) -> bool:
        """Whether an earlier version published the files, without proofs inside: its rows do not
        name the version that checked the photo."""
        checked = self.checked or ""
        return "version=" not in checked or checked.endswith(PROOFLESS)

    @property
    def has_results(self) -> bool:
        """Whether anything was published for these bytes, or need not be to be made again."""
        return self.sha256 is not None and (self.has_files or self.is_nobody)

    @property
    def has_files(self) -> bool:
        """Whether a mask or a cutout was published."""
        return (self.mask_size or self.cutout_size) is not None

    @property
    def is_nobody(self) -> bool:
        """Whether nobody was found in these bytes: with that, the row alone is a result."""
        return is_nobody(self.coverage)


class Due(NamedTuple):
    """A photo that is to be done, and what the journal knew of it before."""

    photo: Photo
    known: Known | None


Admit = Callable[[Due, "PhotoError | None"], None]
"""Called with a photo whose file was just read, with the error if it is rejected. Raises `NotReady`
where the file is still being written: nothing is recorded then, and no call made."""


def admit_all(due: Due, error: PhotoError | None) -> None:
    """The `Admit` of a run whose photos are complete: each is done as it was read."""


@dataclass(frozen=True)
class Finished:
    """What is written about a photo beside its outcome.

    ``checked`` names the rules of pre-validation. ``keeps_results`` leaves results of the photo
    that were published before, and what is known of them, as they are.
    """

    photo: Photo
    outcome: Outcome
    shape: str
    checked: str
    keeps_results: bool = False
    mask_size: int | None = None
    cutout_size: int | None = None


class Copy(NamedTuple):
    """A row with results of the bytes that were asked for, the photo's own or that of a copy, and
    its record as of the same moment."""

    known: Known
    outcome: Outcome


DoneRow = tuple[bytes, bytes, int, int, int | None, int | None]
"""Key, output name, size and mtime of the source, size of the mask and of the cutout."""


def chunked(groups: Iterable[Group], size: int = LOOKUP_SIZE) -> Iterator[Group]:
    """Photos in groups of at most ``size``, in the same order: small groups are put together, and
    siblings that are many are left as they are."""
    few: list[Photo] = []
    for group in groups:
        if isinstance(group, Siblings) and size // 5 <= len(group) <= size:
            if few:
                yield few
                few = []
            yield group
            continue
        for photo in group:
            few.append(photo)
            if len(few) == size:
                yield few
                few = []
    if few:
        yield few
