"""The pipeline: one photo from its file to its row; a photo's errors become outcomes here."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from humanbody_cli.core.api_spec import NOBODY_FOUND
from humanbody_cli.core.errors import FatalError, HbsegError, PhotoError, Stopped
from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.core.photo import Admit, Due, Finished, admit_all
from humanbody_cli.core.settings import API_ENGINE
from humanbody_cli.core.stop import in_thread, started_pool
from humanbody_cli.discovery import sources
from humanbody_cli.imaging.pictures import Picture
from humanbody_cli.imaging.proof import Proof, attach, is_present, peek
from humanbody_cli.pipeline.decision import Decider, Failed, NoPerson, lacks_person
from humanbody_cli.pipeline.earlier.reuse import Reuse, kept_size
from humanbody_cli.pipeline.engine import Engine, Segmentation, name_of
from humanbody_cli.pipeline.fingerprint import Fingerprint
from humanbody_cli.pipeline.photo_state import PhotoState
from humanbody_cli.pipeline.photo_steps import ClientSteps, Prepared, Results
from humanbody_cli.pipeline.scheduler import Turns
from humanbody_cli.storage.answer_spool import AnswerSpool, room_for
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.layout import CUTOUTS, MASKS
from humanbody_cli.storage.ownership import recorded
from humanbody_cli.storage.publishing import Publisher

_DISK_THREADS = 8
"""An fsync keeps a thread for up to 15 ms; publishing must not keep the processors' threads."""

_ROOM_POLL = 0.1
"""Seconds between checks of the free disk space, while photos under way hold all of it."""


