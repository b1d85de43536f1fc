"""Ctrl-C, SIGTERM, nohup: what was paid for lands, and nothing half written stays."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Hbseg, files, photo
from fake_answers import Style
from fake_api import FakeApi
from fake_behaviour import Behaviour
from PIL import Image
from waiting import PATIENCE, until, waits

LARGE = Behaviour(style=Style(answer_bytes=300_000))
"""Answers of 300 KB: few of them fill a small disk."""


def _many(folder: Path, count: int = 30, size: tuple[int, int] = (96, 80)) -> Path:
    for index in range(count):
        photo(folder / f"{index:02}.jpg", seed=index, size=size)
    return folder


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_lets_calls_in_flight_land(
    paid: Hbseg, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Every answered call is published, the rest is pending, and the next run does only that."""
    photos = _many(tmp_path / "photos")
    with FakeApi.in_thread(Behaviour(latency=0.5)) as api:
        arguments = ("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 40)
        with paid.start(*arguments, stderr=subprocess.PIPE) as command:
            assert until(lambda: len(api.stats.calls) >= 6)
            command.send_signal(number)
            _, err = command.communicate(timeout=PATIENCE)
        calls = len(api.stats.calls)
        assert command.returncode == code, err
        assert calls < 30
        status = json.loads(paid("status", "out", "--json").out)
        assert (status["done"], status["pending"]) == (calls, 30 - calls)
        assert b"Traceback" not in err
        for data in files(tmp_path / "out").values():
            Image.open(io.BytesIO(data)).load()
        assert paid(*arguments).code == 0
        assert len(api.stats.calls) == 30


def test_the_second_signal_ends_at_once(paid: Hbseg, tmp_path: Path) -> None:
    """With answers that never come, a second Ctrl-C does not wait for them."""
    photos = _many(tmp_path / "photos", 3)
    with FakeApi.in_thread(Behaviour(always="hang")) as api:
        arguments = ("segment", photos, "-o", "out", "--endpoint", api.url, "--grace", 600)
        command = paid.start(*arguments)
        assert until(lambda: len(api.stats.calls) >= 1)
        command.send_signal(signal.SIGINT)
        assert until(lambda: waits(command.pid))
        assert command.poll() is None
        command.send_signal(signal.SIGINT)
        assert command.wait(timeout=PATIENCE) == 130


def test_the_grace_ends(paid: Hbseg, tmp_path: Path) -> None:
    """``--grace`` bounds the wait for answers that never come."""
    photos = _many(tmp_path / "photos", 3)
    with FakeApi.in_thread(Behaviour(always="hang")) as api:
        arguments = ("segment", photos, "-o", "out", "--endpoint", api.url, "--grace", 0.3)
        command = paid.start(*arguments)
        assert until(lambda: len(api.stats.calls) >= 1)
        command.send_signal(signal.SIGTERM)
        assert command.wait(timeout=20) == 143


def test_a_signal_ignored_at_the_start_stays_ignored(paid: Hbseg, tmp_path: Path) -> None:
    """Under nohup or ``&`` a Ctrl-C for somebody else does not end the run."""
    photos = _many(tmp_path / "photos", 6)
    with FakeApi.in_thread(Behaviour(latency=0.2)) as api:
        command = paid.start(
            *("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 20),
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )
        assert until(lambda: len(api.stats.calls) >= 2)
        command.send_signal(signal.SIGINT)
        assert command.wait(timeout=PATIENCE) == 0


def test_two_runs_on_one_folder(paid: Hbseg, tmp_path: Path) -> None:
    """The second says who holds it and exits 6; with ``--lock-wait`` it waits its turn."""
    photos = _many(tmp_path / "photos", 8)
    with FakeApi.in_thread(Behaviour(latency=0.3)) as api:
        arguments = ("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 20)
        first = paid.start(*arguments)
        assert until(lambda: len(api.stats.calls) >= 1)
        second = paid(*arguments)
        assert second.code == 6
        assert f"process {first.pid}" in second.err
        third = paid(*arguments, "--lock-wait", 30)
        assert third.code == 0
        assert first.wait(timeout=PATIENCE) == 0
        assert len(api.stats.calls) == 8


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs and /proc")
def test_the_disk_fills_up(paid: Hbseg, tmp_path: Path) -> None:
    """On a full disk the run stops with exit 4 and says so; freed, the next run completes."""
    photos = _many(tmp_path / "photos", 30, (500, 400))
    out = tmp_path / "out"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(out)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        with FakeApi.in_thread(LARGE) as api:
            arguments = ("segment", photos, "-o", out, "--endpoint", api.url, "--qps", 100)
            full = paid(*arguments)
            assert full.code == 4, full.err
            assert "disk is full" in full.err
            assert "Traceback" not in full.err
            subprocess.run(["mount", "-o", "remount,size=30m", str(out)], check=True)
            assert paid(*arguments).code == 0
            assert len(api.stats.calls) <= 30 + 20
        for data in files(out).values():
            Image.open(io.BytesIO(data)).load()
        assert len(files(out)) == 60
    finally:
        subprocess.run(["umount", "-l", str(out)], check=True)


def test_files_may_not_grow(paid: Hbseg, tmp_path: Path) -> None:
    """A file size limit ends the run with exit 4, and no file at its final name is cut short."""
    import resource

    photos = _many(tmp_path / "photos", 3, (500, 400))
    with FakeApi.in_thread(LARGE) as api:
        arguments = ("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 100)
        limited = paid(
            *arguments,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)),
        )
        assert limited.code == 4, limited.err
        assert "Traceback" not in limited.err
        for data in files(tmp_path / "out").values():
            Image.open(io.BytesIO(data)).load()
        assert paid(*arguments).code == 0
    assert len(files(tmp_path / "out")) == 6
