"""Thumbnails: a strip per photo, made once, by several threads, kept beside the page.

A strip is one WebP of photo, cutout and mask side by side, each in a square of its own: a browser
loads and keeps one picture where it would three. The name of a strip is a digest of what it shows,
so that a later report finds it again and a changed picture gets another one: a photo is known by
the sha256 of its bytes where the journal has it, any other file by path, size and time. Behind the
digest stands which of the three pictures are in it.
"""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

from humanbody_cli.core.errors import OutputError, PhotoError, output_error
from humanbody_cli.core.outcomes import Outcome
from humanbody_cli.core.photo import Kind
from humanbody_cli.discovery import sources
from humanbody_cli.discovery.single import single
from humanbody_cli.imaging import pictures, uploads
from humanbody_cli.imaging.decoding import DecodeDeadline, decoding
from humanbody_cli.imaging.pictures import Picture
from humanbody_cli.storage import ownership
from humanbody_cli.storage.layout import RECOMPOSED_MARK, THUMBNAIL
from humanbody_cli.storage.publishing import Publisher

SIDE = 320
"""Pixels of a picture's square in a strip: the page shows it at most about that large."""

_SUFFIX = ".webp"
_QUALITY, _METHOD = 82, 2
"""WebP: a slower method saves 5 % of the bytes and takes twice the time."""

_MADE_BY = f"2 {SIDE} {_QUALITY}"
"""Part of each name: another size or quality needs another strip."""

_MOST_THREADS = 4
_AT_ONCE = 64
"""Strips handed to the threads at a time, so that a full disk ends the work soon."""

_LARGE = 25_000_000
"""Pixels of a picture that no other large one is decoded beside: four bytes each."""

_SECONDS = 30.0
"""The time that decoding one picture may take."""

_NOT_PERMITTED = (errno.EROFS, errno.EACCES, errno.EPERM)

_strip = THUMBNAIL.fullmatch
"""The name of a strip, or of a thumbnail as earlier versions made them, which is not used."""


class _Pane(NamedTuple):
    """One picture of a strip: its file, what tells it from others, and the sha256 of its bytes
    where only these will do."""

    path: str
    key: str
    sha256: str | None = None


class _Wanted(NamedTuple):
    """A strip by its name, for the photo ``source``, with its pictures from left to right;
    ``None``: nothing to show."""

    name: str
    source: str
    panes: tuple[_Pane | None, ...]

    @property
    def bits(self) -> int:
        """The pictures that there may be: 1 the photo, 2 the cutout, 4 the mask."""
        return sum(1 << at for at, pane in enumerate(self.panes) if pane is not None)


