"""The seam between a photo's way and whoever finds the people in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from humanbody_cli.core.errors import FatalError
from humanbody_cli.imaging.masks import Mask
from humanbody_cli.imaging.uploads import Upload


@dataclass(frozen=True)
class Segmentation:
    """What an engine found, at the upload's size.

    ``cutout`` is the API's own cutout as PNG, ``None`` where the engine leaves it to be composed.
    ``time_used`` is in milliseconds; ``attempts`` counts calls, 0 where none was made; ``doubt`` is
    the engine's own figure, where it has a better one than the mask's.
    """

    mask: Mask | None
    cutout: bytes | None = None
    attempts: int = 0
    request_id: str | None = None
    image_id: str | None = None
    time_used: int | None = None
    doubt: float | None = None


@dataclass(frozen=True)
class Ask:
    """Which of the two results are needed: the API is quicker where it need not send both."""

    mask: bool = True
    cutout: bool = True


class SpooledAnswer(Protocol):
    """Where an engine that is paid puts an answer as soon as it has it, until it is published."""

    @property
    def failure(self) -> FatalError | None:
        """Why an answer could not be kept: nothing more may be paid for."""

    @property
    def is_there(self) -> bool:
        """Whether an answer was kept that is not published, by an earlier run mostly."""

    def body(self) -> bytes:
        """That answer, maybe cut short."""

    def keep(self, body: bytes) -> None:
        """Put an answer there; ``failure`` is set where that cannot be done."""

    def discard(self) -> None:
        """The answer is none: make its place ready for another.

        Raises:
            FatalError: that cannot be done.
        """


class Engine(Protocol):
    """Finds people. ``name`` goes into the records; ``durable`` says whether its results are worth
    waiting for the disk."""

    name: str
    durable: bool

    def capacity(self) -> int:
        """How many photos are worth having under way now; it may grow as the run learns."""

    async def segment(
        self, upload: Upload, ask: Ask, spooled: SpooledAnswer | None = None
    ) -> Segmentation:
        """Find the people in one photo.

        Raises:
            PhotoError: this photo cannot be done.
            FatalError: no photo can be done.
            Stopped: the run was stopped before this photo's call began.
        """

    async def aclose(self) -> None:
        """Let go of connections and threads."""
