"""What a program calls: `segment`, `segment_async`, and `Segmenter` for more than one photo."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Generator
from types import TracebackType
from typing import TypeVar, Unpack

from humanbody_cli.jobs.python.background import Background, Work, closed
from humanbody_cli.jobs.python.folder import FolderPhoto, FolderRun, checked_folder
from humanbody_cli.jobs.python.options import Api, Options, run_settings
from humanbody_cli.jobs.python.photos import Source, check
from humanbody_cli.jobs.python.results import SegmentedPhoto
from humanbody_cli.jobs.python.session import Session

T = TypeVar("T")


def segment(
    source: Source, *, api: Api | None = None, **options: Unpack[Options]
) -> SegmentedPhoto:
    """Cut the people out of one photo: the bytes of its file, its path, or a PIL image.

    Works from scripts, threads and notebooks, and blocks until it is done. The models are loaded
    anew for each call; for more than one photo use a `Segmenter`. Nothing is sent anywhere unless
    an ``api`` is given.

    Raises:
        UsageError: an argument is wrong.
        PhotoError: this photo cannot be done.
        FatalError: no photo can be done: the engine is not installed, the API refuses the key.
    """
    with Segmenter(api=api, **_for_one(options)) as segmenter:
        return segmenter.segment(source)


async def segment_async(
    source: Source, *, api: Api | None = None, **options: Unpack[Options]
) -> SegmentedPhoto:
    """`segment`, to be awaited: the event loop goes on meanwhile."""
    async with Segmenter(api=api, **_for_one(options)) as segmenter:
        return await segmenter.segment_async(source)


def _for_one(options: Options) -> Options:
    """One thread is enough for one photo."""
    return {"threads": 1, **options}


class Segmenter:
    """Keeps the models, or the connections to the API, for any number of photos.

    A context manager, with ``with`` or ``async with``; or call `close` in the end. It may be used
    from several threads and event loops at a time, but not from a forked process. Nothing is sent
    anywhere unless an ``api`` is given. Once the API has refused the key, or its ``max_calls`` are
    used up, each further photo ends with the same error.

    Raises:
        UsageError: an option has no such value, or options contradict each other.
    """

    def __init__(self, *, api: Api | None = None, **options: Unpack[Options]) -> None:
        self._session = Session(run_settings(api, **options))
        self._guard = threading.Lock()
        self._background: Background | None = None
        self._closed = False

    # -- one photo -------------------------------------------------------------------------------

    def segment(self, source: Source) -> SegmentedPhoto:
        """Cut the people out of one photo, as the function `segment` does."""
        check(source)
        return self._wait(lambda: self._session.photo(source))

    async def segment_async(self, source: Source) -> SegmentedPhoto:
        """The same, to be awaited. Any number may be awaited at a time: as many photos are under
        way as the engine has use for, and the others wait."""
        check(source)
        return await self._ask(lambda: self._session.photo(source))

    # -- a folder --------------------------------------------------------------------------------

    def segment_folder(self, folder: str | os.PathLike[str]) -> Generator[FolderPhoto, None, None]:
        """What becomes of each photo in a folder and those below it, in the order in which they
        end. A photo that cannot be done is yielded with its error, and the others go on.

        A slow taker holds up the work. Closing the generator cancels what is under way. Hidden
        files and results of ``hbseg`` are not photos, as for the command.

        Raises:
            UsageError: there is no such folder.
            FatalError: while iterating; no further photo can be done.
        """
        return self._taken(FolderRun(self._session, checked_folder(folder)))

    def segment_folder_async(
        self, folder: str | os.PathLike[str]
    ) -> AsyncGenerator[FolderPhoto, None]:
        """`segment_folder` for ``async for``."""
        return self._taken_async(FolderRun(self._session, checked_folder(folder)))

    def _taken(self, run: FolderRun) -> Generator[FolderPhoto, None, None]:
        try:
            while (photo := self._wait(run.take)) is not None:
                yield photo
        finally:
            if self._is_at_work:
                self._wait(run.close)

    async def _taken_async(self, run: FolderRun) -> AsyncGenerator[FolderPhoto, None]:
        try:
            while (photo := await self._ask(run.take)) is not None:
                yield photo
        finally:
            if self._is_at_work:
                await self._ask(run.close)

    # -- open and closed -------------------------------------------------------------------------

    def __enter__(self) -> Segmenter:
        try:
            self._wait(self._session.open)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Segmenter:
        try:
            await self._ask(self._session.open)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def close(self) -> None:
        """Cancel what is under way, close connections, and wait for the threads. A second call does
        nothing."""
        background = self._taken_down()
        if background is not None and (end := background.end()) is not None:
            end.result()
            background.join()

    async def aclose(self) -> None:
        """`close`, to be awaited."""
        background = self._taken_down()
        if background is not None and (end := background.end()) is not None:
            await asyncio.shield(asyncio.wrap_future(end))
            background.join()

    def _taken_down(self) -> Background | None:
        with self._guard:
            self._closed = True
            return self._background

    # -- the event loop in its thread ------------------------------------------------------------

    @property
    def _is_at_work(self) -> bool:
        return self._background is not None and not self._background.has_ended

    def _at_work(self) -> Background:
        with self._guard:
            if self._closed:
                raise closed()
            if self._background is None:
                self._background = Background(self._session.close)
                # A Segmenter that is dropped without being closed leaves no thread either.
                weakref.finalize(self, self._background.end).atexit = False
            return self._background

    def _wait(self, work: Work[T]) -> T:
        future = self._at_work().start(work)
        try:
            return future.result()
        except BaseException:  # Ctrl-C, perhaps
            future.cancel()
            raise

    async def _ask(self, work: Work[T]) -> T:
        return await asyncio.wrap_future(self._at_work().start(work))
