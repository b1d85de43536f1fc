"""The decision what a photo needs: nothing, reuse of results, a failure's record, or a call.

A run and a plan ask the same two questions: first of the photo's row, which costs no more than a
few `os.stat`, then of its bytes. Importing this loads nothing heavy: where all photos are settled
by their rows, the second question is never asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from humanbody_cli.core.errors import PhotoError
from humanbody_cli.core.paths import NO_TIME, to_bytes
from humanbody_cli.core.photo import PROOFLESS, Due, Kind, Known, Photo
from humanbody_cli.pipeline.fingerprint import Fingerprint
from humanbody_cli.pipeline.stat_check import StatChecker
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.layout import CUTOUTS, MASKS
from humanbody_cli.storage.names import marked
from humanbody_cli.storage.ownership import recorded
from humanbody_cli.storage.publishing import Publisher

if TYPE_CHECKING:
    from humanbody_cli.imaging.pictures import Picture
    from humanbody_cli.pipeline.earlier.reuse import EarlierResults, Reuse

_FILE = Kind.FILE


@dataclass(frozen=True)
class Settled:
    """The photo's row suffices: it is ``done``, ``rejected`` or ``failed``, and stays so."""

    status: str


@dataclass(frozen=True)
class Failed:
    """These bytes have failed (of this photo or a copy), or their output name is taken."""

    error: PhotoError


@dataclass(frozen=True)
class NeedsCall:
    """The engine has to be called."""


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
        if known.status == "rejected":
            holds = (known.checked or "").removesuffix(PROOFLESS) == self.checked
        elif known.status == "failed":
            holds = not self.retry_failed and known.shape in self.fingerprint.same_call
        else:
            holds = known.status == "done" and self._is_done(photo, known)
        return Settled(known.status) if holds else None

    def _is_done(self, photo: Photo, known: Known) -> bool:
        return (
            known.shape in self.fingerprint.accepted
            and self.is_its_row(photo, known.name, known.mtime)
            and self.stats.has_outputs(known.name, known.mask_size, known.cutout_size)
        )

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

    @cached_property
    def stats(self) -> StatChecker:
        """Checks the files that are wanted."""
        masks, cutouts = (to_bytes(self.publisher.path(kind, "")) for kind in (MASKS, CUTOUTS))
        wanted = self.fingerprint.wanted
        return StatChecker(masks if wanted.mask else None, cutouts if wanted.cutout else None)

    def by_bytes(self, due: Due, picture: Picture, sha256: str) -> Reuse | Failed | NeedsCall:
        """The decision for a photo that its row does not settle, by the ``sha256`` of its bytes."""
        try:
            reuse = self._earlier.find(due.photo, picture, sha256)
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
