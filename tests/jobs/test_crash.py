"""Killed at any instant: nothing lost, nothing half written, nothing paid for twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from crash_harness import Harness, Plan


def test_fifty_kills_cost_no_more_than_the_calls_in_flight(tmp_path: Path) -> None:
    plan = Plan(seed=int(os.environ.get("HBSEG_CRASH_SEED", "20181025")))
    report = Harness(tmp_path, plan).run()
    print(report)  # noqa: T201 - with -s, and where it fails
    assert len(report.kills) == plan.kills == 50
    assert report.problems == [], f"again with HBSEG_CRASH_SEED={plan.seed}"
    # The moments were worth something: most kills hit calls under way.
    assert sum(len(kill.in_flight) > 0 for kill in report.kills) >= 25


@pytest.mark.parametrize("options", [("--edges", "soft"), ("--no-mask",)])
def test_kills_with_other_options(tmp_path: Path, options: tuple[str, ...]) -> None:
    """The same where cutouts are composed, and where no mask tells what a cutout is made of."""
    seed = int(os.environ.get("HBSEG_CRASH_SEED", "20181025"))
    report = Harness(tmp_path, Plan(seed, kills=5, photos=80, options=options)).run()
    assert report.problems == [], f"again with HBSEG_CRASH_SEED={seed}"
