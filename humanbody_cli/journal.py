"""What is known about every photo of an output folder: SQLite, one row a photo.

The row is written last, after the mask and the cutout are at their final names: it is the mark that
a photo is done. A killed process loses no row that was written (WAL, synchronous=NORMAL); what a
power cut takes is taken up again from the published files.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from humanbody_cli import database
from humanbody_cli.names import SUFFIX, marked
from humanbody_cli.outcomes import Outcome, Status
from humanbody_cli.photos import Photo
from humanbody_cli.publish import CUTOUTS, MASKS

_LARGE = 700
"""Pages of a journal of about 5,000 photos."""

CHUNK = 500
"""Photos looked up in one query."""


def key_of(photo: Photo) -> bytes:
    """What a photo is known by in the journal: its path's own bytes, whether text or not."""
    return photo.key.encode("utf-8", "surrogateescape")


class Known(NamedTuple):
    """The part of a row that decides whether a photo needs anything. Sizes in bytes."""

    key: bytes
    name: bytes
    size: int
    mtime: int
    shape: str | None
    engine: str | None
    status: str
    transient: int
    mask_size: int | None
    cutout_size: int | None
    sha256: str | None
    finished: float | None
    checked: str | None


Done = tuple[bytes, bytes, int, int, int | None, int | None]
"""Key, output name, size and mtime of the source, size of the mask and of the cutout."""

_KNOWN = ", ".join(Known._fields)
_FOUND_BY_KEY = f"SELECT {_KNOWN} FROM photos WHERE key IN "  # noqa: S608 - field names only
_DONE_BETWEEN = (
    "SELECT key, name, size, mtime, mask_size, cutout_size FROM photos WHERE key BETWEEN ? AND ? "
)
_FOUND_BY_SHA = f"SELECT {_KNOWN} FROM photos WHERE sha256 = ?"  # noqa: S608
_RECORD = (
    "source, name, status, code, message, width, height, attempts, request_id, image_id, "
    "time_used, elapsed, engine, sha256, coverage, doubt, mask_size, cutout_size, transient"
)


@dataclass(frozen=True)
class Finished:
    """What is written about a photo beside its outcome."""

    photo: Photo
    outcome: Outcome
    shape: str
    mask_size: int | None = None
    cutout_size: int | None = None


