"""It ends: whatever a read waits for, and however slowly a server sends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Hbseg
from odd_servers import request, serving

HUNG = """
import os
from humanbody_cli.cli.main import main
from humanbody_cli.discovery import sources
waits, _ = os.pipe()
def read(*_):
    print("reads", flush=True)
    os.read(waits, 1)
sources.read = read
main()
"""
"""The command on a disk that does not answer: a read of a photo never comes back."""

HURRIED = """
import time
clock = time.monotonic
time.monotonic = lambda: 30 * clock()
from humanbody_cli.cli.main import main
main()
"""
"""The command whose clock runs thirty times as fast."""


def test_a_disk_that_hangs_does_not_keep_it(hbseg: Hbseg, photos: Path) -> None:
    """SIGTERM and the grace end a run whose threads are all waiting for the disk."""
    command = [sys.executable, "-c", HUNG, "segment", str(photos), "-o", "out", "--grace", "0.5"]
    with subprocess.Popen(
        command,
        cwd=hbseg.cwd,
        env=hbseg.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reads\n"
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(timeout=15) == 143
        finally:
            process.kill()


def test_an_address_has_its_time_as_a_whole(hbseg: Hbseg) -> None:
    """A server that sends a byte now and then keeps each read short and the download endless: it is
    left after its 30 seconds, here one."""

    def drip(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    with serving(drip) as server:
        ended = subprocess.run(
            [sys.executable, "-c", HURRIED, "check", server.url() + "/a.jpg"],
            cwd=hbseg.cwd,
            env=hbseg.environment(),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert ended.returncode == 3
    assert "IMAGE_DOWNLOAD_TIMEOUT" in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_silent_list_does_not_keep_a_run_at_work(
    hbseg: Hbseg, photos: Path, number: signal.Signals
) -> None:
    """All that was named is done, and the run waits for further names: a signal and the grace end
    it."""
    where = ("-o", "out", "--engine", "local", "--grace", 0.5, "--json")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with hbseg.start("segment", "--from-file", "-", *where, **pipes) as command:
        assert command.stdin is not None and command.stdout is not None
        command.stdin.write(b"photos\n")
        command.stdin.flush()
        for _ in range(4):
            assert command.stdout.readline()
        command.send_signal(number)
        try:
            assert command.wait(timeout=15) == 128 + number
        finally:
            command.kill()


def test_a_silent_photo_does_not_keep_a_run_at_work(hbseg: Hbseg) -> None:
    """The run has begun and waits for its photo on stdin: a signal and the grace end it."""
    arguments = ("segment", "-", "-o", "out", "--engine", "local", "--grace", 0.5)
    with hbseg.start(*arguments, stdin=subprocess.PIPE) as command:
        while not (hbseg.cwd / "out/.hbseg/journal.sqlite3").exists():
            time.sleep(0.05)
        time.sleep(1.0)  # it is not to be seen from outside that it reads
        command.send_signal(signal.SIGTERM)
        try:
            assert command.wait(timeout=15) == 143
        finally:
            command.kill()
