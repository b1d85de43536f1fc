"""The walk of a folder: its photos, lazily, without the results of earlier runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from humanbody_cli.core.console import counted
from humanbody_cli.core.paths import absolute
from humanbody_cli.core.photo import LOOKUP_SIZE, Group, Photo, Siblings
from humanbody_cli.discovery.inputs import Met
from humanbody_cli.discovery.single import trouble
from humanbody_cli.discovery.tree import Folder, Listing, OwnOutput, Part
from humanbody_cli.storage.layout import RECOMPOSED_SEAL, RESULTS, THUMBNAIL
from humanbody_cli.storage.names import namer

_MOST_NOTES = 20


@dataclass
class Walk:
    """Walks folders, and keeps what the summary says about them.

    ``skipped`` counts files that are not photos. ``notes`` are sentences that the user sees even
    with ``-q``, such as folders without photos; ``-q`` suppresses ``quiet_notes``. ``part`` limits
    the walk to a part of the tree.
    """

    skipped: int = 0
    notes: list[str] = field(default_factory=list)
    quiet_notes: list[str] = field(default_factory=list)
    part: Part | None = None
    _own: OwnOutput | None = field(default=None, repr=False)
    _log: tuple[str, str] | None = field(default=None, repr=False)

    @classmethod
    def of_run(cls, output: str, log_file: str | None) -> Walk:
        """The walk of a run, which takes neither its own output nor its own log for photos."""
        walk = cls()
        walk.avoid(output)
        walk.avoid_log(log_file)
        return walk

    def avoid(self, folder: str) -> None:
        """Skip the run's own output folder wherever the walk finds it."""
        with contextlib.suppress(OSError):
            self._own = OwnOutput.of(folder)

    def avoid_log(self, path: str | None) -> None:
        """Take the command's own log file for nothing, wherever the walk finds it."""
        if path is not None:
            folder, name = os.path.split(os.path.realpath(path))
            self._log = (folder, name)

    def is_log(self, name: str) -> bool:
        """Whether a path is that of the log file."""
        return self._log is not None and os.path.realpath(name) == os.path.join(*self._log)

    def _drop_log(self, listing: Listing, folder: Folder) -> None:
        if self._log is None or os.path.realpath(folder.path) != self._log[0]:
            return
        name = self._log[1]
        if name in listing.pictures:
            listing.pictures.remove(name)
        elif not name.startswith("."):  # hidden entries are not counted
            listing.others -= 1

    def is_own(self, folder: str) -> bool:
        """Whether a folder holds results of this run, or its state."""
        return self._own is not None and self._own.holds(folder)

    def note(self, text: str, *, quiet: bool = False) -> None:
        """Keep a sentence for the user, unless there are very many."""
        notes = self.quiet_notes if quiet else self.notes
        if len(notes) == _MOST_NOTES:
            notes.append("further notes like these are not shown")
        elif len(notes) < _MOST_NOTES:
            notes.append(text)

    def note_own(self, path: str) -> None:
        """Note that the run's own results were given as photos."""
        self.note(f"{path}: results in this output folder are not photos, so it is skipped")

    def folder(self, path: str, prefix: str, met: Met | None = None) -> Iterator[Group]:
        """Every picture below a folder: sorted by name, a folder's own before its subfolders'.

        Hidden entries and output trees are skipped, and so are recomposed cutouts unless ``path``
        itself contains some. Links are followed, but not into a folder that is being walked.
        Photos and folders that were ``met`` before are skipped too.
        """
        found, skipped, takes_recomposed = 0, self.skipped, False
        waiting = [Folder(path, absolute(path), prefix)]
        while waiting:  # no recursion: trees may be deeper than Python's stack
            folder = waiting.pop()
            if met is not None and met.has_walked(folder.absolute):
                found += 1  # its contents were found before
                continue
            try:
                listing = folder.listing()
            except OSError as error:
                found += 1
                yield from _new([[_trouble_in(folder, error)]], met)
                continue
            if self._log is not None:
                self._drop_log(listing, folder)
            if not folder.above:
                takes_recomposed = listing.is_recomposed
            if listing.is_recomposed and not takes_recomposed:
                self._skip_recomposed(listing, folder)
            if listing.identity in folder.above:
                continue
            if self._leaves_out(listing, folder, met):
                found += not folder.above  # the user named it, and a note says what it is
                continue
            found += len(listing.pictures) + len(listing.broken)
            yield from self._photos(listing, folder, met)
            waiting += self._below(folder, listing)[::-1]
        if not found:
            self.note_empty(path, self.skipped - skipped)

    def _photos(self, listing: Listing, folder: Folder, met: Met | None) -> Iterator[Group]:
        if self.part is not None and not self.part.holds(folder.absolute):
            return iter(())
        self.skipped += listing.others
        return _new(_photos(listing, folder), met)

    def _below(self, folder: Folder, listing: Listing) -> list[Folder]:
        below, part = folder.below(listing), self.part
        return below if part is None else [one for one in below if part.leads_to(one.absolute)]

    def _leaves_out(self, listing: Listing, folder: Folder, met: Met | None) -> bool:
        """Whether a folder is the run's own output.

        The result folders of other runs are removed from ``listing`` unless the user named one.
        """
        own = self._own
        is_out = own is not None and listing.identity == own.identity
        if is_out and folder.above:
            return True
        if own is not None and own.is_result(folder, listing):
            if not folder.above:
                self.note_own(folder.path)
            return True
        if is_out or (listing.is_output and folder.above):
            listing.folders = [name for name in listing.folders if name not in RESULTS]
        elif met is not None and not listing.results_removed:
            met.walks(folder.absolute)
        return False

    def _skip_recomposed(self, listing: Listing, folder: Folder) -> None:
        """Remove recomposed cutouts: they are not photos unless the user named their folder. One
        that bears no seal may be a photo that came later, so the user is told."""
        paths = (os.path.join(folder.path, name) for name in listing.pictures)
        foreign = sum(not _is_of_hbseg(path) for path in paths)
        if foreign:
            self.note(
                f"{folder.path}: {counted(foreign, 'picture')} that hbseg did not make skipped, as "
                "this folder holds its pictures; give the folder by name, or move them to another",
                quiet=True,
            )
        self.skipped += len(listing.pictures)
        listing.pictures, listing.results_removed = [], True

    def note_empty(self, path: str, others: int = 0) -> None:
        """Note that a folder that the user named has no photos: it may not be mounted."""
        why = f"only {counted(others, 'other file')}" if others else "is it mounted?"
        self.note(f"{path}: no photos found ({why})")

    def is_empty(self, path: str) -> bool:
        """Whether a walk of a folder would find nothing."""
        other = Walk(_own=self._own)
        return not any(map(len, other.folder(path, "")))


