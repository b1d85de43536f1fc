"""One photo and all that is done with it: its examination, the engine's call, the file's bytes."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, replace
from itertools import islice

from humanbody_cli.core.api_spec import NOBODY_FOUND
from humanbody_cli.core.errors import Interrupted, PhotoError, Stopped, UsageError
from humanbody_cli.core.outcomes import Outcome, Status, is_nobody
from humanbody_cli.core.photo import Photo
from humanbody_cli.core.settings import RunSettings
from humanbody_cli.core.stop import caught_signals
from humanbody_cli.discovery import sources
from humanbody_cli.discovery.find import find
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.imaging import proof
from humanbody_cli.imaging.cutouts import Labels, Recipe, sealed_png
from humanbody_cli.imaging.masks import Mask
from humanbody_cli.imaging.pictures import Picture
from humanbody_cli.jobs.progress.log import Log
from humanbody_cli.jobs.progress.reporter import Reporter
from humanbody_cli.jobs.recompose.recipes import composed, recipe_of
from humanbody_cli.jobs.setup.assembly import engine_for, steps_for
from humanbody_cli.jobs.single.place import KeptAnswer
from humanbody_cli.pipeline.decision import lacks_person, no_person
from humanbody_cli.pipeline.engine import name_of
from humanbody_cli.pipeline.fingerprint import Fingerprint, fingerprint_of
from humanbody_cli.pipeline.photo_steps import ClientSteps, Prepared, Results
from humanbody_cli.storage import ownership
from humanbody_cli.storage.layout import CUTOUTS, MASKS, SINGLE_SEAL


@dataclass(frozen=True)
class Work:
    """One photo and what is made of it: ``kind`` is the kind of result, a cutout or a mask.

    ``settings`` ask the engine for what the recipe needs.
    """

    settings: RunSettings
    kind: str
    recipe: Recipe
    fingerprint: Fingerprint
    photo: Photo
    reporter: Reporter

    @classmethod
    def of(cls, settings: RunSettings, log: Log) -> Work:
        """The one photo of these settings.

        Raises:
            UsageError: there is not exactly one, or options contradict each other.
        """
        wanted = settings.wanted
        recipe = recipe_of(settings.look, wanted.edges, wanted.metadata)
        kind = CUTOUTS if wanted.cutout else MASKS
        if kind == MASKS and not recipe.is_plain:
            raise UsageError(
                "--no-cutout leaves the mask, which is a png of the photo's size; drop it, or drop "
                "the options that are for cutouts"
            )
        fingerprint = fingerprint_of(settings)
        if not recipe.is_plain:  # composed here, of the mask
            settings = replace(settings, wanted=replace(wanted, mask=True, cutout=False))
        photos = list(islice(find(settings.inputs, Walk()), 2))
        if len(photos) != 1:
            raise UsageError("-o - and -o FILE take exactly one photo; use -o FOLDER for several")
        reporter = Reporter(settings.telling, json=settings.json, log=log, terminal=False)
        return cls(settings, kind, recipe, fingerprint, photos[0], reporter)

    def examined(self) -> Picture:
        """The photo, read and checked."""
        steps = self._steps
        return steps.examine(*sources.read(self.photo, steps.rules.most_bytes))

    @property
    def _steps(self) -> ClientSteps:
        keeps = not self.settings.uses_api
        return steps_for(self.settings, self.fingerprint.engine, keep_pixels=keeps)

    def done_before(self, path: str, sha256: str) -> Outcome | None:
        """The record of the photo if its file is there: made of these bytes, with these options, by
        an engine that serves.

        Raises:
            PhotoError: the file shows nobody, and the run requires a person.
        """
        made, done = ownership.made_of(path, SINGLE_SEAL), self._done(sha256, path)
        engines = self.fingerprint.engines
        if made in {self._digest(sha256, engine, nobody=True) for engine in engines}:
            if self.settings.wanted.require_person:
                raise no_person()
            return replace(done, coverage=0.0)
        return done if made in {self._digest(sha256, engine) for engine in engines} else None

    def _digest(self, sha256: str, engine: str, *, nobody: bool = False) -> str:
        """What the seal says. There is no journal, so it tells too that nobody was found."""
        how = self.fingerprint.made(self.kind, engine), self.recipe.made
        return proof.digest_of(sha256, *how, *([NOBODY_FOUND] if nobody else []))

    def segmented(self, picture: Picture, answer: KeptAnswer | None = None) -> Results:
        """The photo's results by the engine.

        Raises:
            PhotoError: the photo cannot be done, or nobody is in it and somebody is required.
            FatalError: no photo can be done.
            Interrupted: a signal came before the call, or a second one.
        """
        stop = self.reporter.stop
        try:
            made = asyncio.run(self._segment(picture, answer))
        except (Stopped, asyncio.CancelledError) as error:
            raise (stop.reason or error) from None
        if lacks_person(self.settings.wanted, made.coverage):
            rejected = no_person()
            rejected.attempts = made.attempts
            raise rejected
        return made

    async def _segment(self, picture: Picture, answer: KeptAnswer | None) -> Results:
        self._take_signals()
        engine, _ = engine_for(self.settings, self.reporter.stop, 1)
        try:
            prepared = Prepared.of(self._steps, picture)
            if answer is not None:
                sha256 = sources.sha256_of(prepared.upload.picture)
                answer.name = self.fingerprint.answer_name(sha256)
                if self.settings.output.force:
                    answer.discard()
            return prepared.make(await prepared.segment(engine, answer))
        finally:
            await engine.aclose()

    def _take_signals(self) -> None:
        """The first signal lets a call that is paid for finish; the second ends the command."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop, task, stop = asyncio.get_running_loop(), asyncio.current_task(), self.reporter.stop

        def end(number: int) -> None:
            waits = self.settings.uses_api and not stop.is_set
            stop.set(Interrupted(number))
            if not waits and task is not None:
                task.cancel()

        for number in caught_signals():
            loop.add_signal_handler(number, end, number)

    def data(self, picture: Picture, made: Results) -> bytes:
        """The bytes of the file.

        Raises:
            PhotoError: it cannot be composed.
        """
        nobody = is_nobody(made.coverage)
        digest = self._digest(sources.sha256_of(picture), made.engine, nobody=nobody)
        if self.recipe.is_plain:
            result = made.cutout if self.kind == CUTOUTS else made.mask
            assert result is not None
            return sealed_png(result, Labels(SINGLE_SEAL, digest))
        assert made.mask is not None
        mask = Mask.read(made.mask, picture.size).image
        try:
            return composed(self.recipe, picture, mask, SINGLE_SEAL, digest)
        except PhotoError as error:
            error.attempts = made.attempts
            raise

    def finished(
        self, picture: Picture, made: Results, seconds: float, path: str | None = None
    ) -> Outcome:
        """The record of the photo, done in so many seconds; ``path`` is its file, if it has one."""
        return replace(
            self._done(sources.sha256_of(picture), path),
            width=picture.size[0],
            height=picture.size[1],
            attempts=made.attempts,
            request_id=made.request_id,
            image_id=made.image_id,
            time_used=made.time_used,
            elapsed=round(seconds * 1000),
            engine=name_of(made.engine),
            coverage=made.coverage,
            doubt=made.doubt,
        )

    def _done(self, sha256: str, path: str | None) -> Outcome:
        cutout, mask = (path if self.kind == kind else None for kind in (CUTOUTS, MASKS))
        return Outcome(self.photo.source, Status.DONE, cutout=cutout, mask=mask, sha256=sha256)
