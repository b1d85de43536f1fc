"""Reuse: earlier results of the same bytes, whichever photo they were made for.

Copies of a photo, a photo that moved, an option that only changes how the cutout is composed, a
file published just before a power cut: all are served from the output folder. What is reused is
proved to be made of these very bytes: by its row and its size, and by the proof in the file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from humanbody_cli.core.errors import PhotoError
from humanbody_cli.core.paths import to_text
from humanbody_cli.core.photo import Copy, Known, Photo, key_of
from humanbody_cli.core.settings import Edges, Wanted
from humanbody_cli.imaging import proof
from humanbody_cli.imaging.masks import Mask
from humanbody_cli.imaging.pictures import Picture
from humanbody_cli.pipeline import photo_steps
from humanbody_cli.pipeline.fingerprint import Fingerprint, engine_of
from humanbody_cli.pipeline.photo_steps import Results
from humanbody_cli.storage.disk import content
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.layout import CUTOUTS, MASKS
from humanbody_cli.storage.names import marked
from humanbody_cli.storage.publishing import Publisher


@dataclass(frozen=True)
class Reuse:
    """Results that need no call. ``cutout`` is ``None`` where it has to be composed of the mask."""

    results: Results
    composes: bool = False

    def made(self, wanted: Wanted, picture: Picture) -> Results:
        """The results whole, the cutout composed if need be.

        Raises:
            PhotoError: the photo's pixels turn out to be damaged.
        """
        if not self.composes:
            return self.results
        assert self.results.mask is not None
        mask = Mask.read(self.results.mask, picture.size)
        cutout = photo_steps.cutout_of(wanted, picture, mask)
        mask_or_none = self.results.mask if wanted.mask or MASKS in self.results.in_place else None
        return replace(self.results, mask=mask_or_none, cutout=cutout)


@dataclass(frozen=True)
class EarlierResults:
    """Finds results that need no call, for the run whose number the journal has.

    ``force`` ignores those of earlier runs, ``retry_failed`` the failures of earlier runs.
    """

    journal: Journal
    publisher: Publisher
    fingerprint: Fingerprint
    force: bool = False
    retry_failed: bool = False

    def find(self, photo: Photo, picture: Picture, sha256: str) -> Reuse | None:
        """Results for this photo that need no call.

        Raises:
            PhotoError: these bytes failed, of this photo or of a copy; they would fail again and
                cost a call.
        """
        while True:
            renames = self.journal.renames
            found = self._from_rows(photo, picture, sha256)
            if found is None and not self.force:
                found = self._adopted(photo, picture, sha256)
            if found is not None or renames == self.journal.renames:
                return found  # else the walk has renamed files during the search

    def _from_rows(self, photo: Photo, picture: Picture, sha256: str) -> Reuse | None:
        run = self.journal.run
        failure, copies = self.journal.copies(
            sha256,
            failed=self.fingerprint.same_call,
            since_failed=run if self.force or self.retry_failed else 0,
            made=self.fingerprint.masks_from,
            since_made=run if self.force else 0,
        )
        if failure is not None:
            raise _again(failure, photo)
        found = (self._from_row(copy, photo, picture, sha256) for copy in copies)
        return next(filter(None, found), None)

    def _from_row(self, copy: Copy, photo: Photo, picture: Picture, sha256: str) -> Reuse | None:
        """The results of a photo with the same bytes, as they are or with a cutout to compose."""
        wanted, (known, record) = self.fingerprint.wanted, copy
        mask = self._recorded(MASKS, known, sha256)
        cutout = None
        if known.shape in self.fingerprint.cutouts_from:
            cutout = self._recorded(CUTOUTS, known, sha256)
        composes = wanted.cutout and cutout is None
        if (wanted.mask or composes) and mask is None:
            return None
        if composes and not _is_mask_for(mask, picture):
            return None
        own = to_text(known.name) == photo.name
        files = {MASKS: mask, CUTOUTS: cutout}
        in_place = {kind for kind, file in files.items() if own and file and file.in_place}
        # What is in place is kept, wanted now or not; what is elsewhere is copied if wanted.
        keeps_mask = wanted.mask or composes or MASKS in in_place
        keeps_cutout = wanted.cutout or CUTOUTS in in_place
        return Reuse(
            Results(
                mask=mask.data if mask is not None and keeps_mask else None,
                cutout=cutout.data if cutout is not None and keeps_cutout else None,
                coverage=record.coverage,
                doubt=record.doubt,
                engine=engine_of(known),
                request_id=record.request_id,
                image_id=record.image_id,
                time_used=record.time_used,
                in_place=frozenset(in_place),
            ),
            composes,
        )

    def _recorded(self, kind: str, known: Known, sha256: str) -> _Proved | None:
        """A published file of a row, if it is the one that was published: at its name, or set aside
        by a run that ended before the photo's row was written.

        Files of earlier versions hold no proof: their row and size must suffice.
        """
        size = known.size_of(kind)
        if size is None:
            return None
        path = self.publisher.path(kind, to_text(known.name))
        data = _read(path) if _size(path) == size else None
        if data is not None and not proof.is_present(data):
            return _Proved(data, None, in_place=True)
        made = str(self.fingerprint.made_in(kind, known))
        aside = self.publisher.find_aside(kind, sha256)
        return _whole(path, True, sha256, made) or _whole(aside, False, sha256, made)

    def _adopted(self, photo: Photo, picture: Picture, sha256: str) -> Reuse | None:
        """Files without a row that prove what they were made of: published just before a run was
        killed, renamed, set aside, or left by a journal that was lost."""
        wanted = self.fingerprint.wanted
        # Asked of the journal first: who renames files holds it, and then waits for the guard.
        places = self._places(photo, sha256)
        for engine in self.fingerprint.engines:
            with self.publisher.aside_guard:
                mask, cutout = (
                    _proved(places[kind], sha256, self.fingerprint.made(kind, engine))
                    for kind in (MASKS, CUTOUTS)
                )
            composes = wanted.cutout and cutout is None
            if (wanted.mask or composes) and mask is None:
                continue
            if composes and not self._may_compose(places[CUTOUTS], sha256, engine):
                continue
            if mask is not None and not _is_mask_for(mask, picture):
                continue
            return self._adoption(engine, {MASKS: mask, CUTOUTS: cutout}, picture, composes)
        return None

    def _may_compose(self, places: list[tuple[str, bool]], sha256: str, engine: str) -> bool:
        """Whether the cutout differs from what is wanted only in how it is composed. A cutout that
        is damaged or missing is requested again: its colours are the API's own. A mask that is set
        aside had a row, and is used as it was by that row."""
        is_rowless = self.journal.was_lost or self.journal.has_unclaimed
        had_row = not is_rowless and self.publisher.find_aside(MASKS, sha256) is not None
        if self.fingerprint.wanted.edges is Edges.SOFT or had_row:
            return True
        wanted = self.fingerprint.made(CUTOUTS, engine)
        proofs = (proof.peek(path) for path, _ in places)
        return any(
            inside is not None and inside.sha256 == sha256 and inside.made != wanted
            for inside in proofs
        )

    def _adoption(
        self, engine: str, proved: dict[str, _Proved | None], picture: Picture, composes: bool
    ) -> Reuse | None:
        files = {kind: file for kind, file in proved.items() if file is not None}
        if not files:
            return None
        mask = files.get(MASKS)
        measured = Mask.read(mask.data, picture.size) if mask is not None else None
        doubts = [file.doubt for file in files.values() if file.doubt is not None]
        doubt = measured.doubt() if measured is not None else None
        return Reuse(
            Results(
                mask=mask.data if mask is not None else None,
                cutout=files[CUTOUTS].data if CUTOUTS in files else None,
                coverage=measured.coverage() if measured is not None else None,
                doubt=doubts[0] if doubts else doubt,
                engine=engine,
                in_place=frozenset(kind for kind, file in files.items() if file.in_place),
            ),
            composes,
        )

    def _places(self, photo: Photo, sha256: str) -> dict[str, list[tuple[str, bool]]]:
        """The paths where a photo's mask and cutout may be, each with whether it is its own."""
        unclaimed = self.journal.unclaimed(sha256)
        path = self.publisher.path
        return {
            kind: [
                (path(kind, photo.name), True),
                (path(kind, marked(photo.name, photo.key)), False),
                *((path(kind, name), False) for of, name in unclaimed if of == kind),
                (self.publisher.aside_path(kind, sha256), False),
            ]
            for kind in (MASKS, CUTOUTS)
        }


