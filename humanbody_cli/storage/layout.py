"""The output folder: which files and folders are where, and the lock of the run at work in it."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable
from types import TracebackType

from humanbody_cli.core.errors import OutputHeld, output_error

MASKS = "masks"
CUTOUTS = "cutouts"
"""The folders of published masks and cutouts; also the names of these two kinds of results."""

RECOMPOSED = "recomposed"
"""The folder that `hbseg recompose` writes to by default."""

ASIDE = "replaced"
"""The folder, in the state folder, of results that wait for the photo they were made of."""

STATE = ".hbseg"
"""The folder in an output tree that holds its state."""

RESULTS = (MASKS, CUTOUTS, RECOMPOSED)
"""The folders of an output tree that hold results."""

RECOMPOSED_MARK = ".hbseg-recomposed"
"""An empty file in each folder of recomposed cutouts or of a report's thumbnails, wherever these
are: its pictures are not photos."""

RECOMPOSED_SEAL = "recomposed"
"""The kind of seal that the cutouts of `hbseg recompose` bear."""

THUMBNAIL = re.compile(r"([0-9a-f]{20})(?:-([1-7]))?\.webp")
"""The names of a report's thumbnails, which bear no seal."""

SINGLE_SEAL = "single"
"""The kind of seal that the file of one photo bears (`hbseg segment me.jpg -o me.png`)."""

BESIDE = "-cutout"
"""What such a file's name has behind the photo's, where the user gives it none."""

LOCK = "lock"
"""The file, in the state folder, that a run locks: one run at a time per output folder."""

_POLL = 0.2
"""Seconds between two attempts to take the lock."""

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
"""A link at the lock's name would have its target written to."""


class OutputLock:
    """``flock`` on a file of the output's state folder; it also says who holds it.

    The kernel drops it with its holder: a pid file would go stale after a crash, this cannot.
    """

    def __init__(
        self,
        path: str,
        *,
        wait: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._wait = wait
        self._clock = clock
        self._sleep = sleep
        self._file = -1

    def __enter__(self) -> OutputLock:
        """Take the lock.

        Raises:
            OutputHeld: another run holds it, and still does after ``wait`` seconds.
            OutputError: the folder cannot be written.
        """
        deadline = self._clock() + self._wait
        try:
            self._file = os.open(self._path, _FLAGS, 0o666)
            while not self._try():
                if self._clock() >= deadline:
                    raise OutputHeld(
                        f"{os.path.dirname(os.path.dirname(self._path)) or '.'}: "
                        f"another run is using this folder ({self._holder()}); "
                        "wait for it, or give --lock-wait SECONDS"
                    )
                self._sleep(_POLL)
            os.ftruncate(self._file, 0)
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            whoami = f"process {os.getpid()} on {os.uname().nodename}, since {since}"
            os.pwrite(self._file, whoami.encode(), 0)
        except OSError as error:
            self._close()
            raise output_error(self._path, error) from error
        except OutputHeld:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop the lock."""
        self._close()

    def _try(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _holder(self) -> str:
        return os.pread(self._file, 200, 0).decode("utf-8", "replace") or "unknown"

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
