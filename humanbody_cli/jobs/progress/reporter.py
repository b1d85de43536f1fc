"""The reporter of a command: what it says, on stderr, on stdout and in the log, and its counts."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from humanbody_cli.core.console import shown, write_line
from humanbody_cli.core.errors import StdoutError
from humanbody_cli.core.outcomes import Outcome, Status, Tally, json_line
from humanbody_cli.core.settings import ProgressChoice, Telling
from humanbody_cli.core.stop import Stop
from humanbody_cli.jobs.progress.bar import Bar
from humanbody_cli.jobs.progress.counting import Counting
from humanbody_cli.jobs.progress.figures import Figures, Progress
from humanbody_cli.jobs.progress.log import ERROR, INFO, WARNING, Log, stamp
from humanbody_cli.jobs.progress.words import plain_line

_REPAINT = 0.25
"""Seconds between two paintings of the bar."""

_FIRST_PAINT = 0.3
"""Seconds of a command after which the bar appears: shorter ones need none."""


def shown_progress(telling: Telling, *, terminal: bool) -> ProgressChoice:
    """How progress is shown, where stderr is a terminal or is not."""
    if telling.progress is not ProgressChoice.AUTO:
        return telling.progress
    if telling.verbosity < 0:
        return ProgressChoice.NONE
    return ProgressChoice.BAR if terminal else ProgressChoice.PLAIN


class Reporter:
    """Reports a command: lines and progress on stderr, JSON lines on stdout, counts in ``tally``,
    all of it but stdout in the log too.

    Once stdout is lost, ``stop`` is set with the `StdoutError` and no further line is written
    there. Any thread. ``clock`` is in seconds, monotonic.
    """

    def __init__(
        self,
        telling: Telling,
        *,
        json: bool = False,
        ignore_known: bool = False,
        log: Log | None = None,
        terminal: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tally = Tally(ignore_known=ignore_known)
        self.stop = Stop()
        self.progress = Progress(self.tally, clock)
        self._telling = telling
        self._json = json
        self._log = log or Log()
        self._log.tell = self._print
        self._clock = clock
        self._guard = threading.RLock()
        on_terminal = sys.stderr.isatty() if terminal is None else terminal
        self._shown = shown_progress(telling, terminal=on_terminal)
        self._bar = Bar() if self._shown is ProgressChoice.BAR else None
        self._paint_at = clock() + _FIRST_PAINT
        self._line_at = clock() + telling.interval

    # -- lines -----------------------------------------------------------------------------------

    def say(self, line: str, *, level: int = 0, severity: str | None = None) -> None:
        """One line on stderr; ``level`` 1 only with ``-v``, -1 even with ``-q``.

        Names in it, and what a server said, are made safe to show. The log has it at any verbosity.
        """
        self._log.line(line, severity or (WARNING if level < 0 else INFO))
        self._say(line, level)

    def error(self, line: str) -> None:
        """One line on why the command ends, even with ``-q``."""
        self.say(line, level=-1, severity=ERROR)

    def notes(self, notes: Iterable[str], quiet_notes: Iterable[str]) -> None:
        """The notes of a walk; ``-q`` suppresses the quiet ones."""
        for note in notes:
            self.say(note, level=-1)
        for note in quiet_notes:
            self.say(note)

    def _say(self, line: str, level: int) -> None:
        if level <= self._telling.verbosity:
            self._print(line)

    def _print(self, line: str) -> None:
        with self._guard:
            if self._bar is not None:
                self._bar.write(shown(line))
            else:
                print(shown(line), file=sys.stderr, flush=True)  # noqa: T201 - the one place

    # -- photos ----------------------------------------------------------------------------------

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
        self.tick()
        if self._json:
            for key in keys:
                self._write({**outcome(key).record(), "skipped": True})

    def add(self, outcome: Outcome) -> None:
        """Report the outcome of a photo."""
        self.count(outcome)
        line, level = _line_of(outcome)
        self._log.photo(line, outcome)
        self._say(line, level)
        if self._json:
            self._write(outcome.record())

    def count(self, outcome: Outcome) -> None:
        """Count the outcome of a photo, without a line about it."""
        self.tally.add(outcome)
        self.progress.note()
        self.tick()

    def _write(self, record: dict[str, object]) -> None:
        if isinstance(self.stop.reason, StdoutError):
            return
        try:
            write_line(json_line(record))
        except StdoutError as error:
            self.stop.set(error)

    # -- progress --------------------------------------------------------------------------------

    @property
    def shows_progress(self) -> bool:
        """Whether a total is of use."""
        return self._shown is not ProgressChoice.NONE

    def tick(self) -> None:
        """Show progress if its time has come."""
        now = self._clock()
        if self._bar is not None and now >= self._paint_at:
            with self._guard:
                self._paint_at = now + _REPAINT
                if self._bar is not None:
                    self._bar.paint(self._figures())
        if now >= self._line_at and self.shows_progress:
            with self._guard:
                self._line_at = now + self._telling.interval
                line = plain_line(self._figures())
                self._log.line(line, event="progress")
                if self._shown is ProgressChoice.PLAIN:
                    self._print(f"{stamp(self._log.now())} {line}")

    def _figures(self) -> Figures:
        return self.progress.figures(is_stopping=self.stop.is_set)

    @contextlib.contextmanager
    def at_work(
        self,
        counting: Callable[[], Counting | None] = lambda: None,
        also: Callable[[], None] = lambda: None,
    ) -> Iterator[None]:
        """While photos are done: progress is shown and ``also`` is called some times a second, and
        photos are counted ahead, if a total is of use."""
        ended = threading.Event()
        counted = counting() if self.shows_progress else None
        if counted is not None:
            self.progress.ahead = counted
            # Lines are rare: a run that ends before the first one needs no total.
            counted.start(_FIRST_PAINT if self._bar is not None else self._telling.interval / 2)
        self.progress.begin()
        ticker = threading.Thread(target=self._keep_ticking, args=(ended, also), daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread to be had: photos still move the bar
            ticker.start()
        try:
            yield
        finally:
            ended.set()
            if counted is not None:
                counted.cancel()
            if ticker.ident is not None:
                ticker.join(_REPAINT)

    def _keep_ticking(self, ended: threading.Event, also: Callable[[], None]) -> None:
        while not ended.wait(_REPAINT):
            self.progress.note()
            self.tick()
            also()

    def exit_code(self) -> int:
        """The exit code of the reason to stop; otherwise 0, or 3 if photos were left out."""
        return self.stop.reason.exit_code if self.stop.reason else self.tally.exit_code()

    def close(self) -> None:
        """Remove the bar."""
        with self._guard:
            if self._bar is not None:
                self._bar.close()
                self._bar = None


def _line_of(outcome: Outcome) -> tuple[str, int]:
    """What is said of a photo, and from which verbosity on."""
    if outcome.status in (Status.REJECTED, Status.FAILED):
        line = f"{outcome.source}: {outcome.code}: {outcome.message}"
        return line, 0 if outcome.repeated else -1
    if outcome.status is Status.PENDING:  # `check`: it would be sent
        return f"{outcome.source}: accepted", 1
    doubt = f", doubt {outcome.doubt:.2f}" if outcome.doubt is not None else ""
    told = f": {outcome.code}: {outcome.message}" if outcome.code is not None else ""
    return f"{outcome.source}: done in {outcome.elapsed} ms{doubt}{told}", 1
