"""The pace of a run and the time left: from times and counts alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humanbody_cli.core.outcomes import Outcome, Status, Tally
from humanbody_cli.jobs.progress.figures import Exactly, Progress
from humanbody_cli.jobs.progress.pace import Pace

DONE = Outcome("a.jpg", Status.DONE)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def steady(rate: float, seconds: float, *, start: float = 0.0, count: int = 0) -> Pace:
    """A pace of events at this rate from ``start`` on."""
    pace = Pace(0.0)
    for number in range(1, int(rate * seconds) + 1):
        pace.note(start + number / rate, count + number)
    return pace


def test_nothing_is_known_before_the_first_event() -> None:
    """No rate without an event."""
    assert Pace(0.0).rate(5.0) is None
    assert Pace(0.0).expected(5.0, None) is None


def test_the_wait_for_the_first_event_is_no_slowness() -> None:
    """Three a second after a latency of two seconds are three a second."""
    assert steady(3, 10, start=2.0).rate(12.0) == pytest.approx(3, rel=0.01)


def test_a_burst_is_no_speed() -> None:
    """Five events at one instant count as five in a second."""
    pace = Pace(0.0)
    for count in range(1, 6):
        pace.note(0.01, count)
    assert pace.rate(0.01) == pytest.approx(5)


def test_the_rate_follows_a_change() -> None:
    """Two minutes after the rate fell to a tenth, the estimate has followed."""
    pace = steady(10, 60)
    for number in range(1, 121):
        pace.note(60 + number, 600 + number)
    assert pace.rate(180.0) == pytest.approx(1, rel=0.1)


def test_a_standstill_lowers_the_rate() -> None:
    """A minute without an event is seen, three times the usual distance is not."""
    pace = steady(1, 60)
    assert pace.rate(62.0) == pace.rate(60.0)
    assert (pace.rate(120.0) or 0) < 0.6 * (pace.rate(60.0) or 0)


def test_a_known_rate_counts_at_the_start_only() -> None:
    """The quota is believed first, and no more after half a minute."""
    assert Pace(0.0).expected(0.5, 3.0) == 3.0
    slow = steady(1, 40)
    assert slow.expected(40.0, 3.0) == slow.rate(40.0)
    first = Pace(0.0)
    first.note(1.7, 1)
    assert first.expected(2.0, 3.0) == pytest.approx(3, rel=0.25)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 50)), max_size=60), st.floats(0, 1e6))
def test_a_rate_is_a_positive_number(steps: list[tuple[float, int]], later: float) -> None:
    """Whatever comes, there is no division by zero and no rate below zero."""
    pace, now, count = Pace(0.0), 0.0, 0
    for seconds, more in steps:
        now, count = now + seconds, count + more
        pace.note(now, count)
    rate = pace.rate(now + later)
    assert (rate is None) is (count == 0)
    assert rate is None or 0 < rate <= 50 * 60


def test_settled_photos_are_done_and_no_speed() -> None:
    """100,000 photos of an earlier run are in what is done; the time left is that of the rest."""
    tally, clock = Tally(), Clock()
    progress = Progress(tally, clock)
    progress.ahead = Exactly(100_300, foreseen=100_000, has_ended=True)
    tally.settled["done"] = 100_000
    progress.begin()
    for _ in range(30):
        clock.now += 1
        tally.add(DONE)
        progress.note()
    figures = progress.figures()
    assert (figures.done, figures.total, figures.left) == (100_030, 100_300, 270)
    assert figures.pace == pytest.approx(1)
    assert figures.seconds_left == pytest.approx(270)


def test_photos_that_will_be_skipped_take_no_time() -> None:
    """Settled photos that the walk has yet to come to are not in the time left."""
    tally = Tally()
    progress = Progress(tally, Clock())
    progress.ahead = Exactly(1000, foreseen=990, has_ended=True)
    tally.settled["done"] = 100
    assert progress.figures().left == 10


def test_until_it_is_counted_the_total_is_at_least() -> None:
    """What was drawn counts where nothing is known, and the end of the walk makes it exact."""
    tally = Tally()
    progress = Progress(tally, Clock())
    photos = progress.drawn(iter(range(3)))
    next(photos)
    assert (progress.figures().total, progress.figures().is_counted) == (1, False)
    list(photos)
    assert (progress.figures().total, progress.figures().is_counted) == (3, True)
    assert progress.figures().left == 3


def test_the_end_of_the_walk_corrects_the_count() -> None:
    """Photos that vanished after they were counted do not stay in the total."""
    progress = Progress(Tally(), Clock())
    progress.ahead = Exactly(10, has_ended=True)
    list(progress.drawn(iter(range(7))))
    assert progress.figures().total == 7


class Gate:
    """Calls of a gate with a quota of three a second."""

    calls = 0

    def quota(self) -> tuple[float, bool]:
        return 3.0, False


def test_before_the_first_answer_the_quota_gives_the_time_left() -> None:
    """A run of 300 photos at three a second has 100 seconds left from its first moment on."""
    progress = Progress(Tally(), Clock())
    progress.ahead = Exactly(300, has_ended=True)
    progress.gate = Gate()
    assert progress.figures().seconds_left == pytest.approx(100)
