"""The journal's table of runs: when each began and ended, why, its counts, and its course.

Runs are told apart by number and not by time: clocks are set back.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, NamedTuple

from humanbody_cli.core.paths import to_text
from humanbody_cli.storage.tables import database

FINISHED, KILLED, BUG = "finished", "killed", "bug"
"""Why a run ended, where no `HbsegError` was the reason; those have an ``ending``."""


class Sample(NamedTuple):
    """The counts of a run at one moment, all since its start.

    ``seconds`` is the time since the start, ``calls`` the attempts that were sent, of which
    ``refused`` met the quota. ``latency`` is the sum, in seconds, of ``answered`` answers'
    latencies; with the embedded engine, of the model's time for as many photos.
    """

    seconds: float
    done: int = 0
    left_out: int = 0
    calls: int = 0
    refused: int = 0
    answered: int = 0
    latency: float = 0.0


@dataclass(frozen=True)
class RunCounts:
    """What a run has come to: attempts sent and refused by the quota, photos by how they ended,
    and photos ``settled`` before it."""

    calls: int = 0
    refused: int = 0
    done: int = 0
    rejected: int = 0
    failed: int = 0
    settled: int = 0


@dataclass(frozen=True)
class RunEnd:
    """How a run ended: its exit code, one word for the reason, the sentence that the user saw, and
    how many seconds it took."""

    exit_code: int
    reason: str
    message: str | None
    seconds: float


_COUNTS = tuple(field.name for field in fields(RunCounts))
_SET_COUNTS = ", ".join(f"{name} = ?" for name in _COUNTS) + ", samples = ?, seen = ?"
_PUBLIC = ("run", "started", "ended", "seen", "engine", *_COUNTS, "exit_code", "reason", "message")
_CLOSE_KILLED = (
    f"UPDATE runs SET ended = COALESCE(seen, started), reason = '{KILLED}' WHERE ended IS NULL"
)


class Runs:
    """The table of runs of an open journal; ``run`` is the number of the run at work, 0 for none.

    Any thread. An earlier version's file lacks some columns where it is only read: they are
    ``None`` then.
    """

    def __init__(self, db: sqlite3.Connection, path: str) -> None:
        self.path = path
        self.run = 0
        self._db = db
        self._guard = threading.RLock()

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        """All rows that a query finds."""
        with self._guard, database.translated(self.path):
            return self._db.execute(query, values).fetchall()

    def half_done(self) -> list[str]:
        """The output names that a killed run may have left half written."""
        if not self.rows("SELECT 1 FROM runs WHERE ended IS NULL"):
            return []
        rows = self.rows("SELECT name FROM photos WHERE status = 'pending'")
        return [to_text(row[0]) for row in rows]

    def begin_run(self, engine: str | None, *, seconds: float = 0.0) -> None:
        """Note that a run began, so many seconds ago. ``engine`` is ``None`` where nothing is to be
        done."""
        with self._guard, database.translated(self.path):
            self._db.execute(_CLOSE_KILLED)
            cursor = self._db.execute(
                "INSERT INTO runs (started, engine) VALUES (?, ?)", (time.time() - seconds, engine)
            )
            self.run = cursor.lastrowid or 0

    def next_run(self) -> int:
        """The number of the run that would begin now."""
        return int(self.rows("SELECT MAX(run) FROM runs")[0][0] or 0) + 1

    def note_run(self, counts: RunCounts, samples: Sequence[Sample]) -> None:
        """Keep what the run has come to so far: a killed run leaves this behind."""
        values = (*astuple(counts), json.dumps(samples, separators=(",", ":")), time.time())
        with self._guard, database.translated(self.path):
            self._db.execute(f"UPDATE runs SET {_SET_COUNTS} WHERE run = ?", (*values, self.run))

    def end_run(self, counts: RunCounts, samples: Sequence[Sample], end: RunEnd) -> None:
        """Note that the run ended by itself, whether or not it had anything to do.

        Nothing is noted where the very first run had nothing to do: a journal without a run may be
        one that was lost.
        """
        if not self.run and self.next_run() == 1:
            return
        if not self.run:
            self.begin_run(None, seconds=end.seconds)
        self.note_run(counts, samples)
        with self._guard, database.translated(self.path):
            self._db.execute(
                "UPDATE runs SET ended = seen, exit_code = ?, reason = ?, message = ? "
                "WHERE run = ?",
                (end.exit_code, end.reason, database.text_of(end.message), self.run),
            )

    def runs(self) -> list[dict[str, Any]]:
        """Every run, oldest first: times in seconds since 1970, the counts of `RunCounts`, the exit
        code, and the reason of its end in a word and in a sentence."""
        there = self._columns()
        taken = [name if name in there else f"NULL AS {name}" for name in _PUBLIC]
        rows = self.rows(f"SELECT {', '.join(taken)} FROM runs ORDER BY run")
        return [dict(zip(_PUBLIC, row, strict=True)) for row in rows]

    def samples(self, run: int) -> list[Sample]:
        """The course of a run, oldest first; empty where nothing was recorded."""
        if "samples" not in self._columns():
            return []
        rows = self.rows("SELECT samples FROM runs WHERE run = ?", (run,))
        if not rows or rows[0][0] is None:
            return []
        with database.translated(self.path):
            try:
                return [Sample._make(values) for values in json.loads(rows[0][0])]
            except (TypeError, ValueError) as error:
                raise sqlite3.DatabaseError(f"malformed samples: {error}") from error

    def _columns(self) -> set[str]:
        return {row[1] for row in self.rows("PRAGMA table_info(runs)")}
