"""Limits on calls: of a run, of an hour, of a day; counted over runs in the journal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from humanbody_cli.core.settings import MaxCalls, Period
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.layout import STATE
from humanbody_cli.storage.tables.calls import CallLimit, bounds, made_since

NOON = datetime(2026, 3, 28, 12, 10).timestamp()


@dataclass
class Clock:
    """A time of day that the test sets."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A new journal."""
    (tmp_path / STATE).mkdir()
    made = Journal(str(tmp_path))
    yield made
    made.close()


def taken(limit: CallLimit) -> int:
    """How many calls are allowed now; each is counted."""
    count = 0
    while count < 100 and limit.take():
        count += 1
    return count


def test_a_limit_of_a_run_is_that_run_alone(journal: Journal) -> None:
    """``--max-calls N`` begins anew with each run."""
    for _ in range(2):
        assert taken(CallLimit(MaxCalls(3), journal)) == 3


@pytest.mark.parametrize(("per", "later"), [(Period.DAY, 12 * 3600), (Period.HOUR, 3600)])
def test_a_limit_of_a_time_holds_over_runs(journal: Journal, per: Period, later: int) -> None:
    """Calls of earlier runs count, those without a limit too; the next period begins at zero."""
    clock = Clock()
    assert taken(CallLimit(None, journal, clock)) == 100
    assert taken(CallLimit(MaxCalls(102, per), journal, clock)) == 2
    again = CallLimit(MaxCalls(102, per), journal, clock)
    assert again.is_reached()
    assert taken(again) == 0
    clock.now += later
    assert taken(again) == 100
    assert made_since(journal, bounds(per, clock.now)[0]) == 100


@pytest.mark.parametrize(("per", "hour"), [(Period.DAY, 23), (Period.HOUR, 12)])
def test_the_last_half_second_is_not_of_the_next_period(
    journal: Journal, per: Period, hour: int
) -> None:
    """A call just before midnight or a full hour does not count after it."""
    clock = Clock(datetime(2026, 3, 28, hour, 59, 59, 600_000).timestamp())
    limit = CallLimit(MaxCalls(3, per), journal, clock)
    assert taken(limit) == 3
    clock.now += 1
    assert taken(limit) == 3


def test_a_call_that_was_not_sent_is_given_back(journal: Journal) -> None:
    """It counts neither for the run nor for the day."""
    limit = CallLimit(MaxCalls(1, Period.DAY), journal, Clock())
    assert limit.take()
    assert not limit.take()
    limit.give_back()
    assert limit.take()


def test_a_limit_says_when_it_ends(journal: Journal) -> None:
    """The message names the option, the limit and the time from which calls are allowed again."""
    limit = CallLimit(MaxCalls(500, Period.DAY), journal, Clock())
    assert "500 per day (--max-calls)" in str(limit.error())
    assert "after 2026-03-29 00:00" in str(limit.error())
    assert "waiting until 2026-03-29 00:00" in limit.pause()
    assert "run the same command again" in str(CallLimit(MaxCalls(500)).error())


@pytest.fixture(params=["Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A local time zone; three of them are not whole hours from UTC."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield str(request.param)
    monkeypatch.undo()
    time.tzset()


def test_days_are_local(zone: str, journal: Journal) -> None:
    """The last call before midnight and the first one after it are of different days."""
    clock = Clock(datetime(2026, 6, 1, 23, 59, 59).timestamp())
    limit = CallLimit(MaxCalls(1, Period.DAY), journal, clock)
    assert taken(limit) == 1
    clock.now += 2
    assert taken(limit) == 1
    clock.now = datetime(2026, 6, 2, 23, 59, 59).timestamp()
    assert limit.is_reached(), zone


def test_a_day_may_have_23_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Berlin the clocks were set forward on 29 March 2026."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    begin, end = bounds(Period.DAY, datetime(2026, 3, 29, 12).timestamp())
    monkeypatch.undo()
    time.tzset()
    assert end - begin == 23 * 3600


def test_a_journal_of_an_earlier_version_has_counted_nothing(tmp_path: Path) -> None:
    """Reading it changes nothing."""
    (tmp_path / STATE).mkdir()
    Journal(str(tmp_path)).close()
    journal = Journal(str(tmp_path), read_only=True)
    assert made_since(journal, 0) == 0
    journal.close()
