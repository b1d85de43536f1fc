"""What a job of every day needs: limits over runs, costs, and what the last run was."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from conftest import Hbseg, photo
from fake_api import FakeApi
from fake_behaviour import Behaviour
from waiting import PATIENCE, until


@pytest.mark.parametrize("per", ["day", "hour"])
def test_a_limit_holds_over_runs_and_kills(paid: Hbseg, tmp_path: Path, per: str) -> None:
    """``--max-calls 6/day``: a killed run has counted its calls, and all runs together make 6."""
    for index in range(20):
        photo(tmp_path / "photos" / f"{index}.jpg", seed=index)
    limit = ("--max-calls", f"6/{per}")
    with FakeApi.in_thread(Behaviour(latency=0.2)) as api:
        where = ("segment", "photos", "-o", "out", "--endpoint", api.url, "--qps", 20, *limit)
        killed = paid.start(*where)
        assert until(lambda: len(api.stats.calls) >= 2)
        killed.kill()
        killed.wait()
        first, second = paid(*where), paid(*where)
        assert (first.code, second.code) == (5, 5), first.err
        assert f"6 per {per} (--max-calls)" in first.err
        # A call may have been counted and not yet sent when the run was killed.
        assert 5 <= len(api.stats.calls) <= 6
        assert json.loads(paid("status", "out", "--json").out)["calls_today"] == 6
        assert paid(*where[:-2]).code == 0


def test_a_limit_of_a_day_needs_a_folder(paid: Hbseg, api: FakeApi, photos: Path) -> None:
    """With ``-o -`` there is nothing to count in: exit 2, and no call."""
    where = ("segment", photos / "a.jpg", "-o", "-", "--endpoint", api.url)
    ended = paid(*where, "--max-calls", "1/day")
    assert ended.code == 2
    assert "give -o FOLDER" in ended.err
    assert not api.stats.calls


def test_a_run_ends_after_its_time(paid: Hbseg, tmp_path: Path) -> None:
    """``--max-duration``: calls in flight land, the rest is pending, exit 5 with its own reason."""
    for index in range(30):
        photo(tmp_path / "photos" / f"{index}.jpg", seed=index)
    with FakeApi.in_thread(Behaviour(latency=0.5)) as api:
        where = ("segment", "photos", "-o", "out", "--endpoint", api.url, "--qps", 5)
        with paid.start(*where, "--max-duration", "2s", stderr=subprocess.PIPE) as command:
            _, err = command.communicate(timeout=PATIENCE)
        assert command.returncode == 5, err
        assert b"the time limit (--max-duration) is reached" in err
        status = json.loads(paid("status", "out", "--json").out)
        assert status["last_run"]["reason"] == "time-limit"
        assert status["done"] == len(api.stats.calls) < 30
        assert status["done"] + status["pending"] == 30


def test_costs(paid: Hbseg, api: FakeApi, photos: Path) -> None:
    """``--price`` foretells what calls cost and tells what they have cost, in its currency."""
    where = (photos, "-o", "out", "--endpoint", api.url, "--qps", 99)
    price = ("--price", "0.01CNY")
    assert "cost       0.04 CNY" in paid("plan", *where, *price).out
    assert json.loads(paid("plan", *where, *price, "--json").out)["cost"] == 0.04
    assert "4 calls for 0.04 CNY" in paid("segment", *where, *price).err
    assert "4, 0.04 CNY" in paid("status", "out", *price).out
    figures = json.loads(paid("status", "out", "--json", "--price", "0.125").out)
    assert (figures["cost"], figures["currency"]) == (0.5, "")
    assert "0.500" in paid("status", "out", "--price", "0.125").out
    for wrong in ("free", "-1", "0,01", "1e3", "nan"):
        ended = paid("status", "out", "--price", wrong)
        assert ended.code == 2
        assert "is not the price of a call" in ended.err


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("3/day", "3 per day (--max-calls): at least 2 days"),
        ("1", "1 (--max-calls): at least 4 runs"),
        ("0", None),
        ("4/hour", None),
    ],
)
def test_a_plan_heeds_the_limit(
    paid: Hbseg, api: FakeApi, photos: Path, limit: str, told: str | None
) -> None:
    """It says how many days or runs four calls take, unless one is enough."""
    ended = paid("plan", photos, "-o", "out", "--endpoint", api.url, "--max-calls", limit)
    assert ("limit " in ended.out) == (told is not None)
    assert told is None or f"limit      {told}\n" in ended.out


def test_status_tells_of_the_last_run(paid: Hbseg, api: FakeApi, photos: Path) -> None:
    """When it began and ended, with the offset from UTC, and its exit code."""
    where = ("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 99)
    assert paid(*where, "--max-calls", 2).code == 5
    last = json.loads(paid("status", "out", "--json", env={"TZ": "Asia/Kolkata"}).out)["last_run"]
    assert (last["exit_code"], last["done"], last["calls"]) == (5, 2, 2)
    assert last["reason"] == "call-limit"
    assert last["started"] <= last["ended"]
    assert last["ended"].endswith("+05:30")
    assert "exit code 5: the call limit of 2 (--max-calls)" in paid("status", "out").out


def test_only_changes_raise_an_alarm(paid: Hbseg, api: FakeApi, photos: Path) -> None:
    """``--changed-only`` is ``--ignore-known``: exit 3 for a new reject, 0 once it is known."""
    (photos / "broken.jpg").write_bytes(b"no picture")
    where = ("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 99)
    names = ("--changed-only", "--changed-only", "--ignore-known")
    codes = [paid(*where, name).code for name in names]
    assert codes == [3, 0, 0]
    assert paid(*where).code == 3
