"""``hbseg status``: the contents of the journal, as counts for a person or JSON for a program."""

from __future__ import annotations

import sys
import time
from collections import Counter
from datetime import datetime
from typing import Any

from humanbody_cli.core import console
from humanbody_cli.core.api_spec import NOBODY_FOUND
from humanbody_cli.core.console import shown
from humanbody_cli.core.outcomes import Status, json_line, nobody_found
from humanbody_cli.core.settings import Period, Price
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.tables.calls import bounds, made_since


def counts(journal: Journal, price: Price | None = None) -> dict[str, Any]:
    """Photos by status and by code, done ones in which nobody was found, calls and what they cost,
    photos per second of the last run, photos left, the last run with its times and why it ended.
    """
    statuses: Counter[str] = Counter({status.value: 0 for status in Status})
    codes: Counter[str] = Counter()
    calls = nobody = 0
    for status, code, photos, spent in journal.counts():
        statuses[status] += photos
        calls += spent
        if code is not None and status != Status.PENDING.value:
            codes[code] += photos
        if (status, code) == (Status.DONE.value, NOBODY_FOUND):
            nobody += photos
    runs = journal.runs()
    last = next((run for run in reversed(runs) if run["done"]), None)
    pace = 0.0
    if last and last["ended"] and last["ended"] > last["started"]:
        pace = last["done"] / (last["ended"] - last["started"])
    return {
        "out": journal.root,
        **statuses,
        "nobody_found": nobody,
        "codes": dict(codes.most_common()),
        "calls": calls,
        "calls_today": made_since(journal, bounds(Period.DAY, time.time())[0]),
        **({"cost": price.cost(calls), "currency": price.currency} if price else {}),
        "photos_per_second": round(pace, 2),
        "left": statuses[Status.PENDING.value],
        "runs": len(runs),
        "last_run": _as_record(runs[-1]) if runs else None,
    }


_TIMES = ("started", "ended", "seen")


def _as_record(run: dict[str, Any]) -> dict[str, Any]:
    """A run as the journal has it, with times such as ``2026-11-26T03:00:12+01:00``; those of
    earlier versions lack some fields."""
    times = {name: _iso(run[name]) for name in _TIMES if run.get(name) is not None}
    return {**run, **times}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def print_json(journal: Journal, price: Price | None = None) -> None:
    """One JSON object: the counts, and every photo's record under ``photos``."""
    out = sys.stdout
    out.write(json_line(counts(journal, price))[:-1] + ',"photos":[')
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


def print_counts(journal: Journal, price: Price | None = None) -> None:
    """For a person."""
    figures = counts(journal, price)
    out = sys.stdout
    for status in Status:
        note = nobody_found(figures["nobody_found"]) if status is Status.DONE else ""
        out.write(f"{status.value:<10}{figures[status.value]:>9,}{note}\n")
    out.write(f"{'calls':<10}{figures['calls']:>9,}{_remarks(figures, price)}\n")
    if figures["photos_per_second"]:
        out.write(f"{'pace':<10}{figures['photos_per_second']:>9,} photos/s in the last run\n")
    if figures["last_run"]:
        out.write(f"{'last run':<11}{_told(figures['last_run'])}\n")
    for code, count in figures["codes"].items():
        out.write(f"  {count:>7,}  {shown(str(code))}\n")
    if figures["left"]:
        out.write("run the same `hbseg segment` command again to continue\n")


def _remarks(figures: dict[str, Any], price: Price | None) -> str:
    """What is said beside the calls."""
    today = f", {figures['calls_today']:,} today" if figures["calls_today"] else ""
    return (f", {price.of(figures['calls'])}" if price is not None else "") + today


def _told(run: dict[str, Any]) -> str:
    """When a run began and ended, and why."""
    stamps = (run[name] for name in ("started", "ended") if run[name])
    times = " to ".join(stamp[:19].replace("T", " ") for stamp in stamps)
    if not run["ended"]:
        return f"{times}, has not ended"
    why = run.get("message") or run.get("reason")
    return f"{times}, exit code {run['exit_code']}" + (f": {shown(str(why))}" if why else "")
