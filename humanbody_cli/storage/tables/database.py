"""The journal's file: opened, checked, set aside if damaged; SQLite's errors as ours."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sqlite3
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from humanbody_cli.core.errors import OUTPUT_REASONS, JournalError, OutputError, UsageError
from humanbody_cli.core.outcomes import Outcome
from humanbody_cli.storage.layout import STATE
from humanbody_cli.storage.tables.schema import SCHEMA, UNCLAIMED, VERSION, bring_up_to_date

FILE = "journal.sqlite3"

_WAL, _SHM = "-wal", "-shm"
"""What SQLite appends to a journal's name for the log and for the log's index."""

_DAMAGE = ("malformed", "not a database", "Could not decode to UTF-8")

_TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)

_TRIES = 5
"""How often a journal is copied if it changes during each copy."""

_SAME_NAMES = (
    "code message width height attempts request_id image_id time_used elapsed engine sha256 "
    "coverage doubt"
).split()
"""Columns with the names of the `Outcome` fields that they hold."""

_COLUMNS = [
    *("key", "source", "name", "size", "mtime", "shape", "status", "transient", "calls"),
    *("mask_size", "cutout_size", "finished", "run", "checked", "folded"),
    *_SAME_NAMES,
]
_KEPT = ("sha256", "shape", "engine", "mask_size", "cutout_size", "coverage", "doubt")
"""Columns that are kept for a photo that is rejected but keeps its earlier results."""


def path_in(root: str) -> str:
    """Where the journal of an output folder is."""
    return os.path.join(root, STATE, FILE)


def open_in_memory() -> sqlite3.Connection:
    """An empty journal in memory."""
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    db.executescript(SCHEMA + UNCLAIMED.format(temp=""))
    return db


def open_to_write(path: str) -> tuple[sqlite3.Connection, str | None]:
    """The journal, made or rebuilt where needed; where a damaged one was put, if it was.

    Published files prove what they are and are reused without a call, so a new journal does not
    make a run pay twice.
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
    """The journal for a command that changes nothing: also for a user who may not write there, on a
    read-only mount, while a run is at work, and as a killed run left it.

    Raises:
        UsageError: there is none.
        JournalError: it may not be read, or a newer version of hbseg wrote it.
    """
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            f"no run has written here yet: {path} is missing; check the folder"
        ) from error
    except OSError as error:
        if error.errno in _TOO_MANY_FILES:
            reason = OUTPUT_REASONS[error.errno]
        else:
            reason = f"{error.strerror or error}; check its permissions"
        raise JournalError(f"{path} cannot be read: {reason}") from error
    db = _reader(path)
    try:
        _check_version(db, path)
        if not _has_tables(db):
            raise JournalError(
                f"{path} is empty: the run that created it was stopped at once; run it again"
            )
        if not (_has_tables(db, "'unclaimed'", 1) and db.execute("SELECT 1 FROM runs").fetchone()):
            # Not there or not filled yet: one in memory takes its place.
            db.executescript("PRAGMA temp_store=MEMORY;" + UNCLAIMED.format(temp="TEMP"))
    except BaseException:
        db.close()
        raise
    return db


def _reader(path: str) -> sqlite3.Connection:
    """In WAL mode SQLite reads through two files beside the journal, and makes them where they are
    missing. Another user's would keep the owner's next run from writing, so that a guest gets a
    copy instead."""
    if _is_own(path) or all(os.path.exists(path + ending) for ending in (_WAL, _SHM)):
        with contextlib.suppress(sqlite3.OperationalError):
            return _connect(path, "?mode=ro")
    for _ in range(_TRIES):
        before = _state(path)
        db = _copy_with_log(path) if before[1] else _copy(path)
        if _state(path) == before:
            return db
        db.close()  # a run wrote into it meanwhile
    raise JournalError(f"{path} keeps changing; try again when the run that uses it has ended")


def _is_own(path: str) -> bool:
    """Whether SQLite's files beside the journal can be made, and are its owner's then."""
    user = os.geteuid()  # root's SQLite hands them to the owner
    return user in (0, os.stat(path).st_uid) and os.access(os.path.dirname(path), os.W_OK)


def _state(path: str) -> tuple[tuple[int, int, int] | None, tuple[int, int, int] | None]:
    """What changes whenever the journal or its log does; ``None`` for an absent or empty file."""

    def state(path: str) -> tuple[int, int, int] | None:
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return None
        return (status.st_ino, status.st_size, status.st_mtime_ns) if status.st_size else None

    return state(path), state(path + _WAL)


