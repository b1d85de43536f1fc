"""The timeline that runs with one key share through a file."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import virtual_loop
from conftest import ROOT
from gating import Client, all_of

from humanbody_cli.api.slots import OwnSlots, SharedSlots, slots_for


def test_two_runs_with_one_key_share_one_timeline(tmp_path: Path) -> None:
    """Starts handed out to either of two runs are spaced as if there were one."""
    one, other = (SharedSlots(tmp_path / "key") for _ in range(2))
    starts = [slots.reserve(100.0, 0.25) for slots in (one, other, other, one, other)]
    assert starts == [100.0, 100.25, 100.5, 100.75, 101.0]


def test_two_gates_share_one_quota(tmp_path: Path) -> None:
    """Two runs at once send no more together than one alone."""

    async def work() -> list[float]:
        clients = [Client(qps=10, slots=SharedSlots(tmp_path / "key")) for _ in range(2)]
        await all_of(*(client.send(seconds=0.2) for client in clients for _ in range(30)))
        return sorted(clients[0].sent + clients[1].sent)

    sent = virtual_loop.run(work())
    assert len(sent) == 60
    assert min(b - a for a, b in itertools.pairwise(sent)) >= 0.09
    assert sent[-1] - sent[0] < 60 / 9


def test_times_never_go_back(tmp_path: Path) -> None:
    """A start is never before ``earliest``, nor nearer than the interval to the one before."""
    for slots in (OwnSlots(), SharedSlots(tmp_path / "key")):
        assert slots.reserve(50.0, 1.0) == 50.0
        assert slots.reserve(10.0, 1.0) == 51.0
        assert slots.reserve(70.5, 1.0) == 70.5


@pytest.mark.parametrize(
    "content", [b"", b"nonsense\n", b"nan", b"inf", b"-inf", b"9" * 30, b"\xff"]
)
def test_a_timeline_from_another_time_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    """Damage, and starts far ahead from before a reboot, do not hold a run up."""
    path = tmp_path / "key"
    path.write_bytes(content)
    slots = SharedSlots(path)
    assert slots.reserve(100.0, 0.5) == 100.0
    assert slots.reserve(100.0, 0.5) == 100.5


def test_another_run_that_is_choosing_is_waited_for(tmp_path: Path) -> None:
    """While somebody else holds the file no start is handed out, and none is lost."""
    import fcntl

    path = tmp_path / "key"
    slots = SharedSlots(path)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert slots.reserve(100.0, 0.5) is None
        fcntl.flock(other, fcntl.LOCK_UN)
    assert slots.reserve(100.0, 0.5) == 100.0


def test_the_key_is_nowhere_on_disk(tmp_path: Path) -> None:
    """The timeline's file is named by a digest, one for each key and endpoint, for its owner."""
    state = Path(os.environ["XDG_STATE_HOME"])
    before = set(state.rglob("*"))
    for endpoint, key in (("a", "SECRETKEY"), ("a", "OTHERKEY"), ("b", "SECRETKEY")):
        assert slots_for(f"{tmp_path}/{endpoint}", key).reserve(1.0, 1.0) == 1.0
    files = [path for path in state.rglob("*") if path.is_file() and path not in before]
    assert len(files) == 3
    assert all("KEY" not in str(path) and b"KEY" not in path.read_bytes() for path in files)
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


def test_without_a_state_folder_the_timeline_is_the_runs_own(tmp_path: Path) -> None:
    """Where nothing can be written the run keeps its own time."""
    (tmp_path / "file").write_text("")
    script = (
        "from humanbody_cli.api.slots import slots_for\nprint(type(slots_for('a', 'b')).__name__)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "file")},
    )
    assert ended.stdout == b"OwnSlots\n"
