"""A low limit on open files lowers the calls in flight and loses no paid answer."""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Hbseg, files, photo
from fake_api import FakeApi
from fake_behaviour import Behaviour

from humanbody_cli.jobs.setup.assembly import affordable_calls, needed

SLOW = Behaviour(latency=0.15)


def limited(soft: int, hard: int | None = None) -> object:
    """Lowers the limit in the command before it starts."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard or soft))


def run_with(paid: Hbseg, count: int, limit: object, *options: object) -> tuple[int, str, FakeApi]:
    """A run over so many photos under a limit: exit code, stderr, and the API's account of it."""
    folder = paid.cwd / "photos"
    for number in range(count):
        photo(folder / f"{number}.jpg", seed=number, size=(64, 48))
    with FakeApi.in_thread(SLOW) as api:
        arguments = ("segment", folder, "-o", "out", "--endpoint", api.url, "--qps", 300, *options)
        ended = paid(*arguments, preexec_fn=limit)
        return ended.code, ended.err, api


@pytest.mark.parametrize("limit", [40, 64])
def test_no_paid_answer_is_lost_under_a_low_limit(paid: Hbseg, limit: int) -> None:
    """Every photo is paid for once and done, exit 0; the lowered concurrency is said once."""
    code, err, api = run_with(paid, 60, limited(limit))
    assert code == 0, err
    assert len(files(paid.cwd / "out")) == 120
    assert api.stats.accepted == len(api.stats.uploads) == 60
    assert api.stats.max_in_flight <= affordable_calls(limit)
    said = [line for line in err.splitlines() if "ulimit -n" in line]
    assert len(said) == 1
    assert f"ulimit -n {limit}" in said[0]
    assert f"{affordable_calls(limit)} calls in flight instead of 256" in said[0]


@pytest.mark.parametrize("limit", [24, 30])
def test_too_low_a_limit_is_told_before_the_first_call(paid: Hbseg, limit: int) -> None:
    """Exit 4, one sentence with the limit that would do, nothing paid; and that limit does."""
    code, err, api = run_with(paid, 2, limited(limit))
    assert code == 4
    assert "Traceback" not in err
    assert api.stats.calls == []
    assert f"(ulimit -n) is {limit}" in err
    enough = int(err.partition("at least ")[2].partition(";")[0])
    code, err, api = run_with(paid, 2, limited(enough))
    assert code == 0, err
    assert api.stats.accepted == 2


def test_one_photo_to_stdout_under_too_low_a_limit(paid: Hbseg) -> None:
    """``-o -`` says the same."""
    path = photo(paid.cwd / "a.jpg")
    with FakeApi.in_thread(SLOW) as api:
        arguments = ("segment", path, "-o", "-", "--endpoint", api.url)
        ended = paid(*arguments, preexec_fn=limited(30))
        assert (ended.code, api.stats.calls) == (4, [])
    assert "ulimit -n" in ended.err and "Traceback" not in ended.err


def test_a_soft_limit_is_raised_where_that_is_allowed(paid: Hbseg) -> None:
    """Under a low soft limit and a high hard one nothing is lowered, and nothing need be said."""
    code, err, _ = run_with(paid, 6, limited(40, 1024))
    assert code == 0, err
    assert "ulimit" not in err


def test_what_the_user_asked_for_is_not_lowered_without_need(paid: Hbseg) -> None:
    """``--concurrency 4`` fits into a limit of 50."""
    code, err, api = run_with(paid, 12, limited(50), "--concurrency", 4)
    assert code == 0, err
    assert "ulimit" not in err
    assert api.stats.max_in_flight <= 4


@pytest.mark.parametrize("threads", [1, 2, 8, 64])
def test_the_limit_that_is_needed_is_enough(threads: int) -> None:
    """More files never allow fewer calls, and what is needed for so many allows so many."""
    allowed = [affordable_calls(limit, threads) for limit in range(16, 5000)]
    assert all(a <= b for a, b in itertools.pairwise(allowed))
    assert all(affordable_calls(needed(calls, threads), threads) >= calls for calls in (1, 9, 256))


def test_a_limit_of_none_at_all(tmp_path: Path) -> None:
    """An unlimited number of files lowers nothing."""
    code = (
        "from unittest import mock; import resource\n"
        "from humanbody_cli.jobs.setup.assembly import allowance\n"
        "with mock.patch('resource.getrlimit', return_value=(resource.RLIM_INFINITY,) * 2):\n"
        "    assert allowance(None, 256).calls is None and allowance(9, 256).calls == 9\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
