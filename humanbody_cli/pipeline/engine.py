"""The interface of engines, and what a run checks and says about its choice of engine.

Imports nothing heavy: a run with nothing to do only asks which engine it would use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from humanbody_cli.core.errors import FatalError, no_engine, no_soft_edges
from humanbody_cli.core.settings import Edges, EngineChoice, RunSettings
from humanbody_cli.imaging.decoding import is_installed

if TYPE_CHECKING:
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

    def doubt_of(self, mask: Mask) -> float:
        """The engine's own doubt, else that of the ``mask``; 0 to 1."""
        return mask.doubt() if self.doubt is None else self.doubt


@dataclass(frozen=True)
class Ask:
    """Which of the two results are needed: the API is faster if it need not send both."""

    mask: bool = True
    cutout: bool = True


class AnswerSlot(Protocol):
    """Where a paid engine keeps an answer from its arrival until its results are published."""

    @property
    def failure(self) -> FatalError | None:
        """Why an answer could not be kept; no further call may then be made."""

    @property
    def is_there(self) -> bool:
        """Whether there is an answer that is not published, usually of an earlier run."""

    def body(self) -> bytes:
        """That answer, possibly truncated."""

    def keep(self, body: bytes) -> None:
        """Write an answer; ``failure`` is set if that cannot be done."""

    def discard(self) -> None:
        """Drop an unusable answer, and make its place ready for another.

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
        self, upload: Upload, ask: Ask, spooled: AnswerSlot | None = None
    ) -> Segmentation:
        """Find the people in one photo.

        Raises:
            PhotoError: this photo cannot be done.
            FatalError: no photo can be done.
            Stopped: the run was stopped before this photo's call began.
        """

    async def aclose(self) -> None:
        """Release connections and threads."""


def name_of(identity: str) -> str:
    """The engine's name in records, from its `Fingerprint.engine`."""
    return identity.partition(";")[0]


def check_installed(settings: RunSettings) -> None:
    """Check that a run has what it needs, before its first call.

    Raises:
        FatalError: the engine is not installed, or the API has no key.
        UsageError: soft edges were asked for and cannot be made.
    """
    if settings.uses_api:
        if settings.api.credentials is None:
            raise FatalError(
                "--engine api needs a key: set HBSEG_API_KEY and HBSEG_API_SECRET, or give "
                "--credentials FILE"
            )
    elif not all(map(is_installed, ("onnxruntime", "numpy"))):
        raise no_engine()
    wanted = settings.wanted
    if wanted.cutout and wanted.edges is Edges.SOFT and not is_installed("numpy"):
        raise no_soft_edges()


def engine_line(settings: RunSettings) -> str:
    """Which engine runs, in one line."""
    if settings.uses_api:
        qps = settings.api.qps
        pace = f"{qps:g} calls/s" if qps is not None else "finding the quota"
        return f"engine: API at {settings.api.shown_endpoint} ({pace})"
    model = settings.local.model
    was_named = settings.engine is EngineChoice.LOCAL or model is not None
    why = "" if was_named else ", because no API key is set"
    what = f"model {model.name}" if model is not None else "embedded model"
    return f"engine: {what} on this machine{why}"
