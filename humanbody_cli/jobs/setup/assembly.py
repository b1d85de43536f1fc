"""The parts of a run put together: engine, gate, steps, pipeline; and the limit on open files.

Imports what is heavy, so it is imported only once there is work.
"""

from __future__ import annotations

import os
import resource
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from humanbody_cli.api.adaptive_rate import MAX_IN_FLIGHT, RateController
from humanbody_cli.api.gate import Gate
from humanbody_cli.api.requests import request_size
from humanbody_cli.api.slots import OwnSlots, slots_for
from humanbody_cli.core.errors import FatalError, UsageError
from humanbody_cli.core.photo import Admit, admit_all
from humanbody_cli.core.settings import ApiSettings, RunSettings
from humanbody_cli.core.stop import Stop
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.embedded.engine import LocalEngine, load_segmenter, share_heap
from humanbody_cli.imaging.pictures import configure_pillow
from humanbody_cli.pipeline.decision import Decider
from humanbody_cli.pipeline.engine import Engine
from humanbody_cli.pipeline.photo_steps import ClientSteps
from humanbody_cli.pipeline.pipeline import Pipeline
from humanbody_cli.storage.answer_spool import AnswerSpool
from humanbody_cli.storage.disk import Disk
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.publishing import Publisher
from humanbody_cli.storage.tables.calls import CallLimit


def assemble(
    settings: RunSettings,
    decider: Decider,
    journal: Journal,
    publisher: Publisher,
    stop: Stop,
    *,
    admit: Admit = admit_all,
    disk: Disk | None = None,
) -> tuple[Gate | None, Pipeline]:
    """Gate (with the API) and pipeline of the run that the journal has begun.

    Raises:
        FatalError: the engine is not installed or not configured.
    """
    configure_pillow()
    fingerprint, output = decider.fingerprint, settings.output
    engine, gate = engine_for(settings, stop, settings.local.threads, journal)
    pipeline = Pipeline(
        engine=engine,
        journal=journal,
        publisher=publisher,
        decider=decider,
        fingerprint=fingerprint,
        steps=steps_for(settings, fingerprint.engine, keep_pixels=gate is None),
        spool=AnswerSpool(publisher.root, disk, forget=output.force) if gate is not None else None,
        threads=settings.local.threads,
        admit=admit,
    )
    return gate, pipeline


def steps_for(settings: RunSettings, engine: str, *, keep_pixels: bool) -> ClientSteps:
    """The steps of each photo; ``engine`` is recorded as the maker of its results. ``keep_pixels``
    is for an engine that works on the decoded pixels, as the embedded one does."""
    wanted = settings.wanted
    overhead = request_size(0, settings.api.credentials)
    rules = Rules(wanted.fit, keep_pixels=keep_pixels, overhead=overhead)
    return ClientSteps(wanted, rules, engine)


def engine_for(
    settings: RunSettings, stop: Stop, threads: int, journal: Journal | None = None
) -> tuple[Engine, Gate | None]:
    """The engine that the settings choose, with the API's gate; ``threads`` photos are read at a
    time; ``journal`` counts the calls. Call `engine.check_installed` first.

    Raises:
        FatalError: the engine is not installed or cannot be used, or the limit on open files allows
            no call.
        UsageError: calls are limited per hour or day, and there is no journal to count them.
    """
    if settings.uses_api:
        return _api_engine(settings.api, stop, threads, journal)
    local = settings.local
    share_heap()
    engine = LocalEngine(load_segmenter(local), threads=local.threads, name=settings.engine_name)
    return engine, None


def library_engine(settings: RunSettings, stop: Stop, pool: ThreadPoolExecutor) -> Engine:
    """The engine that the settings choose, for a program of the user's: no limit of the process is
    raised, and nothing is written, so that other processes do not share the quota. It works in the
    threads of ``pool``.

    Raises:
        FatalError: the engine cannot be used, or the limit on open files allows no call.
    """
    local, api = settings.local, settings.api
    if not settings.uses_api:
        name = settings.engine_name
        return LocalEngine(load_segmenter(local), threads=local.threads, name=name, pool=pool)
    from humanbody_cli.api.engine import ApiEngine

    allowed = allowance(api.concurrency, MAX_IN_FLIGHT, local.threads, may_raise=False)
    gate = Gate(
        RateController(api.qps, allowed.calls),
        OwnSlots(),
        stop,
        limit=CallLimit(api.max_calls),
        most_photos=allowed.photos,
    )
    return ApiEngine(api, gate, stop, pool)


