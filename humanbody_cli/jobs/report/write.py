"""Writing the report: rows, thumbnails, page. Only what has changed is written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

from humanbody_cli.core.errors import output_error
from humanbody_cli.core.outcomes import DOUBTFUL, Status
from humanbody_cli.jobs.inspection.status import counts
from humanbody_cli.jobs.report import template
from humanbody_cli.jobs.report.place import SEAL, Place, check_page, place_of
from humanbody_cli.jobs.report.rows import GROUPS, Row, Rows, plain, portable
from humanbody_cli.jobs.report.thumbnails import Thumbnails
from humanbody_cli.storage import ownership
from humanbody_cli.storage.disk import content
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.ownership import always
from humanbody_cli.storage.publishing import Publisher


def write(journal: Journal, file: str | None = None) -> str:
    """Write the page about an output folder, into it or to ``file``; the page's path.

    Raises:
        UsageError: a page cannot be at ``file``.
        OutputError: page or thumbnails cannot be written, or something that hbseg did not write is
            in the way.
    """
    place = place_of(journal.root, file)
    thumbnails = Thumbnails(place.files)
    rows = Rows(journal.root, thumbnails)
    for outcome in journal.outcomes(absolute=True):
        rows.add(outcome)
    with closing(_Bar()) as bar:
        thumbnails.make(bar.begin)
    figures = counts(journal)
    title = ", ".join(f"{figures[status.value]} {status.value}" for status in Status)
    _publish(place, template.page(title, _data(journal, place, figures, rows)))
    thumbnails.remove_unused()
    if file is None:
        _remove_further_pages(journal.root)
    return place.page


def _data(journal: Journal, place: Place, figures: dict[str, Any], rows: Rows) -> dict[str, Any]:
    return {
        "out": portable(journal.root),
        "results": portable(place.from_page(journal.root)),
        "thumbnails": portable(os.path.basename(place.files)),
        "doubtful": DOUBTFUL,
        "groups": GROUPS,
        "calls": figures["calls"],
        "runs": _runs(journal),
        "folders": rows.folders(),
        "columns": Row._fields,
        "photos": [plain(row) for row in rows.sorted()],
    }


def _runs(journal: Journal) -> list[dict[str, Any]]:
    """The runs, each with the samples that it took of its figures."""
    return [
        {**run, "samples": [plain(one) for one in journal.samples(run["run"])]}
        for run in journal.runs()
    ]


def _publish(place: Place, data: bytes) -> None:
    with suppress(OSError):
        if content(place.page) == data:
            return
    check_page(place.page)  # thumbnails took their time, in which something may have come there
    publisher = Publisher(place.folder, durable=False)
    publisher.publish("", os.path.basename(place.page), data, may_replace=always)


def _remove_further_pages(root: str) -> None:
    """Earlier versions wrote several pages."""
    number = 2
    while ownership.is_own(path := os.path.join(root, f"report-{number}.html"), SEAL):
        try:
            os.unlink(path)
        except OSError as error:
            raise output_error(path, error) from error
        number += 1


class _Bar:
    """The bar while thumbnails are made, on a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None

    def begin(self, total: int) -> Callable[[int], object]:
        """Show it; what is to be called with the number of thumbnails made."""
        if not total or not sys.stderr.isatty():
            return lambda made: None
        from tqdm import tqdm

        self._bar = tqdm(total=total, unit=" thumbnails", leave=False, file=sys.stderr)
        update: Callable[[int], object] = self._bar.update
        return update

    def close(self) -> None:
        """Take it away."""
        if self._bar is not None:
            self._bar.close()
