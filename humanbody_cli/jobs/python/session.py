"""Engine, threads and connections of a `Segmenter`, and one photo through them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from humanbody_cli.api.adaptive_rate import MAX_IN_FLIGHT
from humanbody_cli.core.errors import HbsegError, Stopped
from humanbody_cli.core.settings import RunSettings
from humanbody_cli.core.stop import Stop, in_thread, started_pool
from humanbody_cli.jobs.python.photos import Source, label
from humanbody_cli.jobs.python.results import LibrarySteps, SegmentedPhoto
from humanbody_cli.jobs.python.wording import reworded
from humanbody_cli.jobs.setup.assembly import library_engine, steps_for
from humanbody_cli.pipeline.engine import Engine, Segmentation, check_installed
from humanbody_cli.pipeline.photo_steps import Prepared


@dataclass(frozen=True)
class Found:
    """A photo whose people were found, to be made a result."""

    prepared: Prepared[SegmentedPhoto]
    segmentation: Segmentation


class Parts:
    """What is kept open. ``places`` bounds the photos that are read or segmented at a time.

    Raises:
        HbsegError: the engine is not installed or cannot be used.
    """

    def __init__(self, settings: RunSettings) -> None:
        check_installed(settings)
        self.stop = Stop()
        self.steps = LibrarySteps(
            steps_for(settings, settings.engine_name, keep_pixels=not settings.uses_api),
            sent=settings.uses_api,
        )
        self.pool: ThreadPoolExecutor = started_pool(settings.local.threads, "hbseg")
        try:
            self.engine: Engine = library_engine(settings, self.stop, self.pool)
        except BaseException:
            self.pool.shutdown(wait=True)  # idle
            raise
        # With the API a photo keeps its bytes only, and most of its time it waits.
        self.places = asyncio.Semaphore(
            MAX_IN_FLIGHT if settings.uses_api else self.engine.capacity()
        )


class Session:
    """The work of a `Segmenter`. Everything here runs on its event loop."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._parts: Parts | None = None

    @property
    def threads(self) -> int:
        """Threads for decoding and for the embedded engine."""
        return self._settings.local.threads

    @property
    def parts(self) -> Parts:
        """What is kept open, made when it is first needed: that takes as long as loading a model.

        Raises:
            HbsegError: it cannot be made.
        """
        if self._parts is None:
            try:
                self._parts = Parts(self._settings)
            except HbsegError as error:
                raise reworded(error) from error.__cause__
            # Names are looked up there too, so that no other thread is left at the end.
            asyncio.get_running_loop().set_default_executor(self._parts.pool)
        return self._parts

    async def open(self) -> None:
        """Load the model, or make what calls the API."""
        _ = self.parts

    async def photo(self, source: Source) -> SegmentedPhoto:
        """The result of one photo.

        Raises:
            HbsegError: it cannot be done; see `Segmenter.segment`.
        """
        try:
            return await self.made(await self.found(source))
        except HbsegError as error:
            raise self.reason(error, source) from error.__cause__

    async def found(self, source: Source) -> Found:
        """Read a photo, and have the engine find the people. Raises what `Engine.segment` does."""
        parts = self.parts
        async with parts.places:
            prepared = await in_thread(
                parts.pool, lambda: Prepared.of(parts.steps, parts.steps.picture(source))
            )
            return Found(prepared, await prepared.segment(parts.engine))

    async def made(self, found: Found) -> SegmentedPhoto:
        """Make the images.

        Raises:
            PhotoError: they cannot be made.
        """
        return await in_thread(self.parts.pool, found.prepared.make, found.segmentation)

    def reason(self, error: HbsegError, source: Source | None = None) -> HbsegError:
        """The error for the caller: what stopped all work, or what is wrong with this photo."""
        stopped = self.parts.stop.reason if isinstance(error, Stopped) else None
        return reworded(stopped or error, None if source is None else label(source))

    async def close(self) -> None:
        """Close connections, and wait for the threads: work that was begun in them ends first."""
        if self._parts is not None:
            await self._parts.engine.aclose()
            self._parts.pool.shutdown(wait=True, cancel_futures=True)
