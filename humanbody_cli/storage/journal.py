"""What is known about every photo of an output folder: SQLite, one row a photo.

The row is written last, after the mask and the cutout are at their final names: it is the mark that
a photo is done. A killed process loses no row that was written (WAL, synchronous=NORMAL); what a
power cut takes is taken up again from the published files.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Protocol

from humanbody_cli.core.errors import PhotoError
from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.core.paths import to_bytes, to_text
from humanbody_cli.core.photo import Photo, key_of
from humanbody_cli.storage import database
from humanbody_cli.storage.database import folded_name
from humanbody_cli.storage.layout import CUTOUTS, MASKS
from humanbody_cli.storage.names import SUFFIX, marked
from humanbody_cli.storage.ownership import MayReplace, published

_LARGE = 700
"""Pages of a journal of about 5,000 photos."""

CHUNK = 500
"""Photos looked up in one query."""


PROOFLESS = ";proofless"
"""Marks a row, behind the rules that its photo was checked by, whose files carry no proofs."""


class Known(NamedTuple):
    """The part of a row that decides whether a photo needs anything. Sizes in bytes."""

    key: bytes
    name: bytes
    size: int
    mtime: int
    shape: str | None
    engine: str | None
    status: str
    code: str | None
    transient: int
    mask_size: int | None
    cutout_size: int | None
    sha256: str | None
    finished: float | None
    checked: str | None
    run: int | None

    def size_of(self, kind: str) -> int | None:
        """The size of the published mask or cutout, ``None`` where there is none."""
        return self.mask_size if kind == MASKS else self.cutout_size

    def published(self, kind: str) -> MayReplace:
        """Knows the mask or cutout that this row tells of."""
        return published(self.size_of(kind), proofless=self.is_proofless)

    @property
    def is_proofless(self) -> bool:
        """Whether an earlier version published the files, without proofs inside: its rows do not
        name the version that checked the photo."""
        checked = self.checked or ""
        return "version=" not in checked or checked.endswith(PROOFLESS)

    @property
    def has_results(self) -> bool:
        """Whether anything was published for these bytes."""
        return self.sha256 is not None and (self.mask_size or self.cutout_size) is not None


class Due(NamedTuple):
    """A photo that is to be done, under its final output name, and what was known of it before."""

    photo: Photo
    known: Known | None


class Files(Protocol):
    """What the journal asks of the published files when an output name changes its owner."""

    def move(self, kind: str, old: str, new: str, *, may_replace: MayReplace | None = None) -> bool:
        """Rename a mask or cutout; whether there was one of ours.

        Raises:
            PhotoError: a file that hbseg did not write is in the way.
            OutputError: it cannot be renamed.
        """

    def set_aside(
        self, kind: str, name: str, sha256: str, *, may_replace: MayReplace | None = None
    ) -> bool:
        """Take a published file away from its name and keep it until the run ends."""


Order = Callable[[str], "tuple[object, ...] | None"]
"""The place of a key in the order of this run's walk; ``None`` where the walk cannot meet it."""

Done = tuple[bytes, bytes, int, int, int | None, int | None]
"""Key, output name, size and mtime of the source, size of the mask and of the cutout."""

_KNOWN = ", ".join(Known._fields)
_FOUND_BY_KEY = f"SELECT {_KNOWN} FROM photos WHERE key IN "  # noqa: S608 - field names only
_DONE_BETWEEN = (
    "SELECT key, name, size, mtime, mask_size, cutout_size FROM photos WHERE key BETWEEN ? AND ? "
)
_RECORD = (
    "source, name, status, code, message, width, height, attempts, request_id, image_id, "
    "time_used, elapsed, engine, sha256, coverage, doubt, mask_size, cutout_size, transient"
)


_TWINS_BY_SHA = f"SELECT {_KNOWN}, {_RECORD} FROM photos WHERE sha256 = ?"  # noqa: S608


_TWINS = 20


class Twin(NamedTuple):
    """A photo with the bytes that were asked for: its row, and its record as of the same moment."""

    known: Known
    outcome: Outcome


@dataclass(frozen=True)
class Finished:
    """What is written about a photo beside its outcome.

    ``checked`` names the rules of pre-validation. ``keeps_results`` leaves results of the photo
    that were published before, and what is known of them, as they are.
    """

    photo: Photo
    outcome: Outcome
    shape: str
    checked: str
    keeps_results: bool = False
    mask_size: int | None = None
    cutout_size: int | None = None


