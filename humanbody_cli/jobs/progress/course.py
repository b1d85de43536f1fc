"""The course of a run, sampled for plots: kept in the journal, so that a killed run has it too."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Protocol

from humanbody_cli.core.errors import HbsegError
from humanbody_cli.core.outcomes import Status, Tally
from humanbody_cli.storage.tables.runs import RunCounts, RunEnd, Runs, Sample

MOST_SAMPLES = 500
_FIRST_INTERVAL = 1.0
_WRITE_EVERY = 10.0
"""Seconds between two updates of the journal; none waits for the disk."""


class Course:
    """Samples of a run, evenly spaced: where there are too many, every second one is dropped."""

    def __init__(self, most: int = MOST_SAMPLES) -> None:
        self.samples = [Sample(0.0)]
        self._most = most
        self._interval = _FIRST_INTERVAL

    def note(self, sample: Sample) -> None:
        """Keep a sample if its time has come."""
        if sample.seconds < self.samples[-1].seconds + self._interval:
            return
        self.samples.append(sample)
        if len(self.samples) >= self._most:
            del self.samples[1::2]
            self._interval *= 2

    def whole(self, last: Sample) -> list[Sample]:
        """All samples up to the end of the run."""
        return [*self.samples, last] if last.seconds > self.samples[-1].seconds else self.samples


class Answers(Protocol):
    """What is known of calls: the gate's figures, or those of the embedded engine."""

    calls: int
    refused: int
    answered: int
    latency: float


class NoAnswers:
    """An engine without calls. ``latency`` sums the model's time, in seconds."""

    def __init__(self) -> None:
        self.calls = self.refused = self.answered = 0
        self.latency = 0.0


class Recording:
    """Writes what a run comes to into its row of the journal."""

    def __init__(
        self, journal: Runs, tally: Tally, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.answers: Answers = NoAnswers()
        self._journal = journal
        self._tally = tally
        self._clock = clock
        self._start = self._written = clock()
        self._course = Course()

    def tick(self) -> None:
        """Take a sample if its time has come; called several times a second, from any thread."""
        self._course.note(self._sample())
        if self._journal.run and self._clock() - self._written >= _WRITE_EVERY:
            self._written = self._clock()
            with contextlib.suppress(HbsegError):  # the run meets it with its next photo
                self._journal.note_run(self._counts(), self._course.samples)

    def end(self, exit_code: int, reason: str, message: str | None) -> None:
        """Close the run's row.

        Raises:
            HbsegError: the journal cannot be written.
        """
        last = self._sample()
        samples = self._course.whole(last) if self._tally.total else []
        end = RunEnd(exit_code, reason, message, last.seconds)
        self._journal.end_run(self._counts(), samples, end)

    def _sample(self) -> Sample:
        answers, tally = self.answers, self._tally
        return Sample(
            seconds=round(self._clock() - self._start, 3),
            done=tally.done,
            left_out=tally.finished_left_out,
            calls=answers.calls,
            refused=answers.refused,
            answered=answers.answered,
            latency=round(answers.latency, 3),
        )

    def _counts(self) -> RunCounts:
        return RunCounts(
            calls=self.answers.calls,
            refused=self.answers.refused,
            done=self._tally.done,
            rejected=self._tally.finished[Status.REJECTED],
            failed=self._tally.finished[Status.FAILED],
            settled=self._tally.settled.total(),
        )
