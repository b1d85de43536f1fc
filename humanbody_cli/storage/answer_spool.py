"""The answer spool: paid answers that are not published yet, kept on disk as soon as they arrive.

Between an answer's last byte and the photo's row come decoding, composing and the waits for the
disk: up to a second or two for a large photo. A process killed in that time, or a disk that fails,
must not cost the call once more: the next run finds the answer and makes the results of it.
There is no fsync here, so a power cut may lose an answer that a killed process does not lose.

The room for an answer is reserved before the call is made, so that a disk that fills up meanwhile
cannot cost a paid answer. Where the file system cannot reserve room, only free space is checked.

A file's name is a number, its content the sha256 of the upload, a line's end and the answer's body.
The files are reused, one for each answer under way: making and removing one for each photo would
cost a disk that is busy publishing a twentieth of its time. An empty file is free.

An answer is never removed for its age. It is removed when its photo's row is written, or at the end
of a run after which no photo of the output folder waits for an answer.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from humanbody_cli.core.errors import OutputError, output_error
from humanbody_cli.storage.disk import Disk, RealDisk, write_all
from humanbody_cli.storage.layout import STATE

FOLDER = "answers"

_HEX = b"0123456789abcdef"
_LONGEST_NAME = 80  # bytes: a sha256 and a line's end


def room_for(size: tuple[int, int]) -> int:
    """Bytes that the answer to an upload of this size (pixels) may take.

    A person who fills a noisy photo (sensor noise of 10 levels) takes about 2.3 bytes per pixel
    as PNG and the mask 0.3; base64 adds a third. Noise alone would take twice as much: what exceeds
    the room is written if the disk still has some.
    """
    return size[0] * size[1] * 7 // 2 + (64 << 10)


@dataclass
class _Slot:
    """A file for an answer; open until the answer is in it."""

    path: str
    file: int | None = None

    @property
    def is_filled(self) -> bool:
        return self.file is None


class SpooledAnswer:
    """The place of one photo's answer. Its reader finds out whether what is there is complete.

    Used from any thread. ``failure`` says why a paid answer could not be kept: the run has to end,
    and this photo continues without it.
    """

    def __init__(self, name: str, spool: AnswerSpool, slot: _Slot | None) -> None:
        self.failure: OutputError | None = None
        self._name = name
        self._spool = spool
        self._slot = slot
        self._room = 0
        # A photo that is given up on meanwhile must not close a file that is being written.
        self._guard = threading.Lock()

    @property
    def is_there(self) -> bool:
        """Whether there is an answer."""
        slot = self._slot
        return slot is not None and slot.is_filled

    def body(self) -> bytes:
        """The answer, maybe cut short; empty where it is gone."""
        slot = self._slot
        return _body_in(slot.path, self._name) if slot is not None else b""

    def reserve(self, room: int) -> None:
        """Take room (bytes) for an answer, before the call is made. An answer that is there needs
        none, unless it is discarded.

        Raises:
            OutputError: the disk does not have that much.
        """
        with self._guard:
            self._room = room
            if self._slot is None:
                self._slot = self._spool.take(room)

    def keep(self, body: bytes) -> None:
        """Write an answer; ``failure`` is set if that cannot be done."""
        with self._guard:
            try:
                self._fill(body)
            except OutputError as error:
                self.failure = error
                self._empty()  # a part of it would only take room that publishing needs

    def _fill(self, body: bytes) -> None:
        slot = self._slot
        if slot is None or slot.file is None:
            self._empty()
            slot = self._slot = self._spool.take(self._room)
        self._spool.fill(slot, self._name.encode() + b"\n", body)

    def discard(self) -> None:
        """Drop an answer that proved unusable, and reserve its room for the next one.

        Raises:
            OutputError: the disk has no room for another.
        """
        with self._guard:
            self._empty()
            self._slot = self._spool.take(self._room)

    def drop(self) -> None:
        """Drop the answer: the photo is published and its row is written."""
        with self._guard:
            self._empty()
            self._spool.drop_old(self._name)

    def release(self) -> None:
        """The photo is finished: an answer that is still there is kept for later."""
        with self._guard:
            slot, self._slot = self._slot, None
            if slot is not None and slot.is_filled:
                self._spool.put_back(self._name, slot)
            elif slot is not None:
                self._spool.free(slot)

    def _empty(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            self._spool.free(slot)


class KeptAnswers:
    """The answers that are ready in an output folder, each to be taken once. Used from any thread.

    Writes nothing: a plan reads the same answers as a run.

    ``free`` are files that hold no answer.
    """

    def __init__(self, root: str | None = None) -> None:
        self.free: list[str] = []
        self._guard = threading.Lock()
        self._paths: dict[str, list[str]] = defaultdict(list)
        folder = os.path.join(root, STATE, FOLDER) if root is not None else ""
        for file in _files(folder):
            path = os.path.join(folder, file)
            with contextlib.suppress(OSError):
                name = _name_in(path)
                (self._paths[name] if name else self.free).append(path)

    @property
    def names(self) -> set[str]:
        """The names of the uploads that there are answers to."""
        with self._guard:
            return {name for name, paths in self._paths.items() if paths}

    def take(self, name: str) -> str | None:
        """The path of an answer that is the caller's from now on, ``None`` where there is none."""
        with self._guard:
            paths = self._paths.get(name)
            return paths.pop() if paths else None

    def body(self, name: str) -> bytes:
        """The same answer's body, maybe cut short; empty where there is none."""
        path = self.take(name)
        return _body_in(path, name) if path is not None else b""

    def put_back(self, name: str, path: str) -> None:
        """Make an answer available again."""
        with self._guard:
            self._paths[name].append(path)

    def take_all(self, name: str) -> list[str]:
        """The paths of all answers of this name."""
        with self._guard:
            return self._paths.pop(name, [])


