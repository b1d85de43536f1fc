"""Output names that change hands while photos are in flight."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from making import noise, png

from humanbody_cli.core.errors import OutputError
from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.core.photo import Due, Finished, Photo, key_of
from humanbody_cli.imaging import proof
from humanbody_cli.imaging.proof import Proof
from humanbody_cli.storage.disk import RealDisk
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.layout import CUTOUTS, MASKS
from humanbody_cli.storage.naming import OutputNames
from humanbody_cli.storage.publishing import Publisher

PICTURE = png(noise((16, 16)))
SHAPE = "fit=0;edges=hard;metadata=strip;engine=api"


class Watched(Publisher):
    """Records whether another thread could look for set-aside files at that moment."""

    def __init__(self, root: str) -> None:
        self.free: dict[str, list[bool]] = {"renamed": [], "set aside": []}
        super().__init__(root, durable=False, disk=_WatchedDisk(self))

    def set_aside(self, *arguments: Any, **options: Any) -> bool:
        was_there = super().set_aside(*arguments, **options)
        self.note("set aside")
        return was_there

    def note(self, moment: str) -> None:
        def look() -> bool:
            free = self.aside_guard.acquire(blocking=False)
            if free:
                self.aside_guard.release()
            return free

        with ThreadPoolExecutor(1) as pool:
            self.free[moment].append(pool.submit(look).result())


class _WatchedDisk(RealDisk):
    def __init__(self, publisher: Watched) -> None:
        self._publisher = publisher

    def rename(self, old: str, new: str) -> None:
        super().rename(old, new)
        self._publisher.note("renamed")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    (tmp_path / "out/.hbseg").mkdir(parents=True)
    with contextlib.closing(Journal(str(tmp_path / "out"))) as journal:
        yield journal


@pytest.fixture
def publisher(tmp_path: Path) -> Watched:
    return Watched(str(tmp_path / "out"))


@pytest.fixture
def names(journal: Journal, publisher: Watched) -> OutputNames:
    return OutputNames(journal, publisher, lambda key: None)


def _found(path: Path, name: str) -> Photo:
    path.touch()
    return Photo(str(path), str(path), name, 0, 1)


def _finished(photo: Photo, sha256: str) -> Finished:
    outcome = Outcome(photo.source, Status.DONE, engine="api", sha256=sha256)
    return Finished(photo, outcome, SHAPE, "version=1", mask_size=9, cutout_size=9)


def _done(names: OutputNames, photo: Photo, sha256: str) -> Photo:
    """A photo that was met and done, with both files."""
    [(photo, _)] = names.settle([Due(photo, None)])
    for kind in (MASKS, CUTOUTS):
        data = proof.attach(PICTURE, Proof(sha256, "engine=api"))
        names.publisher.publish(kind, photo.name, data)
    names.journal.finish(_finished(photo, sha256))
    return photo


def test_mask_and_cutout_of_a_name_that_is_inherited_go_aside_together(
    names: OutputNames, journal: Journal, publisher: Watched, tmp_path: Path
) -> None:
    """A photo with results of its own takes the name of one that is gone: no other thread can look
    for the mask before the cutout is aside too, or while a file is under neither name."""
    gone = _done(names, _found(tmp_path / "a.jpg", "x.png"), "1" * 64)
    heir = _done(names, _found(tmp_path / "b.jpg", "y.png"), "2" * 64)
    Path(gone.source).unlink()
    publisher.free = {"renamed": [], "set aside": []}
    known = journal.known([key_of(heir)])[key_of(heir)]
    [(settled, _)] = names.settle([Due(heir._replace(name="x.png"), known)])
    assert settled.name == "x.png"
    assert publisher.find_aside(MASKS, "1" * 64) and publisher.find_aside(CUTOUTS, "1" * 64)
    # Behind the cutout's, the last one, the guard is released.
    assert publisher.free == {"renamed": [False] * 4, "set aside": [False, False]}


def test_a_photo_keeps_its_name_until_its_row_is_written(
    names: OutputNames, journal: Journal, tmp_path: Path
) -> None:
    """The row of a photo whose file is gone cannot be written: its name is not given to another
    one, which would take its files for its own."""
    [(gone, _)] = names.settle([Due(_found(tmp_path / "a.jpg", "x.png"), None)])
    Path(gone.source).unlink()
    journal.change("PRAGMA query_only = ON", ())
    with pytest.raises(OutputError):
        journal.finish(_finished(gone, "1" * 64))
    journal.change("PRAGMA query_only = OFF", ())
    [(other, _)] = names.settle([Due(_found(tmp_path / "b.jpg", "x.png"), None)])
    assert other.name != "x.png"
    journal.finish(_finished(gone, "1" * 64))
    assert journal.outcome(key_of(gone)).status is Status.DONE


def test_a_photo_is_under_way_while_its_row_is_written(
    names: OutputNames, journal: Journal, tmp_path: Path
) -> None:
    """At no moment is a photo neither under way nor done."""
    [(photo, _)] = names.settle([Due(_found(tmp_path / "a.jpg", "x.png"), None)])
    seen: list[bool] = []

    def look(statement: str) -> None:
        if statement.startswith("INSERT"):
            seen.append(key_of(photo) in journal.under_way)

    connection: sqlite3.Connection = journal._db
    connection.set_trace_callback(look)
    journal.finish(_finished(photo, "1" * 64))
    assert seen == [True]
    assert journal.under_way == set()


def test_a_file_without_a_proof_replaces_no_other_photos_result(
    publisher: Watched,
) -> None:
    """A file of an earlier version gets the name of a result that no row tells of: that one waits
    aside for its photo."""
    data = proof.attach(PICTURE, Proof("1" * 64, "engine=api"))
    publisher.publish(MASKS, "x.png", data)
    publisher.publish(MASKS, "y.png", data)
    Path(publisher.path(MASKS, "y.png")).write_bytes(PICTURE)
    assert publisher.move(MASKS, "y.png", "x.png", may_replace=lambda path: True)
    aside = publisher.find_aside(MASKS, "1" * 64)
    assert aside is not None and Path(aside).read_bytes() == data