@dataclass(frozen=True)
class _Proved:
    """A file whose proof matches."""

    data: bytes
    doubt: float | None
    in_place: bool


def _proved(places: list[tuple[str, bool]], sha256: str, made: str) -> _Proved | None:
    """The first file that proves to be made of these bytes in this way."""
    found = (_whole(path, in_place, sha256, made) for path, in_place in places)
    return next(filter(None, found), None)


def _whole(path: str | None, in_place: bool, sha256: str, made: str) -> _Proved | None:
    """A file that proves to be made of these bytes in this way, and is whole."""
    if path is None or (glance := proof.peek(path)) is None:
        return None
    if (glance.sha256, glance.made) != (sha256, made):
        return None
    data = _read(path)
    inside = proof.read(data) if data is not None else None
    return _Proved(data, inside.doubt, in_place) if data is not None and inside else None


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _read(path: str) -> bytes | None:
    try:
        return content(path)
    except OSError:
        return None


def _is_mask_for(file: _Proved | None, picture: Picture) -> bool:
    """Whether this file is a sound mask of the photo's size."""
    try:
        return file is not None and bool(Mask.read(file.data, picture.size))
    except ValueError:
        return False


def _again(failure: Known, photo: Photo) -> PhotoError:
    """The error of the same bytes: they fail once per run, and permanent failures remain."""
    message = str(failure.message)
    if failure.key != key_of(photo):
        message += f" (as for {to_text(failure.source)})"
    return PhotoError(str(failure.code), message, transient=bool(failure.transient))
