"""The journal: what is known about every photo of an output folder. SQLite, one row per photo.

A photo's last row is written after its mask and cutout are at their final names: it is the mark
that the photo is done. A killed process loses no row that was written (WAL, synchronous=NORMAL);
what a power cut takes is taken up again from the published files.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from humanbody_cli.core.outcomes import Outcome, Status, code_of
from humanbody_cli.core.paths import to_bytes, to_text
from humanbody_cli.core.photo import LOOKUP_SIZE, Copy, DoneRow, Finished, Known, Photo, key_of
from humanbody_cli.storage.layout import CUTOUTS, MASKS
from humanbody_cli.storage.names import folded_name
from humanbody_cli.storage.tables import database
from humanbody_cli.storage.tables.database import upsert
from humanbody_cli.storage.tables.runs import Runs

_LARGE = 700
"""Pages of a journal of about 5,000 photos."""

_COPIES = 20
"""Rows with the same bytes that are read at a time."""

_KNOWN = ", ".join(Known._fields)
_RECORD = (
    "source, name, status, code, message, width, height, attempts, request_id, image_id, "
    "time_used, elapsed, engine, sha256, coverage, doubt, mask_size, cutout_size, transient"
)
_BY_KEY = f"SELECT {_KNOWN} FROM photos WHERE key IN "
_DONE_BETWEEN = (
    "SELECT key, name, size, mtime, mask_size, cutout_size FROM photos "
    "WHERE key BETWEEN ? AND ? AND coverage IS NOT 0 "
)
_COPY = f"{_KNOWN}, {_RECORD} FROM photos WHERE sha256 = ? AND shape IN"
_THAT_FAILED = (
    "AND status = 'failed' AND COALESCE(run, 0) >= ? AND (run = ? OR NOT transient) "
    "ORDER BY run DESC LIMIT 1"
)
_WITH_RESULTS = (
    f"AND run >= ? AND COALESCE(mask_size, cutout_size, coverage = 0) LIMIT {_COPIES} OFFSET ?"
)


class Journal(Runs):
    """The journal of one output folder. One writer (the run that holds the lock), any thread.

    ``under_way`` are the keys of pending photos that this run has met. ``renames`` counts how often
    published files were about to be renamed: a reader that does not find the files of a row reads
    the row again if the count has changed. ``was_lost``: no run has begun in this file, so what an
    earlier one may have known is gone. ``has_unclaimed``: files that no row tells of are recorded.
    """

    def __init__(self, root: str, *, read_only: bool = False, in_memory: bool = False) -> None:
        path = database.path_in(root)
        self.root = root
        self.rebuilt_from: str | None = None
        self.renames = 0
        self.under_way: set[bytes] = set()
        self._failed_before: dict[str, dict[bytes, Known]] = defaultdict(dict)
        with database.translated(path):
            if in_memory:  # for a folder that no run has written to
                db = database.open_in_memory()
            elif read_only:
                db = database.open_to_read(path)
            else:
                db, self.rebuilt_from = database.open_to_write(path)
        super().__init__(db, path)
        query = "SELECT NOT EXISTS (SELECT 1 FROM runs), EXISTS (SELECT 1 FROM unclaimed)"
        self.was_lost, self.has_unclaimed = map(bool, self.rows(query)[0])

    def set_aside(self) -> None:
        """Keep the damaged file under another name; the next run begins a new one."""
        self.close()
        database.set_aside(self.path)

    def close(self) -> None:
        """Close the file."""
        with self._guard, contextlib.suppress(sqlite3.Error):
            self._db.close()

    # -- looking up ------------------------------------------------------------------------------

    def known(self, keys: Sequence[bytes]) -> dict[bytes, Known]:
        """The rows of these photos, by key."""
        rows = self.rows(_BY_KEY + _marks(len(keys)), keys)
        return {row[0]: Known._make(row) for row in rows}

    def is_large(self) -> bool:
        """Whether there are thousands of rows, without counting them."""
        return int(self.rows("PRAGMA page_count")[0][0]) >= _LARGE

    def done(self, keys: Sequence[bytes], shapes: Collection[str]) -> list[DoneRow]:
        """The rows of those of these photos that are done in one of these shapes and show a person,
        in the order of their keys; others may be among them, and a few may be missing if the keys
        are far apart.

        A second run asks this of every photo: it reads no more than decides, and a range of keys,
        which is what a folder is, costs half of as many single ones.
        """
        where = f"AND status = 'done' AND shape IN {_marks(len(shapes))} "
        order = f"ORDER BY key LIMIT {2 * LOOKUP_SIZE}"
        return self.rows(_DONE_BETWEEN + where + order, (min(keys), max(keys), *shapes))

    def engines(self) -> list[str]:
        """Every engine that a run on this folder has used, as `Fingerprint.engine` names it."""
        rows = self.rows("SELECT DISTINCT engine FROM runs WHERE engine IS NOT NULL")
        return [str(row[0]) for row in rows]

    def copies(
        self,
        sha256: str,
        *,
        failed: Collection[str],
        since_failed: int,
        made: Collection[str],
        since_made: int,
    ) -> tuple[Known | None, Iterator[Copy]]:
        """Rows with these very bytes, in one query: the latest failure in one of the ``failed``
        shapes, and those with results in one of the ``made`` shapes.

        Failures are those from run ``since_failed`` on, of earlier runs only permanent ones; they
        include those of photos that this run processes again. Results are those from run
        ``since_made`` on, including those of photos that are pending again (touched, moved) or that
        cannot be read now.
        """
        failures = f"SELECT 1, {_COPY} {_marks(len(failed))} {_THAT_FAILED}"
        results = f"SELECT 0, {_COPY} {_marks(len(made))} {_WITH_RESULTS}"
        values = (sha256, *made, since_made)
        query = f"SELECT * FROM ({failures}) UNION ALL SELECT * FROM ({results})"
        rows = self.rows(query, (sha256, *failed, since_failed, self.run, *values, 0))
        failure = _known(rows.pop(0)) if rows and rows[0][0] else None
        before = self._failed_before_of(sha256, failed, since_failed)
        return failure or before, self._copies(rows, results, values)

    def _copies(self, rows: list[Any], query: str, values: tuple[object, ...]) -> Iterator[Copy]:
        """A few at a time: usually the first one is used."""
        for offset in itertools.count(_COPIES, _COPIES):
            outcomes = [self._outcome(row[len(Known._fields) + 1 :]) for row in rows]
            yield from map(Copy, map(_known, rows), outcomes)
            if len(rows) < _COPIES:
                return
            rows = self.rows(query, (*values, offset))

    def _failed_before_of(self, sha256: str, failed: Collection[str], since: int) -> Known | None:
        with self._guard:
            for known in self._failed_before.get(sha256, {}).values():
                if known.shape in failed and (known.run or 0) >= since:
                    return known
        return None

    def unclaimed(self, sha256: str) -> list[tuple[str, str]]:
        """Kind and name of the files made of these bytes that no row tells of."""
        query = "SELECT kind, name FROM unclaimed WHERE sha256 = ?"
        rows = self.rows(query, (sha256,)) if self.has_unclaimed else []
        return [(kind, to_text(name)) for kind, name in rows]

    def outcome(self, key: bytes) -> Outcome:
        """The whole record of one photo."""
        query = f"SELECT {_RECORD} FROM photos WHERE key = ?"
        return self._outcome(self.rows(query, (key,))[0])

    def outcomes(self, status: str | None = None, *, absolute: bool = False) -> Iterator[Outcome]:
        """Every record, by output name, a chunk at a time.

        ``absolute`` names sources so that they are found from any folder.
        """
        where = "WHERE name > ? AND (? IS NULL OR status = ?)"
        fields = _RECORD.replace("source", "key AS source", 1) if absolute else _RECORD
        query = f"SELECT {fields} FROM photos {where} ORDER BY name LIMIT {LOOKUP_SIZE}"
        last = b""
        while True:
            rows = self.rows(query, (last, status, status))
            yield from [self._outcome(row) for row in rows]
            if len(rows) < LOOKUP_SIZE:
                return
            last = rows[-1][1]

    def finish_times(self) -> dict[str, float]:
        """When each photo ended, in seconds since 1970, by its key."""
        rows = self.rows("SELECT key, finished FROM photos WHERE finished IS NOT NULL")
        return {to_text(key): float(finished) for key, finished in rows}

    def is_settled(self) -> bool:
        """Whether no photo waits for results: none is pending, none has failed temporarily."""
        query = "SELECT 1 FROM photos WHERE status = 'pending' OR transient LIMIT 1"
        return self.rebuilt_from is None and not self.rows(query)

    def count(self, status: str) -> int:
        """Photos with this status."""
        return int(self.rows("SELECT COUNT(*) FROM photos WHERE status = ?", (status,))[0][0])

    def counts(self) -> list[tuple[str, str | None, int, int]]:
        """Photos and calls by status and code; a pair of both may be met more than once."""
        fields = "status, code, MAX(coverage), COUNT(*), SUM(calls)"
        rows = self.rows(f"SELECT {fields} FROM photos GROUP BY status, code, coverage = 0")
        return [(row[0], code_of(row[1], row[2]), row[3], row[4]) for row in rows]

    def _outcome(self, row: Sequence[Any]) -> Outcome:
        with database.translated(self.path):
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

    def remember_failure(self, known: Known) -> None:
        """Keep a permanent failure for the rest of the run: it belongs to the photo's bytes, and
        neither a new time nor other bytes under its name undo it."""
        if known.status == "failed" and not known.transient and known.sha256 is not None:
            self._failed_before[known.sha256][known.key] = known

    def _forget_failure(self, sha256: str | None, key: bytes) -> None:
        """The photo's row is about these bytes again."""
        failures = self._failed_before.get(sha256 or "", {})
        failures.pop(key, None)
        if not failures:
            self._failed_before.pop(sha256 or "", None)

    def finish(self, finished: Finished) -> None:
        """Write what became of a photo: the last step of its processing."""
        photo, outcome = finished.photo, finished.outcome
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
            **database.values_of(outcome),
        }
        with self._guard, database.translated(self.path):
            self._db.execute(upsert(keeps_results=finished.keeps_results), values)
            self._forget_failure(outcome.sha256, key_of(photo))
            self.under_way.discard(key_of(photo))  # not before: its row is what keeps its name

    def reprieve(self, photo: Photo, attempts: int) -> None:
        """Count the calls that were made for a photo that stays pending."""
        update = "UPDATE photos SET calls = calls + ? WHERE key = ?"
        with self.exclusive():
            self.change(update, (attempts, key_of(photo)))

    # -- for `OutputNames`, `CallLimit` and `unclaimed` ------------------------------------------

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the journal, for the methods below."""
        with self._guard, database.translated(self.path):
            yield

    def first(self, where: str, values: Sequence[object]) -> Known | None:
        """The first row that a condition finds."""
        query = f"SELECT {_KNOWN} FROM photos WHERE {where} LIMIT 1"
        row = self._db.execute(query, values).fetchone()
        return None if row is None else Known._make(row)

    def change(self, statement: str, values: Sequence[object]) -> int:
        """Make one change; how many rows it changed."""
        return self._db.execute(statement, values).rowcount

    def number(self, query: str, values: Sequence[object]) -> int:
        """The whole number that a query finds."""
        return int(self._db.execute(query, values).fetchone()[0])

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Changes that are written together. What was written before an error stays: files
        were renamed accordingly."""
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


def _marks(count: int) -> str:
    return "(" + ",".join("?" * count) + ")"


def _known(row: Sequence[Any]) -> Known:
    """The known part of a row that begins with a mark of another kind."""
    return Known._make(row[1 : len(Known._fields) + 1])
