"""Outcomes: one photo's record, the counts and exit code of a run, and the reporter of both."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from humanbody_cli.core import api_spec
from humanbody_cli.core.console import counted, shown, write_line
from humanbody_cli.core.errors import StdoutError
from humanbody_cli.core.stop import Stop

NOBODY_MESSAGE = "no person was found in this photo"


def is_nobody(coverage: float | None) -> bool:
    """Whether a photo whose mask has this coverage shows nobody: no pixel has confidence above .5.

    `Mask.coverage` is 0 for such masks alone. Earlier versions rounded up to .005 % of the pixels
    down to 0; their rows count the same. ``None``, a coverage that is not known, is not 0.
    """
    return coverage == 0


def code_of(code: str | None, coverage: float | None) -> str | None:
    """The code of a record: its own, or `api_spec.NOBODY_FOUND` by its coverage. Rows of earlier
    versions have none of their own for it."""
    return api_spec.NOBODY_FOUND if code is None and is_nobody(coverage) else code


class Status(str, Enum):
    """How a photo ended; pending if it has not."""

    DONE = "done"
    REJECTED = "rejected"
    FAILED = "failed"
    PENDING = "pending"


@dataclass(frozen=True)
class Outcome:
    """One photo's record.

    ``width`` and ``height`` are pixels of the upright photo; ``time_used`` is the engine's own
    figure and ``elapsed`` the whole time in hbseg, both in milliseconds; ``coverage`` is the
    part of the photo inside the mask (0 to 1) and ``doubt`` how unsure the mask is (0 sure to 1).
    A record with coverage 0 and no other code gets the code `api_spec.NOBODY_FOUND`.
    ``cutout`` and ``mask`` are paths, ``None`` where none was made. ``repeated``: the run before
    ended the same way; it is for the summary and not part of the record.
    """

    source: str
    status: Status
    code: str | None = None
    message: str | None = None
    cutout: str | None = None
    mask: str | None = None
    width: int | None = None
    height: int | None = None
    attempts: int = 0
    request_id: str | None = None
    image_id: str | None = None
    time_used: int | None = None
    elapsed: int | None = None
    engine: str | None = None
    sha256: str | None = None
    coverage: float | None = None
    doubt: float | None = None
    transient: bool = False
    repeated: bool = False

    def __post_init__(self) -> None:
        if code_of(self.code, self.coverage) != self.code:
            object.__setattr__(self, "code", api_spec.NOBODY_FOUND)
            object.__setattr__(self, "message", NOBODY_MESSAGE)

    @property
    def is_nobody(self) -> bool:
        """Whether the photo is done and nobody was found in it."""
        return self.status is Status.DONE and is_nobody(self.coverage)

    @property
    def is_doubtful(self) -> bool:
        """Whether a person should look at the mask."""
        return self.doubt is not None and self.doubt > DOUBTFUL

    def record(self) -> dict[str, Any]:
        """The public record: plain values, in a fixed order."""
        record = asdict(self)
        record["status"] = self.status.value
        del record["repeated"]
        return record


def json_line(record: dict[str, Any]) -> str:
    """One line of JSON. ASCII only, so that names that are not UTF-8 survive as escapes."""
    return json.dumps(record, ensure_ascii=True, separators=(",", ":"))


PHOTOS_LEFT_OUT = 3
"""Exit code: some photos were rejected or failed."""


@dataclass
class Tally:
    """Counts of a run. ``settled`` are photos that were settled before it.

    ``nobody`` and ``nobody_before`` count the done photos in which nobody was found.
    ``repeated`` counts rejected and failed photos of this run that ended the same way in the run
    before. With ``ignore_known`` only new ones count for the exit code.
    """

    finished: Counter[Status] = field(default_factory=Counter)
    settled: Counter[str] = field(default_factory=Counter)
    doubtful: int = 0
    nobody: int = 0
    nobody_before: int = 0
    repeated: int = 0
    ignore_known: bool = False

    def add(self, outcome: Outcome) -> None:
        """Count the outcome of a photo."""
        self.finished[outcome.status] += 1
        self.repeated += outcome.repeated
        if outcome.status is Status.DONE:
            self.doubtful += outcome.is_doubtful
            self.nobody += outcome.is_nobody

    @property
    def done(self) -> int:
        """Photos done in this run."""
        return self.finished[Status.DONE]

    @property
    def total(self) -> int:
        """Photos that ended in this run."""
        return sum(self.finished.values())

    @property
    def left_out(self) -> int:
        """Photos that are rejected or failed, by this run or an earlier one."""
        return sum(
            self.finished[status] + self.settled[status.value]
            for status in (Status.REJECTED, Status.FAILED)
        )

    @property
    def finished_left_out(self) -> int:
        """Photos that this run rejected or failed."""
        return self.finished[Status.REJECTED] + self.finished[Status.FAILED]

    @property
    def newly_left_out(self) -> int:
        """Photos that this run rejected or failed and the run before did not."""
        return self.finished_left_out - self.repeated

    def exit_code(self) -> int:
        """0, or 3 if photos of the run's inputs are rejected or failed."""
        counted = self.newly_left_out if self.ignore_known else self.left_out
        return PHOTOS_LEFT_OUT if counted else 0

    def counts(self) -> str:
        """``12 done (nobody found in 2 photos), 1 rejected, 3 done before``; ``3 done before`` if
        none ended in this run."""
        done = f"{self.done:,} done{nobody_found(self.nobody)}"
        parts = [done] if self.total or not self.settled else []
        parts += [
            f"{self.finished[status]:,} {status.value}"
            for status in (Status.REJECTED, Status.FAILED)
            if self.finished[status]
        ]
        parts += [
            f"{self.settled[status.value]:,} {status.value} before"
            + nobody_found(self.nobody_before if status is Status.DONE else 0)
            for status in (Status.DONE, Status.REJECTED, Status.FAILED)
            if self.settled[status.value]
        ]
        return ", ".join(parts)


