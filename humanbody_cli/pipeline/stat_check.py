"""Are a done photo's files what the journal says? Asked of every photo of a second run.

Three looks a photo, at its source, its mask and its cutout, are most of such a run's time, and the
system call is all there is to them: on a large tree a second process takes its share of them on
another core, while the first walks the photos.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import signal
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn, Protocol

from humanbody_cli.core.paths import mtime_of
from humanbody_cli.storage.journal import Done

_LENGTH = struct.Struct("<I")
_BUSY = 2
"""Questions that the second process may have before it: one under work, one to go on with."""

_SILENCE = 500
"""Milliseconds without an answer after which it is asked whether the second process is stopped."""

_LAST_LOOKS, _LAST_WAIT = 200, 0.005
"""How often, and how many seconds apart, a killed process is looked for: one that hangs in a system
call of a lost disk does not even follow SIGKILL, and is left to it."""


class Looks(Protocol):
    """Takes done rows and tells, in the same order, which have their files as they were."""

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
        self._answers.append(self.look(rows))

    def answer(self) -> bytes:
        """See `Looks`."""
        return self._answers.popleft()

    def look(self, rows: list[Done]) -> bytes:
        """The answer to a question."""
        return bytes(map(self.is_whole, rows))

    def is_whole(self, row: Done) -> bool:
        """Whether one row's source is as it was and its files have the sizes that were published.

        A source without a time is no file, and there is nothing to look at.
        """
        # Names stay bytes: decoding them would cost as much as the look at the disk.
        source, name, size, mtime, mask_size, cutout_size = row
        try:
            if mtime != -1:
                status = os.stat(source)
                if status.st_size != size or (
                    status.st_mtime_ns != mtime and mtime_of(status) != mtime
                ):
                    return False
            return (self._masks is None or os.stat(self._masks + name).st_size == mask_size) and (
                self._cutouts is None or os.stat(self._cutouts + name).st_size == cutout_size
            )
        except OSError:
            return False

    def has_outputs(self, row: Done) -> bool:
        """Whether one row's files have the sizes that were published."""
        _, name, _, _, mask_size, cutout_size = row
        return self.is_whole((b"", name, -1, -1, mask_size, cutout_size))

    def close(self) -> None:
        """See `Looks`."""


@dataclass
class _Question:
    rows: list[Done]
    answer: bytes | None = None


class Lookout:
    """The same by two: a forked process, and this one whenever that one has enough to do.

    To be made before any thread is started. Where the other process is gone or stopped, all is done
    here: it is help and no more.
    """

    ahead = 2 * _BUSY

    def __init__(self, own: OwnLooks) -> None:
        self._own = own
        self._asked: deque[_Question] = deque()
        self._sent: deque[_Question] = deque()
        questions, self._questions = os.pipe()
        self._answers, answers = os.pipe()
        self._process = os.fork()
        if self._process == 0:
            os.close(self._questions)
            os.close(self._answers)
            _stand_watch(questions, answers, own)
        os.close(questions)
        os.close(answers)
        os.set_blocking(self._questions, False)
        self._news = _poll(self._answers, select.POLLIN)
        self._room = _poll(self._questions, select.POLLOUT)

    def ask(self, rows: list[Done]) -> None:
        """See `Looks`."""
        question = _Question(rows)
        self._asked.append(question)
        while self._sent and self._news.poll(0):
            self._receive()
        if len(self._sent) < _BUSY:
            self._send(question)
        else:
            question.answer = self._own.look(rows)

    def answer(self) -> bytes:
        """See `Looks`."""
        question = self._asked.popleft()
        while question.answer is None:
            self._receive()
        return question.answer

    def close(self) -> None:
        """See `Looks`. Whatever state the other process is in, this neither waits nor fails."""
        os.close(self._questions)
        os.close(self._answers)
        self._end()

    def _send(self, question: _Question) -> None:
        self._sent.append(question)
        data = marshal.dumps(question.rows)
        rest = memoryview(_LENGTH.pack(len(data)) + data)
        with contextlib.suppress(OSError):  # then no answer will come, which is seen there
            while rest and self._is_ready(self._room):
                rest = rest[os.write(self._questions, rest) :]

    def _receive(self) -> None:
        """The other's next answer, waited for."""
        question = self._sent.popleft()
        answer = _read(self._answers, len(question.rows), lambda: self._is_ready(self._news))
        question.answer = answer if answer is not None else self._own.look(question.rows)

    def _is_ready(self, pipe: select.poll) -> bool:
        """Wait for a pipe; false where the other process was stopped, and is given up."""
        while not pipe.poll(_SILENCE):
            if self._state() == "stopped":
                self._end()
                return False
        return True

    def _state(self) -> Literal["running", "stopped", "gone"]:
        try:
            found, status = os.waitpid(self._process, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:  # reaped by the kernel: this process ignores SIGCHLD
            return "gone"
        if not found:
            return "running"
        return "stopped" if os.WIFSTOPPED(status) else "gone"

    def _end(self) -> None:
        """End the other process. It has nothing to lose, and a stopped one sees no closed pipe."""
        # Only what is still our child is sent a signal: its number may be another's by now.
        if self._state() == "gone":
            return
        os.kill(self._process, signal.SIGKILL)
        for _ in range(_LAST_LOOKS):
            if self._state() == "gone":
                return
            time.sleep(_LAST_WAIT)


def _poll(file: int, event: int) -> select.poll:
    poll = select.poll()
    poll.register(file, event)
    return poll


def _stand_watch(questions: int, answers: int, own: OwnLooks) -> NoReturn:
    """The other process: answer until there are no more questions."""
    try:
        # Ctrl-C reaches both; the first process ends this one by closing the pipe.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while (head := _read(questions, _LENGTH.size)) is not None:
            question = _read(questions, _LENGTH.unpack(head)[0])
            if question is None:
                break
            os.write(answers, own.look(marshal.loads(question)))  # noqa: S302
    finally:
        os._exit(0)


def _read(file: int, length: int, is_ready: Callable[[], bool] = lambda: True) -> bytes | None:
    """So many bytes of a pipe, ``None`` where it ends before or will not be ready."""
    parts: list[bytes] = []
    while length:
        part = os.read(file, length) if is_ready() else b""
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
