"""``hbseg check``: whether photos would be accepted, without calls or output."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

from humanbody_cli.core.console import counted
from humanbody_cli.core.errors import HbsegError, PhotoError
from humanbody_cli.core.outcomes import Outcome, Status, passed_over
from humanbody_cli.core.photo import Photo
from humanbody_cli.core.settings import InputSettings, Telling
from humanbody_cli.core.stop import Stop, in_thread
from humanbody_cli.discovery import sources
from humanbody_cli.discovery.find import check_inputs, find, is_piped
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.imaging.pictures import configure_pillow
from humanbody_cli.jobs.progress import log as logs
from humanbody_cli.jobs.progress.counting import Counting
from humanbody_cli.jobs.progress.reporter import Reporter
from humanbody_cli.pipeline import scheduler

T = TypeVar("T")


def check(inputs: InputSettings, rules: Rules, *, json: bool, telling: Telling) -> int:
    """Pre-validate every photo; the exit code.

    Raises:
        UsageError: an input does not exist, or a list cannot be read (any further).
        StdoutError: stdout cannot be written.
    """
    check_inputs(inputs)
    with logs.opened(telling) as log:
        return _check(inputs, rules, Reporter(telling, json=json, log=log), telling.log_file)


def _check(inputs: InputSettings, rules: Rules, reporter: Reporter, log_file: str | None) -> int:
    walk, ahead_walk = Walk(), Walk()
    for one in (walk, ahead_walk):
        one.avoid_log(log_file)
    failure: HbsegError | None = None
    try:
        # Names from a pipe are checked as they arrive.
        ahead = 1 if is_piped(inputs) else scheduler.READ_AHEAD
        photos = reporter.progress.drawn(find(inputs, walk))
        with reporter.at_work(lambda: Counting.of(inputs, ahead_walk)):
            each(photos, partial(_examined, rules), reporter.add, reporter.stop, ahead=ahead)
    except HbsegError as error:
        failure = error
    reporter.close()
    reporter.notes(walk.notes, walk.quiet_notes)
    tally = reporter.tally
    if failure is None or tally.total:
        sound, rejected = tally.finished[Status.PENDING], tally.by_reason(Status.REJECTED)
        reporter.say(f"{sound:,} accepted, {rejected}{passed_over(walk.skipped)}")
        if tally.fittable and not rules.fit:
            fittable = counted(tally.fittable, "photo")
            reporter.say(f"{fittable} can be converted or shrunk: use --fit")
    if failure is not None:
        raise failure
    return reporter.exit_code()


def each(
    items: Iterator[T],
    examine: Callable[[T], Outcome],
    deliver: Callable[[Outcome], None],
    stop: Stop,
    *,
    ahead: int = scheduler.READ_AHEAD,
) -> None:
    """Examine photos on every core until ``stop`` is set; ``deliver`` gets each outcome at once.
    ``ahead`` photos are taken from the stream at a time.

    Raises:
        HbsegError: the reason to stop; or the error of the stream, once all photos before it are
            delivered.
    """
    configure_pillow()
    cores = os.cpu_count() or 1
    broken: list[HbsegError] = []
    pool = ThreadPoolExecutor(cores, thread_name_prefix="check")

    async def work() -> None:
        async def process(item: T) -> Outcome:
            return await in_thread(pool, examine, item)

        sound = _until_broken(items, broken)
        await scheduler.run(sound, process, lambda: 2 * cores, stop, deliver, ahead=ahead)

    try:
        scheduler.run_loop(work())
    finally:
        # After an interrupt, do not wait for a read that does not return.
        pool.shutdown(wait=False, cancel_futures=True)
    for reason in (stop.reason, *broken):
        if reason is not None:
            raise reason


def _until_broken(items: Iterator[T], broken: list[HbsegError]) -> Iterator[T]:
    """The photos up to an error, which is kept for later: it must not lose those read with it."""
    try:
        yield from items
    except HbsegError as error:
        broken.append(error)


def _examined(rules: Rules, photo: Photo) -> Outcome:
    """The outcome of one photo: pending if it is accepted, as a run would process it."""
    try:
        picture = sources.examine(photo, rules)
    except PhotoError as error:
        return replace(Outcome.left_out(photo.source, error), status=Status.REJECTED)
    return Outcome(
        source=photo.source,
        status=Status.PENDING,
        width=picture.size[0],
        height=picture.size[1],
        sha256=sources.sha256_of(picture),
    )
