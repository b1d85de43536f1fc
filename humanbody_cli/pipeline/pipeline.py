"""One photo's way: read, check, prepare, segment, compose, publish. Errors become outcomes here."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import ParamSpec, TypeVar

from humanbody_cli.core.errors import FatalError, HbsegError, PhotoError, Stopped
from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.core.photo import PROOFLESS, Due, Finished, Kind, Known, Photo
from humanbody_cli.core.settings import API_ENGINE
from humanbody_cli.core.stop import started_pool
from humanbody_cli.discovery import sources
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.imaging import proof, uploads
from humanbody_cli.imaging.pictures import Picture
from humanbody_cli.imaging.proof import Proof
from humanbody_cli.pipeline import results
from humanbody_cli.pipeline.decision import Decider, Failed
from humanbody_cli.pipeline.engine import Engine, name_of
from humanbody_cli.pipeline.fingerprint import Fingerprint
from humanbody_cli.pipeline.results import Results
from humanbody_cli.pipeline.reuse import Reuse
from humanbody_cli.storage.answer_spool import AnswerSpool, SpooledAnswer, room_for
from humanbody_cli.storage.disk import Reservation
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.layout import CUTOUTS, MASKS
from humanbody_cli.storage.ownership import MayReplace, recorded
from humanbody_cli.storage.publishing import Publisher

P = ParamSpec("P")
T = TypeVar("T")

_DISK_THREADS = 8
"""An fsync keeps a thread for up to 15 ms; publishing must not keep the processors' threads."""

_LOOK_AGAIN = 0.1
"""Seconds between looks at the room on the disk, where photos under way hold all of it."""