class Thumbnails:
    """The strips of a report about the output folder ``root``, in ``folder``."""

    def __init__(self, folder: str, root: str) -> None:
        self.folder = folder
        self._root = os.path.join(root, "")
        self._files = set(_files(folder))
        self._shown: dict[str, int] = {}
        for name, bits in self._files:
            self._shown[name] = max(bits, self._shown.get(name, 0))
        self._used: set[str] = set()
        self._wanted: dict[str, _Wanted] = {}
        self._publisher = Publisher(folder, durable=False)
        self._large = threading.Lock()

    def add(self, outcome: Outcome) -> str | None:
        """The name of a photo's strip; ``None`` if there is nothing to show. The outcome's source
        is the photo's key, which begins with a slash only if it is a file."""
        panes = (self._photo(outcome), self._result(outcome.cutout), self._result(outcome.mask))
        keys = [pane.key if pane is not None else "" for pane in panes]
        if not any(keys):
            return None
        text = "\0\0".join([_MADE_BY, *keys]).encode("utf-8", "surrogateescape")
        wanted = _Wanted(blake2b(text, digest_size=10).hexdigest(), outcome.source, panes)
        self._used.add(wanted.name)
        if wanted.bits & ~self.shown(wanted.name):
            self._wanted.setdefault(wanted.name, wanted)
        return wanted.name

    def shown(self, name: str) -> int:
        """Which pictures are in a strip: the sum of 1 for the photo, 2 for the cutout, 4 for the
        mask; 0 if there is no such strip."""
        return self._shown.get(name, 0)

    @staticmethod
    def _photo(outcome: Outcome) -> _Pane | None:
        path, sha256 = outcome.source, outcome.sha256
        if not path.startswith("/"):
            return None
        return _pane(path, path) if sha256 is None else _Pane(path, sha256, sha256)

    def _result(self, path: str | None) -> _Pane | None:
        return None if path is None else _pane(path, path.removeprefix(self._root))

    @property
    def missing(self) -> int:
        """How many strips are to be made."""
        return len(self._wanted)

    def make(self) -> Iterator[tuple[str, bool]]:
        """Make what is missing: each photo in turn, and whether any picture of it can be shown.

        Raises:
            OutputError: one cannot be written.
        """
        pictures.configure_pillow()
        self._mark(self.folder)
        rest = iter(self._wanted.values())
        threads = min(_MOST_THREADS, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads, "thumbnails") as pool:
            while some := list(islice(rest, _AT_ONCE)):
                for wanted, bits in zip(some, pool.map(self._make, some), strict=True):
                    self._shown[wanted.name] = bits
                    yield wanted.source, bits > 0

    def _make(self, wanted: _Wanted) -> int:
        """Make a strip; which pictures are in it. One that is there stays unless it gets more."""
        there = self.shown(wanted.name)
        cells = self._cells(wanted, but=there)
        if not cells:
            return there
        cells |= self._cells(wanted, but=~there)
        bits = sum(1 << at for at in cells)
        if there & ~bits:
            return there
        try:
            data = _encoded(cells)
        except PhotoError:
            return there
        self._mark(os.path.join(self.folder, wanted.name[0]))
        self._publisher.publish("", _file(wanted.name, bits), data, may_replace=ownership.always)
        return bits

    def _cells(self, wanted: _Wanted, but: int) -> dict[int, Image.Image]:
        """The pictures of a strip by their place, but those of some and those that are damaged."""
        cells = {}
        for at, pane in enumerate(wanted.panes):
            if pane is not None and not but & 1 << at:
                with suppress(PhotoError):
                    if (cell := self._cell(pane)) is not None:
                        cells[at] = cell
        return cells

    def _cell(self, pane: _Pane) -> Image.Image | None:
        """One picture, small; ``None`` if its file is gone, too large, or another one.

        Raises:
            PhotoError: it is damaged.
        """
        photo = single(pane.path)
        if photo.kind is not Kind.FILE:
            return None
        data, size = sources.read(photo, sources.MAX_FIT_BYTES)
        if size > len(data):
            return None
        picture = pictures.read_header(data, deadline=DecodeDeadline.after(_SECONDS))
        if pane.sha256 not in (None, sources.sha256_of(picture)):
            return None  # the photo has changed: its results are not of this picture
        uploads.check_pixels(picture)
        if picture.stored[0] * picture.stored[1] < _LARGE:
            return _small(picture)
        with self._large:
            return _small(picture)

    def _mark(self, folder: str) -> None:
        """Make a folder and mark it, so that no walk takes its pictures for photos.

        Raises:
            OutputError: it cannot be written.
        """
        mark = os.path.join(folder, RECOMPOSED_MARK)
        try:
            if not os.path.lexists(mark):
                os.makedirs(folder, exist_ok=True)
                Path(mark).touch()
        except OSError as error:
            if error.errno in _NOT_PERMITTED:
                raise OutputError(
                    f"cannot write {folder}: {error.strerror}; give another place with -o FILE"
                ) from error
            raise output_error(folder, error) from error

    def remove_unused(self) -> None:
        """Remove the strips of pictures that are gone or have changed. Never raises."""
        used = {(name, self.shown(name)) for name in self._used}
        for name, bits in self._files - used:
            with suppress(OSError):
                os.unlink(os.path.join(self.folder, _file(name, bits)))


def _pane(path: str, label: str) -> _Pane | None:
    """Whatever is in a file now; ``None`` if it is gone. ``label`` tells the file from others,
    wherever the output folder is moved to."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return _Pane(path, f"{label}\0{status.st_size}\0{status.st_mtime_ns}")


@decoding()
def _small(picture: Picture) -> Image.Image:
    """A picture in sRGB, as large as fits into its square."""
    small = pictures.small(picture, SIDE)
    profile = pictures.rgb_profile(picture)
    srgb = pictures.to_srgb(small, profile) if profile is not None else small
    return ImageOps.contain(srgb, (SIDE, SIDE))


@decoding()
def _encoded(cells: dict[int, Image.Image]) -> bytes:
    """A strip, transparent around the pictures."""
    strip = Image.new("RGBA", (3 * SIDE, SIDE))
    for at, cell in cells.items():
        strip.paste(cell, (at * SIDE + (SIDE - cell.width) // 2, (SIDE - cell.height) // 2))
    buffer = io.BytesIO()
    strip.save(buffer, "WEBP", quality=_QUALITY, method=_METHOD)
    return buffer.getvalue()


def _file(name: str, bits: int) -> str:
    """A strip's file, below the folder of strips."""
    return os.path.join(name[0], f"{name}-{bits}{_SUFFIX}" if bits else name + _SUFFIX)


def _files(folder: str) -> Iterator[tuple[str, int]]:
    """The strips in a folder, each with what is in it; 0: an earlier version's thumbnail."""
    for part in "0123456789abcdef":
        with suppress(OSError), os.scandir(os.path.join(folder, part)) as entries:
            for entry in entries:
                if (found := _strip(entry.name)) and entry.stat(follow_symlinks=False).st_size:
                    yield found[1], int(found[2] or 0)
