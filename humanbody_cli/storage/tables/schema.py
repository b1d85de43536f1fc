"""The journal's tables, and what is added to those of an earlier version."""

from __future__ import annotations

import sqlite3

from humanbody_cli.storage.names import folded_name

VERSION = 1

SCHEMA = """
CREATE TABLE photos (
    key BLOB PRIMARY KEY, source BLOB NOT NULL, name BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL, mtime INTEGER NOT NULL, sha256 TEXT, shape TEXT,
    status TEXT NOT NULL, code TEXT, message TEXT, transient INTEGER NOT NULL DEFAULT 0,
    width INTEGER, height INTEGER, attempts INTEGER NOT NULL DEFAULT 0,
    calls INTEGER NOT NULL DEFAULT 0, request_id TEXT, image_id TEXT, time_used INTEGER,
    elapsed INTEGER, engine TEXT, coverage REAL, doubt REAL,
    mask_size INTEGER, cutout_size INTEGER, finished REAL, run INTEGER, checked TEXT,
    folded BLOB
) WITHOUT ROWID;
CREATE INDEX photos_by_sha256 ON photos (sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX photos_by_folded ON photos (folded);
CREATE TABLE runs (
    run INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL,
    engine TEXT, calls INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0, exit_code INTEGER,
    refused INTEGER, rejected INTEGER, failed INTEGER, settled INTEGER,
    reason TEXT, message TEXT, seen REAL, samples TEXT
);
"""

UNCLAIMED = """
CREATE {temp} TABLE IF NOT EXISTS unclaimed (
    sha256 TEXT NOT NULL, kind TEXT NOT NULL, name BLOB NOT NULL,
    PRIMARY KEY (sha256, kind, name)
) WITHOUT ROWID;
"""
"""Published files that no row tells of, as a lost journal leaves them: what their proofs say."""

_LATER_RUN_COLUMNS = {
    **dict.fromkeys(("refused", "rejected", "failed", "settled"), "INTEGER"),
    **dict.fromkeys(("reason", "message", "samples"), "TEXT"),
    "seen": "REAL",
}
"""Columns of ``runs`` that journals of earlier versions lack, and their types."""


def bring_up_to_date(db: sqlite3.Connection) -> None:
    """Add to a journal of an earlier version the columns that it lacks."""
    if not any(row[1] == "folded" for row in db.execute("PRAGMA table_info(photos)")):
        _fold_names(db)
    there = {row[1] for row in db.execute("PRAGMA table_info(runs)")}
    for name, kind in _LATER_RUN_COLUMNS.items():
        if name not in there:
            db.execute(f"ALTER TABLE runs ADD COLUMN {name} {kind}")


def _fold_names(db: sqlite3.Connection) -> None:
    """Add the folded names."""
    db.create_function("fold", 1, folded_name, deterministic=True)
    db.execute("BEGIN IMMEDIATE")
    db.execute("ALTER TABLE photos ADD COLUMN folded BLOB")
    db.execute("UPDATE photos SET folded = fold(name)")
    db.execute("CREATE INDEX photos_by_folded ON photos (folded)")
    db.execute("COMMIT")
