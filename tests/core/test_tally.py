"""Counts of a run: the summary says them and the exit code follows from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humanbody_cli.core.outcomes import DOUBTFUL, PHOTOS_LEFT_OUT, Outcome, Status, Tally

SETTLED = (Status.DONE, Status.REJECTED, Status.FAILED)


def tally_of(*statuses: Status, settled: dict[str, int] | None = None) -> Tally:
    """A tally of photos with these ends, and of photos settled before."""
    tally = Tally()
    for status in statuses:
        tally.add(Outcome("a.jpg", status, code=None if status is Status.DONE else "SOME_CODE"))
    tally.settled.update(settled or {})
    return tally


@pytest.mark.parametrize(
    ("tally", "code"),
    [
        (tally_of(), 0),
        (tally_of(Status.DONE), 0),
        (tally_of(settled={"done": 3}), 0),
        (tally_of(Status.REJECTED), 3),
        (tally_of(Status.FAILED), 3),
        (tally_of(Status.DONE, Status.DONE, Status.FAILED), 3),
        (tally_of(Status.DONE, settled={"rejected": 1}), 3),
        (tally_of(settled={"failed": 1, "done": 9}), 3),
    ],
)
def test_the_exit_code_tells_the_truth(tally: Tally, code: int) -> None:
    """0 where all is done, 3 where anything stands rejected or failed, from before too."""
    assert tally.exit_code() == code
    assert PHOTOS_LEFT_OUT == 3


@given(st.lists(st.sampled_from(SETTLED)))
def test_totals_add_up(statuses: list[Status]) -> None:
    """Every photo that ended is counted once."""
    tally = tally_of(*statuses)
    assert tally.total == len(statuses)
    assert tally.done == statuses.count(Status.DONE)
    assert (tally.exit_code() == 0) is (statuses.count(Status.DONE) == len(statuses))


@pytest.mark.parametrize(
    ("tally", "text"),
    [
        (tally_of(), "0 done"),
        (tally_of(Status.DONE), "1 done"),
        (
            tally_of(Status.DONE, Status.REJECTED, Status.REJECTED),
            "1 done, 2 rejected (2 SOME_CODE)",
        ),
        (tally_of(Status.FAILED), "0 done, 1 failed (1 SOME_CODE)"),
        (tally_of(settled={"done": 12}), "12 done before"),
        (
            tally_of(Status.DONE, settled={"done": 2000, "failed": 1}),
            "1 done, 2,000 done before, 1 failed before",
        ),
    ],
)
def test_the_summary_in_words(tally: Tally, text: str) -> None:
    """Counts are named in full, and what is nought is left out."""
    assert tally.counts() == text


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [
        (1, 0, "2 done (nobody found in 1 photo), 5 done before"),
        (2, 5, "2 done (nobody found in 2 photos), 5 done before (nobody found in 5 photos)"),
        (0, 1, "2 done, 5 done before (nobody found in 1 photo)"),
    ],
)
def test_photos_without_a_person_are_counted(now: int, before: int, text: str) -> None:
    """Those of this run and those of earlier ones, each beside the photos that they are part of; a
    rejected one is among the rejected alone."""
    tally = Tally()
    for index in range(2):
        tally.add(Outcome("a.jpg", Status.DONE, coverage=0.0 if index < now else 0.5))
    tally.settled["done"], tally.nobody_before = 5, before
    assert tally.counts() == text
    tally.add(Outcome("b.jpg", Status.REJECTED, coverage=0.0))
    assert tally.nobody == now


def test_doubtful_masks_are_counted() -> None:
    """Masks beyond the threshold are worth a look; those without a figure are not counted."""
    tally = Tally()
    for doubt in (None, 0.0, DOUBTFUL, DOUBTFUL + 0.01, 1.0):
        tally.add(Outcome("a.jpg", Status.DONE, doubt=doubt))
    assert tally.doubtful == 2


def test_known_rejects_need_not_alarm() -> None:
    """With ``ignore_known`` only what no earlier run has told of makes exit code 3."""
    tally = Tally(ignore_known=True)
    tally.settled["rejected"] = 2
    tally.add(Outcome("a.jpg", Status.REJECTED, repeated=True))
    assert (tally.left_out, tally.newly_left_out, tally.exit_code()) == (3, 0, 0)
    tally.add(Outcome("b.jpg", Status.FAILED))
    assert (tally.left_out, tally.newly_left_out, tally.exit_code()) == (4, 1, 3)


def test_known_rejects_count_unless_told_otherwise() -> None:
    """By default the exit code tells of every photo that stands rejected or failed."""
    tally = Tally()
    tally.settled["failed"] = 1
    assert tally.exit_code() == 3
