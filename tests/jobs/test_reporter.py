"""What is said on stderr: which lines, at which verbosity, and safely for a terminal."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humanbody_cli.core.console import Stopwatch, duration, shown
from humanbody_cli.core.errors import StdoutError, stdout_error
from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.core.settings import Telling
from humanbody_cli.jobs.progress.reporter import Reporter

DONE = Outcome("a.jpg", Status.DONE, elapsed=12, doubt=0.123)
FAILED = Outcome("b.jpg", Status.FAILED, code="INTERNAL_ERROR", message="the server failed")
REJECTED = Outcome("c\n.jpg", Status.REJECTED, code="INVALID_IMAGE_SIZE", message="too small")


def outcome_of(key: bytes) -> Outcome:
    """What an earlier run recorded of a photo."""
    return Outcome(key.decode(), Status.DONE)


def said(
    capsys: pytest.CaptureFixture[str],
    *outcomes: Outcome,
    verbosity: int = 0,
    terminal: bool = False,
) -> str:
    """What stderr shows for these outcomes; stdout must stay empty."""
    reporter = Reporter(Telling(verbosity), terminal=terminal, clock=iter(range(99)).__next__)
    reporter.skip("done", [b"d", b"e"], outcome_of)
    for outcome in outcomes:
        reporter.add(outcome)
    reporter.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_one_line_for_each_photo_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Rejected and failed photos are named with code and reason, done ones are not."""
    assert said(capsys, DONE, FAILED, REJECTED) == (
        "b.jpg: INTERNAL_ERROR: the server failed\nc\\n.jpg: INVALID_IMAGE_SIZE: too small\n"
    )


def test_what_a_server_says_is_safe_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters in a code or a message do not reach the terminal, nor those in a line
    that is put together elsewhere."""
    evil = Outcome("a.jpg", Status.FAILED, code="E\x1b[31m", message="no\r\x9b2J\u202e")
    assert said(capsys, evil) == "a.jpg: E\\x1b[31m: no\\r\\x9b2J\\u202e\n"
    assert "\x1b[31m" not in said(capsys, evil, terminal=True)
    Reporter(Telling(), terminal=False).say("hbseg: \x1b]0;title\x07")
    assert capsys.readouterr().err == "hbseg: \\x1b]0;title\\x07\n"


def test_verbose_names_the_done_ones_too(capsys: pytest.CaptureFixture[str]) -> None:
    """With -v each photo has its line."""
    assert said(capsys, DONE, verbosity=1) == "a.jpg: done in 12 ms, doubt 0.12\n"


def test_a_mask_without_a_figure_shows_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no doubt is known none is told."""
    plain = Outcome("a.jpg", Status.DONE, elapsed=12)
    assert said(capsys, plain, verbosity=1) == "a.jpg: done in 12 ms\n"


def test_quiet_says_what_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    """With -q a photo that is left out is told, unless the run before told of it; no bar either."""
    known = replace(FAILED, source="known.jpg", repeated=True)
    assert said(capsys, DONE, FAILED, known, verbosity=-1, terminal=True).splitlines() == [
        f"{FAILED.source}: {FAILED.code}: {FAILED.message}"
    ]


@pytest.mark.parametrize(
    ("verbosity", "level", "heard"),
    [(0, 0, True), (0, 1, False), (1, 1, True), (-1, 0, False), (-1, -1, True)],
)
def test_lines_have_levels(
    capsys: pytest.CaptureFixture[str], verbosity: int, level: int, heard: bool
) -> None:
    """A line of level 1 needs -v, one of level -1 is said even with -q."""
    Reporter(Telling(verbosity), terminal=False).say("line", level=level)
    assert (capsys.readouterr().err == "line\n") is heard


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal there is a bar; lines for photos left out go above it."""
    text = said(capsys, DONE, FAILED, terminal=True)
    assert "photos/s" in text
    assert "b.jpg: INTERNAL_ERROR: the server failed\n" in text


def test_no_terminal_gets_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """Where stderr is a file or a pipe nothing but lines is written."""
    assert said(capsys, DONE) == ""


class Lost(io.StringIO):
    """A stdout whose reader has gone."""

    def write(self, text: str) -> int:
        raise stdout_error(BrokenPipeError())


def test_records_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """With ``json`` each photo is one line, those that were settled before too."""
    reporter = Reporter(Telling(), json=True, terminal=False)
    reporter.skip("done", [b"d"], outcome_of)
    reporter.add(DONE)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["source"], line.get("skipped")) for line in lines] == [
        ("d", True),
        ("a.jpg", None),
    ]


def test_a_lost_stdout_is_the_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The photos under way are still counted; the exit code is that of the lost stdout."""
    monkeypatch.setattr("sys.stdout", Lost())
    reporter = Reporter(Telling(-1), json=True, terminal=False)
    reporter.add(DONE)
    reporter.add(DONE)
    assert isinstance(reporter.stop.reason, StdoutError)
    assert reporter.tally.done == 2
    assert reporter.exit_code() == StdoutError.exit_code


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a b.jpg", "a b.jpg"),
        ("\u4e2d\u00e9.jpg", "\u4e2d\u00e9.jpg"),
        ("a\nb\t\x1b[31m", "a\\nb\\t\\x1b[31m"),
        ("\udcff\udc80.jpg", "\\xff\\x80.jpg"),
        ("\u202e.jpg", "\\u202e.jpg"),
    ],
)
def test_names_are_made_safe_to_show(name: str, text: str) -> None:
    """Control characters, and bytes that are no text, are escaped."""
    assert shown(name) == text


@given(st.binary(max_size=60), st.text(max_size=20))
def test_any_name_can_be_shown(raw: bytes, text: str) -> None:
    """Whatever the bytes of a name, what is shown is printable and can be encoded."""
    line = shown(raw.decode("utf-8", "surrogateescape") + text)
    assert line.isprintable()
    line.encode()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.84, "0.8 s"),
        (9.94, "9.9 s"),
        (42.4, "42 s"),
        (60, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.4, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_in_words(seconds: float, text: str) -> None:
    """Times are told as precisely as a person needs."""
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(9.97, "10 s"), (59.7, "1 min 00 s")])
def test_durations_at_the_edge_of_a_unit(seconds: float, text: str) -> None:
    """Rounding never shows ten seconds with a tenth, or sixty seconds."""
    assert duration(seconds) == text


def test_a_stopwatch_runs() -> None:
    """Time passes forwards."""
    watch = Stopwatch()
    assert 0 <= watch.seconds() <= watch.seconds() < 60
