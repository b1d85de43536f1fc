"""The log file: each line that a command says, with its time, and one per photo.

A log that cannot be written does not end a run: paid calls are worth more than it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from humanbody_cli.core.console import shown
from humanbody_cli.core.errors import HbsegError, UsageError
from humanbody_cli.core.outcomes import Outcome, Status, json_line
from humanbody_cli.core.settings import LogFormat, Telling

INFO, WARNING, ERROR = "info", "warning", "error"
"""Levels of lines."""

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
_WRITE_ONLY = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
_HEAD = 512
"""Bytes at the beginning of a file that are checked to be text."""


def local_time() -> datetime:
    """Now, with the offset of the local time zone."""
    return datetime.now().astimezone()


def stamp(moment: datetime) -> str:
    """``2026-01-31T12:00:00.123+01:00``."""
    return moment.isoformat(timespec="milliseconds")


@dataclass
class Log:
    """An open log file, or none at all (``file`` is ``None``).

    ``tell`` receives one sentence when the file cannot be written for the first time.
    """

    file: int | None = None
    path: str = ""
    format: LogFormat = LogFormat.TEXT
    now: Callable[[], datetime] = local_time
    tell: Callable[[str], None] = lambda _: None
    _is_faulty: bool = False
    _is_torn: bool = False

    def line(self, text: str, level: str = INFO, event: str = "message", **more: Any) -> None:
        """Write a line. ``event`` and ``more`` are for the format of programs."""
        if self.file is None:
            return
        time = stamp(self.now())
        if self.format is LogFormat.JSON:
            record = {"time": time, "level": level, "event": event, "message": text, **more}
            self._write(json_line(record))
        else:
            self._write(f"{time} {level} {shown(text)}")

    def photo(self, text: str, outcome: Outcome) -> None:
        """Write what became of a photo."""
        if self.file is None:
            return
        level = INFO if outcome.status in (Status.DONE, Status.PENDING) else WARNING
        self.line(text, level, "photo", photo=outcome.record())

    def _write(self, line: str) -> None:
        assert self.file is not None
        data = (line + "\n").encode("utf-8", "backslashreplace")
        if self._is_torn:  # the line before ended in the middle, and this one must be whole
            data = b"\n" + data
        try:
            written = os.write(self.file, data)
            self._is_torn = 0 < written < len(data)
            if written < len(data):
                os.write(self.file, data[written:])  # says why
                self._is_torn = False
        except OSError as error:
            if not self._is_faulty:
                self._is_faulty = True
                why = error.strerror or str(error)
                self.tell(f"the log {self.path} cannot be written: {why}; the run goes on")


@contextlib.contextmanager
def opened(telling: Telling) -> Iterator[Log]:
    """The log of a command; the error that ends the command is written too.

    Raises:
        UsageError: the file cannot be written, or holds something other than text.
    """
    if telling.log_file is None:
        yield Log()
        return
    file = _open(telling.log_file)
    log = Log(file, telling.log_file, telling.log_format, tell=_say)
    try:
        yield log
    except HbsegError as error:
        log.line(f"hbseg: {error}", ERROR)
        raise
    except Exception as error:
        log.line(f"hbseg: {type(error).__name__}: {error}", ERROR)
        raise
    finally:
        os.close(file)


def _say(sentence: str) -> None:
    print(shown(sentence), file=sys.stderr, flush=True)  # noqa: T201 - where no reporter is at work


def _open(path: str) -> int:
    try:
        try:
            file = os.open(path, _FLAGS, 0o666)
        except PermissionError:  # a file that may be written and not read
            return os.open(path, _WRITE_ONLY)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"--log-file {path}: cannot be written: {why}; check the path and its permissions"
        ) from error
    if stat.S_ISREG(os.fstat(file).st_mode) and b"\0" in os.pread(file, _HEAD, 0):
        os.close(file)
        raise UsageError(f"--log-file {path}: this file is not a log; choose another name")
    return file