def _copy(path: str) -> sqlite3.Connection:
    """A copy in memory of a journal without a log. ``immutable`` reads no log."""
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    with contextlib.closing(_connect(path, "?immutable=1")) as db:
        db.backup(copy)
    return copy


def _copy_with_log(path: str) -> sqlite3.Connection:
    """The same of a journal with a log beside it; SQLite merges copies of the two."""
    try:
        import shutil  # these take 10 ms to load, and only guests need them
        import tempfile

        with tempfile.TemporaryDirectory(prefix="hbseg-") as folder:
            private = os.path.join(folder, FILE)
            shutil.copyfile(path, private)
            with contextlib.suppress(FileNotFoundError):  # a run has ended meanwhile
                shutil.copyfile(path + _WAL, private + _WAL)
            with contextlib.closing(_connect(private)) as db:
                db.execute("PRAGMA journal_mode=DELETE")  # takes the log in
            return _copy(private)
    except OSError as error:
        raise JournalError(
            f"{path} was left open by a run, and there is no room for a copy of it: "
            f"{error.strerror or error}; set TMPDIR to a writable folder"
        ) from error


def set_aside(path: str) -> str:
    """Keep a damaged journal under another name; the next run begins a new one."""
    aside = f"{path}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
    os.replace(path, aside)
    for ending in (_WAL, _SHM):
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
            db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")
        else:
            bring_up_to_date(db)
        db.execute(UNCLAIMED.format(temp=""))
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


def _has_tables(db: sqlite3.Connection, names: str = "'photos', 'runs'", count: int = 2) -> bool:
    query = f"SELECT COUNT(*) FROM sqlite_master WHERE name IN ({names})"
    return bool(db.execute(query).fetchone()[0] == count)


def _ended_badly(db: sqlite3.Connection, path: str) -> bool:
    """Whether the last run did not end by itself, or the file is shorter than its header says."""
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    size = db.execute("PRAGMA page_size").fetchone()[0]
    open_run = db.execute("SELECT 1 FROM runs WHERE ended IS NULL LIMIT 1").fetchone()
    return open_run is not None or os.path.getsize(path) < pages * size


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error tells that the file itself is damaged."""
    return any(words in str(error) for words in _DAMAGE)


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Raise SQLite's errors as ours: they come from the disk and end the run."""
    try:
        yield
    except UnicodeDecodeError as error:  # Python's, of a name in SQLite's own message
        raise _damaged(path, error) from error
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise _damaged(path, error) from error
        if isinstance(error, sqlite3.OperationalError):
            raise OutputError(f"cannot use {path}: {_reason(error)}") from error
        raise


def _reason(error: sqlite3.OperationalError) -> str:
    """SQLite keeps the system's error to itself: a limit on open files is found by opening one."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as refusal:
        if refusal.errno in _TOO_MANY_FILES:
            return OUTPUT_REASONS[refusal.errno]
    return f"{error}; free space or check the disk and permissions, and run the same command again"


def _damaged(path: str, error: Exception) -> JournalError:
    damage = JournalError(
        f"{path} is damaged ({error}); run `hbseg segment` again to have it rebuilt from the "
        "outputs"
    )
    damage.damaged = True
    return damage


@functools.cache
def upsert(*, keeps_results: bool) -> str:
    """The statement that writes a whole row; the calls that a photo cost add up. ``keeps_results``
    leaves in the row what is known of earlier results."""
    kept = _KEPT if keeps_results else ()

    def value(column: str) -> str:
        if column == "calls":
            return "photos.calls + excluded.calls"
        return f"photos.{column}" if column in kept else f"excluded.{column}"

    changes = ", ".join(f"{column} = {value(column)}" for column in _COLUMNS if column != "key")
    return (
        f"INSERT INTO photos ({', '.join(_COLUMNS)}) "
        f"VALUES ({', '.join(':' + column for column in _COLUMNS)}) "
        f"ON CONFLICT (key) DO UPDATE SET {changes}"
    )


def values_of(outcome: Outcome) -> dict[str, object]:
    """The values of the columns that are named like an outcome's fields."""
    return {name: text_of(getattr(outcome, name)) for name in _SAME_NAMES}


def text_of(value: Any) -> Any:
    """A value that SQLite takes: messages may hold names that are not text, and so may answers."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value
