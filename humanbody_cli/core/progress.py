"""What a run says on stderr: a bar on a terminal, one line a photo that was left out, a summary."""

from __future__ import annotations

import sys
import time
from typing import Any

from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.core.streams import shown
from humanbody_cli.core.tally import Tally


class Progress:
    """Tells a person how the run goes. No bar where stderr is no terminal or ``-q`` was given."""

    def __init__(self, *, verbosity: int, terminal: bool | None = None) -> None:
        self._verbosity = verbosity
        on_terminal = sys.stderr.isatty() if terminal is None else terminal
        self._bar: Any = None
        if on_terminal and verbosity >= 0:
            from tqdm import tqdm

            self._bar = tqdm(
                unit=" photos", dynamic_ncols=True, smoothing=0.1, leave=False, file=sys.stderr
            )

    def say(self, line: str, *, level: int = 0) -> None:
        """One line; ``level`` 1 only with ``-v``, -1 even with ``-q``.

        Whatever stands in it, names and what a server said among them, is made safe to show.
        """
        if level > self._verbosity:
            return
        if self._bar is not None:
            self._bar.write(shown(line), file=sys.stderr)
        else:
            print(shown(line), file=sys.stderr, flush=True)  # noqa: T201 - the one place

    def expect(self, total: int) -> None:
        """How many photos there are, once that is known."""
        if self._bar is not None:
            self._bar.total = total
            self._bar.refresh()

    def passed(self, count: int) -> None:
        """Photos that were settled before this run."""
        if self._bar is not None:
            self._bar.update(count)

    def add(self, outcome: Outcome, tally: Tally) -> None:
        """A photo came to its end."""
        if outcome.status in (Status.REJECTED, Status.FAILED):
            level = 0 if outcome.repeated else -1
            self.say(f"{outcome.source}: {outcome.code}: {outcome.message}", level=level)
        elif outcome.status is Status.DONE:
            self.say(_done_line(outcome), level=1)
        if self._bar is not None:
            left_out = tally.finished[Status.REJECTED] + tally.finished[Status.FAILED]
            if left_out:
                self._bar.set_postfix_str(f"{left_out} left out", refresh=False)
            self._bar.update(1)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


def _done_line(outcome: Outcome) -> str:
    doubt = f", doubt {outcome.doubt:.2f}" if outcome.doubt is not None else ""
    return f"{outcome.source}: done in {outcome.elapsed} ms{doubt}"


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._start


def counted(count: int, noun: str) -> str:
    """``1 call``, ``12 calls``, ``1,200 calls``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """``0.8 s``, ``42 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