class AnswerSpool:
    """The answers kept in an output folder, for one process at a time: the one that holds its lock.

    ``forget``, as with ``--force``, answers no photo with what was kept before this run.
    """

    def __init__(self, root: str, disk: Disk | None = None, *, forget: bool = False) -> None:
        self._folder = os.path.join(root, STATE, FOLDER)
        self._disk = disk or RealDisk()
        self._guard = threading.Lock()
        with contextlib.suppress(OSError):  # `take` says why
            os.makedirs(self._folder, exist_ok=True)
        self._kept, self._old = KeptAnswers(root), KeptAnswers()
        self._free = self._kept.free
        if forget:
            self._old, self._kept = self._kept, self._old
        highest = max(map(int, _files(self._folder)), default=-1)
        self._numbers = itertools.count(highest + 1)

    def of(self, sha256: str) -> SpooledAnswer:
        """The place for the answer to an upload of these bytes. No two photos share one; it has to
        be dropped or released."""
        path = self._kept.take(sha256)
        return SpooledAnswer(sha256, self, None if path is None else _Slot(path))

    def take(self, room: int) -> _Slot:
        """An empty file with so many bytes of room, open.

        Raises:
            OutputError: the disk does not have that much.
        """
        path = self._free_place()
        slot = _Slot(path)
        try:
            slot.file = self._create(path)
            self._disk.allocate(slot.file, room)
        except OSError as error:
            self.free(slot)
            raise output_error(path, error) from error
        return slot

    def _create(self, path: str) -> int:
        try:
            return self._disk.create(path)
        except FileNotFoundError:
            self._disk.mkdir(self._folder)
            return self._disk.create(path)

    def fill(self, slot: _Slot, *parts: bytes) -> None:
        """Write an answer, in parts that are not joined (it has megabytes), into a file that was
        taken, and close it.

        Raises:
            OutputError: it cannot be written; a part of it may be there.
        """
        file, slot.file = slot.file, None
        assert file is not None
        try:
            for part in parts:
                write_all(self._disk, file, part)
        except OSError as error:
            raise output_error(slot.path, error) from error
        finally:
            self._close(file)

    def free(self, slot: _Slot) -> None:
        """Empty a file that is no longer needed, for the next answer."""
        file, slot.file = slot.file, None
        if file is not None:
            self._close(file)
        with contextlib.suppress(OSError):  # then the next one empties it, or the run's end
            self._disk.truncate(slot.path, 0)
        with self._guard:
            self._free.append(slot.path)

    def _close(self, file: int) -> None:
        with contextlib.suppress(OSError):
            self._disk.close(file)

    def put_back(self, name: str, slot: _Slot) -> None:
        """Make an answer available again, and free the room that it did not need.

        Not sooner: truncating a file may wait for the disk, and other answers would wait too."""
        with contextlib.suppress(OSError):
            self._disk.truncate(slot.path, os.stat(slot.path).st_size)
        self._kept.put_back(name, slot.path)

    def drop_old(self, name: str) -> None:
        """Drop the answers from before this run to a photo that has new results."""
        for path in self._old.take_all(name):
            self.free(_Slot(path))

    def close(self, is_settled: Callable[[], bool] | None = None) -> None:
        """Remove the files that are free; where ``is_settled`` says that no photo of this output
        folder waits for an answer, all of them."""
        while self._free:
            self._remove(self._free.pop())
        if is_settled is not None and (left := _files(self._folder)) and is_settled():
            for name in left:
                self._remove(os.path.join(self._folder, name))

    def _remove(self, path: str) -> None:
        with contextlib.suppress(OSError):
            self._disk.unlink(path)

    def _free_place(self) -> str:
        with self._guard:
            if self._free:
                return self._free.pop()
            return os.path.join(self._folder, str(next(self._numbers)))


def sweep(root: str, is_settled: Callable[[], bool]) -> None:
    """What `AnswerSpool.close` does, for a run in which no photo was due."""
    if _files(os.path.join(root, STATE, FOLDER)):
        AnswerSpool(root).close(is_settled)


def _files(folder: str) -> list[str]:
    """Our own files, whose names are numbers."""
    with contextlib.suppress(OSError):
        return [name for name in os.listdir(folder) if name.isdecimal()]
    return []


def _body_in(path: str, name: str) -> bytes:
    """The answer in a file, if it is the answer to the upload of this name."""
    try:
        with open(path, "rb") as file:
            found, _, body = file.read().partition(b"\n")
    except OSError:
        return b""
    return body if found == name.encode() else b""


def _name_in(path: str) -> str:
    """The name at the beginning of a file; empty if it was not written that far."""
    with open(path, "rb") as file:
        name, end, _ = file.read(_LONGEST_NAME).partition(b"\n")
    return name.decode("ascii", "replace") if end and not name.strip(_HEX) else ""
