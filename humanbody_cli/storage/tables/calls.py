"""How many calls may be made: by one run, or by all runs on an output folder in an hour or day.

A call is counted before it is sent, so that a killed run has counted all of its calls. Hours and
days are those of the local time zone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from humanbody_cli.core.errors import CallLimitReached
from humanbody_cli.core.settings import MaxCalls, Period
from humanbody_cli.storage.journal import Journal

QUARTER = 900
"""Seconds for which calls are counted together. Every time zone's hours and days begin with one:
their offsets from UTC are multiples of 15 minutes."""

_KEPT = 32 * 24 * 3600
"""Seconds after which the calls of a quarter of an hour are forgotten."""

_TABLE = "CREATE TABLE IF NOT EXISTS calls (quarter INTEGER PRIMARY KEY, calls INTEGER NOT NULL)"
_HAS_TABLE = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'calls'"
_ADD = (
    "INSERT INTO calls (quarter, calls) VALUES (?1, ?2) "
    "ON CONFLICT (quarter) DO UPDATE SET calls = calls + ?2"
)
_SINCE = "SELECT COALESCE(SUM(calls), 0) FROM calls WHERE quarter >= ?"


class CallLimit:
    """The calls of a run, and whether it may make another. ``now`` is the time of day in seconds
    since 1970.

    With a ``journal`` every call is counted there, limited or not: a limit that is given later in
    the day counts them too.
    """

    def __init__(
        self,
        most: MaxCalls | None = None,
        journal: Journal | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._most = most
        self._journal = journal
        self._now = now
        self._calls = 0
        if journal is not None:
            with journal.exclusive():
                journal.change(_TABLE, ())
                journal.change("DELETE FROM calls WHERE quarter < ?", (_quarter(now() - _KEPT),))

    @property
    def waits(self) -> bool:
        """Whether the run waits for the next hour or day instead of ending."""
        return self._most is not None and self._most.waits and self._most.per is not None

    def take(self) -> bool:
        """Count one call, unless the limit is reached."""
        if self.is_reached():
            return False
        self._count(1)
        return True

    def give_back(self) -> None:
        """The call that was counted last was not sent."""
        self._count(-1)

    def is_reached(self) -> bool:
        """Whether no further call is allowed now."""
        most = self._most
        if most is None:
            return False
        if most.per is None or self._journal is None:
            return self._calls >= most.count
        begin, _ = bounds(most.per, self._now())
        return made_since(self._journal, begin) >= most.count

    def error(self) -> CallLimitReached:
        """The reason to end the run once the limit is reached."""
        when = f"after {self._next()}" if self._most and self._most.per else "again"
        return CallLimitReached(
            f"the call limit of {self._most} (--max-calls) is reached; run the same command {when} "
            "to continue"
        )

    def pause(self) -> str:
        """The line for the user where the run waits instead."""
        limit = f"the call limit of {self._most} (--max-calls)"
        return f"{limit} is reached; waiting until {self._next()}"

    def _next(self) -> str:
        """The beginning of the next hour or day."""
        assert self._most is not None
        assert self._most.per is not None
        _, end = bounds(self._most.per, self._now())
        return f"{datetime.fromtimestamp(end):%Y-%m-%d %H:%M}"

    def _count(self, calls: int) -> None:
        self._calls += calls
        if self._journal is not None:
            with self._journal.exclusive():
                self._journal.change(_ADD, (_quarter(self._now()), calls))


def bounds(per: Period, when: float) -> tuple[float, float]:
    """Beginning and end of the local hour or day that contains ``when``, in seconds since 1970."""
    local = datetime.fromtimestamp(when)
    if per is Period.HOUR:
        begin = local.replace(minute=0, second=0, microsecond=0).timestamp()
        return begin, begin + 3600
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    # By the calendar: a day on which the clocks change has 23 or 25 hours.
    return midnight.timestamp(), (midnight + timedelta(days=1)).timestamp()


def made_since(journal: Journal, when: float) -> int:
    """Calls of all runs since ``when``, the beginning of an hour or day. Writes nothing."""
    with journal.exclusive():
        if not journal.number(_HAS_TABLE, ()):
            return 0
        return journal.number(_SINCE, (_quarter(when),))


def _quarter(when: float) -> int:
    return int(when // QUARTER)
