"""What the page knows of each photo: a row of plain values, the most urgent photo first."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from humanbody_cli.core.api_spec import NOBODY_FOUND
from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.core.paths import to_bytes
from humanbody_cli.discovery.inputs import is_url
from humanbody_cli.jobs.report.thumbnails import Thumbnails
from humanbody_cli.storage.layout import CUTOUTS, MASKS

GROUPS = ("nobody", "doubtful", "failed", "rejected", "sure", "pending")
"""In the order in which a person wants to see them: pictures that may be wrong, what is left out,
and at last what needs no look."""


class Row(NamedTuple):
    """One photo. ``folder`` is a number into the page's list of folders, ``name`` what follows it.
    ``result`` is the output name below the folders of cutouts and masks, if there is one there;
    ``elapsed`` and ``time_used`` are milliseconds, ``finished`` seconds since 1970. ``strip`` names
    the photo's thumbnails; ``panes`` is which of them there are, as `Thumbnails.shown` says it."""

    folder: int
    name: str
    group: int
    code: str | None
    message: str | None
    doubt: float | None
    coverage: float | None
    width: int | None
    height: int | None
    elapsed: int | None
    time_used: int | None
    attempts: int
    engine: str | None
    result: str | None
    has_cutout: int
    has_mask: int
    finished: int | None
    strip: str | None
    panes: int = 0


class Rows:
    """The rows of all photos of the output folder ``root``, and the folders that they name.
    ``finished`` are the times at which photos ended, by their keys."""

    def __init__(self, root: str, thumbnails: Thumbnails, finished: Mapping[str, float]) -> None:
        self._root = root
        self._thumbnails = thumbnails
        self._finished = finished
        self._folders: dict[str, int] = {}
        self._rows: list[Row] = []

    def add(self, outcome: Outcome) -> None:
        """Add a photo; its ``source`` is its key: an absolute path, or what stands for one."""
        folder, name = _split(outcome.source)
        finished = self._finished.get(outcome.source)
        self._rows.append(
            Row(
                self._folders.setdefault(folder, len(self._folders)),
                portable(name),
                GROUPS.index(group_of(outcome)),
                *(outcome.code, outcome.message, outcome.doubt, outcome.coverage),
                *(outcome.width, outcome.height, outcome.elapsed, outcome.time_used),
                *(outcome.attempts, outcome.engine),
                self._result(outcome),
                *(int(outcome.cutout is not None), int(outcome.mask is not None)),
                None if finished is None else int(finished),
                self._thumbnails.add(outcome),
            )
        )

    def _result(self, outcome: Outcome) -> str | None:
        kind, path = (CUTOUTS, outcome.cutout) if outcome.cutout else (MASKS, outcome.mask)
        return portable(path[len(os.path.join(self._root, kind, "")) :]) if path else None

    def folders(self) -> list[list[str]]:
        """Each folder's whole path, and what of it tells it from the others."""
        paths = [folder for folder in self._folders if folder.startswith("/")]
        common = os.path.commonpath(paths) if paths else ""
        return [
            [portable(folder), portable(os.path.relpath(folder, common) if common else folder)]
            if folder.startswith("/")
            else [portable(folder), portable(folder)]
            for folder in self._folders
        ]

    def sorted(self) -> Iterator[Row]:
        """The rows in the order of `GROUPS`, each group by doubt, with the thumbnails there are."""
        for row in sorted(self._rows, key=lambda row: (row.group, -(row.doubt or 0))):
            panes = self._thumbnails.shown(row.strip) if row.strip is not None else 0
            yield row._replace(panes=panes)


def group_of(outcome: Outcome) -> str:
    """Which of `GROUPS` a photo belongs to. ``--require-person`` rejects photos of nobody: they
    belong with those that are done."""
    if outcome.is_nobody or (outcome.status, outcome.code) == (Status.REJECTED, NOBODY_FOUND):
        return "nobody"
    if outcome.status is not Status.DONE:
        return str(outcome.status.value)
    return "doubtful" if outcome.is_doubtful else "sure"


def portable(text: str) -> str:
    """A name with each byte that is not UTF-8 as a surrogate, in whatever encoding the file system
    names are on this machine."""
    return to_bytes(text).decode("utf-8", "surrogateescape")


def _split(source: str) -> tuple[str, str]:
    """A path's or address' folder and name; stdin and the like have no folder."""
    if not source.startswith("/") and not is_url(source):
        return "", source
    folder, _, name = source.rpartition("/")
    return folder or "/", name


def plain(values: Iterable[Any]) -> list[Any]:
    """Values for JSON, fractions to four digits."""
    return [round(value, 4) if isinstance(value, float) else value for value in values]
