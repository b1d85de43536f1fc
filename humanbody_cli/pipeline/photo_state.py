"""What the pipeline knows of one photo while it is under way."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.core.photo import PROOFLESS, Due, Kind, Known, Photo
from humanbody_cli.imaging.pictures import Picture
from humanbody_cli.storage.answer_spool import SpooledAnswer
from humanbody_cli.storage.disk import Reservation


@dataclass
class PhotoState:
    """The progress of one photo. ``is_retired``: results of its earlier bytes were taken
    away. ``turn`` is held while its pixels are in memory, where they are kept."""

    due: Due
    started: float
    picture: Picture | None = None
    sha256: str | None = None
    spooled: SpooledAnswer | None = None
    room: Reservation | None = None
    is_retired: bool = False
    turn: asyncio.Semaphore | None = None

    @property
    def photo(self) -> Photo:
        """The photo, under its final output name."""
        return self.due.photo

    @property
    def known(self) -> Known | None:
        """What the journal knew of it before."""
        return self.due.known

    @property
    def digest(self) -> str:
        """The sha256 of the photo's bytes, once they were read."""
        assert self.sha256 is not None
        return self.sha256

    async def take_turn(self, turn: asyncio.Semaphore | None) -> None:
        """Wait until one photo more may have its pixels in memory."""
        if turn is not None:
            await turn.acquire()
            self.turn = turn

    def yield_turn(self) -> None:
        """Let another photo be decoded: this one's pixels have gone."""
        if self.turn is not None:
            self.turn.release()
            self.turn = None

    def release(self) -> None:
        """Give back what was reserved for this photo: it has ended, or will not end in this run."""
        self.yield_turn()
        if self.spooled is not None:
            self.spooled.release()
        if self.room is not None:
            self.room.release()

    def has_other_bytes(self, size: int) -> bool:
        """Whether the photo, now of ``size`` bytes, differs from the one in the journal's row."""
        known = self.known
        if known is None or known.sha256 is None:
            return False
        if self.sha256 is None:  # too large to be read whole
            return self.photo.kind is Kind.FILE and size != known.size
        return self.sha256 != known.sha256

    def has_ended(self, code: str, status: Status) -> bool:
        """Whether the photo ended with this code and status before."""
        known = self.known  # pending: that run was stopped, and the code is from the run before it
        ends = ((code, status.value), (code, "pending"))
        return known is not None and (known.code, known.status) in ends

    def checked(self, rules: str, *, keeps_files: bool) -> str:
        """The rules for the row, marked if its files are still those of an earlier version."""
        is_proofless = keeps_files and self.known is not None and self.known.is_proofless
        return rules + PROOFLESS if is_proofless else rules

    def completed(self, outcome: Outcome) -> Outcome:
        """A record with what does not depend on how the photo ended."""
        width, height = self.picture.size if self.picture else (None, None)
        return replace(
            outcome,
            width=width,
            height=height,
            elapsed=round((time.monotonic() - self.started) * 1000),
            sha256=self.sha256,
        )