@dataclass
class Pipeline:
    """Takes one photo from its file to its published results and its row in the journal.

    ``checked`` names the rules of pre-validation, for the journal.
    """

    engine: Engine
    journal: Journal
    publisher: Publisher
    decider: Decider
    fingerprint: Fingerprint
    rules: Rules
    checked: str = ""
    spool: AnswerSpool | None = None  # for an engine that is paid
    threads: int = os.cpu_count() or 1
    _work: ThreadPoolExecutor = field(init=False)
    _disk: ThreadPoolExecutor = field(init=False)
    _copies: dict[str, _Turn] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._work = started_pool(self.threads, "work")
        self._disk = started_pool(_DISK_THREADS, "disk")

    async def process(self, due: Due) -> Outcome:
        """One photo, whole.

        Raises:
            FatalError: no photo can be done; this one stays pending.
            Stopped: the run ended before this photo's call; it stays pending.
        """
        way = _Way(due, time.monotonic())
        try:
            return await self._done(way)
        except (FatalError, Stopped) as error:
            if error.attempts:
                with contextlib.suppress(FatalError):
                    self.journal.reprieve(due.photo, error.attempts)
            raise
        finally:
            way.release()

    async def _done(self, way: _Way) -> Outcome:
        try:
            picture = await self._in(self._work, self._read, way)
        except PhotoError as error:
            return await self._in(self._disk, self._give_up, way, error)
        # A failure is written down within the turn too: the next copy shares it.
        async with self._one_at_a_time(way.digest):
            try:
                return await self._make(way, picture)
            except PhotoError as error:
                return await self._in(self._disk, self._give_up, way, error)

    def _read(self, way: _Way) -> Picture:
        """The photo read and checked. What was made of earlier bytes goes first: whatever becomes
        of this photo, those are not its results."""
        # Whose results are there is a question of the whole file's bytes.
        has_results = way.known is not None and way.known.has_results
        most = sources.MAX_FIT_BYTES if has_results else self.rules.most_bytes
        data, size = sources.read(way.photo, most)
        if size == len(data):
            way.sha256 = hashlib.sha256(data).hexdigest()
        if way.has_other_bytes(size):
            self._retire_all(way)
        way.picture = sources.check(data, size, self.rules)
        return way.picture

    def _retire_all(self, way: _Way) -> None:
        with self.publisher.aside_guard:
            self._retire(way, MASKS)
            self._retire(way, CUTOUTS)
        way.is_retired = True

    def _retire(self, way: _Way, kind: str) -> None:
        """Take away what is published for this photo and is not its result. What was paid for is
        kept until the run ends: it may belong to another photo whose file was renamed."""
        known, name, ours = way.known, way.photo.name, way.ours(kind)
        if known is not None and known.sha256 and known.engine == API_ENGINE:
            made = self.fingerprint.made_in(kind, known)
            self.publisher.set_aside(kind, name, known.sha256, may_replace=ours, made=made)
        else:
            self.publisher.withdraw(kind, name, may_replace=ours)

    async def _make(self, way: _Way, picture: Picture) -> Outcome:
        """What was paid for already, or a call."""
        wanted = self.fingerprint.wanted
        ready = await self._in(self._work, self._prepare, way, picture)
        if isinstance(ready, Results):
            return await self._in(self._disk, self._publish, way, ready)
        # Not an event: other programs make room too.
        while not await self._in(self._work, self._take_room, way, picture, ready):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_AGAIN)
        ask = results.ask_for(wanted, picture, ready)
        found = await self.engine.segment(ready, ask, way.spooled)
        make = partial(results.make, wanted, picture, ready, found, self.fingerprint.engine)
        try:
            if found.cutout is not None:  # nothing to compose: it goes straight to the disk
                return await self._in(self._disk, lambda: self._publish(way, make()))
            return await self._in(self._disk, self._publish, way, await self._in(self._work, make))
        except PhotoError as error:
            error.attempts, error.rejected = found.attempts, False  # it was sent, and paid for
            raise

    def _prepare(self, way: _Way, picture: Picture) -> Results | uploads.Upload:
        """Results that need no call, or what is to be sent."""
        if self.spool is not None:
            way.spooled = self.spool.of(self.fingerprint.answer_name(way.digest))
        decision = self.decider.by_bytes(way.due, picture, way.digest)
        if isinstance(decision, Failed):
            raise decision.error
        if isinstance(decision, Reuse):
            return decision.made(self.fingerprint.wanted, picture)
        for kind in (MASKS, CUTOUTS):
            if self.fingerprint.wants(kind):
                self.publisher.make_folder(kind, way.photo.name)
        upload = uploads.prepare(picture, fit=self.fingerprint.wanted.fit)
        if self.spool is not None:
            assert way.spooled is not None
            if upload.picture is not picture:
                way.spooled.release()
                sha256 = sources.digest(upload.picture)
                way.spooled = self.spool.of(self.fingerprint.answer_name(sha256))
        if not self.rules.keep_pixels:
            picture.forget_pixels()
        return upload

    def _take_room(self, way: _Way, picture: Picture, upload: uploads.Upload) -> bool:
        """Room for the answer and the results; whether photos under way leave any."""
        answer = room_for(upload.size) if way.spooled is not None else 0
        if way.spooled is not None and way.spooled.is_there:
            answer = 0
        way.room = self.publisher.reserve(picture.size, at_once=answer)
        if way.room is None:
            return False
        if way.spooled is not None:
            way.spooled.reserve(room_for(upload.size))
        return True

    def _publish(self, way: _Way, made: Results) -> Outcome:
        """Mask, then cutout, then the row: the row is the mark that both are there."""
        for kind, data in ((MASKS, made.mask), (CUTOUTS, made.cutout)):
            if data is not None and kind not in made.in_place:
                self.publisher.check_place(kind, way.photo.name, may_replace=way.ours(kind))
        mask = self._put(way, MASKS, made.mask, made)
        cutout = self._put(way, CUTOUTS, made.cutout, made)
        keeps_files = (made.mask is None and mask is not None) or (
            made.cutout is None and cutout is not None
        )
        for kind, data in ((MASKS, made.mask), (CUTOUTS, made.cutout)):
            keeps_files |= kind in made.in_place and data is not None and not proof.is_present(data)
        outcome = way.done(made, self.publisher)
        self.journal.finish(
            Finished(
                way.photo,
                outcome,
                shape=self.fingerprint.text(made.engine),
                checked=way.checked(self.checked, keeps_files=keeps_files),
                mask_size=mask,
                cutout_size=cutout,
            )
        )
        if way.spooled is not None:
            way.spooled.drop()
        way.release()
        return outcome

    def _put(self, way: _Way, kind: str, data: bytes | None, made: Results) -> int | None:
        """Publish one file; the bytes that stand at its name for the row, ``None`` for none."""
        how = self.fingerprint.made(kind, made.engine)
        if data is None:
            kept = self._kept(way, kind, how)
            if kept is None:
                self._retire(way, kind)
            return kept
        if kind not in made.in_place:
            data = proof.attach(data, Proof(way.digest, how, made.doubt))
            self.publisher.publish(kind, way.photo.name, data, may_replace=way.ours(kind))
        return len(data)

    def _kept(self, way: _Way, kind: str, how: str) -> int | None:
        """The bytes of an earlier file that still is this photo's: the same bytes, made the same
        way, and there."""
        known = way.known
        if (
            known is None
            or known.sha256 != way.sha256
            or self.fingerprint.made_in(kind, known) != how
        ):
            return None
        size = known.size_of(kind)
        path = self.publisher.path(kind, way.photo.name)
        with contextlib.suppress(OSError):
            if size is not None and os.stat(path).st_size == size:
                return size
        return None

    def _give_up(self, way: _Way, error: PhotoError) -> Outcome:
        """A photo without results of its own. Those that it had before stay, unless they were made
        of other bytes, or another engine has now refused the photo for good."""
        known = way.known
        serves = known is not None and known.shape in self.fingerprint.accepted
        has_results = known is not None and known.has_results and not way.is_retired
        may_be_same = way.sha256 is not None or error.transient  # else it is no file any more
        keeps = has_results and may_be_same and (error.rejected or error.transient or serves)
        if has_results and not keeps:
            self._retire_all(way)
        outcome = way.refused(error, self.engine.name)
        if way.spooled is not None and not error.transient:
            way.spooled.drop()  # else an answer that was paid for waits for the next run
        self.journal.finish(
            Finished(
                way.photo,
                outcome,
                shape=str(self.fingerprint),
                checked=way.checked(self.checked, keeps_files=keeps),
                keeps_results=keeps,
            )
        )
        way.release()
        return outcome

    @contextlib.asynccontextmanager
    async def _one_at_a_time(self, sha256: str) -> AsyncIterator[None]:
        """Photos with the same bytes take turns: the second finds what the first paid for."""
        turn = self._copies.setdefault(sha256, _Turn())
        turn.photos += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.photos -= 1
            if not turn.photos:
                del self._copies[sha256]

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
        if self.spool is not None:
            with contextlib.suppress(HbsegError):
                self.spool.close(self.journal.is_settled)


