"""The photos of a folder, a few at a time, each as what became of it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import PhotoError, UsageError
from humanbody_cli.core.photo import Kind, Photo
from humanbody_cli.core.settings import InputSettings
from humanbody_cli.core.stop import Stop
from humanbody_cli.discovery.find import find
from humanbody_cli.discovery.inputs import is_path
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.jobs.python.results import SegmentedPhoto
from humanbody_cli.jobs.python.session import Found, Session
from humanbody_cli.pipeline import scheduler


@dataclass(frozen=True)
class FolderPhoto:
    """What became of one photo of a folder: a ``result``, or the ``error`` why there is none.

    ``path`` is the photo's file. ``name`` is a path below an output folder, ending in ``.png``,
    that no other photo of the folder has: the one that ``hbseg segment`` gives its results.
    """

    path: str
    name: str
    result: SegmentedPhoto | None
    error: PhotoError | None


def checked_folder(folder: str | os.PathLike[str]) -> str:
    """The path of a folder, as one that is not taken for an address.

    Raises:
        UsageError: there is no such folder.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise UsageError(f"a folder must be given by its path, not as {type(folder).__name__}")
    path = os.fsdecode(folder)
    if not os.path.isdir(path):
        raise UsageError(f"{path}: there is no such folder; check the path")
    return path if is_path(path) else os.path.join(os.curdir, path)


class FolderRun:
    """Works through a folder on the event loop of a `Segmenter`; results are taken with `take`.

    As many photos are under way as the engine has use for. Results are made only while fewer than
    one per thread wait to be taken: a slow taker holds up the work, and memory stays bounded.
    """

    def __init__(self, session: Session, folder: str) -> None:
        self._session = session
        self._photos = find(InputSettings((folder,)), Walk())
        self._stop = Stop()
        self._ready: asyncio.Queue[FolderPhoto | Exception | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(session.threads)
        self._work: asyncio.Task[None] | None = None
        self._ended = False

    async def take(self) -> FolderPhoto | None:
        """What became of the next photo to end; ``None`` after the last. The work begins with it.

        Raises:
            HbsegError: the work had to stop.
        """
        if self._work is None:
            self._work = asyncio.ensure_future(self._run())
        if self._ended:
            return None
        taken = await self._ready.get()
        if isinstance(taken, FolderPhoto):
            self._room.release()
            return taken
        self._ended = True
        if taken is not None:
            raise taken
        return None

    async def close(self) -> None:
        """Cancel what is under way; it has ended when this returns."""
        self._ended = True
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait({self._work})

    async def _run(self) -> None:
        stopped = self._session.parts.stop.stopped()
        stopped.add_done_callback(self._stop_too)
        last: Exception | None = None
        try:
            capacity = self._session.parts.engine.capacity
            await scheduler.run(
                self._photos, self._process, capacity, self._stop, self._ready.put_nowait
            )
            if self._stop.reason is not None:
                last = self._session.reason(self._stop.reason)
        except Exception as error:  # noqa: BLE001 - a bug: raised where the result is taken
            last = error
        finally:
            stopped.remove_done_callback(self._stop_too)
            self._ready.put_nowait(last)

    def _stop_too(self, _: object) -> None:
        reason = self._session.parts.stop.reason
        assert reason is not None
        self._stop.set(reason)

    async def _process(self, photo: Photo) -> FolderPhoto:
        try:
            found = await self._found(photo)
        except PhotoError as error:
            await self._room.acquire()
            return self._failed(photo, error)
        await self._room.acquire()
        try:
            return FolderPhoto(photo.source, photo.name, await self._session.made(found), None)
        except PhotoError as error:
            return self._failed(photo, error)

    def _failed(self, photo: Photo, error: PhotoError) -> FolderPhoto:
        reason = self._session.reason(error, photo.source)
        assert isinstance(reason, PhotoError)
        return FolderPhoto(photo.source, photo.name, None, reason)

    async def _found(self, photo: Photo) -> Found:
        if photo.kind is Kind.TROUBLE:
            raise PhotoError(api_spec.UNREADABLE, photo.trouble, rejected=True, transient=True)
        return await self._session.found(photo.source)
