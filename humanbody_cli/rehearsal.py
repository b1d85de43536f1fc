"""What would happen: ``check`` (the photos alone) and ``plan`` (a run). No call, no output."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from humanbody_cli import batch, database, reading, streams
from humanbody_cli.errors import HbsegError, PhotoError
from humanbody_cli.journal import Journal, chunked, key_of
from humanbody_cli.outcomes import Outcome, Status, json_line
from humanbody_cli.photos import Photo, Walk, check_inputs, find
from humanbody_cli.pictures import configure_pillow
from humanbody_cli.progress import Progress, duration
from humanbody_cli.quota.learning import EDGE
from humanbody_cli.reading import Rules
from humanbody_cli.receipts import kept_in
from humanbody_cli.run import chosen_engine, shape_of
from humanbody_cli.selection import Selection, Shape
from humanbody_cli.settings import EngineChoice, InputSettings, RunSettings
from humanbody_cli.stopping import Stop
from humanbody_cli.tally import Tally

_LOCAL_SECONDS = 0.06
"""Seconds a photo and core that a plan assumes of the embedded engine."""


def check(inputs: InputSettings, rules: Rules, *, json: bool, verbosity: int) -> int:
    """Pre-validate every photo; the exit code.

    Raises:
        UsageError: an input is not there, or a list cannot be read (any further).
        StdoutError: nobody reads the records any more.
    """
    check_inputs(inputs)
    progress = Progress(verbosity=verbosity)
    tally = Tally()
    walk = Walk()

    def deliver(outcome: Outcome) -> None:
        tally.add(outcome)
        progress.add(outcome, tally)
        if json:
            streams.write_line(json_line(outcome.record()))

    failure: HbsegError | None = None
    try:
        _each(find(inputs, walk), rules, deliver)
    except HbsegError as error:
        failure = error
    progress.close()
    if failure is None or tally.total:
        others = f"; {walk.skipped:,} other files passed over" if walk.skipped else ""
        sound, rejected = tally.finished[Status.PENDING], tally.finished[Status.REJECTED]
        progress.say(f"{sound:,} sound, {rejected:,} rejected{others}")
    if failure is not None:
        raise failure
    return tally.exit_code()


def _each(photos: Iterator[Photo], rules: Rules, deliver: Callable[[Outcome], None]) -> None:
    """Examine photos on every core; ``deliver`` gets each outcome as it comes.

    Raises:
        HbsegError: what ended the stream of photos, once all that came before it are delivered; or
            what ``deliver`` raised.
    """
    configure_pillow()
    cores = os.cpu_count() or 1
    stop = Stop()
    broken: list[HbsegError] = []

    async def process(photo: Photo) -> Outcome:
        # No pool: Ctrl-C must not wait for a thread that waits for stdin or a hung disk.
        return await batch.in_daemon(lambda: _examined(photo, rules))

    async def work() -> None:
        await batch.run(_until_broken(photos, broken), process, lambda: cores + 1, stop, deliver)

    asyncio.run(work())
    for reason in (stop.reason, *broken):
        if reason is not None:
            raise reason


def _until_broken(photos: Iterator[Photo], broken: list[HbsegError]) -> Iterator[Photo]:
    """The photos up to an error, which is put down: it must not take along those read with it."""
    try:
        yield from photos
    except HbsegError as error:
        broken.append(error)


def _examined(photo: Photo, rules: Rules) -> Outcome:
    """A photo that passes is pending: it would be done by a run."""
    try:
        picture = reading.examine(photo, rules)
    except PhotoError as error:
        return Outcome(
            source=photo.source, status=Status.REJECTED, code=error.code, message=error.message
        )
    return Outcome(
        source=photo.source,
        status=Status.PENDING,
        width=picture.size[0],
        height=picture.size[1],
        sha256=reading.digest(picture),
    )


_DIGITS = 64  # of a sha256


@dataclass
class Plan:
    """What a run would do."""

    engine: str
    calls: int = 0
    copies: int = 0
    bytes: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    settled: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    seconds: float = 0.0

    def record(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        return {
            "engine": self.engine,
            "photos": self.calls + self.copies,
            "calls": self.calls if self.engine == "api" else 0,
            "copies": self.copies,
            "bytes": self.bytes,
            "rejected": dict(self.rejected),
            "settled": dict(self.settled),
            "skipped": self.skipped,
            "seconds": round(self.seconds, 1),
        }


def plan(settings: RunSettings) -> int:
    """Tell what a run with these settings would do; 3 where it would reject photos."""
    root = str(settings.output.folder)
    shape = shape_of(settings)
    walk = Walk()
    walk.avoid(root)
    planned = Plan(engine=shape.engine)
    journal = _journal(root)
    seen: set[bytes] = set()
    if shape.engine == "api" and not settings.output.force:
        seen |= {bytes.fromhex(name) for name in kept_in(root) if len(name) == _DIGITS}

    def deliver(outcome: Outcome) -> None:
        if outcome.status is Status.REJECTED:
            planned.rejected[str(outcome.code)] += 1
            progress.say(f"{outcome.source}: {outcome.code}: {outcome.message}", level=1)
            return
        digest = bytes.fromhex(str(outcome.sha256))
        copy = digest in seen or _is_paid(journal, str(outcome.sha256), settings, shape)
        seen.add(digest)
        planned.copies += copy
        planned.calls += not copy

    progress = Progress(verbosity=settings.verbosity, terminal=False)
    selection = Selection(root, shape, settings.output.force, settings.output.retry_failed)
    rules = Rules(settings.wanted.fit, credentials=settings.api.credentials)
    due = _due(find(settings.inputs, walk), journal, selection, planned)
    _each(due, rules, deliver)
    if journal:
        journal.close()
    planned.skipped = walk.skipped
    planned.seconds = _seconds(planned, settings)
    _tell(planned, settings, progress)
    return 3 if planned.rejected or planned.settled["rejected"] or planned.settled["failed"] else 0


def _is_paid(journal: Journal | None, sha256: str, settings: RunSettings, shape: Shape) -> bool:
    """Whether results for these bytes can be made of what is there, without a call."""
    if journal is None or settings.output.force:
        return False
    wanted = settings.wanted
    return any(
        known.engine in shape.engines
        and (known.mask_size or not wanted.mask)
        and (
            not wanted.cutout
            or known.mask_size
            or (known.cutout_size and shape.accepts(known.shape))
        )
        for known in journal.same_bytes(sha256)
    )


def _journal(root: str) -> Journal | None:
    there = os.path.exists(database.path_in(root))
    return Journal(root, read_only=True) if there else None


def _due(
    photos: Iterator[Photo], journal: Journal | None, selection: Selection, planned: Plan
) -> Iterator[Photo]:
    for chunk in chunked(photos):
        known = journal.known([key_of(photo) for photo in chunk]) if journal else {}
        for photo in map(Photo.seen, chunk):
            status = selection.settled(photo, known.get(key_of(photo)))
            if status is None:
                planned.bytes += max(0, photo.size)
                yield photo
            else:
                planned.settled[status] += 1


def _seconds(planned: Plan, settings: RunSettings) -> float:
    if chosen_engine(settings) is EngineChoice.LOCAL:
        return planned.calls * _LOCAL_SECONDS / settings.local.threads
    return planned.calls / (EDGE * (settings.api.qps or 1.0))


def _tell(planned: Plan, settings: RunSettings, progress: Progress) -> None:
    if settings.json:
        print(json_line(planned.record()))  # noqa: T201
        return
    out = sys.stdout
    settled = ", ".join(f"{count:,} {status}" for status, count in sorted(planned.settled.items()))
    rejected = ", ".join(f"{code} {count:,}" for code, count in sorted(planned.rejected.items()))
    if planned.engine == "api":
        qps = settings.api.qps
        pace = f"at {qps:g} calls/s" if qps is not None else "at 1 call/s, until the quota is found"
        out.write(f"calls      {planned.calls:,} to {settings.api.shown_endpoint}\n")
        out.write(f"time       about {duration(planned.seconds)} {pace}\n")
    else:
        out.write(f"calls      none: {planned.calls:,} photos for the embedded engine\n")
        out.write(f"time       about {duration(planned.seconds)}\n")
    out.write(f"read       {planned.bytes / 1e6:,.1f} MB\n")
    if planned.copies:
        out.write(f"copies     {planned.copies:,} photos whose bytes need no call of their own\n")
    out.write(f"rejects    {sum(planned.rejected.values()):,}")
    out.write(f" ({rejected})\n" if rejected else "\n")
    out.write(f"settled    {settled or 0}\n")
    if planned.skipped:
        out.write(f"no photos  {planned.skipped:,} other files\n")