@dataclass
class _Turn:
    """Photos under way that have the same bytes, and whose turn it is."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    photos: int = 0


@dataclass
class _Way:
    """How far one photo has come. ``is_retired``: results of its earlier bytes were taken away."""

    due: Due
    started: float
    picture: Picture | None = None
    sha256: str | None = None
    spooled: SpooledAnswer | None = None
    room: Reservation | None = None
    is_retired: bool = False

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

    def release(self) -> None:
        """Give back what was taken for this photo: it is published, or will not be now."""
        if self.spooled is not None:
            self.spooled.release()
        if self.room is not None:
            self.room.release()

    def has_other_bytes(self, size: int) -> bool:
        """Whether the photo, now of so many bytes, is not the one that the journal's row is of."""
        known = self.known
        if known is None or known.sha256 is None:
            return False
        if self.sha256 is None:  # too large to be read whole
            return self.photo.kind is Kind.FILE and size != known.size
        return self.sha256 != known.sha256

    def checked(self, rules: str, *, keeps_files: bool) -> str:
        """The rules for the row, marked where its files still are those of an earlier version."""
        is_proofless = keeps_files and self.known is not None and self.known.is_proofless
        return rules + PROOFLESS if is_proofless else rules

    def ours(self, kind: str) -> MayReplace:
        """Knows the file at this photo's name as published by us: its row has the size of it."""
        return recorded(self.known, kind)

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
            engine=name_of(made.engine),
            sha256=self.sha256,
            coverage=made.coverage,
            doubt=made.doubt,
        )

    def refused(self, error: PhotoError, engine: str) -> Outcome:
        status = Status.REJECTED if error.rejected else Status.FAILED
        known = self.known  # where that run was stopped, its verdict is of the run before
        repeated = known is not None and known.code == error.code
        return Outcome(
            source=self.photo.source,
            status=status,
            repeated=repeated and known is not None and known.status in (status.value, "pending"),
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
