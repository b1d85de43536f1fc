"""The end of a run in words: what was left out and why, and which command comes next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from humanbody_cli.core import api_spec
from humanbody_cli.core.outcomes import Outcome, Status, Tally
from humanbody_cli.jobs.progress.summary import Ended, next_steps, summary

DONE = Outcome("a.jpg", Status.DONE, doubt=0.0)
DOUBTFUL = Outcome("b.jpg", Status.DONE, doubt=0.5)
HEIC = Outcome("c.heic", Status.REJECTED, code=api_spec.UNSUPPORTED_FORMAT, reason="HEIC")
DAMAGED = Outcome("d.jpg", Status.REJECTED, code=api_spec.UNSUPPORTED_FORMAT, reason="damaged")
LARGE = Outcome("e.jpg", Status.REJECTED, code=api_spec.FILE_TOO_LARGE)
FAILED = Outcome("f.jpg", Status.FAILED, code=api_spec.BAD_ANSWER)
LATER = Outcome("g.jpg", Status.FAILED, code=api_spec.INTERNAL_ERROR, transient=True)

ENDED = Ended("out", 61.0, calls=12)


def tally_of(*outcomes: Outcome) -> Tally:
    """A tally of these photos."""
    tally = Tally()
    for outcome in outcomes:
        tally.add(outcome)
    return tally


def said(*outcomes: Outcome, ended: Ended = ENDED) -> list[str]:
    """The lines of the summary."""
    return [line for line, _ in summary(tally_of(*outcomes), ended)]


def test_what_was_left_out_is_added_up_by_reason() -> None:
    """The counts of rejects and failures say why, the most frequent reason first."""
    lines = said(*[HEIC] * 42, *[DAMAGED] * 13, LATER, LATER, FAILED)
    assert "55 rejected (42 HEIC, 13 damaged), 3 failed (2 INTERNAL_ERROR, 1 BAD" in lines[0]


def test_singulars_are_right() -> None:
    """One of anything is not called many."""
    ended = replace(ENDED, calls=1, skipped=1)
    assert said(DOUBTFUL, HEIC, ended=ended) == [
        "1 done, 1 rejected (1 HEIC) in 1 min 01 s, 1 call; 1 other file skipped",
        "doubtful: 1 mask, worth a look with hbseg report out",
        "1 photo newly rejected or failed: hbseg status out --failed",
        "1 photo can be converted or shrunk: run the same command again with --fit",
    ]


def steps(*outcomes: Outcome, ended: Ended = ENDED) -> str:
    """The next steps as one text."""
    return "\n".join(line for line, _ in next_steps(tally_of(*outcomes), ended))


def test_a_run_without_trouble_names_the_report() -> None:
    """All done: look at it. Nothing done: nothing to look at."""
    assert steps(DONE) == "to look at the results: hbseg report out"
    assert steps() == ""


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (HEIC, "--fit"),
        (LARGE, "--fit"),
        (LATER, "1 photo may succeed later: run the same command again"),
        (FAILED, "to try 1 failed photo again: run the same command again with --retry-failed"),
    ],
)
def test_the_command_that_may_help_is_named(outcome: Outcome, words: str) -> None:
    """Each kind of photo that was left out has its own next command."""
    assert words in steps(outcome)
    assert "hbseg status out --failed" in steps(outcome)


def test_no_command_is_named_that_would_not_help() -> None:
    """A damaged file is replaced, not converted; options that are on already are not advised."""
    assert "again" not in steps(DAMAGED)
    assert "--fit" not in steps(HEIC, ended=replace(ENDED, fit=True))
    assert "again" not in steps(FAILED, ended=replace(ENDED, retry_failed=True))


def test_a_run_that_was_stopped_is_continued_first() -> None:
    """The reason of the stop says what to do; no other run is advised beside it."""
    assert "again" not in steps(HEIC, LATER, FAILED, ended=replace(ENDED, is_whole=False))


def test_a_folder_is_named_as_a_shell_takes_it() -> None:
    """The command can be copied."""
    assert "hbseg report 'my out'" in steps(DONE, ended=replace(ENDED, out="my out"))


def test_quiet_runs_hear_of_new_rejects_only() -> None:
    """With ``-q`` only the command that lists them is named."""
    levels = [line for line, level in summary(tally_of(DONE, HEIC), ENDED) if level < 0]
    assert levels == ["1 photo newly rejected or failed: hbseg status out --failed"]


def test_very_many_reasons_are_cut_short() -> None:
    """A server may name a new code for each photo."""
    lines = said(*[Outcome("a", Status.FAILED, code=f"CODE_{n}") for n in range(50)])
    assert "50 failed (1 CODE_0, " in lines[0] and ", others) in" in lines[0]
