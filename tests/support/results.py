"""What is published for a photo."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from conftest import files
from PIL import Image

SMALL, LARGE = (96, 80), (120, 90)


def size_of(out: Path, name: str) -> tuple[int, int]:
    with Image.open(out / "cutouts" / name) as image:
        return image.size


def is_soft(out: Path, name: str) -> bool:
    with Image.open(out / "cutouts" / name) as image:
        return any(image.getchannel("A").histogram()[1:255])


def snapshot(out: Path) -> dict[str, tuple[bytes, int]]:
    return {name: (data, (out / name).stat().st_mtime_ns) for name, data in files(out).items()}


def forget(out: Path) -> None:
    """What is left where a kill came between the last rename and the row."""
    with sqlite3.connect(out / ".hbseg/journal.sqlite3") as db:
        db.execute("DELETE FROM photos")
    db.close()


def names(folder: Path) -> list[str]:
    """The files of a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir() if path.name != "state")
