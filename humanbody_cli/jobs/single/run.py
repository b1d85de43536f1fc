"""One photo to one file, or to stdout. No output folder, no journal.

What is written bears a seal that names the photo's bytes and all options that shape the result. It
proves whose the file is, and that there is nothing left to do. The API's answer is kept in a hidden
file beside the result until that is there, so that a kill costs no second call.
"""

from __future__ import annotations

import os
import sys
from functools import partial

from humanbody_cli.core import console
from humanbody_cli.core.api_spec import NOBODY_FOUND
from humanbody_cli.core.console import Stopwatch, duration
from humanbody_cli.core.errors import PhotoError, UsageError
from humanbody_cli.core.outcomes import NOBODY_MESSAGE, Outcome, Status
from humanbody_cli.core.paths import to_bytes
from humanbody_cli.core.settings import RunSettings
from humanbody_cli.discovery import sources
from humanbody_cli.jobs.progress import log as logs
from humanbody_cli.jobs.single.place import (
    KeptAnswer,
    beside,
    check_file,
    check_stdout,
    kept_answer,
)
from humanbody_cli.jobs.single.work import Work
from humanbody_cli.pipeline.engine import check_installed, engine_line
from humanbody_cli.storage import ownership
from humanbody_cli.storage.answer_spool import room_for
from humanbody_cli.storage.layout import SINGLE_SEAL
from humanbody_cli.storage.publishing import Publisher


def to_stdout(settings: RunSettings) -> int:
    """Segment exactly one photo and write its cutout (its mask with ``--no-cutout``) to stdout.

    Raises:
        UsageError: there is not exactly one input, or stdout is that input or a terminal.
        FatalError: the engine refuses, or stdout cannot be written.
    """
    if settings.json:
        raise UsageError(
            "-o - writes the cutout to stdout, where --json would mix with it; drop one"
        )
    if sys.stdout.isatty():
        raise UsageError(
            "-o - writes a picture, and stdout is a terminal; redirect it (> me.png), or give "
            "-o me.png"
        )
    with logs.opened(settings.telling) as log:
        return _to_stdout(settings, Work.of(settings, log))


def _to_stdout(settings: RunSettings, work: Work) -> int:
    check_stdout(work.photo)
    check_installed(work.settings)
    work.reporter.say(engine_line(settings))
    watch, data = Stopwatch(), b""
    try:
        picture = work.examined()
        made = work.segmented(picture)
        data = work.data(picture, made)
        outcome = work.finished(picture, made, watch.seconds())
    except PhotoError as error:
        outcome = Outcome.left_out(work.photo.source, error)
    if outcome.is_nobody:
        work.reporter.say(f"{work.photo.source}: {NOBODY_FOUND}: {NOBODY_MESSAGE}")
    work.reporter.add(outcome)
    console.write_data(data)
    return work.reporter.tally.exit_code()


def to_file(settings: RunSettings, out: str | None) -> int:
    """Segment exactly one photo and write its cutout (its mask with ``--no-cutout``) to the file
    ``out``, or to one beside the photo (`beside`). A file that was made of the same bytes with the
    same options is left as it is. The exit code.

    Raises:
        UsageError: there is not exactly one input, or the file is that input.
        FatalError: the engine refuses, or the file cannot be written or is not hbseg's.
    """
    with logs.opened(settings.telling) as log:
        return _to_file(settings, Work.of(settings, log), out)


def _to_file(settings: RunSettings, work: Work, out: str | None) -> int:
    path = out if out is not None else beside(work.photo.source, work.recipe.format)
    check_file(path, work.photo)
    durable = settings.output.durable is not False
    publisher = Publisher(os.path.dirname(path) or os.curdir, durable=durable)
    publisher.make_folder("", os.path.basename(path))
    with kept_answer(path, settings.output.lock_wait) as answer:
        try:
            outcome = _written(work, path, publisher, answer)
        except PhotoError as error:
            # A photo that is rejected before its call waits for no answer. After it, the answer may
            # still become a file, by another option or at another time.
            if error.rejected and not error.transient and error.code != NOBODY_FOUND:
                answer.discard()
            outcome = Outcome.left_out(work.photo.source, error)
        if outcome is not None:
            work.reporter.add(outcome)
    if work.reporter.stop.reason is not None:
        raise work.reporter.stop.reason
    return work.reporter.exit_code()


def _written(work: Work, path: str, publisher: Publisher, answer: KeptAnswer) -> Outcome | None:
    """Write the file; the photo's outcome, ``None`` where the file was there already."""
    watch = Stopwatch()
    picture = work.examined()
    sha256 = sources.sha256_of(picture)
    done = None if work.settings.output.force else work.done_before(path, sha256)
    if done is not None:
        answer.discard()  # of a run that was killed when the file was in place
        _report_made(work, path, done)
        return None
    check_installed(work.settings)
    publisher.reserve(picture.size, at_once=room_for(picture.size))
    work.reporter.say(engine_line(work.settings))
    made = work.segmented(picture, answer)
    data = work.data(picture, made)
    may_replace = partial(ownership.is_own, kind=SINGLE_SEAL)
    publisher.publish("", os.path.basename(path), data, may_replace=may_replace)
    answer.discard()
    outcome = work.finished(picture, made, watch.seconds(), path)
    work.reporter.say(f"{path}: written in {duration(watch.seconds())}{_remark(outcome)}")
    return outcome


def _remark(outcome: Outcome) -> str:
    if outcome.is_nobody:
        return f"; {NOBODY_MESSAGE}"
    return f"; its mask is doubtful ({outcome.doubt})" if outcome.is_doubtful else ""


def _report_made(work: Work, path: str, done: Outcome) -> None:
    key = to_bytes(work.photo.key)
    work.reporter.skip(Status.DONE.value, [key], lambda _: done, nobody=done.is_nobody)
    work.reporter.say(f"{path}: already done; give --force to make it again")
