"""``hbseg status``: the contents of the journal, as counts for a person or JSON for a program."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from humanbody_cli.core import console
from humanbody_cli.core.console import shown
from humanbody_cli.core.outcomes import Status, json_line
from humanbody_cli.storage.journal import Journal


def counts(journal: Journal) -> dict[str, Any]:
    """Photos by status and by code, calls, photos per second of the last run, photos left."""
    statuses: Counter[str] = Counter({status.value: 0 for status in Status})
    codes: Counter[str] = Counter()
    calls = 0
    for (status, code), (photos, spent) in journal.counts().items():
        statuses[status] += photos
        calls += spent
        if code is not None and status != Status.PENDING.value:
            codes[code] += photos
    runs = journal.runs()
    last = next((run for run in reversed(runs) if run["done"]), None)
    pace = 0.0
    if last and last["ended"] and last["ended"] > last["started"]:
        pace = last["done"] / (last["ended"] - last["started"])
    return {
        "out": journal.root,
        **statuses,
        "codes": dict(codes.most_common()),
        "calls": calls,
        "photos_per_second": round(pace, 2),
        "left": statuses[Status.PENDING.value],
        "runs": len(runs),
    }


def print_json(journal: Journal) -> None:
    """One JSON object: the counts, and every photo's record under ``photos``."""
    out = sys.stdout
    out.write(json_line(counts(journal))[:-1] + ',"photos":[')
    for index, outcome in enumerate(journal.outcomes()):
        out.write(("," if index else "") + "\n" + json_line(outcome.record()))
    out.write("\n]}\n")


def print_failed(journal: Journal, *, nul: bool, json: bool) -> None:
    """Photos that were rejected or failed: their sources for ``--from-file``, one per line, or
    their records. A terminal gets names that are safe to show; a pipe gets them as they are."""
    end = b"\0" if nul else b"\n"
    to_person = sys.stdout.isatty() and not nul
    for status in (Status.REJECTED, Status.FAILED):
        for outcome in journal.outcomes(status.value):
            source = shown(outcome.source) if to_person else outcome.source
            line = json_line(outcome.record()) if json else source
            console.write_data(line.encode("utf-8", "surrogateescape") + end)


def print_counts(journal: Journal) -> None:
    """For a person."""
    figures = counts(journal)
    out = sys.stdout
    for status in Status:
        out.write(f"{status.value:<10}{figures[status.value]:>9,}\n")
    out.write(f"{'calls':<10}{figures['calls']:>9,}\n")
    if figures["photos_per_second"]:
        out.write(f"{'pace':<10}{figures['photos_per_second']:>9,} photos/s in the last run\n")
    for code, count in figures["codes"].items():
        out.write(f"  {count:>7,}  {shown(str(code))}\n")
    if figures["left"]:
        out.write("run the same `hbseg segment` command again to continue\n")
