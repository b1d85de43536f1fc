"""Standard input from a file, as ``contextlib.redirect_stdout`` does it for output."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast


@dataclass(frozen=True)
class _Stream:
    """What the program needs of a stream, for a file that is a folder too."""

    number: int

    def fileno(self) -> int:
        return self.number


@contextlib.contextmanager
def stdin_of(path: Path) -> Iterator[int]:
    """``sys.stdin`` reads this file or folder; gives its descriptor, closed at the end."""
    before, number = sys.stdin, os.open(path, os.O_RDONLY)
    sys.stdin = cast("TextIO", _Stream(number))
    try:
        yield number
    finally:
        sys.stdin = before
        os.close(number)
