"""The decision what a photo needs: nothing, reuse of results, a failure's record, or a call.

A run and a plan ask the same two questions: first of the photo's row, which costs no more than a
few `os.stat`, then of its bytes. Importing this loads nothing heavy: where all photos are settled
by their rows, the second question is never asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from humanbody_cli.core.api_spec import NOBODY_FOUND
from humanbody_cli.core.errors import PhotoError
from humanbody_cli.core.outcomes import NOBODY_MESSAGE, is_nobody
from humanbody_cli.core.paths import NO_TIME, to_bytes
from humanbody_cli.core.photo import PROOFLESS, DoneRow, Due, Group, Kind, Known, Photo, Siblings
from humanbody_cli.core.settings import Wanted
from humanbody_cli.pipeline.earlier.stat_check import StatChecker
from humanbody_cli.pipeline.fingerprint import Fingerprint
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.layout import CUTOUTS, MASKS
from humanbody_cli.storage.names import marked
from humanbody_cli.storage.ownership import recorded
from humanbody_cli.storage.publishing import Publisher

if TYPE_CHECKING:
    from humanbody_cli.imaging.pictures import Picture
    from humanbody_cli.pipeline.earlier.reuse import EarlierResults, Reuse
    from humanbody_cli.pipeline.photo_steps import Results

_FILE = Kind.FILE


@dataclass(frozen=True)
class Settled:
    """The photo's row suffices: it is ``done``, ``rejected`` or ``failed``, and stays so.

    ``nobody``: it is done, and nobody was found in it."""

    status: str
    nobody: bool = False


@dataclass(frozen=True)
class Failed:
    """These bytes have failed (of this photo or a copy), or their output name is taken."""

    error: PhotoError


@dataclass(frozen=True)
class NoPerson:
    """Earlier results say that nobody is in the photo, and the run requires a person."""

    results: Results


@dataclass(frozen=True)
class NeedsCall:
    """The engine has to be called."""


def lacks_person(wanted: Wanted, coverage: float | None) -> bool:
    """Whether a photo is rejected because its mask, of this coverage, shows nobody."""
    return wanted.require_person and is_nobody(coverage)


def no_person() -> PhotoError:
    """What such a photo is rejected with."""
    return PhotoError(NOBODY_FOUND, NOBODY_MESSAGE, rejected=True)


@dataclass(frozen=True)
class Decider:
    """Decides for one run, or for the run that is planned, whose number the journal has.

    ``checked`` names the rules of pre-validation: a rejected photo is checked again when they
    change. ``force`` ignores results and failures of earlier runs, ``retry_failed`` the failures.
    """

    journal: Journal
    publisher: Publisher
    fingerprint: Fingerprint
    checked: str = ""
    force: bool = False
    retry_failed: bool = False

    def by_row(self, photo: Photo, known: Known | None) -> Settled | None:
        """The decision by a photo's row; ``None`` if the photo, `Photo.seen`, is to be done."""
        if known is None or self.force or photo.kind is Kind.TROUBLE:
            return None
        if known.size != photo.size or known.mtime != photo.mtime or known.transient:
            return None
        if known.status == "rejected" and known.code == NOBODY_FOUND:
            holds = self._lacks_person(known.coverage) and known.shape in self.fingerprint.accepted
        elif known.status == "rejected":
            holds = (known.checked or "").removesuffix(PROOFLESS) == self.checked
        elif known.status == "failed":
            holds = not self.retry_failed and known.shape in self.fingerprint.same_call
        else:
            holds = known.status == "done" and self._is_done(photo, known)
        nobody = known.status == "done" and known.is_nobody
        return Settled(known.status, nobody=nobody) if holds else None

    def _is_done(self, photo: Photo, known: Known) -> bool:
        return (
            known.shape in self.fingerprint.accepted
            and not self._lacks_person(known.coverage)
            and self.is_its_row(photo, known.name, known.mtime)
            and self.stats.has_outputs(known.name, known.mask_size, known.cutout_size)
        )

    def _lacks_person(self, coverage: float | None) -> bool:
        return lacks_person(self.fingerprint.wanted, coverage)

    def is_its_row(self, photo: Photo, name: bytes, mtime: int) -> bool:
        """Whether a done photo's row with this output name and time (ns) still is this photo's.

        The files are not checked here, but by `stats`.
        """
        # Unpacked, as this is asked of every photo of a second run.
        _, key, wanted, _, _, kind, _, keeps_name, _ = photo
        # An address and stdin have no time, a file always has one.
        if self.force or (mtime == NO_TIME) is (kind is _FILE):
            return False
        return keeps_name or name == to_bytes(wanted) or name == to_bytes(marked(wanted, key))

    def are_their_rows(self, photos: Group, keys: list[bytes], rows: list[DoneRow]) -> bool:
        """Whether the rows are those of all of these photos, and `is_its_row` of each: asked of
        all at once, as nearly all photos of a second run are."""
        if self.force or not isinstance(photos, Siblings) or len(rows) != len(keys):
            return False
        theirs, names, _, mtimes, _, _ = map(list, zip(*rows, strict=True))
        return theirs == keys and NO_TIME not in mtimes and names == photos.names()

    @cached_property
    def stats(self) -> StatChecker:
        """Checks the files that are wanted."""
        masks, cutouts = (to_bytes(self.publisher.path(kind, "")) for kind in (MASKS, CUTOUTS))
        wanted = self.fingerprint.wanted
        return StatChecker(masks if wanted.mask else None, cutouts if wanted.cutout else None)

    def by_bytes(
        self, due: Due, picture: Picture, sha256: str
    ) -> Reuse | NoPerson | Failed | NeedsCall:
        """The decision for a photo that its row does not settle, by the ``sha256`` of its bytes."""
        try:
            reuse = self._earlier.find(due.photo, picture, sha256)
            if reuse is not None and self._lacks_person(reuse.results.coverage):
                return NoPerson(reuse.results)
            # A taken output name is found before money is spent on the photo.
            for kind in (MASKS, CUTOUTS):
                is_there = reuse is not None and kind in reuse.results.in_place
                if self.fingerprint.wants(kind) and not is_there:
                    ours = recorded(due.known, kind)
                    self.publisher.check_place(kind, due.photo.name, may_replace=ours)
        except PhotoError as error:
            return Failed(error)
        return reuse or NeedsCall()

    @cached_property  # several threads may make one each, from Python 3.12 on: it has no state
    def _earlier(self) -> EarlierResults:
        from humanbody_cli.pipeline.earlier.reuse import EarlierResults

        return EarlierResults(
            self.journal,
            self.publisher,
            self.fingerprint,
            force=self.force,
            retry_failed=self.retry_failed,
        )