@dataclass
class Pipeline:
    """Takes one photo from its file to its published results and its row in the journal."""

    engine: Engine
    journal: Journal
    publisher: Publisher
    decider: Decider
    fingerprint: Fingerprint
    steps: ClientSteps
    spool: AnswerSpool | None = None  # for an engine that is paid
    threads: int = os.cpu_count() or 1
    admit: Admit = admit_all
    _work: ThreadPoolExecutor = field(init=False)
    _disk: ThreadPoolExecutor = field(init=False)
    _copies: Turns = field(default_factory=Turns, init=False)
    _decoded: asyncio.Semaphore | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.steps.rules.keep_pixels:
            # A photo of 12 megapixels takes 60 MB from its decoding until its results are encoded.
            self._decoded = asyncio.Semaphore(self.threads)
        self._work = started_pool(self.threads, "work")
        self._disk = started_pool(_DISK_THREADS, "disk")

    async def process(self, due: Due) -> Outcome:
        """Process one photo from beginning to end.

        Raises:
            FatalError: no photo can be done; this one stays pending.
            Stopped: the run ended before this photo's call; it stays pending.
        """
        state = PhotoState(due, time.monotonic())
        try:
            await state.take_turn(self._decoded)
            return await self._done(state)
        except (FatalError, Stopped) as error:
            if error.attempts:
                with contextlib.suppress(FatalError):
                    self.journal.reprieve(due.photo, error.attempts)
            raise
        finally:
            state.release()

    async def _done(self, state: PhotoState) -> Outcome:
        try:
            picture = await in_thread(self._work, self._read, state)
        except PhotoError as error:
            await in_thread(self._work, self.admit, state.due, error)
            return await in_thread(self._disk, self._give_up, state, error)
        # Photos with the same bytes take turns: the second finds what the first paid for. A failure
        # is recorded within the turn too, so the next copy shares it.
        async with self._copies.turn(state.digest):
            try:
                return await self._make(state, picture)
            except PhotoError as error:
                return await in_thread(self._disk, self._give_up, state, error)

    def _read(self, state: PhotoState) -> Picture:
        """Read and check the photo. Results of earlier bytes are taken away first: however this
        photo ends, they are not its results."""
        # Only the whole file's bytes tell whether the results that are there belong to them.
        has_results = state.known is not None and state.known.has_results
        most = sources.MAX_FIT_BYTES if has_results else self.steps.rules.most_bytes
        data, size = sources.read(state.photo, most)
        self.admit(state.due, None)
        if size == len(data):
            state.sha256 = hashlib.sha256(data).hexdigest()
        if state.has_other_bytes(size):
            self._retire_all(state)
        state.picture = self.steps.examine(data, size)
        return state.picture

    def _retire_all(self, state: PhotoState) -> None:
        with self.publisher.aside_guard:
            for kind in (MASKS, CUTOUTS):
                self._retire(state, kind)
        state.is_retired = True

    def _retire(self, state: PhotoState, kind: str) -> None:
        """Take away a published file that is not this photo's result.

        Paid results and other photos' are set aside: theirs may have been renamed.
        """
        known, name, ours = state.known, state.photo.name, recorded(state.known, kind)
        inside = peek(self.publisher.path(kind, name))
        if inside is not None and inside.sha256 not in (state.sha256, known and known.sha256):
            self.publisher.set_aside(kind, name, inside.sha256, may_replace=ours)
        elif known is not None and known.sha256 and known.engine == API_ENGINE:
            made = self.fingerprint.made_in(kind, known)
            self.publisher.set_aside(kind, name, known.sha256, may_replace=ours, made=made)
        else:
            self.publisher.withdraw(kind, name, may_replace=ours)

    async def _make(self, state: PhotoState, picture: Picture) -> Outcome:
        """Earlier results, or new ones by a call."""
        prepared = await in_thread(self._work, self._prepare, state, picture)
        if isinstance(prepared, Results):
            return await in_thread(self._disk, self._publish, state, prepared)
        # Polled, as other programs make room too.
        while state.room is None:
            await asyncio.sleep(_ROOM_POLL)
            await in_thread(self._work, self._take_room, state, prepared)
        segmentation = await prepared.segment(self.engine, state.spooled)
        attempts = segmentation.attempts
        try:
            if segmentation.cutout is not None:  # nothing to compose: one thread for both steps
                return await in_thread(
                    self._disk, self._make_and_publish, state, prepared, segmentation
                )
            made = await in_thread(self._work, prepared.make, segmentation)
            del segmentation
            prepared.forget_pixels()
            state.yield_turn()
            return await in_thread(self._disk, self._publish, state, made)
        except PhotoError as error:
            # It was sent and paid for, so it has failed and is not rejected.
            error.attempts, error.rejected = attempts, False
            raise

    def _make_and_publish(
        self, state: PhotoState, prepared: Prepared[Results], segmentation: Segmentation
    ) -> Outcome:
        return self._publish(state, prepared.make(segmentation))

    def _prepare(self, state: PhotoState, picture: Picture) -> Results | Prepared[Results]:
        """Results that need no call, or the photo prepared for one."""
        if self.spool is not None:
            state.spooled = self.spool.of(self.fingerprint.answer_name(state.digest))
        decision = self.decider.by_bytes(state.due, picture, state.digest)
        if isinstance(decision, Failed):
            raise decision.error
        if isinstance(decision, NoPerson):
            return decision.results
        if isinstance(decision, Reuse):
            return decision.made(self.fingerprint.wanted, picture)
        for kind in (MASKS, CUTOUTS):
            if self.fingerprint.wants(kind):
                self.publisher.make_folder(kind, state.photo.name)
        prepared = Prepared.of(self.steps, picture)
        if self.spool and state.spooled and prepared.upload.picture is not picture:
            state.spooled.release()
            sha256 = sources.sha256_of(prepared.upload.picture)
            state.spooled = self.spool.of(self.fingerprint.answer_name(sha256))
        self._take_room(state, prepared)
        return prepared

    def _take_room(self, state: PhotoState, prepared: Prepared[Results]) -> None:
        """Reserve disk space for the answer and the results, unless other photos hold it."""
        spooled, room = state.spooled, room_for(prepared.upload.size)
        waits = spooled is not None and not spooled.is_there
        state.room = self.publisher.reserve(prepared.picture.size, at_once=room if waits else 0)
        if state.room is not None and spooled is not None:
            spooled.reserve(room)

    def _publish(self, state: PhotoState, made: Results) -> Outcome:
        """Mask, then cutout, then the row: the row is the mark that both are there.

        A photo without the person that the run requires is rejected: only its row is written, which
        tells later runs all that its answer did.
        """
        status = Status.DONE
        if lacks_person(self.fingerprint.wanted, made.coverage):
            self._retire_all(state)
            status, made = Status.REJECTED, replace(made, mask=None, cutout=None)
        for kind, data in ((MASKS, made.mask), (CUTOUTS, made.cutout)):
            if data is not None and kind not in made.in_place:
                ours = recorded(state.known, kind)
                self.publisher.check_place(kind, state.photo.name, may_replace=ours)
        mask = self._put(state, MASKS, made.mask, made)
        cutout = self._put(state, CUTOUTS, made.cutout, made)
        files = ((MASKS, made.mask, mask), (CUTOUTS, made.cutout, cutout))
        keeps_files = any(
            size is not None if data is None else kind in made.in_place and not is_present(data)
            for kind, data, size in files
        )
        outcome = self._made_outcome(state, status, made)
        shape = self.fingerprint.text(made.engine)
        checked = state.checked(self.decider.checked, keeps_files=keeps_files)
        self.journal.finish(
            Finished(state.photo, outcome, shape, checked, mask_size=mask, cutout_size=cutout)
        )
        if state.spooled is not None:
            state.spooled.drop()
        state.release()
        return outcome

    def _put(self, state: PhotoState, kind: str, data: bytes | None, made: Results) -> int | None:
        """Publish one file; the size in bytes for the row, ``None`` if there is no file."""
        how = self.fingerprint.made(kind, made.engine)
        if data is None:
            path = self.publisher.path(kind, state.photo.name)
            kept = kept_size(path, kind, state.known, state.sha256, how)
            if kept is None:
                self._retire(state, kind)
            return kept
        if kind not in made.in_place:
            data = attach(data, Proof(state.digest, how, made.doubt))
            ours = recorded(state.known, kind)
            self.publisher.publish(kind, state.photo.name, data, may_replace=ours)
        return len(data)

    def _give_up(self, state: PhotoState, error: PhotoError) -> Outcome:
        """Record a photo that failed or was rejected.

        Its earlier results stay, unless they were made of other bytes, or another engine has now
        refused the photo permanently.
        """
        known = state.known
        serves = known is not None and known.shape in self.fingerprint.accepted
        has_results = known is not None and known.has_results and not state.is_retired
        may_be_same = state.sha256 is not None or error.transient  # else it is not a file any more
        keeps = has_results and may_be_same and (error.rejected or error.transient or serves)
        if has_results and not keeps:
            self._retire_all(state)
        outcome, shape = self._left_out_outcome(state, error), str(self.fingerprint)
        if state.spooled is not None and not error.transient:
            state.spooled.drop()  # else an answer that was paid for waits for the next run
        checked = state.checked(self.decider.checked, keeps_files=keeps)
        self.journal.finish(Finished(state.photo, outcome, shape, checked, keeps_results=keeps))
        return outcome

    def _made_outcome(self, state: PhotoState, status: Status, made: Results) -> Outcome:
        name = state.photo.name
        outcome = Outcome(
            state.photo.source,
            status,
            repeated=status is Status.REJECTED and state.has_ended(NOBODY_FOUND, status),
            cutout=self.publisher.path(CUTOUTS, name) if made.cutout is not None else None,
            mask=self.publisher.path(MASKS, name) if made.mask is not None else None,
            attempts=made.attempts,
            request_id=made.request_id,
            image_id=made.image_id,
            time_used=made.time_used,
            engine=name_of(made.engine),
            coverage=made.coverage,
            doubt=made.doubt,
        )
        return state.completed(outcome)

    def _left_out_outcome(self, state: PhotoState, error: PhotoError) -> Outcome:
        outcome = Outcome.left_out(state.photo.source, error)
        return replace(
            state.completed(outcome),
            repeated=state.has_ended(error.code, outcome.status),
            engine=None if error.rejected else self.engine.name,
        )

    def close(self) -> None:
        """Release the threads, and clean up the answer spool."""
        self._work.shutdown(wait=False)
        self._disk.shutdown(wait=False)
        if self.spool is not None:
            with contextlib.suppress(HbsegError):
                self.spool.close(self.journal.is_settled)
