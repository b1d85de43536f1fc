"""``hbseg plan``: the calls, rejected photos, bytes and time of a run, without making it.

The decisions are the run's own: `Decider` says what a photo needs, and `responses.kept` whether a
call is answered by what an earlier run was sent.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from humanbody_cli.api import responses
from humanbody_cli.api.adaptive_rate import EDGE
from humanbody_cli.core import console
from humanbody_cli.core.console import counted, duration
from humanbody_cli.core.errors import PhotoError
from humanbody_cli.core.outcomes import PHOTOS_LEFT_OUT, Outcome, Status, json_line, listed
from humanbody_cli.core.paths import to_text
from humanbody_cli.core.photo import Due, chunked
from humanbody_cli.core.settings import Edges, MaxCalls, RunSettings
from humanbody_cli.discovery import sources
from humanbody_cli.discovery.find import find_groups
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.imaging import uploads
from humanbody_cli.imaging.pictures import Picture
from humanbody_cli.jobs.inspection.check import each
from humanbody_cli.jobs.progress import log as logs
from humanbody_cli.jobs.progress.counting import Counting
from humanbody_cli.jobs.progress.reporter import Reporter
from humanbody_cli.jobs.segment import decider_for
from humanbody_cli.jobs.setup.assembly import steps_for
from humanbody_cli.pipeline import incremental, photo_steps
from humanbody_cli.pipeline.decision import (
    Failed,
    NeedsCall,
    NoPerson,
    Settled,
    lacks_person,
    no_person,
)
from humanbody_cli.pipeline.earlier import unclaimed
from humanbody_cli.pipeline.earlier.reuse import Reuse
from humanbody_cli.pipeline.engine import Segmentation, check_installed, name_of
from humanbody_cli.pipeline.fingerprint import fingerprint_of
from humanbody_cli.storage.answer_spool import KeptAnswers
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.publishing import Publisher
from humanbody_cli.storage.tables import database

_ENGINE_SECONDS = 0.07
"""Processor seconds that the embedded engine takes for a photo of any size."""

_MEGAPIXEL_SECONDS = 0.04
"""Processor seconds for each megapixel: decoding, composing, encoding. Measured on photographs of
0.3 to 12 megapixels."""

_SOFT_MEGAPIXEL_SECONDS = 0.06
"""The same with soft edges, whose colours are estimated."""


@dataclass
class Plan:
    """What a run would do. ``calls`` are photos for the engine, paid or not; ``megapixels`` are
    theirs. Of the photos that are left out, ``rejected`` counts the codes, ``reasons`` the words
    that the summary of a run has for them."""

    engine: str
    paid: bool
    calls: int = 0
    copies: int = 0
    bytes: int = 0
    megapixels: float = 0.0
    rejected: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    settled: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    seconds: float = 0.0

    @property
    def paid_calls(self) -> int:
        """Calls of the API."""
        return self.calls if self.paid else 0

    def record(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        return {
            "engine": self.engine,
            "photos": self.calls + self.copies,
            "calls": self.paid_calls,
            "copies": self.copies,
            "bytes": self.bytes,
            "rejected": dict(self.rejected),
            "settled": dict(self.settled),
            "skipped": self.skipped,
            "seconds": round(self.seconds, 1),
        }


def plan(settings: RunSettings) -> int:
    """Print what a run with these settings would do; the exit code: 3 if photos would be left out.

    Raises:
        HbsegError: the run could not begin either.
    """
    check_installed(settings)
    root = str(settings.output.folder)
    has_journal = os.path.exists(database.path_in(root))
    journal = Journal(root, read_only=has_journal, in_memory=not has_journal)
    try:
        with logs.opened(settings.telling) as log:
            planned = _Planner(settings, journal, log).planned()
    finally:
        journal.close()
    if settings.json:
        price = settings.price
        cost = {"cost": price.cost(planned.paid_calls), "currency": price.currency} if price else {}
        console.write_line(json_line({**planned.record(), **cost}))
    else:
        _tell(planned, settings)
    rejects = planned.rejected or planned.settled["rejected"] or planned.settled["failed"]
    return PHOTOS_LEFT_OUT if rejects else 0


def _under_its_own_name(due: Due) -> Due:
    """A photo whose name is kept under the one that its row has, as a run would treat it."""
    photo, known = due
    if known is None or not photo.keeps_name:
        return due
    return Due(photo._replace(name=to_text(known.name)), known)


class _Planner:
    """Examines every photo of a planned run."""

    def __init__(self, settings: RunSettings, journal: Journal, log: logs.Log) -> None:
        self._settings = settings
        self._root = root = str(settings.output.folder)
        self._journal = journal
        self._fingerprint = fingerprint = fingerprint_of(settings, journal.engines())
        self._steps = steps_for(settings, fingerprint.engine, keep_pixels=False)
        journal.run = journal.next_run()
        publisher = Publisher(root, durable=False)
        if journal.was_lost:
            unclaimed.index(journal, publisher)
        self._decider = decider_for(settings, fingerprint, journal, publisher)
        keeps = settings.uses_api and not settings.output.force
        self._kept = KeptAnswers(root if keeps else None)
        self._seen: set[bytes] = set()
        self._guard = threading.Lock()
        self._reporter = Reporter(settings.telling, log=log)
        self._plan = Plan(name_of(fingerprint.engine), paid=settings.uses_api)

    def planned(self) -> Plan:
        """The plan, once every photo was examined."""
        walk = self._new_walk()
        due = self._reporter.progress.drawn(self._due(walk))
        try:
            with self._reporter.at_work(self._counting):
                each(due, self._examined, self._count, self._reporter.stop)
        finally:
            self._reporter.close()
        self._reporter.notes(walk.notes, walk.quiet_notes)
        self._plan.skipped = walk.skipped
        self._plan.seconds = _seconds(self._plan, self._settings)
        return self._plan

    def _new_walk(self) -> Walk:
        return Walk.of_run(self._root, self._settings.telling.log_file)

    def _counting(self) -> Counting | None:
        settled = partial(incremental.foreseen, journal=self._journal, decider=self._decider)
        return Counting.of(self._settings.inputs, self._new_walk(), settled)

    def _due(self, walk: Walk) -> Iterator[Due]:
        chunks = chunked(find_groups(self._settings.inputs, walk))
        # Not with a second process: a fork beside threads is not safe.
        unsettled = incremental.unsettled(
            chunks, self._journal, self._decider, self._skip, at_once=True
        )
        for todo in unsettled:
            for due in todo:
                self._plan.bytes += max(0, due.photo.size)
                yield _under_its_own_name(due)

    def _skip(self, settled: Settled, keys: list[bytes]) -> None:
        self._plan.settled[settled.status] += len(keys)
        self._reporter.skip(settled.status, keys, self._journal.outcome, nobody=settled.nobody)

    def _examined(self, due: Due) -> Outcome:
        """The outcome of one photo: pending (with one attempt if a call is needed), or an error."""
        source = due.photo.source
        try:
            picture = self._steps.examine(*sources.read(due.photo, self._steps.rules.most_bytes))
            sha256 = sources.sha256_of(picture)
            decision = self._decider.by_bytes(due, picture, sha256)
            if isinstance(decision, Failed):
                raise decision.error
            if isinstance(decision, NoPerson):
                raise no_person()
            needs_call = self._needs_call(picture, sha256, decision)
        except PhotoError as error:
            return Outcome.left_out(source, error)
        return Outcome(
            source,
            Status.PENDING,
            attempts=int(needs_call),
            width=picture.size[0],
            height=picture.size[1],
            sha256=sha256,
        )

    def _needs_call(self, picture: Picture, sha256: str, decision: Reuse | NeedsCall) -> bool:
        """Whether this photo is the first with its bytes and has neither results nor an answer.

        Raises:
            PhotoError: its answer shows nobody, and the run requires a person.
        """
        if isinstance(decision, Reuse):
            self._is_first(sha256)
            return False
        upload = self._steps.prepare(picture)
        if not self._is_first(sha256):
            return False
        answer = self._kept_answer(picture, upload)
        if answer is not None:
            coverage, _ = photo_steps.figures(answer.mask, answer.cutout, upload.size)
            if lacks_person(self._settings.wanted, coverage):
                raise no_person()
        return answer is None

    def _is_first(self, sha256: str) -> bool:
        """Whether these bytes are new to the plan. A kept answer is used for the first photo, its
        results for the copies."""
        digest = bytes.fromhex(sha256)
        with self._guard:
            is_first = digest not in self._seen
            self._seen.add(digest)
            return is_first

    def _kept_answer(self, picture: Picture, upload: uploads.Upload) -> Segmentation | None:
        """The segmentation in a kept answer that can replace the call."""
        body = self._kept.body(self._fingerprint.answer_name(sources.sha256_of(upload.picture)))
        ask = self._steps.ask(picture, upload)
        return responses.kept(body, upload, ask)

    def _count(self, outcome: Outcome) -> None:
        if outcome.status is not Status.PENDING:
            self._plan.rejected[str(outcome.code)] += 1
            self._plan.reasons[outcome.why] += 1
            self._reporter.say(f"{outcome.source}: {outcome.code}: {outcome.message}", level=1)
            self._reporter.count(outcome)
            return
        self._reporter.count(outcome)
        needs_call = bool(outcome.attempts)
        self._plan.calls += needs_call
        self._plan.copies += not needs_call
        if needs_call and outcome.width and outcome.height:
            self._plan.megapixels += outcome.width * outcome.height / 1e6


def _seconds(plan: Plan, settings: RunSettings) -> float:
    if plan.paid:
        return plan.calls / (EDGE * (settings.api.qps or 1.0))
    soft = settings.wanted.cutout and settings.wanted.edges is Edges.SOFT
    per_megapixel = _SOFT_MEGAPIXEL_SECONDS if soft else _MEGAPIXEL_SECONDS
    work = plan.calls * _ENGINE_SECONDS + plan.megapixels * per_megapixel
    return work / min(settings.local.threads, os.cpu_count() or 1)


def _limit(plan: Plan, most: MaxCalls | None) -> str:
    """The line on ``--max-calls``, if it allows less than the plan needs; else nothing."""
    if most is None or not 0 < most.count < plan.calls:
        return ""
    parts = counted(-(-plan.calls // most.count), most.per.value if most.per else "run")
    return f"limit      {most} (--max-calls): at least {parts}\n"


def _tell(plan: Plan, settings: RunSettings) -> None:
    out = sys.stdout
    settled = ", ".join(f"{count:,} {status}" for status, count in sorted(plan.settled.items()))
    if plan.paid:
        qps = settings.api.qps
        pace = f"at {qps:g} calls/s" if qps is not None else "at 1 call/s, until the quota is found"
        out.write(f"calls      {plan.calls:,} to {settings.api.shown_endpoint}\n")
        out.write(f"time       about {duration(plan.seconds)} {pace}\n")
        out.write(_limit(plan, settings.api.max_calls))
    else:
        out.write(f"calls      none: {counted(plan.calls, 'photo')} for the embedded engine\n")
        out.write(f"time       about {duration(plan.seconds)}\n")
    if settings.price is not None:
        out.write(f"cost       {settings.price.of(plan.paid_calls)}, if no call is repeated\n")
    out.write(f"read       {plan.bytes / 1e6:,.1f} MB\n")
    if plan.copies:
        out.write(f"copies     {counted(plan.copies, 'photo')} without a call of their own\n")
    out.write(f"rejected   {plan.rejected.total():,}{listed(plan.reasons)}\n")
    out.write(f"settled    {settled or 0}\n")
    if plan.skipped:
        out.write(f"skipped    {counted(plan.skipped, 'other file')}\n")