DOUBTFUL = 0.15
"""A doubt above this marks about a tenth of photographs; their masks have a mean IoU of .70, the
others .94."""


class Reporter:
    """Reports a run: lines and a bar on stderr, JSON lines on stdout, counts in ``tally``.

    There is no bar where stderr is not a terminal or ``-q`` was given. Once stdout is lost,
    ``stop`` is set with the `StdoutError` and no further line is written there.
    """

    def __init__(
        self,
        *,
        verbosity: int,
        json: bool = False,
        ignore_known: bool = False,
        terminal: bool | None = None,
    ) -> None:
        self.tally = Tally(ignore_known=ignore_known)
        self.stop = Stop()
        self._json = json
        self._verbosity = verbosity
        on_terminal = sys.stderr.isatty() if terminal is None else terminal
        self._bar: Any = None
        if on_terminal and verbosity >= 0:
            from tqdm import tqdm

            self._bar = tqdm(
                unit=" photos", dynamic_ncols=True, smoothing=0.1, leave=False, file=sys.stderr
            )

    def say(self, line: str, *, level: int = 0) -> None:
        """One line on stderr; ``level`` 1 only with ``-v``, -1 even with ``-q``.

        Names in it, and what a server said, are made safe to show.
        """
        if level > self._verbosity:
            return
        if self._bar is not None:
            self._bar.write(shown(line), file=sys.stderr)
        else:
            print(shown(line), file=sys.stderr, flush=True)  # noqa: T201 - the one place

    def notes(self, notes: Iterable[str], quiet_notes: Iterable[str]) -> None:
        """The notes of a walk; ``-q`` suppresses the quiet ones."""
        for note in notes:
            self.say(note, level=-1)
        for note in quiet_notes:
            self.say(note)

    def skip(
        self,
        status: str,
        keys: list[bytes],
        outcome: Callable[[bytes], Outcome],
        *,
        nobody: bool = False,
    ) -> None:
        """Report photos that an earlier run settled with this status; ``nobody`` was found in them.
        ``outcome`` finds the record of each, for its JSON line."""
        self.tally.settled[status] += len(keys)
        self.tally.nobody_before += len(keys) if nobody else 0
        if self._bar is not None:
            self._bar.update(len(keys))
        if self._json:
            for key in keys:
                self._write({**outcome(key).record(), "skipped": True})

    def add(self, outcome: Outcome) -> None:
        """Report the outcome of a photo."""
        self.tally.add(outcome)
        if outcome.status in (Status.REJECTED, Status.FAILED):
            level = 0 if outcome.repeated else -1
            self.say(f"{outcome.source}: {outcome.code}: {outcome.message}", level=level)
        elif outcome.status is Status.DONE:
            self.say(_done_line(outcome), level=1)
        if self._bar is not None:
            if left_out := self.tally.finished_left_out:
                self._bar.set_postfix_str(f"{left_out} left out", refresh=False)
            self._bar.update(1)
        if self._json:
            self._write(outcome.record())

    def _write(self, record: dict[str, Any]) -> None:
        if isinstance(self.stop.reason, StdoutError):
            return
        try:
            write_line(json_line(record))
        except StdoutError as error:
            self.stop.set(error)

    def exit_code(self) -> int:
        """The exit code of the reason to stop; otherwise 0, or 3 if photos were left out."""
        return self.stop.reason.exit_code if self.stop.reason else self.tally.exit_code()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def _done_line(outcome: Outcome) -> str:
    doubt = f", doubt {outcome.doubt:.2f}" if outcome.doubt is not None else ""
    told = f": {outcome.code}: {outcome.message}" if outcome.code is not None else ""
    return f"{outcome.source}: done in {outcome.elapsed} ms{doubt}{told}"


def nobody_found(photos: int) -> str:
    """What is added to a count of done photos: `` (nobody found in 3 photos)``; empty for 0."""
    return f" (nobody found in {counted(photos, 'photo')})" if photos else ""


def passed_over(others: int) -> str:
    """What a summary adds about files that are not photos: ``; 3 other files skipped``."""
    return f"; {counted(others, 'other file')} skipped" if others else ""
