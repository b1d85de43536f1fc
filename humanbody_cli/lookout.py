"""Are the published files there in full? Asked of every done photo of a second run.

Two looks a photo are most of such a run's time, and the system call is all there is to them: on a
large tree a second process does them on another core, while the first walks the photos.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import struct
from collections import deque
from typing import NoReturn, Protocol

from humanbody_cli.journal import Done

_LENGTH = struct.Struct("<I")


class Looks(Protocol):
    """Takes done rows and tells, in the same order, which have their files in full."""

    ahead: int
    """Questions that are worth asking before the first answer is read."""

    def ask(self, rows: list[Done]) -> None:
        """Ask about some rows."""

    def answer(self) -> bytes:
        """The answer to the oldest question: a byte for each row, 1 where all is there."""

    def close(self) -> None:
        """No more questions."""


class OwnLooks:
    """Looks by itself. ``masks`` and ``cutouts`` are folders with a slash, ``None``: unwanted."""

    ahead = 0

    def __init__(self, masks: bytes | None, cutouts: bytes | None) -> None:
        self._masks = masks
        self._cutouts = cutouts
        self._answers: deque[bytes] = deque()

    def ask(self, rows: list[Done]) -> None:
        """See `Looks`."""
        self._answers.append(bytes(map(self.is_whole, rows)))

    def answer(self) -> bytes:
        """See `Looks`."""
        return self._answers.popleft()

    def is_whole(self, row: Done) -> bool:
        """Whether one row's files have the sizes that were published."""
        # Names stay bytes: decoding them would cost as much as the look at the disk.
        _, name, _, _, mask_size, cutout_size = row
        try:
            return (self._masks is None or os.stat(self._masks + name).st_size == mask_size) and (
                self._cutouts is None or os.stat(self._cutouts + name).st_size == cutout_size
            )
        except OSError:
            return False

    def close(self) -> None:
        """See `Looks`."""


class Lookout:
    """The same in a forked process. To be made before any thread is started.

    Where the other process is gone, its questions are answered here: it is help and no more.
    """

    ahead = 2

    def __init__(self, own: OwnLooks) -> None:
        self._own = own
        self._asked: deque[list[Done]] = deque()
        questions, self._questions = os.pipe()
        self._answers, answers = os.pipe()
        self._process = os.fork()
        if self._process == 0:
            os.close(self._questions)
            os.close(self._answers)
            _stand_watch(questions, answers, own)
        os.close(questions)
        os.close(answers)

    def ask(self, rows: list[Done]) -> None:
        """See `Looks`."""
        self._asked.append(rows)
        question = marshal.dumps(rows)
        with contextlib.suppress(OSError):  # then it is answered here
            os.write(self._questions, _LENGTH.pack(len(question)) + question)

    def answer(self) -> bytes:
        """See `Looks`."""
        rows = self._asked.popleft()
        answer = _read(self._answers, len(rows))
        return answer if answer is not None else bytes(map(self._own.is_whole, rows))

    def close(self) -> None:
        """See `Looks`."""
        os.close(self._questions)
        os.close(self._answers)
        os.waitpid(self._process, 0)


def _stand_watch(questions: int, answers: int, own: OwnLooks) -> NoReturn:
    """The other process: answer until there are no more questions."""
    try:
        # Ctrl-C reaches both; the first process ends this one by closing the pipe.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while (head := _read(questions, _LENGTH.size)) is not None:
            question = _read(questions, _LENGTH.unpack(head)[0])
            if question is None:
                break
            os.write(answers, bytes(map(own.is_whole, marshal.loads(question))))  # noqa: S302
    finally:
        os._exit(0)


def _read(file: int, length: int) -> bytes | None:
    """So many bytes of a pipe, ``None`` where it ends before."""
    parts: list[bytes] = []
    while length:
        part = os.read(file, length)
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
