"""How many calls the limit on open files (``ulimit -n``) allows.

A call in flight is one socket. A socket that cannot be opened costs a retry, but a file that cannot
be opened when an answer has been paid for loses the answer: so calls in flight are limited to what
leaves enough descriptors for everything else.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass

from humanbody_cli.errors import FatalError

BASE = 20
"""Descriptors of a run besides those below. Always open are 11: stdin, stdout, stderr, the lock,
the journal (SQLite's database, log and shared memory), the quota's timeline, the event loop (3).
For moments there are 9 more: answers being kept (2), the pipes to the second process that looks at
done photos (2), folders being listed (2), a name being resolved (2), a module being imported."""

PUBLISHING = 8
"""Files being written: one for each of the pipeline's disk threads."""


@dataclass(frozen=True)
class Allowance:
    """Calls that may be in flight (``None``: no limit of its own), and a line for the user where
    that is less than was asked for."""

    calls: int | None
    notice: str | None = None


def affordable_calls(soft_limit: int, threads: int = os.cpu_count() or 1) -> int:
    """Calls in flight that ``soft_limit`` open files allow; 0 or less: not even one.

    ``threads`` is how many photos are read at the same time: a file each, or 4 descriptors where
    the photo comes from an address (a socket and an event loop). Under a low limit fewer are read
    at a time, as fewer photos are under way.
    """
    return soft_limit - BASE - PUBLISHING - min(4 * threads, max(4, soft_limit // 8))


def needed(calls: int, threads: int = os.cpu_count() or 1) -> int:
    """Open files that this many calls in flight need: the inverse of `affordable_calls`."""
    return calls + BASE + PUBLISHING + 4 * threads


def allowance(concurrency: int | None, most: int) -> Allowance:
    """Raise the limit as far as is needed and allowed, and say what it then allows.

    ``concurrency`` is what the user asked for, ``most`` the calls in flight where nothing was.

    Raises:
        FatalError: the limit does not allow a single call.
    """
    wanted = concurrency or most
    limit = _raised_to(needed(wanted))
    if limit is None:
        return Allowance(concurrency)
    calls = affordable_calls(limit)
    if calls < 1:
        raise FatalError(
            f"the limit on open files (ulimit -n) is {limit}, and a run needs at least "
            f"{_smallest()}; raise it and run again"
        )
    if calls >= wanted:
        return Allowance(concurrency)
    return Allowance(
        calls,
        f"the limit on open files (ulimit -n {limit}) allows {calls} calls in flight instead of "
        f"{wanted}; raise it for more",
    )


def _smallest() -> int:
    """The smallest limit that allows a call."""
    return next(limit for limit in range(BASE, 4096) if affordable_calls(limit) >= 1)


def _raised_to(wanted: int) -> int | None:
    """The limit after it was raised, if that was needed; ``None`` where there is none."""
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