def _api_engine(
    settings: ApiSettings, stop: Stop, threads: int, journal: Journal | None
) -> tuple[Engine, Gate]:
    assert settings.credentials is not None
    if settings.max_calls is not None and settings.max_calls.per is not None and journal is None:
        raise UsageError(
            f"--max-calls {settings.max_calls} needs an output folder, in which calls are counted; "
            "give -o FOLDER, or a limit for this run alone such as --max-calls 1"
        )
    from humanbody_cli.api.engine import ApiEngine

    allowed = allowance(settings.concurrency, MAX_IN_FLIGHT, threads)
    gate = Gate(
        RateController(settings.qps, allowed.calls),
        slots_for(settings.endpoint, settings.credentials.api_key),
        stop,
        limit=CallLimit(settings.max_calls, journal),
        most_photos=allowed.photos,
        notice=allowed.notice,
    )
    return ApiEngine(settings, gate, stop), gate


BASE = 20
"""Descriptors of a run besides those below. Always open are 11: stdin, stdout, stderr, the lock,
the journal (SQLite's database, log and shared memory), the quota's slots, the event loop (3). 9
more are open briefly: an answer that an earlier run kept, the pipes to the second process of
`stat_check` (2), folders being listed (2), a name being resolved (2), a module being imported, a
file whose proof is read."""

PUBLISHING = 8
"""Files being written: one for each of the pipeline's disk threads."""

_MOST_AHEAD = 8
"""Photos prepared beyond those in flight, if the limit is high enough."""


@dataclass(frozen=True)
class Allowance:
    """Calls in flight and photos under way that are allowed at a time (``None``: no limit), and a
    line for the user if that is less than was asked for."""

    calls: int | None
    photos: int | None = None
    notice: str | None = None


def affordable_calls(soft_limit: int, threads: int = os.cpu_count() or 1) -> int:
    """Calls in flight that ``soft_limit`` open files allow; 0 or less: not even one.

    Each takes a socket and a file for its answer, and a quarter as many photos are prepared
    meanwhile. ``threads`` is how many photos are read at the same time.
    """
    left = _left(soft_limit, threads)
    return (left - max(1, min(_MOST_AHEAD, left // 8))) * 4 // 9


def _left(soft_limit: int, threads: int) -> int:
    """Descriptors for calls and photos under way.

    A photo being read takes 1 descriptor (a file), or 4 if it comes from an address (a socket and
    an event loop). Under a low limit fewer are read at a time, as fewer are under way.
    """
    return soft_limit - BASE - PUBLISHING - min(4 * threads, max(4, soft_limit // 8))


def needed(calls: int, threads: int = os.cpu_count() or 1) -> int:
    """Open files that this many calls in flight need: the inverse of `affordable_calls`."""
    return -(-calls * 9 // 4) + _MOST_AHEAD + BASE + PUBLISHING + 4 * threads


def allowance(
    concurrency: int | None,
    most: int,
    threads: int = os.cpu_count() or 1,
    *,
    may_raise: bool = True,
) -> Allowance:
    """Raise the limit as far as needed and permitted, if it may be; what it then allows.

    ``concurrency`` is what the user asked for, ``most`` the calls in flight otherwise.

    Raises:
        FatalError: the limit does not allow a single call.
    """
    wanted = concurrency or most
    limit = _raised_to(needed(wanted, threads) if may_raise else 0)
    if limit is None:
        return Allowance(concurrency)
    calls = affordable_calls(limit, threads)
    if calls < 1:
        raise FatalError(
            f"the limit on open files (ulimit -n) is {limit}, and a run needs at least "
            f"{_smallest(threads)}; raise it and run again"
        )
    photos = _left(limit, threads) - min(calls, wanted)
    if calls >= wanted:
        return Allowance(concurrency, photos)
    return Allowance(
        calls,
        photos,
        f"the limit on open files (ulimit -n {limit}) allows {calls} calls in flight instead of "
        f"{wanted}; raise it for more",
    )


def _smallest(threads: int) -> int:
    """The smallest limit that allows a call."""
    return next(limit for limit in range(BASE, 4096) if affordable_calls(limit, threads) >= 1)


def _raised_to(wanted: int) -> int | None:
    """The limit, raised if needed; ``None`` if there is none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    if soft >= wanted:
        return soft
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    except (OSError, ValueError):  # the system has a limit below the hard one
        return soft
    return raised
