"""Published files that no row tells of: what a lost journal leaves, and what was set aside.

Both are found by the proofs inside them, and may be all that is left of a paid call. They are kept
in reach for as long as a photo may come that they were made of, which may not be in this run.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator

from humanbody_cli.core.paths import mtime_of, to_bytes
from humanbody_cli.core.photo import LOOKUP_SIZE
from humanbody_cli.pipeline.fingerprint import Fingerprint
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.layout import CUTOUTS, MASKS
from humanbody_cli.storage.publishing import Publisher

KEPT_ASIDE = 30 * 24 * 3600.0
"""Seconds that a file set aside waits for a photo that was not met."""

_KEYS = "SELECT key, size, mtime FROM photos WHERE key > ? ORDER BY key LIMIT ?"
_FORGET = "DELETE FROM unclaimed WHERE name IN (SELECT name FROM photos WHERE status = 'done')"


def index(journal: Journal, publisher: Publisher) -> None:
    """Record all published files by their proofs, once, before the first run of a journal begins:
    the rows that led to the files of copies and of renamed photos are gone with the one before.

    Further runs look them up here, so it does not matter which run meets which photo.
    """
    proofs = _proofs(publisher)
    first = next(proofs, None)
    if first is None:  # as in a new output folder
        return
    with journal.exclusive(), journal.transaction():
        for found in itertools.chain([first], proofs):
            journal.change("INSERT OR IGNORE INTO unclaimed VALUES (?, ?, ?)", found)
    journal.has_unclaimed = True


def _proofs(publisher: Publisher) -> Iterator[tuple[str, str, bytes]]:
    """The sha256 in the proof, kind and output name of every published file."""
    from humanbody_cli.imaging import proof  # loads zlib; most runs do not need it

    for kind in (MASKS, CUTOUTS):
        top = publisher.path(kind, "")
        for folder, _, names in os.walk(top):
            for path in (os.path.join(folder, name) for name in names):
                inside = proof.peek(path)
                if inside is not None:
                    yield inside.sha256, kind, to_bytes(os.path.relpath(path, top))


def tidy(
    journal: Journal, publisher: Publisher, fingerprint: Fingerprint, *, now: float | None = None
) -> None:
    """Forget what rows tell of now, and remove what was set aside and is not needed any more:
    results that a photo has again, and all others of the wanted kinds once no photo may come for
    them, or after `KEPT_ASIDE`. ``now`` is in seconds since 1970.

    Raises:
        HbsegError: the journal cannot be used.
    """
    if journal.has_unclaimed:
        with journal.exclusive():
            journal.change(_FORGET, ())
        journal.has_unclaimed = bool(journal.rows("SELECT 1 FROM unclaimed LIMIT 1"))
    oldest = (time.time() if now is None else now) - KEPT_ASIDE
    waits: list[bool] = []

    def is_needed(kind: str, sha256: str) -> bool:
        if _is_claimed(journal, publisher, kind, sha256):
            return False
        if not waits:  # asked only where something was set aside
            waits.append(_may_any_come(journal))
        if waits[0]:
            return _named_at(publisher.aside_path(kind, sha256)) > oldest
        return not fingerprint.wants(kind)  # what this run did not want, a later one may

    publisher.clear_aside(is_needed)


def _is_claimed(journal: Journal, publisher: Publisher, kind: str, sha256: str) -> bool:
    """Whether a photo has the same result now."""
    from humanbody_cli.imaging import proof

    inside = proof.peek(publisher.aside_path(kind, sha256))
    with journal.exclusive():
        known = journal.first("sha256 = ? AND status = 'done'", (sha256,))
    if known is None or inside is None or known.size_of(kind) is None:
        return False
    return Fingerprint.made_in(kind, known) == inside.made


def _may_any_come(journal: Journal) -> bool:
    """Whether a photo may come whose results were set aside: one is not settled, the file of one is
    not the one that its row is about, or one may have lost its row."""
    if journal.has_unclaimed or not journal.is_settled():
        return True
    last = b""
    while rows := journal.rows(_KEYS, (last, LOOKUP_SIZE)):
        if any(key.startswith(b"/") and _is_changed(key, size, mtime) for key, size, mtime in rows):
            return True
        last = rows[-1][0]
    return False


def _is_changed(key: bytes, size: int, mtime: int) -> bool:
    try:
        status = os.stat(key)
    except OSError:
        return False
    return (status.st_size, mtime_of(status)) != (size, mtime)


def _named_at(path: str) -> float:
    """When a file was given its name, in seconds since 1970."""
    try:
        return os.stat(path).st_ctime
    except OSError:  # it is gone
        return 0.0
