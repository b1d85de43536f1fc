"""Progress in words: what fits into the terminal, and what a log gets."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humanbody_cli.jobs.progress.figures import Figures
from humanbody_cli.jobs.progress.words import bar_line, plain_line

API = Figures(
    done=42,
    total=300,
    is_counted=True,
    left=258,
    pace=2.94,
    seconds_left=87.7,
    calls=2.91,
    quota=3.0,
    left_out={"HEIC": 42, "damaged": 13},
)
MODEL = replace(API, calls=None, quota=None, left_out={})


def line(figures: Figures, width: int = 79) -> str:
    """The words of the bar, without the bar."""
    return " ".join(bar_line(figures, width))


def test_the_line_of_the_bar_at_80_columns() -> None:
    """Total, percent, both rates, the time left and what is left out fit beside a bar."""
    assert line(API) == ("42/300 14% 2.9 photos/s, 2.9 of 3 calls/s, 1 min 28 s left, 55 out")


def test_a_wide_terminal_shows_why() -> None:
    """The reasons are there where there is room."""
    assert line(API, 120).endswith("55 left out (42 HEIC, 13 damaged)")


def test_a_run_that_stops_says_so() -> None:
    """In place of a time left that it no longer needs, on the bar and in the log."""
    stopping = replace(API, is_stopping=True)
    assert line(stopping) == "42/300 14% stopping when the photos in progress are done"
    assert line(stopping, 40) == "42/300 14% stopping"
    assert " s left" not in plain_line(stopping)


def test_what_matters_is_kept_on_a_narrow_terminal() -> None:
    """What is done and the time left are shown at 40 columns, the bar keeps some."""
    assert line(API, 40) == "42/300 14% 1 min 28 s left"
    assert line(replace(API, total=200_000, done=84_000), 79).startswith("84,000/200,000 42% ")


@given(
    st.integers(0, 10**7),
    st.floats(0.001, 1e4),
    st.floats(0, 1e7),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_the_line_fits_into_80_columns(
    total: int, rate: float, seconds: float, is_counted: bool, out: int
) -> None:
    """However large the figures are, eighty columns hold the line and a bar."""
    figures = Figures(
        done=total // 2,
        total=total,
        is_counted=is_counted,
        left=total - total // 2,
        pace=rate,
        seconds_left=seconds,
        calls=rate,
        quota=123.4,
        is_found=True,
        left_out={"a rather long code of a server": out},
    )
    left, right = bar_line(figures, 79)
    assert len(left) + len(right) + 10 <= 79


def test_until_it_is_counted_nothing_is_promised() -> None:
    """No percent of a total that grows; the time left is a lower bound."""
    assert line(replace(MODEL, is_counted=False)) == "42/300+ 2.9 photos/s, 1 min 28 s+ left"


def test_a_found_quota_is_marked() -> None:
    """With ``--qps auto`` the quota is an estimate."""
    assert "2.9 of ~12.3 calls/s" in line(replace(API, quota=12.345, is_found=True))


def test_the_plain_line() -> None:
    """A sentence with all of it, for a log."""
    assert plain_line(API) == (
        "42 of 300 photos done (14%), 258 left, 2.9 photos/s, 2.9 of 3 calls/s, 1 min 28 s left, "
        "55 left out (42 HEIC, 13 damaged)"
    )
    assert plain_line(Figures(0, 1, is_counted=True, left=1)) == (
        "0 of 1 photo done (0%), 1 left, time left unknown"
    )
    assert plain_line(replace(MODEL, is_counted=False)).startswith(
        "42 of at least 300 photos done, at least 258 left, "
    )


@pytest.mark.parametrize("code", ["\x1b[31mRED", "a\nb", "{braces}"])
def test_a_code_of_a_server_is_safe_to_show(code: str) -> None:
    """No control character reaches the terminal or the log through a reason."""
    figures = replace(MODEL, left_out={code: 1})
    for text in (line(figures, 200), plain_line(figures)):
        assert not re.search(r"[\x00-\x1f]", text)


def test_the_end_is_the_only_100_percent() -> None:
    """Percents are rounded down."""
    assert "99%" in line(replace(API, done=9_999, total=10_000))