def _is_of_hbseg(path: str) -> bool:
    """Whether a picture in a marked folder is a recomposed cutout or a report's thumbnail."""
    from humanbody_cli.imaging import proof  # loads zlib; few walks meet such a folder

    is_thumbnail = THUMBNAIL.fullmatch(os.path.basename(path)) is not None
    return is_thumbnail or proof.may_be_sealed(path, RECOMPOSED_SEAL)


def _new(groups: list[Group], met: Met | None) -> Iterator[Group]:
    if met is None:
        return iter(groups)
    return ([photo for photo in group if met.is_new(photo.key)] for group in groups)


def _photos(listing: Listing, folder: Folder) -> list[Group]:
    """The photos of a folder, whose names are not kept in the listing any longer."""
    names, listing.pictures = listing.pictures, []
    names_of = namer(names, listing.folders)
    here, below = os.path.join(folder.path, ""), os.path.join(folder.absolute, "")
    groups: list[Group] = [
        Siblings(here, below, folder.prefix, names[start : start + LOOKUP_SIZE], names_of)
        for start in range(0, len(names), LOOKUP_SIZE)
    ]
    broken = [trouble(here + name, below + name, name, error) for name, error in listing.broken]
    return [*groups, broken] if broken else groups


def _trouble_in(folder: Folder, error: OSError) -> Photo:
    return trouble(folder.path, folder.absolute, folder.prefix or "folder", error)
