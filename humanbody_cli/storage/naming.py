"""Output names of the photos that are to be done: each gets one that is its own, and a pending row.

A photo that has to be done again keeps what is known of it. When a name changes its owner, the
published files are renamed before the row: the files of a row without files are searched for, but
files without a row might be overwritten.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from humanbody_cli.core.errors import PhotoError
from humanbody_cli.core.paths import to_bytes, to_text
from humanbody_cli.core.photo import Due, Known, Photo, key_of
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.layout import CUTOUTS, MASKS
from humanbody_cli.storage.names import SUFFIX, folded_name, marked
from humanbody_cli.storage.ownership import recorded
from humanbody_cli.storage.publishing import Publisher

Order = Callable[[str], "tuple[object, ...] | None"]
"""The position of a key in this run's walk; ``None`` if the walk cannot meet it."""

_BEGIN_IF_FREE = (
    "INSERT INTO photos (key, source, name, folded, size, mtime, status) "
    "SELECT ?1, ?2, ?3, ?4, -1, -1, 'pending' "
    "WHERE NOT EXISTS (SELECT 1 FROM photos WHERE name = ?3 OR folded = ?4) "
    "ON CONFLICT (key) DO NOTHING"
)
_BEGIN = (
    "INSERT INTO photos (key, source, name, folded, size, mtime, status) "
    "VALUES (?1, ?2, ?3, ?4, -1, -1, 'pending') ON CONFLICT (key) DO UPDATE SET "
    "status = 'pending', name = excluded.name, folded = excluded.folded, source = excluded.source"
)
_RENAME_UNCLAIMED = "UPDATE OR REPLACE unclaimed SET name = ? WHERE name = ?"


