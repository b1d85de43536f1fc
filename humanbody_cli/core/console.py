"""The process's own streams, and the reporter: data on stdout, progress and notes on stderr."""

from __future__ import annotations

import io
import os
import select
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from humanbody_cli.core.errors import StdoutError, stdout_error
from humanbody_cli.core.outcomes import Outcome, Status, Tally, json_line
from humanbody_cli.core.stop import Stop

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Stdout(io.FileIO):
    """Descriptor 1. Its errors are raised as `StdoutError`, which passes through Python's buffers
    and through Click as it is; Click makes exit code 1 of a ``BrokenPipeError``."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            while (taken := super().write(data)) is None:
                select.select((), (self,), ())  # the parent left it non-blocking, and it is full
        except OSError as error:
            # What the buffers still hold has nowhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise stdout_error(error) from error
        return taken


class _Stderr(io.FileIO):
    """Descriptor 2, whose errors are ignored."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            taken = super().write(data)
        except OSError:
            taken = None
        return memoryview(data).nbytes if taken is None else taken


def prepare() -> None:
    """Make the three streams safe to use, once, before anything is printed.

    A stream that the caller closed (``>&-``) becomes /dev/null: otherwise the next file to be
    opened, the journal perhaps, would get its number and be written to as stdout.
    """
    for number in (0, 1, 2):
        if not _is_open(number):
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for good
    sys.stdout = _text(_Stdout(1, "wb", closefd=False), getattr(sys.stdout, "encoding", "utf-8"))
    sys.stderr = _text(_Stderr(2, "wb", closefd=False), getattr(sys.stderr, "encoding", "utf-8"))
    sys.stderr.reconfigure(line_buffering=True)


def _text(raw: io.FileIO, encoding: str) -> io.TextIOWrapper:
    # Names may hold what the locale's encoding has no code for.
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=raw.isatty(),
    )


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def write_line(text: str) -> None:
    """One line of data on stdout, at once: a program may wait for it.

    Raises:
        StdoutError: nobody reads stdout any more, or its disk is full.
    """
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def write_data(data: bytes) -> None:
    """Bytes on stdout, as they are; the last of them reach it when the command ends.

    Raises:
        StdoutError: nobody reads stdout any more, or its disk is full.
    """
    sys.stdout.flush()
    sys.stdout.buffer.write(data)


def shown(text: str) -> str:
    """Text fit for a terminal: control characters and bytes that are no text are escaped.

    For everything that a server, a file or a journal says. What is escaped already stays as it is.
    """
    return "".join(
        char
        if char.isprintable()
        else char.encode("unicode_escape", "surrogateescape").decode()
        if not "\udc80" <= char <= "\udcff"
        else f"\\x{ord(char) - 0xDC00:02x}"
        for char in text
    )


class Reporter:
    """Tells how a run goes: lines and a bar on stderr, JSON lines on stdout, counts in ``tally``.

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
        """The notes of a walk; ``-q`` keeps back the quiet ones."""
        for note in notes:
            self.say(note, level=-1)
        for note in quiet_notes:
            self.say(note)

    def skip(self, status: str, keys: list[bytes], outcome: Callable[[bytes], Outcome]) -> None:
        """Photos that an earlier run settled with this status. ``outcome`` finds what became of
        each, for its JSON line."""
        self.tally.settled[status] += len(keys)
        if self._bar is not None:
            self._bar.update(len(keys))
        if self._json:
            for key in keys:
                self._write({**outcome(key).record(), "skipped": True})

    def add(self, outcome: Outcome) -> None:
        """A photo came to its end."""
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
        """That of the reason to stop, else 0, or 3 where photos were left out."""
        return self.stop.reason.exit_code if self.stop.reason else self.tally.exit_code()

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


def passed_over(others: int) -> str:
    """What a summary adds about files that are not photos: ``; 3 other files skipped``."""
    return f"; {counted(others, 'other file')} skipped" if others else ""


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
