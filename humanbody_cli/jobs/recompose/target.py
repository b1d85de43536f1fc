"""The folder that recomposed cutouts go to, where nothing is replaced but earlier ones."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import OutputError, PhotoError, UsageError, output_error
from humanbody_cli.core.outcomes import Outcome
from humanbody_cli.discovery.tree import is_picture
from humanbody_cli.storage import ownership
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.layout import CUTOUTS, MASKS, RECOMPOSED_MARK, RECOMPOSED_SEAL
from humanbody_cli.storage.names import SUFFIX
from humanbody_cli.storage.ownership import always
from humanbody_cli.storage.publishing import Publisher


class Target:
    """A folder for the pictures of the ``photos`` of a journal, all of one ``format``.

    Each folder of it gets a mark that tells walks that its pictures are not photos. ``mixed`` are
    the folders without a mark, because they hold other pictures too. Used from any thread.
    """

    def __init__(
        self,
        journal: Journal,
        photos: Callable[[], Iterator[Outcome]],
        folder: str,
        format: str,  # noqa: A002 - its name
    ) -> None:
        self.folder = folder
        self._photos = photos
        self._journal = journal
        self._format = format
        self._publisher = Publisher(folder, durable=False)
        self._sources: frozenset[tuple[int, int]] = frozenset()
        self._photo_folders: frozenset[tuple[int, int]] = frozenset()
        self._ready: set[str] = set()
        self.mixed: list[str] = []
        self._written: set[tuple[int, int]] = set()
        self._guard = threading.Lock()

    def places(self) -> Iterator[str]:
        """Where the photos' pictures belong, if the folder is there and something may be at them.

        Raises:
            UsageError: the folder, or one in it, holds photos, masks or cutouts.
        """
        if os.path.isdir(self.folder):
            self._sources = frozenset(_identities(self._journal))
            self._photo_folders = frozenset(_folder_identities(self._journal))
        self._check_folder(self.folder)
        if os.path.isdir(self.folder):
            yield from self._places()

    def make(self) -> None:
        """Make the folder.

        Raises:
            OutputError: it cannot be made.
        """
        try:
            os.makedirs(self.folder, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.folder} cannot be created: {error.strerror}; "
                "choose another folder with --into DIR"
            ) from error

    def there(self, outcome: Outcome, made: str) -> str | None:
        """The path of a photo's picture, if it is there already and was made of what ``made`` says.

        Raises:
            OutputError: it cannot be examined, or its folder not marked.
        """
        path = self._publisher.path("", self._name(outcome))
        if ownership.made_of(path, RECOMPOSED_SEAL) != made:
            return None
        with self._guard:
            self._make_ready(self.folder)
            self._make_ready(os.path.dirname(path))
            with contextlib.suppress(OSError):
                self._written.add(_identity(os.lstat(path)))
        return path

    def publish(self, outcome: Outcome, data: bytes) -> str:
        """Write one photo's new cutout; its path.

        Raises:
            PhotoError: something is there that must not be replaced.
            OutputError: it cannot be written.
        """
        name = self._name(outcome)
        path = self._publisher.path("", name)
        with self._guard:  # two names may be one place: the later photo has to see the earlier one
            self._check_again(path)
            self._make_ready(self.folder)
            self._make_ready(os.path.dirname(path))
            self._publisher.publish("", name, data, may_replace=always)
            self._written.add(_identity(os.lstat(path)))
        return path

    def _check_again(self, path: str) -> None:
        try:
            there = ownership.seen(path)
            if there is not None and _identity(there) in self._written:
                raise PhotoError(
                    api_spec.OUTPUT_NAME_TAKEN,
                    f"{path} belongs to another photo: both names are the same on this file system",
                )
            self.check(path)
        except (UsageError, OutputError) as error:  # it came to be there only now
            raise PhotoError(api_spec.OUTPUT_NAME_TAKEN, str(error)) from error

    def _make_ready(self, folder: str) -> None:
        """Make a folder and mark it, unless it holds other pictures, which may be photos.

        Raises:
            OutputError: it cannot be written.
        """
        if folder in self._ready:
            return
        mark = os.path.join(folder, RECOMPOSED_MARK)
        try:
            os.makedirs(folder, exist_ok=True)
            if not os.path.lexists(mark):
                if _holds_only_own(folder):
                    Path(mark).touch()
                else:
                    self.mixed.append(folder)
        except OSError as error:
            raise output_error(mark, error) from error
        self._ready.add(folder)

    def _places(self) -> Iterator[str]:
        last = self.folder
        for outcome in self._photos():
            path = self._publisher.path("", self._name(outcome))
            if (folder := os.path.dirname(path)) != last:
                self._check_folder(folder)
                last = folder
            yield path

    def _name(self, outcome: Outcome) -> str:
        return _name(self._journal.root, outcome).removesuffix(SUFFIX) + "." + self._format

    def _check_folder(self, folder: str) -> None:
        guarded = ownership.results_folder_above(folder, self._journal.root)
        if guarded is not None:
            raise UsageError(
                f"--into {self.folder}: only hbseg segment writes to {guarded}; "
                "choose another folder"
            )
        with contextlib.suppress(OSError):  # not there yet
            if _identity(os.stat(folder)) in self._photo_folders:
                raise UsageError(
                    f"--into {self.folder}: {folder} holds photos of {self._journal.root}, and "
                    "cutouts beside them would be taken for photos; choose another folder"
                )

    def check(self, path: str) -> None:
        """Check that nothing but an earlier picture is at a place.

        Raises:
            UsageError: one of the photos is.
            OutputError: another file is.
        """
        with contextlib.suppress(OSError):
            if _identity(os.stat(path)) in self._sources:
                raise UsageError(
                    f"--into {self.folder}: {path} is one of the photos; choose another folder"
                )
        ownership.check_replaceable(
            path, RECOMPOSED_SEAL, "move it away, or run hbseg recompose with another --into DIR"
        )


def _identities(journal: Journal) -> Iterator[tuple[int, int]]:
    """The files of a journal's photos by device and inode, whatever links lead to them."""
    for outcome in journal.outcomes(absolute=True):
        with contextlib.suppress(OSError, ValueError):  # gone, or not a file
            yield _identity(os.stat(outcome.source))


def _folder_identities(journal: Journal) -> Iterator[tuple[int, int]]:
    """The folders of a journal's photos by device and inode, except of photos that are gone."""
    last = None
    for outcome in journal.outcomes(absolute=True):
        folder = os.path.dirname(outcome.source)
        if folder != last and os.path.lexists(outcome.source):
            last = folder
            with contextlib.suppress(OSError, ValueError):
                yield _identity(os.stat(folder))


def _holds_only_own(folder: str) -> bool:
    """Whether every picture in a folder is a recomposed cutout as hbseg wrote it."""
    with os.scandir(folder) as entries:
        pictures = [entry.path for entry in entries if is_picture(entry.name)]
    return all(ownership.is_own(path, RECOMPOSED_SEAL) for path in pictures)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _name(root: str, outcome: Outcome) -> str:
    kind, path = (CUTOUTS, outcome.cutout) if outcome.cutout else (MASKS, outcome.mask)
    return os.path.relpath(str(path), os.path.join(root, kind))