@dataclass(frozen=True)
class OutputNames:
    """Assigns the output names of one run."""

    journal: Journal
    publisher: Publisher
    order: Order

    def settle(self, photos: Sequence[Due]) -> list[Due]:
        """Record photos as pending, each under an output name that no other photo has; the same
        photos under their final names, each with its row under that name."""
        with self.journal.exclusive():
            if len(photos) == 1 and (settled := self._at_once(*photos[0])):
                return [settled]  # one statement needs no transaction
            with self.journal.transaction():
                rows = {known.key: known for _, known in photos if known is not None}
                return [self._settled(photo, rows) for photo, _ in photos]

    def put_back(self, due: Due) -> None:
        """Undo `settle` for a photo that is not to be done yet: its row is as before, or gone."""
        key = key_of(due.photo)
        with self.journal.exclusive():
            self.journal.under_way.discard(key)
            if due.known is None:
                self.journal.change("DELETE FROM photos WHERE key = ?", (key,))
            else:
                change = "UPDATE photos SET status = ? WHERE key = ?"
                self.journal.change(change, (due.known.status, key))

    def _settled(self, photo: Photo, rows: dict[bytes, Known]) -> Due:
        """``rows`` are what is known of the photos that are settled together: a name that changes
        its owner changes them."""
        key = key_of(photo)
        if settled := self._at_once(photo, rows.get(key)):
            return settled
        name = self._name_for(photo, rows)
        known = rows.get(key)
        if known is not None:
            name = self._renamed(known, name)
            known = rows[key] = known._replace(name=to_bytes(name))
        return self._begun(photo._replace(name=name), known)

    def _at_once(self, photo: Photo, known: Known | None) -> Due | None:
        """A photo under a name that is free or its own already; ``None`` where that takes more."""
        if known is None:
            if not self.journal.change(_BEGIN_IF_FREE, _values(photo)):
                return None
            self.journal.under_way.add(key_of(photo))
            return Due(photo, None)
        own = to_text(known.name)
        if photo.keeps_name or own == photo.name:
            return self._begun(photo._replace(name=own), known)
        return None

    def _begun(self, photo: Photo, known: Known | None) -> Due:
        if known is not None:
            self.journal.remember_failure(known)
        self.journal.change(_BEGIN, _values(photo))
        self.journal.under_way.add(key_of(photo))
        return Due(photo, known)

    def _name_for(self, photo: Photo, rows: dict[bytes, Known]) -> str:
        """The output name of a photo, free for it once this returns."""
        owner = self._owner(photo.name)
        if owner is None or owner.key == key_of(photo):
            return photo.name
        # A name is never taken from a photo that this run has met: it may be in flight.
        if owner.key not in self.journal.under_way:
            if _is_gone(owner.key) and _is_successor(photo, owner):
                self._inherit(owner, key_of(photo), rows)
                return photo.name
            if self._is_met_later(owner.key, photo) and self._evict(owner, rows):
                return photo.name
        return self._free_name(photo.name, photo.key)

    def _renamed(self, known: Known, new: str) -> str:
        """The name under which a photo's files are after the attempt to rename them: the old one
        where a file that hbseg did not write is at the new one."""
        old = to_text(known.name)
        if old == new:
            return new
        self.journal.renames += 1
        move = self.publisher.move
        try:
            move(MASKS, old, new, may_replace=recorded(known, MASKS))
        except PhotoError:
            return old
        try:
            move(CUTOUTS, old, new, may_replace=recorded(known, CUTOUTS))
        except PhotoError:
            move(MASKS, new, old, may_replace=recorded(known, MASKS))
            return old
        if self.journal.has_unclaimed:
            self.journal.change(_RENAME_UNCLAIMED, (to_bytes(new), to_bytes(old)))
        return new

    def _owner(self, name: str) -> Known | None:
        """The photo that has this output name, or one that is the same where case and Unicode form
        do not count: the output may be on such a file system."""
        exact = to_bytes(name)
        where = "name = ? OR folded = ? ORDER BY name = ? DESC"
        return self.journal.first(where, (exact, folded_name(exact), exact))

    def _free_name(self, wanted: str, key: str) -> str:
        name, identity = wanted, key
        while True:
            name = marked(name, identity)
            owner = self._owner(name)
            if owner is None or to_text(owner.key) == key:
                return name
            identity += SUFFIX

    def _inherit(self, owner: Known, key: bytes, rows: dict[bytes, Known]) -> None:
        """Give a photo the name of one that is gone; what is known of those bytes is kept."""
        self.journal.renames += 1
        if key in rows:
            if owner.sha256 is not None:
                with self.publisher.aside_guard:
                    for kind in (MASKS, CUTOUTS):
                        self.publisher.set_aside(
                            *(kind, to_text(owner.name), owner.sha256),
                            may_replace=recorded(owner, kind),
                        )
            self.journal.remember_failure(owner)
            self.journal.change("DELETE FROM photos WHERE key = ?", (owner.key,))
        else:
            self.journal.change("UPDATE photos SET key = ? WHERE key = ?", (key, owner.key))
            rows[key] = owner._replace(key=key)
        rows.pop(owner.key, None)

    def _evict(self, owner: Known, rows: dict[bytes, Known]) -> bool:
        """Rename a photo that this run meets later, and its files; whether its name is free now."""
        new = self._free_name(to_text(owner.name), to_text(owner.key))
        if self._renamed(owner, new) != new:
            return False
        name = to_bytes(new)
        self.journal.change(
            "UPDATE photos SET name = ?, folded = ? WHERE key = ?",
            (name, folded_name(name), owner.key),
        )
        if owner.key in rows:
            rows[owner.key] = rows[owner.key]._replace(name=name)
        return True

    def _is_met_later(self, owner: bytes, photo: Photo) -> bool:
        """Whether this run's walk comes to the owner of a name after the photo that wants it: then
        the first one met has the name, and every further run finds both where they are."""
        theirs, ours = self.order(to_text(owner)), self.order(photo.key)
        return theirs is not None and ours is not None and theirs > ours


def _values(photo: Photo) -> tuple[bytes, bytes, bytes, bytes]:
    name = to_bytes(photo.name)
    return key_of(photo), to_bytes(photo.source), name, folded_name(name)


def _is_gone(key: bytes) -> bool:
    """Whether a source file is no longer there; false for what is not a file."""
    return key.startswith(b"/") and not os.path.lexists(key)


def _is_successor(photo: Photo, owner: Known) -> bool:
    """Whether a photo may take the name of one that is gone: one of the same folder, or itself
    after a move. Results of other folders are kept: their disk may just be unmounted."""
    return os.path.dirname(owner.key) == os.path.dirname(key_of(photo)) or owner.size == photo.size
