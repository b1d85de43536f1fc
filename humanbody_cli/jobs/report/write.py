"""Writing the report: rows, thumbnails, page. Only what has changed is written."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from humanbody_cli.core.errors import output_error
from humanbody_cli.core.outcomes import DOUBTFUL, Outcome, Status
from humanbody_cli.core.settings import Price, Telling
from humanbody_cli.jobs.inspection.status import counts
from humanbody_cli.jobs.progress import log as logs
from humanbody_cli.jobs.progress.figures import Exactly
from humanbody_cli.jobs.progress.reporter import Reporter
from humanbody_cli.jobs.report import template
from humanbody_cli.jobs.report.place import SEAL, Place, check_page, place_of
from humanbody_cli.jobs.report.rows import GROUPS, Row, Rows, plain, portable
from humanbody_cli.jobs.report.thumbnails import Thumbnails
from humanbody_cli.storage import ownership
from humanbody_cli.storage.disk import content
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.ownership import always
from humanbody_cli.storage.publishing import Publisher


def write(journal: Journal, file: str | None, price: Price | None, telling: Telling) -> str:
    """Write the page about an output folder, into it or to ``file``; the page's path. ``price`` is
    that of a call, if the user named it.

    Raises:
        UsageError: a page cannot be at ``file``.
        OutputError: page or thumbnails cannot be written, or something that hbseg did not write is
            in the way.
    """
    with logs.opened(telling) as log:
        place = place_of(journal.root, file)
        thumbnails = Thumbnails(place.files, journal.root)
        rows = Rows(journal.root, thumbnails, journal.finish_times())
        for outcome in journal.outcomes(absolute=True):
            rows.add(outcome)
        _make(thumbnails, Reporter(telling, log=log))
        figures = counts(journal)
        title = ", ".join(f"{figures[status.value]} {status.value}" for status in Status)
        spent = price.of(figures["calls"]) if price is not None else None
        data = {**_data(journal, place, rows, figures), "spent": spent}
        _publish(place, template.page(title, data))
        thumbnails.remove_unused()
        if file is None:
            _remove_further_pages(journal.root)
    return place.page


def _make(thumbnails: Thumbnails, reporter: Reporter) -> None:
    """Make the thumbnails that are missing, and show how far that has come."""
    reporter.progress.ahead = Exactly(thumbnails.missing, has_ended=True)
    try:
        with reporter.at_work():
            for source, is_shown in thumbnails.make():
                reporter.count(Outcome(source, Status.DONE))
                made = "thumbnails made" if is_shown else "nothing to show: gone or damaged"
                reporter.say(f"{source}: {made}", level=1)
    finally:
        reporter.close()


def _data(journal: Journal, place: Place, rows: Rows, figures: dict[str, Any]) -> dict[str, Any]:
    return {
        "out": portable(journal.root),
        "results": portable(place.from_page(journal.root)),
        "thumbnails": portable(os.path.basename(place.files)),
        "doubtful": DOUBTFUL,
        "groups": GROUPS,
        "done": figures[Status.DONE.value],
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
