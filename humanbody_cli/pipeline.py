"""One photo's way: read, check, prepare, segment, compose, publish. Errors become outcomes here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ParamSpec, TypeVar

from humanbody_cli import proof, reading, results, uploads
from humanbody_cli.engines.base import Engine
from humanbody_cli.errors import FatalError, HbsegError, PhotoError, Stopped
from humanbody_cli.journal import Finished, Journal, key_of
from humanbody_cli.outcomes import Outcome, Status
from humanbody_cli.photos import Photo
from humanbody_cli.pictures import Picture
from humanbody_cli.proof import Proof
from humanbody_cli.publish import CUTOUTS, MASKS, MayReplace, Publisher, Reservation, published
from humanbody_cli.reading import Rules
from humanbody_cli.receipts import Receipt, Receipts, room_for
from humanbody_cli.results import Results
from humanbody_cli.reuse import Reuse
from humanbody_cli.selection import Shape

P = ParamSpec("P")
T = TypeVar("T")

_LOOK_AGAIN = 0.05
"""Seconds between looks for room on a disk that photos under way may fill."""

_DISK_THREADS = 8
"""An fsync keeps a thread for up to 15 ms; publishing must not keep the processors' threads."""


@dataclass
class Pipeline:
    """Takes one photo from its file to its published results and its row in the journal."""

    engine: Engine
    journal: Journal
    publisher: Publisher
    reuse: Reuse
    shape: Shape
    rules: Rules
    receipts: Receipts | None = None  # for an engine that is paid
    threads: int = os.cpu_count() or 1
    _work: ThreadPoolExecutor = field(init=False)
    _disk: ThreadPoolExecutor = field(init=False)
    _same: dict[str, asyncio.Lock] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._work = ThreadPoolExecutor(self.threads, thread_name_prefix="work")
        self._disk = ThreadPoolExecutor(_DISK_THREADS, thread_name_prefix="disk")

    async def process(self, photo: Photo) -> Outcome:
        """One photo, whole.

        Raises:
            FatalError: no photo can be done; this one stays pending.
            Stopped: the run ended before this photo's call; it stays pending.
        """
        way = _Way(photo, time.monotonic())
        try:
            picture, sha256 = await self._in(self._work, self._read, photo)
            way.picture, way.sha256 = picture, sha256
            async with self._one_at_a_time(sha256):
                return await self._make(way, picture, sha256)
        except PhotoError as error:
            return await self._in(self._disk, self._give_up, way, error)
        except (FatalError, Stopped) as error:
            if error.attempts:
                with contextlib.suppress(FatalError):
                    self.journal.reprieve(photo, error.attempts)
            raise
        finally:
            way.release()

    def _read(self, photo: Photo) -> tuple[Picture, str]:
        picture = reading.examine(photo, self.rules)
        return picture, reading.digest(picture)

    async def _make(self, way: _Way, picture: Picture, sha256: str) -> Outcome:
        """What was paid for already, or a call."""
        wanted = self.shape.wanted
        ready = await self._in(self._work, self._prepare, way, picture, sha256)
        if isinstance(ready, Results):
            return await self._in(self._disk, self._publish, way, ready)
        # Not an event: other programs make room too.
        while not await self._in(self._work, self._take_room, way, picture, ready):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_AGAIN)
        ask = results.ask_for(wanted, picture, ready)
        found = await self.engine.segment(ready, ask, way.receipt)
        make = partial(results.make, wanted, picture, ready, found, self.engine.name)
        if found.cutout is not None:  # nothing to compose: it goes straight to the disk
            return await self._in(self._disk, lambda: self._publish(way, make()))
        return await self._in(self._disk, self._publish, way, await self._in(self._work, make))

    def _prepare(self, way: _Way, picture: Picture, sha256: str) -> Results | uploads.Upload:
        """Results that need no call, or what is to be sent."""
        photo = way.photo
        if self.receipts is not None:
            way.receipt = self.receipts.of(sha256)
        known = self.reuse.find(photo, picture, sha256)
        if known is not None:
            return known
        # Whatever keeps a result from being written is found before money is spent on it.
        for kind in (MASKS, CUTOUTS):
            if self._wants(kind):
                may_replace = self._may_replace(photo, kind)
                self.publisher.make_ready(kind, photo.name, may_replace=may_replace)
        upload = uploads.prepare(picture, fit=self.shape.wanted.fit)
        if self.receipts is not None:
            assert way.receipt is not None
            if upload.picture is not picture:
                way.receipt.release()
                way.receipt = self.receipts.of(reading.digest(upload.picture))
        if not self.rules.keep_pixels:
            picture.forget_pixels()
        return upload

    def _take_room(self, way: _Way, picture: Picture, upload: uploads.Upload) -> bool:
        """Room for the answer and the results; whether photos under way leave any."""
        answer = room_for(upload.size) if way.receipt is not None else 0
        if way.receipt is not None and way.receipt.is_there:
            answer = 0
        way.reservation = self.publisher.reserve(picture.size, at_once=answer)
        if way.reservation is None:
            return False
        if way.receipt is not None:
            way.receipt.reserve(room_for(upload.size))
        return True

    def _wants(self, kind: str) -> bool:
        return self.shape.wanted.mask if kind == MASKS else self.shape.wanted.cutout

    def _may_replace(self, photo: Photo, kind: str) -> MayReplace:
        known = self.journal.known([key_of(photo)]).get(key_of(photo))
        if known is None or os.fsdecode(known.name) != photo.name:
            return published(None)
        return published(known.mask_size if kind == MASKS else known.cutout_size)

    def _publish(self, way: _Way, made: Results) -> Outcome:
        """Mask, then cutout, then the row: the row is the mark that both are there."""
        photo = way.photo
        if not made.in_place:
            self._withdraw_stale(way, made)
            made = replace(
                made,
                mask=made.mask and self._put(way, MASKS, made.mask, made.doubt),
                cutout=made.cutout and self._put(way, CUTOUTS, made.cutout, made.doubt),
            )
        outcome = way.done(made, self.publisher)
        self.journal.finish(
            Finished(
                photo,
                outcome,
                shape=str(Shape(made.engine, self.shape.wanted)),
                mask_size=len(made.mask) if made.mask is not None else None,
                cutout_size=len(made.cutout) if made.cutout is not None else None,
            )
        )
        if way.receipt is not None:
            way.receipt.drop()
        return outcome

    def _put(self, way: _Way, kind: str, data: bytes, doubt: float | None) -> bytes:
        photo = way.photo
        made = (
            self.engine.name if kind == MASKS else str(Shape(self.engine.name, self.shape.wanted))
        )
        data = proof.attach(data, Proof(str(way.sha256), made, doubt))
        self.publisher.publish(kind, photo.name, data, may_replace=self._may_replace(photo, kind))
        return data

    def _withdraw_stale(self, way: _Way, made: Results) -> None:
        """A mask or cutout of the photo's earlier bytes must not stand beside the new one."""
        known = self.journal.known([key_of(way.photo)]).get(key_of(way.photo))
        if known is None or known.sha256 in (None, way.sha256):
            return
        for kind, data in ((MASKS, made.mask), (CUTOUTS, made.cutout)):
            if data is None:
                may_replace = self._may_replace(way.photo, kind)
                self.publisher.withdraw(kind, way.photo.name, may_replace=may_replace)

    def _give_up(self, way: _Way, error: PhotoError) -> Outcome:
        outcome = way.refused(error, self.engine.name)
        if way.receipt is not None and not (error.rejected and error.transient):
            way.receipt.drop()
        self.journal.finish(Finished(way.photo, outcome, shape=str(self.shape)))
        return outcome

    @contextlib.asynccontextmanager
    async def _one_at_a_time(self, sha256: str) -> AsyncIterator[None]:
        """Photos with the same bytes take turns: the second finds what the first paid for."""
        lock = self._same.setdefault(sha256, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked() and self._same.get(sha256) is lock:
                del self._same[sha256]

    async def _in(
        self,
        pool: ThreadPoolExecutor,
        function: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            pool, lambda: function(*args, **kwargs)
        )

    def close(self) -> None:
        """Let go of the threads."""
        self._work.shutdown(wait=False)
        self._disk.shutdown(wait=False)
        if self.receipts is not None:
            with contextlib.suppress(HbsegError):
                self.receipts.close(self.journal.is_settled)


@dataclass
class _Way:
    """How far one photo has come."""

    photo: Photo
    started: float
    picture: Picture | None = None
    sha256: str | None = None
    receipt: Receipt | None = None
    reservation: Reservation | None = None

    def release(self) -> None:
        if self.receipt is not None:
            self.receipt.release()
        if self.reservation is not None:
            self.reservation.release()

    def done(self, made: Results, publisher: Publisher) -> Outcome:
        name = self.photo.name
        assert self.picture is not None
        return Outcome(
            source=self.photo.source,
            status=Status.DONE,
            cutout=publisher.path(CUTOUTS, name) if made.cutout is not None else None,
            mask=publisher.path(MASKS, name) if made.mask is not None else None,
            width=self.picture.size[0],
            height=self.picture.size[1],
            attempts=made.attempts,
            request_id=made.request_id,
            image_id=made.image_id,
            time_used=made.time_used,
            elapsed=self._elapsed(),
            engine=made.engine,
            sha256=self.sha256,
            coverage=made.coverage,
            doubt=made.doubt,
        )

    def refused(self, error: PhotoError, engine: str) -> Outcome:
        return Outcome(
            source=self.photo.source,
            status=Status.REJECTED if error.rejected else Status.FAILED,
            code=error.code,
            message=error.message,
            width=self.picture.size[0] if self.picture else None,
            height=self.picture.size[1] if self.picture else None,
            attempts=error.attempts,
            request_id=error.request_id,
            elapsed=self._elapsed(),
            engine=None if error.rejected else engine,
            sha256=self.sha256,
            transient=error.transient,
        )

    def _elapsed(self) -> int:
        return round((time.monotonic() - self.started) * 1000)
