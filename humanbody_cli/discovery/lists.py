"""Lists of names (``--from-file``) and standard input, read as their bytes arrive."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.paths import to_bytes, to_text

_BLOCK = 65536
_IN_MEMORY = 8 * 1024 * 1024
"""Bytes of a list that are kept in memory; a longer one goes to a temporary file."""

_LONGEST = 64 * 1024
"""Bytes of the longest name. No system accepts a path nearly as long (Linux: PATH_MAX, 4,096), so
a longer one is not a name, and the rest of it is not read."""

_BOM = b"\xef\xbb\xbf"
"""The UTF-8 byte order mark that some editors and PowerShell put at the start of a file."""


class Entry(NamedTuple):
    """A name in a list and its line number, from 1."""

    number: int
    name: str


class ByteSource(Protocol):
    """Something that bytes are read from as they arrive."""

    def read(self, patience: float | None = None) -> bytes | None:
        """Some bytes; empty at the end; ``None`` if none arrive within ``patience`` seconds."""


@dataclass(frozen=True)
class Descriptor:
    """An open file, pipe or terminal. It may be non-blocking: a program that shares it decides."""

    number: int

    def read(self, patience: float | None = None) -> bytes | None:
        """See `ByteSource`.

        Raises:
            OSError: it cannot be read.
        """
        news = select.poll()
        news.register(self.number, select.POLLIN)
        while news.poll(None if patience is None else max(0.0, patience * 1000)):
            with contextlib.suppress(BlockingIOError):
                return os.read(self.number, _BLOCK)
        return None

    def read_all(self, most: int) -> bytes:
        """Everything up to the end, but at most ``most`` bytes.

        Raises:
            OSError: it cannot be read.
        """
        parts: list[bytes] = []
        while most > 0 and (part := self.read()):
            parts.append(part[:most])
            most -= len(part)
        return b"".join(parts)


def stdin() -> Descriptor:
    """Standard input, below Python's own buffer."""
    try:
        return Descriptor(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):  # replaced by something that is not a file
        return Descriptor(0)


def is_stdin(path: str) -> bool:
    """Whether a list is standard input, also under another name (``/dev/stdin``)."""
    if path == "-":
        return True
    try:
        status = os.stat(path)
        own = os.fstat(stdin().number)
    except OSError:
        return False
    # A regular file is opened again and read from its beginning: nothing is taken from stdin.
    return os.path.samestat(status, own) and not stat.S_ISREG(status.st_mode)


def is_pipe(path: str) -> bool:
    """Whether a list is a pipe or a terminal, whose names arrive over time and may never end."""
    try:
        status = os.fstat(stdin().number) if path == "-" else os.stat(path)
    except OSError:
        return False
    return not stat.S_ISREG(status.st_mode)


@contextlib.contextmanager
def opened(path: str, option: str = "--from-file") -> Iterator[Descriptor]:
    """The list ``path`` that an option names, opened; ``-`` is stdin, which stays open afterwards.

    Raises:
        UsageError: it cannot be opened.
    """
    if path == "-":
        yield stdin()
        return
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(path, error, option) from error
    try:
        yield Descriptor(number)
    finally:
        os.close(number)


def _unreadable(path: str, error: OSError, option: str) -> UsageError:
    reason = error.strerror or str(error)
    return UsageError(f"{option} {path}: cannot be read: {reason}; check the path")


