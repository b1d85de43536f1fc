"""What a photo needs, given what the journal knows of it. Pure, but for the look at the outputs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from humanbody_cli.journal import Known
from humanbody_cli.names import marked
from humanbody_cli.photos import Kind, Photo
from humanbody_cli.publish import CUTOUTS, MASKS
from humanbody_cli.settings import Wanted


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
        return text is not None and any(text == self._text(engine) for engine in self.engines)

    def same_check(self, text: str | None) -> bool:
        """Whether a rejection under that shape still holds: only ``--fit`` bears on it."""
        return text is not None and text.split(";")[0] == str(self).split(";")[0]


@dataclass(frozen=True)
class Selection:
    """Decides which photos are to be done. ``size_of`` gives a file's bytes, -1 if not there."""

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
            return "rejected" if self.shape.same_check(known.shape) else None
        if known.status == "failed":
            again = self.retry_failed or not self.shape.accepts(known.shape)
            return None if again else "failed"
        if known.status != "done" or not self.shape.accepts(known.shape):
            return None
        return "done" if self._is_whole(known) and self._is_named(photo, known) else None

    def _is_whole(self, known: Known) -> bool:
        wanted = self.shape.wanted
        name = os.fsdecode(known.name)
        return not (
            (wanted.mask and known.mask_size is None)
            or (wanted.cutout and known.cutout_size is None)
            or (wanted.mask and file_size(f"{self.root}/{MASKS}/{name}") != known.mask_size)
            or (wanted.cutout and file_size(f"{self.root}/{CUTOUTS}/{name}") != known.cutout_size)
        )

    def _is_named(self, photo: Photo, known: Known) -> bool:
        name = os.fsdecode(known.name)
        return name in (photo.name, marked(photo.name, photo.key))


def file_size(path: str, stat: Callable[[str], os.stat_result] = os.stat) -> int:
    """Bytes of a file, -1 where there is none."""
    try:
        return stat(path).st_size
    except OSError:
        return -1
