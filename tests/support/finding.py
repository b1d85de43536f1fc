"""Finding photos in tests: folders that are filled, and what is found of them."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from humanbody_cli.core.photo import Photo
from humanbody_cli.core.settings import InputSettings
from humanbody_cli.discovery.find import find
from humanbody_cli.discovery.lists import NameList, opened
from humanbody_cli.discovery.walk import Walk


def fill(folder: Path, *names: str) -> Path:
    """Files with these paths below a folder, nine bytes each."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 9)
    return folder


def found(*inputs: object, walk: Walk | None = None, **options: Any) -> list[Photo]:
    """Every photo of these inputs."""
    named = InputSettings(inputs=tuple(map(str, inputs)), **options)
    return list(find(named, walk or Walk()))


def names_in(*inputs: object, walk: Walk | None = None, **options: Any) -> list[str]:
    """The output names of every photo of these inputs."""
    return [photo.name for photo in found(*inputs, walk=walk, **options)]


def written(path: Path, *names: object) -> str:
    """The path of a list of these names, one per line."""
    path.write_text("".join(f"{name}\n" for name in names))
    return str(path)


def listed(path: str, *, nul: bool) -> Iterator[str]:
    """The names of a list, as they come."""
    with opened(path) as source:
        names = NameList(source, path, nul)
        yield from (entry.name for entry in names.entries() if entry is not None)


def where(path: Path) -> str:
    """An absolute path whose ``..`` are resolved where they lead, links otherwise left alone."""
    text = os.path.join(os.path.abspath(path.parents[len(path.parents) - 1]), str(path))
    head, dots, rest = text.rpartition("/..")
    return os.path.realpath(head + dots) + rest if dots else os.path.abspath(text)


def unclaimed_in(out: Path) -> int:
    """How many published files of an output folder are recorded as told of by no row."""
    with contextlib.closing(sqlite3.connect(out / ".hbseg/journal.sqlite3")) as db:
        return int(db.execute("SELECT COUNT(*) FROM unclaimed").fetchone()[0])


@dataclass
class Script:
    """A source whose bytes come after so many seconds each, by a clock of its own."""

    events: list[tuple[float, bytes]]
    now: float = 0.0
    reads: int = 0
    waited: list[float | None] = field(default_factory=list)

    def clock(self) -> float:
        """Seconds that have passed."""
        return self.now

    def read(self, patience: float | None = None) -> bytes | None:
        """See `lists.ByteSource`."""
        self.waited.append(patience)
        if not self.events:
            return b""
        after, data = self.events[0]
        if patience is not None and after > patience:
            self.now += patience
            self.events[0] = (after - patience, data)
            return None
        self.now += after
        self.events.pop(0)
        return data


@contextlib.contextmanager
def common_user() -> Iterator[None]:
    """A user with no special rights, even where pytest runs as root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)