class Journal:
    """The journal of one output folder. One writer (the run that holds the lock), any thread."""

    def __init__(self, root: str, *, read_only: bool = False) -> None:
        self.root = root
        self.path = database.path_in(root)
        self.rebuilt_from: str | None = None
        self.run = 0
        self._guard = threading.RLock()
        with database.translated(self.path):
            if read_only:
                self._db = database.open_to_read(self.path)
            else:
                self._db, self.rebuilt_from = database.open_to_write(self.path)

    def set_aside(self) -> None:
        """Keep the damaged file under another name; the next run begins a new one."""
        self.close()
        database.set_aside(self.path)

    def close(self) -> None:
        """Close the file."""
        with self._guard, contextlib.suppress(sqlite3.Error):
            self._db.close()

    # -- runs ------------------------------------------------------------------------------------

    def begin_run(self, engine: str) -> list[str]:
        """Note that a run begins; the names that a killed run before it may have left half done.

        Runs are told apart by number and not by time: clocks are set back.
        """
        with self._guard, database.translated(self.path):
            crashed = self._db.execute("SELECT 1 FROM runs WHERE ended IS NULL").fetchone()
            pending = "SELECT name FROM photos WHERE status = 'pending'"
            names = [os.fsdecode(row[0]) for row in self._db.execute(pending)] if crashed else []
            self._db.execute("UPDATE runs SET ended = started WHERE ended IS NULL")
            cursor = self._db.execute(
                "INSERT INTO runs (started, engine) VALUES (?, ?)", (time.time(), engine)
            )
            self.run = cursor.lastrowid or 0
            return names

    def end_run(self, *, calls: int, done: int, exit_code: int) -> None:
        """Note that the run ended by itself."""
        with self._guard, database.translated(self.path):
            self._db.execute(
                "UPDATE runs SET ended = ?, calls = ?, done = ?, exit_code = ? WHERE ended IS NULL",
                (time.time(), calls, done, exit_code),
            )

    def runs(self) -> list[dict[str, Any]]:
        """Every run, oldest first: started and ended in seconds since 1970."""
        fields = ("started", "ended", "engine", "calls", "done", "exit_code")
        with self._guard, database.translated(self.path):
            rows = self._db.execute(f"SELECT {', '.join(fields)} FROM runs ORDER BY run")  # noqa: S608
            return [dict(zip(fields, row, strict=True)) for row in rows]

    # -- looking up ------------------------------------------------------------------------------

    def known(self, keys: Sequence[bytes]) -> dict[bytes, Known]:
        """The rows of these photos, by key."""
        with self._guard, database.translated(self.path):
            rows = self._db.execute(_FOUND_BY_KEY + _marks(len(keys)), keys)
            return {row[0]: Known._make(row) for row in rows}

    def is_large(self) -> bool:
        """Whether there are thousands of rows, without counting them."""
        with self._guard, database.translated(self.path):
            pages = self._db.execute("PRAGMA page_count").fetchone()[0]
            return int(pages) >= _LARGE

    def done(self, keys: Sequence[bytes], shapes: Collection[str]) -> dict[bytes, Done]:
        """Those of these photos that are done in one of these shapes, by key; others may be among
        them, and a few may be missing where the keys lie far apart.

        A second run asks this of every photo: it reads no more than decides, and a range of keys,
        which is what a folder is, costs half of as many single ones.
        """
        where = f"AND status = 'done' AND shape IN {_marks(len(shapes))} LIMIT {2 * CHUNK}"
        with self._guard, database.translated(self.path):
            rows = self._db.execute(_DONE_BETWEEN + where, (min(keys), max(keys), *shapes))
            return {row[0]: row for row in rows}

    def same_bytes(self, sha256: str, *, since: int = 0) -> list[Known]:
        """The rows of photos with these very bytes that came to an end in run ``since`` or later.

        Among them are photos that were done once and are pending again (touched, moved).
        """
        query = _FOUND_BY_SHA + " AND status != 'rejected' AND run >= ? LIMIT 20"
        with self._guard, database.translated(self.path):
            return [Known._make(row) for row in self._db.execute(query, (sha256, since))]

    def outcome(self, key: bytes) -> Outcome:
        """The whole record of one photo."""
        query = f"SELECT {_RECORD} FROM photos WHERE key = ?"  # noqa: S608 - field names only
        with self._guard, database.translated(self.path):
            return self._outcome(self._db.execute(query, (key,)).fetchone())

    def outcomes(self, status: str | None = None, *, absolute: bool = False) -> Iterator[Outcome]:
        """Every record, by output name, a chunk at a time.

        ``absolute`` names sources so that they are found from any folder.
        """
        where = "WHERE name > ? AND (? IS NULL OR status = ?)"
        fields = _RECORD.replace("source", "key AS source", 1) if absolute else _RECORD
        query = f"SELECT {fields} FROM photos {where} ORDER BY name LIMIT {CHUNK}"  # noqa: S608
        last = b""
        while True:
            with self._guard, database.translated(self.path):
                rows = self._db.execute(query, (last, status, status)).fetchall()
                found = [self._outcome(row) for row in rows]
            yield from found
            if len(rows) < CHUNK:
                return
            last = rows[-1][1]

    def counts(self) -> dict[tuple[str, str | None], tuple[int, int]]:
        """(status, code) -> photos and calls."""
        query = "SELECT status, code, COUNT(*), SUM(calls) FROM photos GROUP BY status, code"
        with self._guard, database.translated(self.path):
            return {(row[0], row[1]): (row[2], row[3]) for row in self._db.execute(query)}

    def _outcome(self, row: Sequence[Any]) -> Outcome:
        try:
            return self._as_outcome(row)
        except (TypeError, ValueError) as error:
            raise sqlite3.DatabaseError(f"malformed row: {error}") from error

    def _as_outcome(self, row: Sequence[Any]) -> Outcome:
        fields = dict(zip(_RECORD.split(", "), row, strict=True))
        name = os.fsdecode(fields.pop("name"))
        mask, cutout = fields.pop("mask_size"), fields.pop("cutout_size")
        fields["source"] = os.fsdecode(fields["source"])
        fields["status"] = Status(fields["status"])
        fields["transient"] = bool(fields["transient"])
        if any(isinstance(value, bytes) for value in fields.values()):
            raise TypeError("bytes where text or a number belongs")
        return Outcome(
            mask=os.path.join(self.root, MASKS, name) if mask else None,
            cutout=os.path.join(self.root, CUTOUTS, name) if cutout else None,
            **fields,
        )

    # -- writing ---------------------------------------------------------------------------------

    def expect(self, photos: Sequence[Photo]) -> list[Photo]:
        """Write photos down as pending; the same photos with output names that are theirs alone.

        A photo that was done and has to be done again keeps what is known of it.
        """
        with self._guard, database.translated(self.path), self._transaction():
            return [self._expect(photo) for photo in photos]

    def _expect(self, photo: Photo) -> Photo:
        key, name = key_of(photo), os.fsencode(photo.name)
        owner = self._db.execute("SELECT key FROM photos WHERE name = ?", (name,)).fetchone()
        if owner is not None and owner[0] != key:
            if _is_gone(owner[0]) and self._same_place_or_size(owner[0], photo):
                self._inherit(owner[0], key)
            else:
                photo = photo._replace(name=self._free_name(photo))
                name = os.fsencode(photo.name)
        self._move(key, photo.name)
        self._db.execute(
            "INSERT INTO photos (key, source, name, size, mtime, status) "
            "VALUES (?, ?, ?, -1, -1, 'pending') ON CONFLICT (key) DO UPDATE SET "
            "status = 'pending', name = excluded.name, source = excluded.source",
            (key, os.fsencode(photo.source), name),
        )
        return photo

    def _same_place_or_size(self, owner: bytes, photo: Photo) -> bool:
        """Whether a photo may take the place of one that is gone: a neighbour's, or its own after a
        move. Another folder's results stay what they are: its disk may only be away."""
        if os.path.dirname(owner) == os.path.dirname(key_of(photo)):
            return True
        row = self._db.execute("SELECT size FROM photos WHERE key = ?", (owner,)).fetchone()
        return bool(row[0] == photo.size)

    def _free_name(self, photo: Photo) -> str:
        name, identity = photo.name, photo.key
        while True:
            name = marked(name, identity)
            query = "SELECT key FROM photos WHERE name = ?"
            owner = self._db.execute(query, (os.fsencode(name),)).fetchone()
            if owner is None or owner[0] == key_of(photo):
                return name
            identity += SUFFIX

    def _move(self, key: bytes, name: str) -> None:
        """A photo's output name changes with its neighbours': what was made goes along."""
        row = self._db.execute("SELECT name FROM photos WHERE key = ?", (key,)).fetchone()
        if row is None or os.fsdecode(row[0]) == name:
            return
        for kind in (MASKS, CUTOUTS):
            with contextlib.suppress(OSError):
                target = os.path.join(self.root, kind, name)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.rename(os.path.join(self.root, kind, os.fsdecode(row[0])), target)

    def _inherit(self, old: bytes, new: bytes) -> None:
        """A photo takes the place of one that is gone; what is known of those bytes stays known."""
        self._db.execute("DELETE FROM photos WHERE key = ?", (new,))
        self._db.execute("UPDATE photos SET key = ? WHERE key = ?", (new, old))

    def finish(self, finished: Finished) -> None:
        """Write a photo's end. The last step of its way."""
        photo, outcome = finished.photo, finished.outcome
        values = {
            "key": key_of(photo),
            "source": os.fsencode(photo.source),
            "name": os.fsencode(photo.name),
            "size": photo.size,
            "mtime": photo.mtime,
            "shape": finished.shape,
            "checked": finished.shape,
            "run": self.run,
            "status": outcome.status.value,
            "transient": int(outcome.transient),
            "calls": outcome.attempts,
            "mask_size": finished.mask_size,
            "cutout_size": finished.cutout_size,
            "finished": time.time(),
            **{name: _text(getattr(outcome, name)) for name in _SAME_NAMES},
        }
        with self._guard, database.translated(self.path):
            rejected = outcome.status is Status.REJECTED
            self._db.execute(_REJECT if rejected else _UPSERT, values)

    def reprieve(self, photo: Photo, attempts: int) -> None:
        """A photo stays pending; the calls it cost are counted all the same."""
        with self._guard, database.translated(self.path):
            self._db.execute(
                "UPDATE photos SET calls = calls + ? WHERE key = ?",
                (attempts, key_of(photo)),
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


_PAGES = ("page_count", "page_size")
_SAME_NAMES = (
    "code message width height attempts request_id image_id time_used elapsed engine sha256 "
    "coverage doubt"
).split()
_COLUMNS = [
    *("key", "source", "name", "size", "mtime", "shape", "status", "transient", "calls"),
    *("mask_size", "cutout_size", "finished", "run", "checked"),
    *_SAME_NAMES,
]
_KEPT = ("sha256", "shape", "engine", "mask_size", "cutout_size")
"""What a rejection leaves as it was: results that were made of the photo before stay known."""


def _upsert(kept: Collection[str]) -> str:
    def value(column: str) -> str:
        if column == "calls":
            return "photos.calls + excluded.calls"
        return f"photos.{column}" if column in kept else f"excluded.{column}"

    changes = ", ".join(f"{column} = {value(column)}" for column in _COLUMNS if column != "key")
    return (
        f"INSERT INTO photos ({', '.join(_COLUMNS)}) "  # noqa: S608 - column names only
        f"VALUES ({', '.join(':' + column for column in _COLUMNS)}) "
        f"ON CONFLICT (key) DO UPDATE SET {changes}"
    )


_UPSERT = _upsert(())
_REJECT = _upsert(_KEPT)


def _text(value: Any) -> Any:
    """A value that SQLite takes: names that are no text may stand in messages, and answers lie."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def _marks(count: int) -> str:
    return "(" + ",".join("?" * count) + ")"


def _is_gone(key: bytes) -> bool:
    """Whether a source is no longer there; what is no file cannot be looked for."""
    return not (key == b"-" or key.startswith((b"http://", b"https://")) or os.path.lexists(key))


def chunked(photos: Iterable[Photo], size: int = CHUNK) -> Iterator[list[Photo]]:
    """Photos in lists of at most ``size``."""
    rest = iter(photos)
    while chunk := list(islice(rest, size)):
        yield chunk
