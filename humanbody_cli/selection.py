"""What a photo needs, given what the journal knows of it. Pure, but for the look at the outputs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

from humanbody_cli.journal import Done, Known
from humanbody_cli.lookout import OwnLooks
from humanbody_cli.names import marked
from humanbody_cli.photos import Kind, Photo
from humanbody_cli.publish import CUTOUTS, MASKS
from humanbody_cli.settings import Wanted

_FILE, _URL = Kind.FILE, Kind.URL


@dataclass(frozen=True)
class Shape:
    """The options that shape a result, as text for the journal.

    ``also`` are engines whose results serve as well: where no engine was named, what the API was
    paid for is never replaced by the embedded engine's.
    """

    engine: str
    wanted: Wanted
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self._text(self.engine)

    def _text(self, engine: str) -> str:
        wanted = self.wanted
        return (
            f"fit={int(wanted.fit)};edges={wanted.edges.value};"
            f"metadata={wanted.metadata.value};engine={engine}"
        )

    @property
    def engines(self) -> tuple[str, ...]:
        """Engines whose results are accepted."""
        return (self.engine, *self.also)

    def accepts(self, text: str | None) -> bool:
        """Whether a result of that shape is what is wanted."""
        return text in self.accepted

    @cached_property
    def accepted(self) -> frozenset[str]:
        """The texts of the shapes that serve."""
        return frozenset(self._text(engine) for engine in self.engines)

    def same_check(self, text: str | None) -> bool:
        """Whether a rejection under that shape still holds: only ``--fit`` bears on it."""
        return text is not None and text.split(";")[0] == str(self).split(";")[0]


@dataclass(frozen=True)
class Selection:
    """Decides which photos are to be done, in the output folder ``root``."""

    root: str
    shape: Shape
    force: bool = False
    retry_failed: bool = False

    def settled(self, photo: Photo, known: Known | None) -> str | None:
        """The status that a photo has for good, ``None`` if it is to be done."""
        if known is None or self.force or photo.kind in (Kind.STDIN, Kind.TROUBLE):
            return None
        if known.size != photo.size or known.mtime != photo.mtime or known.transient:
            return None
        if known.status == "rejected":
            return "rejected" if self.shape.same_check(known.checked) else None
        if known.status == "failed":
            again = self.retry_failed or not self.shape.accepts(known.shape)
            return None if again else "failed"
        if known.status != "done" or not self.shape.accepts(known.shape):
            return None
        row = (
            *(known.key, known.name, known.size, known.mtime),
            *(known.mask_size, known.cutout_size),
        )
        return "done" if self.may_stand(photo, row) and self.looks.has_outputs(row) else None

    def may_stand(self, photo: Photo, row: Done) -> bool:
        """Whether a done row is this photo's by all but its files: these are `looks`' matter."""
        _, name, _, mtime, _, _ = row
        _, key, wanted, _, _, kind, *_ = photo
        # An address has no time, a file always has one.
        if self.force or not (mtime != -1 if kind is _FILE else kind is _URL and mtime == -1):
            return False
        return name == wanted.encode("utf-8", "surrogateescape") or name == os.fsencode(
            marked(wanted, key)
        )

    @cached_property
    def looks(self) -> OwnLooks:
        """Looks at the files that are wanted."""
        wanted = self.shape.wanted
        masks, cutouts = (
            os.fsencode(os.path.join(self.root, kind, "")) for kind in (MASKS, CUTOUTS)
        )
        return OwnLooks(masks if wanted.mask else None, cutouts if wanted.cutout else None)
