"""The journal's file: opened, checked, set aside where it is damaged. SQLite's errors as ours."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from urllib.parse import quote

from humanbody_cli.errors import JournalError, OutputError
from humanbody_cli.photos import STATE

FILE = "journal.sqlite3"
VERSION = 1

_SCHEMA = """
CREATE TABLE photos (
    key BLOB PRIMARY KEY, source BLOB NOT NULL, name BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL, mtime INTEGER NOT NULL, sha256 TEXT, shape TEXT,
    status TEXT NOT NULL, code TEXT, message TEXT, transient INTEGER NOT NULL DEFAULT 0,
    width INTEGER, height INTEGER, attempts INTEGER NOT NULL DEFAULT 0,
    calls INTEGER NOT NULL DEFAULT 0, request_id TEXT, image_id TEXT, time_used INTEGER,
    elapsed INTEGER, engine TEXT, coverage REAL, doubt REAL,
    mask_size INTEGER, cutout_size INTEGER, finished REAL, run INTEGER, checked TEXT
) WITHOUT ROWID;
CREATE INDEX photos_by_sha256 ON photos (sha256) WHERE sha256 IS NOT NULL;
CREATE TABLE runs (
    run INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL,
    engine TEXT, calls INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0, exit_code INTEGER
);
"""


def path_in(root: str) -> str:
    """Where the journal of an output folder lies."""
    return os.path.join(root, STATE, FILE)


def open_to_write(path: str) -> tuple[sqlite3.Connection, str | None]:
    """The journal, made or rebuilt where needed; where a damaged one was put, if it was.

    Published files stand for themselves: they are taken up again without a call, so a new journal
    pays for nothing twice.
    """
    existed = os.path.exists(path)
    try:
        return _checked(_connect(path), path, existed=existed), None
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and not is_damage(error):
            raise
        aside = set_aside(path)
        return _checked(_connect(path), path, existed=False), aside


def open_to_read(path: str) -> sqlite3.Connection:
    """The journal for a command that changes nothing, also while a run is at work.

    Raises:
        JournalError: there is none, or it is of a later version.
    """
    if not os.path.exists(path):
        raise JournalError(f"no run has written here yet: {path} is missing; check the folder")
    db = _connect(path, "?mode=ro")
    _check_version(db, path)
    return db


def set_aside(path: str) -> str:
    """Keep a damaged journal under another name; the next run begins a new one."""
    aside = f"{path}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
    os.replace(path, aside)
    for ending in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.replace(path + ending, aside + ending)
    return aside


def _connect(path: str, how: str = "") -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(os.path.abspath(path)))}{how}"
    db = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode").fetchone()  # reads the file: is it SQLite at all?
    except sqlite3.Error:
        db.close()
        raise
    return db


def _checked(db: sqlite3.Connection, path: str, *, existed: bool) -> sqlite3.Connection:
    try:
        if existed:
            _check_version(db, path)
        if not existed or not _has_tables(db):
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")
        db.execute("PRAGMA synchronous=NORMAL")
        if existed and _ended_badly(db, path):
            verdict = db.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != ("ok",):
                raise sqlite3.DatabaseError(f"malformed: {verdict}")
    except BaseException:
        db.close()
        raise
    return db


def _check_version(db: sqlite3.Connection, path: str) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise JournalError(
            f"{path} was written by a newer hbseg (format {version}, this one knows {VERSION}); "
            "update hbseg, or choose another output folder"
        )


def _has_tables(db: sqlite3.Connection) -> bool:
    query = "SELECT COUNT(*) FROM sqlite_master WHERE name IN ('photos', 'runs')"
    return bool(db.execute(query).fetchone()[0] == 2)


def _ended_badly(db: sqlite3.Connection, path: str) -> bool:
    """Whether the last run did not end by itself, or the file has not the size it says."""
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    size = db.execute("PRAGMA page_size").fetchone()[0]
    open_run = db.execute("SELECT 1 FROM runs WHERE ended IS NULL LIMIT 1").fetchone()
    return open_run is not None or os.path.getsize(path) < pages * size


def is_damage(error: sqlite3.Error) -> bool:
    return "malformed" in str(error) or "not a database" in str(error)


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """SQLite's errors as ours: they are the disk's, and end the run."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            damage = JournalError(
                f"{path} is damaged ({error}); run `hbseg segment` again to have it rebuilt from "
                "the outputs"
            )
            damage.damaged = True
            raise damage from error
        if isinstance(error, sqlite3.OperationalError):
            raise OutputError(
                f"cannot write {path}: {error}; free space or check the disk and permissions, "
                "and run the same command again"
            ) from error
        raise
