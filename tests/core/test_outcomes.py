"""The record of a photo: what it has, in which order, and as one line of JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humanbody_cli.core.outcomes import NOBODY_MESSAGE, Outcome, Status, json_line

CONTRACT = (
    "source status code message cutout mask width height attempts request_id image_id time_used "
    "elapsed engine sha256 coverage doubt"
).split()


def test_a_record_has_every_field_of_the_contract() -> None:
    """Scripts rely on these names, in this order, with nothing left out."""
    record = Outcome("a.jpg", Status.PENDING).record()
    assert list(record)[: len(CONTRACT)] == CONTRACT


@pytest.mark.parametrize("status", Status)
def test_a_status_is_plain_text(status: Status) -> None:
    """Statuses are the contract's words, in records and in JSON."""
    record = Outcome("a.jpg", status).record()
    assert type(record["status"]) is str
    assert json.loads(json_line(record))["status"] == status.value


def test_the_statuses_are_the_contracts() -> None:
    """Done, rejected, failed, pending, and no other."""
    assert [status.value for status in Status] == ["done", "rejected", "failed", "pending"]


def test_a_record_keeps_what_it_was_given() -> None:
    """Values pass unchanged."""
    outcome = Outcome("a.jpg", Status.DONE, width=3, coverage=0.25, doubt=0.0, attempts=2)
    record = outcome.record()
    assert (record["width"], record["coverage"], record["doubt"]) == (3, 0.25, 0.0)
    assert record["attempts"] == 2
    assert record["code"] is None


@pytest.mark.parametrize("status", [Status.DONE, Status.REJECTED])
def test_a_record_without_coverage_says_that_nobody_was_found(status: Status) -> None:
    """Whoever makes the record: the code follows from coverage 0. A coverage that is not known says
    nothing, and another code stays."""
    record = Outcome("a.jpg", status, coverage=0.0).record()
    assert (record["code"], record["message"]) == ("NOBODY_FOUND", NOBODY_MESSAGE)
    assert Outcome("a.jpg", status).code is None
    assert Outcome("a.jpg", status, coverage=0.0001).code is None
    assert Outcome("a.jpg", status, code="UNREADABLE", coverage=0.0).code == "UNREADABLE"


@given(st.text(), st.binary(max_size=40))
def test_a_json_line_is_one_line_of_ascii_whatever_the_name(text: str, raw: bytes) -> None:
    """Newlines, quotes and bytes that are no UTF-8 survive, and never break the line."""
    name = text + raw.decode("utf-8", "surrogateescape")
    line = json_line(Outcome(name, Status.FAILED, message=text).record())
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["source"] == name


def test_outcomes_cannot_be_changed() -> None:
    """What became of a photo is settled."""
    with pytest.raises(AttributeError):
        Outcome("a.jpg", Status.DONE).status = Status.FAILED  # type: ignore[misc]


def test_a_photo_without_a_person_is_not_doubtful_too() -> None:
    """Each photo is told under one heading: nobody found, or a doubtful mask."""
    nobody = Outcome("a.jpg", Status.DONE, coverage=0.0, doubt=0.9)
    somebody = Outcome("a.jpg", Status.DONE, coverage=0.1, doubt=0.9)
    assert (nobody.is_nobody, nobody.is_doubtful) == (True, False)
    assert (somebody.is_nobody, somebody.is_doubtful) == (False, True)
