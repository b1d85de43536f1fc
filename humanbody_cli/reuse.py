"""Never paying twice: results that are already there, for these bytes, whoever asked for them.

Two copies of a photo, a photo that moved, an option that only changes how the cutout is composed,
a file published just before the power went: all are answered from the output folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from humanbody_cli import png, results
from humanbody_cli.compose import Mask
from humanbody_cli.errors import PhotoError
from humanbody_cli.journal import Journal, Known, key_of
from humanbody_cli.photos import Photo
from humanbody_cli.pictures import Picture
from humanbody_cli.publish import CUTOUTS, MASKS
from humanbody_cli.results import Results
from humanbody_cli.selection import Shape


@dataclass(frozen=True)
class Reuse:
    """Looks for results that need no call. ``since`` (a run's number) bars older ones, for
    ``--force``; ``failures_since`` bars older failures, for ``--retry-failed``."""

    journal: Journal
    root: str
    shape: Shape
    since: int = 0
    failures_since: int = 0

    def find(self, photo: Photo, picture: Picture, sha256: str) -> Results | None:
        """Results for this photo that need no call.

        Raises:
            PhotoError: a copy of this photo was refused for good; so would this one be.
        """
        for known in self.journal.same_bytes(sha256, since=self.since):
            if known.status == "failed":
                self._fail_like(known)
            elif known.engine in self.shape.engines:
                found = self._from_row(known, photo, picture)
                if found is not None:
                    return found
        return None if self.since else self._adopted(photo, picture, sha256)

    def _fail_like(self, known: Known) -> None:
        twin = self.journal.outcome(known.key)
        if twin.transient or not self.shape.accepts(known.shape):
            return
        if self.failures_since and not self._failed_now(known):
            return
        raise PhotoError(str(twin.code), f"{twin.message} (as for {twin.source})")

    def _failed_now(self, known: Known) -> bool:
        recent = self.journal.same_bytes(str(known.sha256), since=self.failures_since)
        return any(other.key == known.key for other in recent)

    def _from_row(self, known: Known, photo: Photo, picture: Picture) -> Results | None:
        """The results of a done photo with the same bytes, as they are or composed anew."""
        wanted = self.shape.wanted
        name = os.fsdecode(known.name)
        same_shape = self.shape.accepts(known.shape)
        mask = self._read(MASKS, name, known.mask_size)
        cutout = self._read(CUTOUTS, name, known.cutout_size) if same_shape else None
        try:
            if wanted.cutout and cutout is None:
                if mask is None:
                    return None
                cutout = results.cutout_of(wanted, picture, Mask.read(mask, picture.size))
                same_shape = False
        except ValueError:
            return None
        if wanted.mask and mask is None:
            return None
        own = name == photo.name  # then what is there is kept, wanted now or not
        twin = self.journal.outcome(known.key)
        return Results(
            mask=mask if wanted.mask or own else None,
            cutout=cutout if wanted.cutout or own else None,
            coverage=twin.coverage,
            doubt=twin.doubt,
            engine=str(known.engine),
            request_id=twin.request_id,
            image_id=twin.image_id,
            time_used=twin.time_used,
            in_place=same_shape and own,
        )

    def _adopted(self, photo: Photo, picture: Picture, sha256: str) -> Results | None:
        """Valid files at the photo's own names that no row tells of: published, then the end came.

        Only where nothing else is known of the photo, and never files older than it.
        """
        known = self.journal.known([key_of(photo)]).get(key_of(photo))
        wanted = self.shape.wanted
        if known is not None and known.finished is not None and not self._moved(known, sha256):
            return None
        mask = self._read(MASKS, photo.name, None, newer_than=photo.mtime) if wanted.mask else None
        cutout = (
            self._read(CUTOUTS, photo.name, None, newer_than=photo.mtime) if wanted.cutout else None
        )
        try:
            if (wanted.mask and mask is None) or (wanted.cutout and cutout is None):
                return None
            if cutout is not None and _size(cutout) != picture.size:
                return None
            measured = Mask.read(mask, picture.size) if mask is not None else None
        except ValueError:
            return None
        return Results(
            mask=mask,
            cutout=cutout,
            coverage=measured.coverage() if measured else None,
            doubt=measured.doubt() if measured else None,
            engine=self.shape.engine,
            in_place=True,
        )

    def _moved(self, known: Known, sha256: str) -> bool:
        """Whether a finished row is this photo's, whose files a killed run may just have moved."""
        wanted = self.shape.wanted
        return (
            known.sha256 == sha256
            and self.shape.accepts(known.shape)
            and not (wanted.mask and known.mask_size is None)
            and not (wanted.cutout and known.cutout_size is None)
        )

    def _read(
        self, kind: str, name: str, size: int | None, newer_than: int | None = None
    ) -> bytes | None:
        """A published file, if it is the one that was published."""
        if size is None and newer_than is None:
            return None
        try:
            with open(os.path.join(self.root, kind, name), "rb") as file:
                if newer_than is not None and os.fstat(file.fileno()).st_mtime_ns < newer_than:
                    return None
                data = file.read()
        except OSError:
            return None
        return data if size is None or len(data) == size else None


def _size(data: bytes) -> tuple[int, int]:
    head = png.verify(data)
    return head.width, head.height
