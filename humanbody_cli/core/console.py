"""The streams of the process: data on stdout, text on stderr, and how figures are worded."""

from __future__ import annotations

import io
import os
import re
import select
import sys
import time
from typing import TYPE_CHECKING

from humanbody_cli.core.errors import stdout_error

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Stdout(io.FileIO):
    """Descriptor 1. Its errors are raised as `StdoutError`, which passes unchanged through Python's
    buffers and through Click; Click turns a ``BrokenPipeError`` into exit code 1."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            while (taken := super().write(data)) is None:
                select.select((), (self,), ())  # the parent left it non-blocking, and it is full
        except OSError as error:
            # What is still in the buffers is dropped.
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
    # Names may contain characters that the locale's encoding lacks.
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
        StdoutError: its reader has closed stdout, or its disk is full.
    """
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def write_data(data: bytes) -> None:
    """Bytes on stdout, as they are; the last of them reach it when the command ends.

    Raises:
        StdoutError: its reader has closed stdout, or its disk is full.
    """
    sys.stdout.flush()
    sys.stdout.buffer.write(data)


def shown(text: str) -> str:
    """Text that is safe for a terminal: control characters and bytes that are not text are escaped.

    For all text from servers, files and the journal. Text that is escaped already is unchanged.
    """
    return "".join(
        char
        if char.isprintable()
        else char.encode("unicode_escape", "surrogateescape").decode()
        if not "\udc80" <= char <= "\udcff"
        else f"\\x{ord(char) - 0xDC00:02x}"
        for char in text
    )


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


_SCHEME = re.compile(r"(?:(?:[a-z][a-z0-9+.-]*:)?[/\\]{2})?", re.IGNORECASE)
_HOST = re.compile(r"(?:\[[^\]@]*\]|[^/@:?#]*)(?::[0-9]*)?(?:/|$)")


def without_password(address: str) -> str:
    """An address without the user and password that a proxy in front of a server may ask for, and
    without a query. An address that is none (no scheme, a slash in the password) may have them too.
    """
    begin = _SCHEME.match(address)
    scheme = begin[0] if begin else ""
    rest = address[len(scheme) :]
    if not _HOST.match(rest):
        rest = rest.rpartition("@")[2]
    place, mark, _ = rest.partition("?")
    return scheme + place + (mark and "?...")
