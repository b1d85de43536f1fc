"""The end of a run in words: counts, what was left out and why, and what to do next. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from humanbody_cli.core.console import counted, duration
from humanbody_cli.core.outcomes import Status, Tally, passed_over
from humanbody_cli.core.settings import Price


@dataclass(frozen=True)
class Ended:
    """What the summary of a run needs beside its counts.

    ``out`` is the output folder, ``skipped`` are files that are not photos. ``calls`` is ``None``
    with the embedded engine, ``price`` that of a call if the user named it, ``found_quota`` (calls
    per second) where it was searched for.
    ``is_whole``: the run came to its end. ``fit`` and ``retry_failed`` are the options.
    """

    out: str
    seconds: float
    skipped: int = 0
    calls: int | None = None
    price: Price | None = None
    refused: int = 0
    found_quota: float | None = None
    is_whole: bool = True
    fit: bool = False
    retry_failed: bool = False


Line = tuple[str, int]
"""A line and its level: -1 is said even with ``-q``."""


def summary(tally: Tally, ended: Ended) -> list[Line]:
    """The lines at the end of a run."""
    line = f"{tally.counts()} in {duration(ended.seconds)}"
    if ended.calls is not None:
        line += f", {counted(ended.calls, 'call')}"
        line += f" for {ended.price.of(ended.calls)}" if ended.price is not None else ""
        if ended.refused:
            line += f" ({ended.refused:,} refused by the quota)"
    lines = [(line + passed_over(ended.skipped), 0)]
    if ended.found_quota is not None:
        lines.append((f"the quota appears to be about {ended.found_quota:.1f} calls/s", 0))
    return lines + next_steps(tally, ended)


def next_steps(tally: Tally, ended: Ended) -> list[Line]:
    """Which command to run next, and why: at most one about the results, one about photos that
    were left out, and one that may do these."""
    out = shlex.quote(ended.out)
    steps: list[Line] = []
    if tally.doubtful:
        masks = counted(tally.doubtful, "mask")
        steps.append((f"doubtful: {masks}, worth a look with hbseg report {out}", 0))
    elif tally.done and ended.is_whole:
        steps.append((f"to look at the results: hbseg report {out}", 0))
    if tally.newly_left_out:
        photos = counted(tally.newly_left_out, "photo")
        steps.append((f"{photos} newly rejected or failed: hbseg status {out} --failed", -1))
    if ended.is_whole and (again := _again(tally, ended)):
        steps.append((again, 0))
    return steps


def _again(tally: Tally, ended: Ended) -> str:
    """Which further run may do photos that this one left out; empty if none may."""
    if tally.fittable and not ended.fit:
        photos = counted(tally.fittable, "photo")
        return f"{photos} can be converted or shrunk: run the same command again with --fit"
    if tally.transient:
        return f"{counted(tally.transient, 'photo')} may succeed later: run the same command again"
    failed = tally.finished[Status.FAILED] + tally.settled[Status.FAILED.value]
    if failed and not ended.retry_failed:
        photos = counted(failed, "failed photo")
        return f"to try {photos} again: run the same command again with --retry-failed"
    return ""
