"""Thumbnails of photos, cutouts and masks: made once, by several threads, kept beside the page.

The name of a thumbnail is a digest of what it shows, so that a later report finds it again and a
changed picture gets another one: a photo is known by the sha256 of its bytes where the journal has
it, any other file by path, size and time.
"""

from __future__ import annotations

import errno
import io
import os
import re
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from humanbody_cli.core.errors import OutputError, PhotoError, output_error
from humanbody_cli.core.photo import Kind
from humanbody_cli.discovery import sources
from humanbody_cli.discovery.single import single
from humanbody_cli.imaging import pictures, uploads
from humanbody_cli.imaging.decoding import DecodeDeadline, decoding
from humanbody_cli.imaging.pictures import Picture
from humanbody_cli.storage import ownership
from humanbody_cli.storage.layout import RECOMPOSED_MARK
from humanbody_cli.storage.publishing import Publisher

LONGEST = 320
"""Pixels of the longer side of a thumbnail: the page shows it at most about that large."""

_SUFFIX = ".webp"
_QUALITY, _METHOD = 82, 2
"""WebP: at 320 pixels a slower method saves 5 % of the bytes and takes twice the time."""

_MADE_BY = f"1 {LONGEST} {_QUALITY}"
"""Part of each name: another size or quality needs another thumbnail."""

_MOST_THREADS = 4
_AT_ONCE = 64
"""Thumbnails handed to the threads at a time, so that a full disk ends the work soon."""

_LARGE = 25_000_000
"""Pixels of a picture that no other large one is decoded beside: four bytes each."""

_SECONDS = 30.0
"""The time that decoding one picture may take."""

_NOT_PERMITTED = (errno.EROFS, errno.EACCES, errno.EPERM)

_is_thumbnail = re.compile(r"[0-9a-f]{20}" + re.escape(_SUFFIX)).fullmatch


class Wanted(NamedTuple):
    """A thumbnail by its name, the picture that it shows, and the sha256 of this picture's bytes
    where only these will do."""

    name: str
    path: str
    sha256: str | None = None


class Thumbnails:
    """The folder of a report's thumbnails. ``lost`` are those whose pictures cannot be shown."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.lost: set[str] = set()
        self._there = set(_names(folder))
        self._wanted: dict[str, Wanted] = {}
        self._used: set[str] = set()
        self._publisher = Publisher(folder, durable=False)
        self._large = threading.Lock()

    def photo(self, path: str, sha256: str | None) -> str | None:
        """The name of a source photo's thumbnail; ``None`` if there is nothing to show. ``path`` is
        the photo's key, which begins with a slash only if it is a file."""
        if not path.startswith("/"):
            return None
        return self.file(path, path) if sha256 is None else self._want(sha256, path, sha256)

    def file(self, path: str, label: str) -> str | None:
        """The name of a thumbnail of whatever is in a file now; ``None`` if it is gone. ``label``
        tells the file from others, wherever the output folder is moved to."""
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return None
        return self._want(f"{label}\0{status.st_size}\0{status.st_mtime_ns}", path, None)

    def _want(self, key: str, path: str, sha256: str | None) -> str:
        text = f"{_MADE_BY}\0{key}".encode("utf-8", "surrogateescape")
        name = blake2b(text, digest_size=10).hexdigest()
        self._used.add(name)
        if name not in self._there:
            self._wanted.setdefault(name, Wanted(name, path, sha256))
        return name

    def make(self, begin: Callable[[int], Callable[[int], object]]) -> None:
        """Make what is missing. ``begin`` takes the number of them, and returns what is to be
        called with the number of those made.

        Raises:
            OutputError: one cannot be written.
        """
        pictures.configure_pillow()
        advance = begin(len(self._wanted))
        self._mark(self.folder)
        rest = iter(self._wanted.values())
        threads = min(_MOST_THREADS, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads, "thumbnails") as pool:
            while some := list(islice(rest, _AT_ONCE)):
                made = list(pool.map(self._make, some))
                self.lost.update(one.name for one, ok in zip(some, made, strict=True) if not ok)
                advance(len(some))

    def _make(self, wanted: Wanted) -> bool:
        """Make one thumbnail; whether its picture can be shown."""
        try:
            photo = single(wanted.path)
            if photo.kind is not Kind.FILE:
                return False
            data, size = sources.read(photo, sources.MAX_FIT_BYTES)
            if size > len(data):
                return False
            picture = pictures.read_header(data, deadline=DecodeDeadline.after(_SECONDS))
            if wanted.sha256 not in (None, sources.sha256_of(picture)):
                return False  # the photo has changed: its results are not of this picture
            uploads.check_pixels(picture)
            small = self._small(picture)
            self._mark(os.path.join(self.folder, wanted.name[0]))
            name = os.path.join(wanted.name[0], wanted.name + _SUFFIX)
            self._publisher.publish("", name, small, may_replace=ownership.always)
        except PhotoError:
            return False
        return True

    def _small(self, picture: Picture) -> bytes:
        if picture.stored[0] * picture.stored[1] < _LARGE:
            return _encoded(picture)
        with self._large:
            return _encoded(picture)

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
        """Remove the thumbnails of pictures that are gone or have changed. Never raises."""
        for name in self._there - self._used:
            with suppress(OSError):
                os.unlink(os.path.join(self.folder, name[0], name + _SUFFIX))


@decoding()
def _encoded(picture: Picture) -> bytes:
    small = pictures.small(picture, LONGEST)
    buffer = io.BytesIO()
    profile = pictures.rgb_profile(picture)
    small.save(buffer, "WEBP", quality=_QUALITY, method=_METHOD, icc_profile=profile or b"")
    return buffer.getvalue()


def _names(folder: str) -> Iterable[str]:
    """The thumbnails in a folder."""
    for part in "0123456789abcdef":
        with suppress(OSError), os.scandir(os.path.join(folder, part)) as entries:
            for entry in entries:
                if _is_thumbnail(entry.name) and entry.stat(follow_symlinks=False).st_size:
                    yield entry.name.removesuffix(_SUFFIX)
