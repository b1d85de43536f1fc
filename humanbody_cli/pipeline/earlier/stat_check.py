"""Checks by `os.stat` that done photos' files are as the journal says, for all of a second run.

Three `os.stat` per photo, of its source, its mask and its cutout, are most of such a run's time,
and most of that is the kernel's. They are made from a handle of the folder, by file names: looking
up the whole path each time costs 0.8 s for 300,000 files instead of 0.7 s (``make bench-parts``).

On a large tree a second process takes its share of them on another core, while the first walks the
photos: two thirds of such a run can be shared. Where the other core is busy it gains nothing, and
costs 4 % (measured with ``benchmarks/bench_rerun.py`` and without `ForkedStatChecker`).
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NoReturn, Protocol

from humanbody_cli.core.paths import NO_TIME, mtime_of
from humanbody_cli.core.photo import DoneRow

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
"""How a folder is opened to look at its files: with `O_PATH` it need not be readable."""

_LENGTH = struct.Struct("<I")
_BUSY = 2
"""Questions that the second process may have before it: one under work, one to go on with."""

_SILENCE = 500
"""Milliseconds without an answer after which it is asked whether the second process is stopped."""

_LAST_WAIT = 1.0
"""Seconds that a killed process is waited for: one that hangs in a system call of a lost disk does
not end even by SIGKILL, and is left alone."""


class StatCheck(Protocol):
    """Takes rows of done photos and answers, in the same order, whose files are unchanged."""

    ahead: int
    """Questions that are worth asking before the first answer is read."""

    def ask(self, rows: list[DoneRow]) -> None:
        """Ask about some rows."""

    def answer(self) -> bytes:
        """The answer to the oldest question: a byte for each row, 1 where all is there."""

    def close(self) -> None:
        """No more questions."""


class StatChecker:
    """Checks in this process. ``masks`` and ``cutouts`` are folders with a slash, ``None``: not
    wanted."""

    ahead = 0

    def __init__(self, masks: bytes | None, cutouts: bytes | None) -> None:
        self._masks = masks
        self._cutouts = cutouts
        self._answers: deque[bytes] = deque()

    def ask(self, rows: list[DoneRow]) -> None:
        """See `StatCheck`."""
        self._answers.append(self.check(rows))

    def answer(self) -> bytes:
        """See `StatCheck`."""
        return self._answers.popleft()

    def check(self, rows: list[DoneRow]) -> bytes:
        """The answer to a question."""
        return b"\1" * len(rows) if self._are_whole(rows) else bytes(map(self.is_whole, rows))

    def _are_whole(self, rows: list[DoneRow]) -> bool:
        """Whether all rows are whole, as nearly always; if not, each has to be looked at."""
        if not rows:
            return True
        sources, names, sizes, mtimes, mask_sizes, cutout_sizes = zip(*rows, strict=True)
        if NO_TIME in mtimes:
            return False
        try:
            return (
                _states(sources) == list(zip(sizes, mtimes, strict=True))
                and (self._masks is None or _sizes(self._masks, names) == list(mask_sizes))
                and (self._cutouts is None or _sizes(self._cutouts, names) == list(cutout_sizes))
            )
        except OSError:
            return False

    def is_whole(self, row: DoneRow) -> bool:
        """Whether one row's source is as it was and its files have the sizes that were published.

        A source without a time is not a file: nothing to check.
        """
        # Names stay bytes: decoding them would cost as much as the system call.
        source, name, size, mtime, mask_size, cutout_size = row
        try:
            if mtime != NO_TIME:
                status = os.stat(source)
                if status.st_size != size or (
                    status.st_mtime_ns != mtime and mtime_of(status) != mtime
                ):
                    return False
        except OSError:
            return False
        return self.has_outputs(name, mask_size, cutout_size)

    def has_outputs(self, name: bytes, mask_size: int | None, cutout_size: int | None) -> bool:
        """Whether the files with an output name have the sizes that were published."""
        try:
            return (self._masks is None or os.stat(self._masks + name).st_size == mask_size) and (
                self._cutouts is None or os.stat(self._cutouts + name).st_size == cutout_size
            )
        except OSError:
            return False

    def close(self) -> None:
        """See `StatCheck`."""


def _states(paths: Sequence[bytes]) -> list[tuple[int, int]]:
    """Size and modification time (ns) of files."""
    found: list[tuple[int, int]] = []
    for folder, names in _by_folder(paths):
        with _opened(folder) as place:
            for name in names:
                status = os.stat(name, dir_fd=place)
                found.append((status.st_size, status.st_mtime_ns))
    return found


def _sizes(top: bytes, paths: Sequence[bytes]) -> list[int]:
    """The sizes of files below a folder."""
    found: list[int] = []
    for folder, names in _by_folder(paths):
        with _opened(top + folder) as place:
            found += [os.stat(name, dir_fd=place).st_size for name in names]
    return found


def _by_folder(paths: Sequence[bytes]) -> Iterator[tuple[bytes, list[bytes]]]:
    """Each folder, with a slash, and the names in it, in the order of the paths."""
    first, last = min(paths), max(paths)
    length = first.rfind(b"/") + 1
    if first[:length] == last[:length]:  # then of all between them too: a part of one folder?
        names = [path[length:] for path in paths]
        if b"/" not in b"".join(names):
            yield first[:length], names
            return
    for folder, group in groupby(paths, lambda path: path[: path.rfind(b"/") + 1]):
        yield folder, [path[len(folder) :] for path in group]


@contextlib.contextmanager
def _opened(folder: bytes) -> Iterator[int]:
    place = os.open(folder or b".", _FOLDER)
    try:
        yield place
    finally:
        os.close(place)


@dataclass
class _Question:
    rows: list[DoneRow]
    answer: bytes | None = None


class ForkedStatChecker:
    """Checks in two processes: a forked one, and this one whenever that one has enough to do.

    To be made before any thread is started. If the other process is gone or stopped, this one does
    everything.
    """

    ahead = 2 * _BUSY

    def __init__(self, own: StatChecker) -> None:
        self._own = own
        self._asked: deque[_Question] = deque()
        self._sent: deque[_Question] = deque()
        questions, self._questions = os.pipe()
        self._answers, answers = os.pipe()
        self._process = os.fork()
        if self._process == 0:
            os.close(self._questions)
            os.close(self._answers)
            _serve(questions, answers, own)
        os.close(questions)
        os.close(answers)
        os.set_blocking(self._questions, False)
        self._news = _poll(self._answers, select.POLLIN)
        self._room = _poll(self._questions, select.POLLOUT)

    def ask(self, rows: list[DoneRow]) -> None:
        """See `StatCheck`."""
        question = _Question(rows)
        self._asked.append(question)
        while self._sent and self._news.poll(0):
            self._receive()
        if len(self._sent) < _BUSY:
            self._send(question)
        else:
            question.answer = self._own.check(rows)

    def answer(self) -> bytes:
        """See `StatCheck`."""
        question = self._asked.popleft()
        while question.answer is None:
            self._receive()
        return question.answer

    def close(self) -> None:
        """See `StatCheck`. Whatever state the other process is in, this neither waits nor fails."""
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
        question.answer = answer if answer is not None else self._own.check(question.rows)

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
        wait = 0.0002
        while self._state() != "gone" and wait < _LAST_WAIT / 2:
            time.sleep(wait)
            wait *= 2


def _poll(file: int, event: int) -> select.poll:
    poll = select.poll()
    poll.register(file, event)
    return poll


def _serve(questions: int, answers: int, own: StatChecker) -> NoReturn:
    """The other process: answer until there are no more questions."""
    try:
        # Ctrl-C reaches both; the first process ends this one by closing the pipe.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while (head := _read(questions, _LENGTH.size)) is not None:
            question = _read(questions, _LENGTH.unpack(head)[0])
            if question is None:
                break
            os.write(answers, own.check(marshal.loads(question)))  # noqa: S302 - from our own parent
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