class Journal:
    """The journal of one output folder. One writer (the run that holds the lock), any thread.

    ``renames`` counts how often published files were about to change their names: who has read a
    row and does not find its files asks again if it has changed.
    """

    def __init__(self, root: str, *, read_only: bool = False, in_memory: bool = False) -> None:
        self.root = root
        self.path = database.path_in(root)
        self.is_new = not os.path.exists(self.path)
        self.rebuilt_from: str | None = None
        self.run = 0
        self.renames = 0
        self._under_way: set[bytes] = set()
        self._failed_before: dict[str, dict[bytes, Twin]] = defaultdict(dict)
        self._guard = threading.RLock()
        with database.translated(self.path):
            if in_memory:  # for a folder that no run has written to
                self._db = database.open_in_memory()
            elif read_only:
                self._db = database.open_to_read(self.path)
            else:
                self._db, self.rebuilt_from = database.open_to_write(self.path)

    @property
    def was_lost(self) -> bool:
        """Whether what an earlier journal may have known of this folder is gone."""
        return self.is_new or self.rebuilt_from is not None

    def set_aside(self) -> None:
        """Keep the damaged file under another name; the next run begins a new one."""
        self.close()
        database.set_aside(self.path)

    def close(self) -> None:
        """Close the file."""
        with self._guard, contextlib.suppress(sqlite3.Error):
            self._db.close()

    # -- runs ------------------------------------------------------------------------------------

    def half_done(self) -> list[str]:
        """The output names that a killed run may have left half done."""
        with self._guard, database.translated(self.path):
            if self._db.execute("SELECT 1 FROM runs WHERE ended IS NULL").fetchone() is None:
                return []
            rows = self._db.execute("SELECT name FROM photos WHERE status = 'pending'")
            return [to_text(row[0]) for row in rows]

    def begin_run(self, engine: str) -> None:
        """Note that a run begins. Runs are told apart by number and not by time: clocks are set
        back."""
        with self._guard, database.translated(self.path):
            self._db.execute("UPDATE runs SET ended = started WHERE ended IS NULL")
            cursor = self._db.execute(
                "INSERT INTO runs (started, engine) VALUES (?, ?)", (time.time(), engine)
            )
            self.run = cursor.lastrowid or 0

    def next_run(self) -> int:
        """The number of the run that would begin now."""
        with self._guard, database.translated(self.path):
            last = self._db.execute("SELECT MAX(run) FROM runs").fetchone()[0]
            return int(last or 0) + 1

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

    def engines(self) -> list[str]:
        """Every engine that a run on this folder has used, as `Fingerprint.engine` names it."""
        with self._guard, database.translated(self.path):
            rows = self._db.execute("SELECT DISTINCT engine FROM runs WHERE engine IS NOT NULL")
            return [str(row[0]) for row in rows]

    def results_of(self, sha256: str, shapes: Collection[str], *, since: int = 0) -> Iterator[Twin]:
        """Rows with results of these very bytes in one of these shapes, from run ``since`` on.

        Among them are photos that were done once and are pending again (touched, moved), or cannot
        be read now.
        """
        where = f" AND shape IN {_marks(len(shapes))} AND run >= ?"
        has_results = " AND COALESCE(mask_size, cutout_size) IS NOT NULL"
        return self._twins(where + has_results, sha256, *shapes, since)

    def failures_of(self, sha256: str, shapes: Collection[str]) -> Iterator[Twin]:
        """Rows of photos with these very bytes that were sent and failed, the latest first; then
        those as they were of photos that this run looks at again."""
        where = f" AND status = 'failed' AND shape IN {_marks(len(shapes))} ORDER BY run DESC"
        yield from self._twins(where, sha256, *shapes)
        with self._guard:
            before = list(self._failed_before.get(sha256, {}).values())
        yield from (twin for twin in before if twin.known.shape in shapes)

    def _twins(self, where: str, *values: object) -> Iterator[Twin]:
        """A few at a time: mostly the first one serves."""
        query, count = f"{_TWINS_BY_SHA}{where} LIMIT {_TWINS} OFFSET ?", len(Known._fields)
        for offset in itertools.count(0, _TWINS):
            with self._guard, database.translated(self.path):
                rows = self._db.execute(query, (*values, offset)).fetchall()
                twins = [Twin(Known._make(row[:count]), self._outcome(row[count:])) for row in rows]
            yield from twins
            if len(twins) < _TWINS:
                return

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

    def is_settled(self) -> bool:
        """Whether no photo waits for results: none is pending, none has failed for the moment."""
        query = "SELECT 1 FROM photos WHERE status = 'pending' OR transient LIMIT 1"
        with self._guard, database.translated(self.path):
            return self.rebuilt_from is None and self._db.execute(query).fetchone() is None

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
        name = to_text(fields.pop("name"))
        mask, cutout = fields.pop("mask_size"), fields.pop("cutout_size")
        fields["source"] = to_text(fields["source"])
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

    def expect(self, photos: Sequence[Photo], files: Files, order: Order) -> list[Due]:
        """Write photos down as pending, each under an output name that is its alone.

        A photo that was done and has to be done again keeps what is known of it. Where its name
        changes, its files are renamed before its row: a row without files is looked for again, but
        files without a row might be overwritten.
        """
        with self._guard, database.translated(self.path), self._transaction():
            rows = self.known([key_of(photo) for photo in photos])
            return [self._expect(photo, rows, files, order) for photo in photos]

    def _expect(self, photo: Photo, rows: dict[bytes, Known], files: Files, order: Order) -> Due:
        key = key_of(photo)
        name = self._name_for(photo, rows, files, order)
        known = rows.get(key)
        if known is not None and to_text(known.name) != name:
            name = self._renamed(files, known, name)
        if known is not None:
            self._remember_failure(known)
            known = rows[key] = known._replace(name=to_bytes(name))
        self._db.execute(
            "INSERT INTO photos (key, source, name, folded, size, mtime, status) "
            "VALUES (?, ?, ?, ?, -1, -1, 'pending') ON CONFLICT (key) DO UPDATE SET status = "
            "'pending', name = excluded.name, folded = excluded.folded, source = excluded.source",
            (key, to_bytes(photo.source), to_bytes(name), folded_name(to_bytes(name))),
        )
        self._under_way.add(key)
        return Due(photo._replace(name=name), known)

    def _remember_failure(self, known: Known) -> None:
        """A failure for good is one of its bytes: neither a photo's new time nor other bytes under
        its name make it undone for the rest of the run."""
        if known.status == "failed" and not known.transient and known.sha256 is not None:
            for twin in self._twins(" AND key = ?", known.sha256, known.key):
                self._failed_before[known.sha256][known.key] = twin

    def _forget_failure(self, sha256: str | None, key: bytes) -> None:
        """The photo's row tells of these bytes again."""
        failures = self._failed_before.get(sha256 or "", {})
        failures.pop(key, None)
        if not failures:
            self._failed_before.pop(sha256 or "", None)

    def _name_for(self, photo: Photo, rows: dict[bytes, Known], files: Files, order: Order) -> str:
        """The output name of a photo, free for it once this returns."""
        key = key_of(photo)
        if photo.keeps_name and key in rows:
            return to_text(rows[key].name)
        owner = self._owner(photo.name)
        if owner is None or owner.key == key:
            return photo.name
        # A name is never taken from a photo that this run has met: it may be in flight.
        if owner.key not in self._under_way:
            if _is_gone(owner.key) and _is_successor(photo, owner):
                self._inherit(owner, key, rows, files)
                return photo.name
            if _is_met_later(owner.key, photo, order) and self._evict(owner, rows, files):
                return photo.name
        return self._free_name(photo.name, photo.key)

    def _renamed(self, files: Files, known: Known, new: str) -> str:
        """The name under which a photo's files are after the attempt to rename them: the old one
        where a file that hbseg did not write stands at the new one."""
        self.renames += 1
        old = to_text(known.name)
        try:
            files.move(MASKS, old, new, may_replace=known.published(MASKS))
        except PhotoError:
            return old
        try:
            files.move(CUTOUTS, old, new, may_replace=known.published(CUTOUTS))
        except PhotoError:
            files.move(MASKS, new, old, may_replace=known.published(MASKS))
            return old
        return new

    def _owner(self, name: str) -> Known | None:
        """The photo that has this output name, or one that is the same where case and Unicode form
        do not count: the output may lie on such a file system."""
        exact = to_bytes(name)
        query = f"SELECT {_KNOWN} FROM photos WHERE name = ? OR folded = ? ORDER BY name = ? DESC"  # noqa: S608
        row = self._db.execute(query, (exact, folded_name(exact), exact)).fetchone()
        return None if row is None else Known._make(row)

    def _free_name(self, wanted: str, key: str) -> str:
        name, identity = wanted, key
        while True:
            name = marked(name, identity)
            owner = self._owner(name)
            if owner is None or to_text(owner.key) == key:
                return name
            identity += SUFFIX

    def _inherit(self, owner: Known, key: bytes, rows: dict[bytes, Known], files: Files) -> None:
        """A photo takes the place of one that is gone; what is known of those bytes stays known."""
        self.renames += 1
        if key in rows:
            for kind in (MASKS, CUTOUTS):
                if owner.sha256 is not None:
                    ours = owner.published(kind)
                    files.set_aside(kind, to_text(owner.name), owner.sha256, may_replace=ours)
            self._remember_failure(owner)
            self._db.execute("DELETE FROM photos WHERE key = ?", (owner.key,))
        else:
            self._db.execute("UPDATE photos SET key = ? WHERE key = ?", (key, owner.key))
            rows[key] = owner._replace(key=key)
        rows.pop(owner.key, None)

    def _evict(self, owner: Known, rows: dict[bytes, Known], files: Files) -> bool:
        """A photo that this run meets later, or not at all, makes room with its files; whether its
        name is free now."""
        key, old = to_text(owner.key), to_text(owner.name)
        new = self._free_name(old, key)
        if self._renamed(files, owner, new) != new:
            return False
        name = to_bytes(new)
        self._db.execute(
            "UPDATE photos SET name = ?, folded = ? WHERE key = ?",
            (name, folded_name(name), owner.key),
        )
        if owner.key in rows:
            rows[owner.key] = rows[owner.key]._replace(name=name)
        return True

    def finish(self, finished: Finished) -> None:
        """Write a photo's end. The last step of its way."""
        photo, outcome = finished.photo, finished.outcome
        self._under_way.discard(key_of(photo))
        values = {
            "key": key_of(photo),
            "source": to_bytes(photo.source),
            "name": to_bytes(photo.name),
            "folded": folded_name(to_bytes(photo.name)),
            "size": photo.size,
            "mtime": photo.mtime,
            "shape": finished.shape,
            "checked": finished.checked,
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
            self._db.execute(_KEEPING if finished.keeps_results else _UPSERT, values)
            self._forget_failure(outcome.sha256, key_of(photo))

    def reprieve(self, photo: Photo, attempts: int) -> None:
        """A photo stays pending; the calls it cost are counted all the same."""
        with self._guard, database.translated(self.path):
            self._db.execute(
                "UPDATE photos SET calls = calls + ? WHERE key = ?",
                (attempts, key_of(photo)),
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """What was written before an error stays: it tells of files that were renamed already."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        except BaseException:
            self._db.execute("COMMIT")
            raise
        self._db.execute("COMMIT")


_SAME_NAMES = (
    "code message width height attempts request_id image_id time_used elapsed engine sha256 "
    "coverage doubt"
).split()
_COLUMNS = [
    *("key", "source", "name", "size", "mtime", "shape", "status", "transient", "calls"),
    *("mask_size", "cutout_size", "finished", "run", "checked", "folded"),
    *_SAME_NAMES,
]
_KEPT = ("sha256", "shape", "engine", "mask_size", "cutout_size")
"""What stays as it was for a photo that is rejected, but whose results still are its own."""


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
_KEEPING = _upsert(_KEPT)


def _text(value: Any) -> Any:
    """A value that SQLite takes: names that are no text may stand in messages, and answers lie."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def _marks(count: int) -> str:
    return "(" + ",".join("?" * count) + ")"


def _is_gone(key: bytes) -> bool:
    """Whether a source is no longer there; what is no file cannot be looked for."""
    return key.startswith(b"/") and not os.path.lexists(key)


def _is_successor(photo: Photo, owner: Known) -> bool:
    """Whether a photo may take the place of one that is gone: a neighbour's, or its own after a
    move. Another folder's results stay what they are: its disk may only be away."""
    return os.path.dirname(owner.key) == os.path.dirname(key_of(photo)) or owner.size == photo.size


def _is_met_later(owner: bytes, photo: Photo, order: Order) -> bool:
    """Whether this run's walk comes to the owner of a name after the photo that wants it: then the
    first one met has the name, and every further run finds both where they are."""
    theirs, ours = order(to_text(owner)), order(photo.key)
    return theirs is not None and ours is not None and theirs > ours


def chunked(photos: Iterable[Photo], size: int = CHUNK) -> Iterator[list[Photo]]:
    """Photos in lists of at most ``size``."""
    rest = iter(photos)
    while chunk := list(islice(rest, size)):
        yield chunk
