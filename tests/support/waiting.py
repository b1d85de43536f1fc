"""Waiting for a state instead of for some time, and the processor time of a process: neither
depends on how busy the machine is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

SUPPORT = Path(__file__).resolve().parent

COMMAND_PATH = os.pathsep.join((str(SUPPORT / "plain_install"), str(SUPPORT.parents[1])))
"""PYTHONPATH of a command under test: this repository, and neither rich nor tornado, which tools
for developers bring. httpx and tenacity import them where they are: 0.07 s a command."""

PATIENCE = 60.0
"""Seconds after which a state is not expected any more. Only a failure takes as long."""


def until(condition: Callable[[], bool], *, seconds: float = PATIENCE) -> bool:
    """Wait for a condition; whether it came about in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, all of its threads together."""
    # The name before the last parenthesis may hold spaces. utime and stime are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def waits(pid: int) -> bool:
    """Whether a process waits for something from outside: no thread of it runs or wants to, at
    several looks in a row."""
    before = cpu_seconds(pid)
    for _ in range(10):
        states = [
            task.read_text().rpartition(")")[2].split()[0]
            for task in Path(f"/proc/{pid}/task").glob("*/stat")
        ]
        if set(states) != {"S"}:
            return False
        time.sleep(0.02)
    return cpu_seconds(pid) == before > 0.05