@dataclass
class NameList:
    """The names of a list, one per line or NUL-separated. ``path`` is what the user called it;
    ``patience`` (seconds) may be changed between reads."""

    source: ByteSource
    path: str
    nul: bool
    patience: float | None = None
    option: str = "--from-file"

    def entries(self) -> Iterator[Entry | None]:
        """Each name as it arrives; ``None`` whenever none arrives within ``patience``.

        Raises:
            UsageError: the list cannot be read, or does not have the expected separators.
        """
        number = 0
        for line in self._lines():
            if line is None:
                yield None
                continue
            number += 1
            if name := self._name(line, number):
                yield Entry(number, name)

    def _lines(self) -> Iterator[bytes | None]:
        """The bytes between separators. Each block is searched once, however long a line is."""
        separator = b"\0" if self.nul else b"\n"
        line, number = bytearray(), 1
        while (block := self._read()) != b"":
            if block is None:
                yield None
                continue
            if not self.nul and b"\0" in block:
                raise UsageError(
                    f"{self.option}: the list has NUL bytes between its names; "
                    + ("give -0 too" if self.option == "--from-file" else "put one on each line")
                )
            head, *others = block.split(separator)
            line += head
            for other in others:
                yield bytes(line)
                line = bytearray(other)
            number += len(others)
            self._check_length(line, number)
        if line:
            yield bytes(line)

    def _read(self) -> bytes | None:
        try:
            return self.source.read(self.patience)
        except OSError as error:
            raise _unreadable(self.path, error, self.option) from error

    def _name(self, line: bytes, number: int) -> str:
        self._check_length(line, number)
        if number == 1:
            line = line.removeprefix(_BOM)
        return to_text(line if self.nul else line.rstrip(b"\r"))

    def _check_length(self, line: bytes | bytearray, number: int) -> None:
        if len(line) > _LONGEST:
            one, way = ("name", "NUL-separated") if self.nul else ("line", "one per line")
            raise UsageError(
                f"{self.option} {self.path}: {one} {number:,} has more than {_LONGEST:,} bytes; "
                f"check that this is a list of names, {way}"
            )


class Spool:
    """Names of a list that were read ahead; very many are kept in a temporary file."""

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        import tempfile  # takes 8 ms to load

        # Closed by `__exit__`.
        self._file = tempfile.SpooledTemporaryFile(max_size=in_memory)  # noqa: SIM115 - see above
        self.count = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, entry: Entry) -> None:
        """Add a name.

        Raises:
            UsageError: a temporary file cannot be written.
        """
        try:
            self._file.write(b"%d:%s\0" % (entry.number, to_bytes(entry.name)))
        except OSError as error:
            raise UsageError(
                "--from-file: a list this long needs a temporary file, which cannot be written: "
                f"{error.strerror or error}; set TMPDIR to a folder with room, or give --base"
            ) from error
        self.count += 1

    def drained(self) -> Iterator[Entry]:
        """All names, in their order."""
        self._file.seek(0)
        rest = b""
        while block := self._file.read(_BLOCK):
            *records, rest = (rest + block).split(b"\0")
            for record in records:
                number, _, name = record.partition(b":")
                yield Entry(int(number), to_text(name))


@dataclass(frozen=True)
class Limits:
    """How long the names of a pipe are collected before the first is processed."""

    silence: float = 0.5
    """Seconds without another name."""

    seconds: float = 10.0
    """Seconds since the first name."""

    names: int = 100_000


@dataclass
class Ahead:
    """Reads a list ahead: up to ``limits``, or all of it (``None``), however long that takes.
    ``note`` receives each name that is read ahead."""

    names: NameList
    limits: Limits | None
    spool: Spool
    note: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic

    def entries(self) -> tuple[Iterator[Entry], Iterator[Entry]]:
        """The names that were read ahead, and an iterator over the rest."""
        coming = self.names.entries()
        self.names.patience = self.limits.silence if self.limits else None
        began: float | None = None
        for entry in coming:
            if entry is not None:
                began = self.clock() if began is None else began
                self.spool.add(entry)
                self.note(entry.name)
            if self.spool.count and self._is_enough(entry, began):
                break
        self.names.patience = None
        return self.spool.drained(), (entry for entry in coming if entry is not None)

    def _is_enough(self, entry: Entry | None, began: float | None) -> bool:
        if self.limits is None or began is None:
            return False
        if entry is None or self.spool.count >= self.limits.names:
            return True
        return self.clock() - began >= self.limits.seconds
