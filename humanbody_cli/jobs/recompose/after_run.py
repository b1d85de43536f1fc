"""Composed pictures straight from ``hbseg segment``: made after the run, of its photos alone."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from humanbody_cli.core.errors import HbsegError, Interrupted, JournalError, OutputError, UsageError
from humanbody_cli.core.paths import Digests
from humanbody_cli.core.settings import RunSettings
from humanbody_cli.discovery.inputs import STDIN
from humanbody_cli.imaging.cutouts import Recipe
from humanbody_cli.jobs.recompose import batch
from humanbody_cli.jobs.recompose.recipes import recipe_of
from humanbody_cli.jobs.recompose.selection import Selection
from humanbody_cli.storage.journal import Journal


@dataclass(frozen=True)
class Composer:
    """Composes the photos of a run, whose keys are in ``met``, once it has ended."""

    recipe: Recipe
    met: Digests = field(default_factory=Digests)

    @classmethod
    def of(cls, settings: RunSettings) -> Composer:
        """The composer that the options ask for.

        Raises:
            UsageError: they contradict each other or the input.
        """
        recipe = recipe_of(settings.look, settings.wanted.edges, settings.wanted.metadata)
        if STDIN in settings.inputs.inputs:
            raise UsageError(
                "a photo from stdin is not kept, so it is composed only with -o FILE or -o -; give "
                "one of these, or drop the options for composing"
            )
        return cls(recipe)

    def compose(self, settings: RunSettings, code: int, reason: HbsegError | None) -> int:
        """Compose the photos of a run that ended with this exit code, and this ``reason`` to stop
        if there was one: after a signal or an error of the disk nothing is begun. The exit code is
        the run's, or that of composing after a run without fault.

        Raises:
            HbsegError: what `batch.run` raises.
        """
        if isinstance(reason, Interrupted | OutputError | JournalError):
            return code
        journal = Journal(os.fspath(settings.output.folder), read_only=True)
        try:
            selection = Selection(lambda outcome: outcome.source in self.met)
            composed = batch.run(
                journal,
                self.recipe,
                selection,
                json=False,
                telling=settings.telling,
                all_or_none=False,  # the photos are paid for: one odd file must not stop the rest
            )
        finally:
            journal.close()
        return code or composed
