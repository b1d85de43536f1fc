"""Killed at each step of publishing: the next run makes it whole and leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT
from fake_api import FakeApi
from kill_steps import KILLED
from making import jpeg, noise


def test_a_kill_at_every_call_to_the_disk(tmp_path: Path, api: FakeApi) -> None:
    """A photo that is turned upright before it is sent, killed after each call to the disk and in
    the middle of each write. The next run ends well; no temporary file, no kept answer and nothing
    set aside is left. The photo is paid for twice only where the kill came in the middle of one of
    the two writes of its answer, the name and the body."""
    (tmp_path / "photos" / "deeper").mkdir(parents=True)
    turned = jpeg(noise((80, 60)), orientation=6)
    (tmp_path / "photos" / "deeper" / "a.jpg").write_bytes(turned)
    ended = subprocess.run(
        [sys.executable, ROOT / "tests" / "support" / "kill_steps.py", api.url, "photos", "outs"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))),
            "XDG_STATE_HOME": str(tmp_path / "state"),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    runs = [json.loads(line) for line in ended.stdout.splitlines()]
    for number, one in enumerate(runs, 1):
        assert one["code"] == 0, number
        assert one["left"] == [], number
        assert one["made"] == ["cutouts/deeper/a.png", "masks/deeper/a.png"], number
    assert [one["killed"] for one in runs] == [KILLED] * (len(runs) - 1) + [0]
    assert len(runs) > 20
    assert len(api.stats.calls) == len(runs) + 2
