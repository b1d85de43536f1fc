"""Ends a run at its Nth call to the disk, for every N, and lets the next one go on.

``python tests/support/kill_steps.py URL PHOTOS FOLDER`` prints one line of JSON for each N:
what the run after the kill made and left. A process of its own, so that each run is a fork of one
that has
everything imported: a kill then costs a tenth of a second. `test_kill_steps.py` is the test.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from conftest import files, run_settings

from humanbody_cli.api import engine  # noqa: F401 - its import must not fall into a forked step
from humanbody_cli.jobs import segment
from humanbody_cli.storage.disk import RealDisk

KILLED = 99


class Ending(RealDisk):
    """A disk whose ``n``-th call is the process's last: it is made, or half of it."""

    def __init__(self, n: int) -> None:
        self.left = n

    def _count(self) -> bool:
        self.left -= 1
        return self.left == 0

    def write(self, file: int, data: memoryview) -> int:
        if self._count():
            super().write(file, data[: len(data) // 2])
            os._exit(KILLED)
        return super().write(file, data)


def _ending(name: str) -> Any:
    def call(self: Ending, *arguments: Any) -> Any:
        is_last = self._count()
        result = getattr(RealDisk, name)(self, *arguments)
        if is_last:
            os._exit(KILLED)
        return result

    return call


for _name in set(vars(RealDisk)) - {"write"}:
    if not _name.startswith("_"):
        setattr(Ending, _name, _ending(_name))


def forked(work: Any) -> int:
    """The exit code of a function run in a fork."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(work())
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def left_in(out: Path) -> list[str]:
    """What is below an output folder beside results and the state that stays."""
    return [
        str(path.relative_to(out))
        for path in sorted(out.rglob("*"))
        if path.name.endswith(".tmp") or (path.is_file() and path.parent.name in STATES)
    ]


STATES = ("answers", "replaced")


def main() -> None:
    url, photos, folder = sys.argv[1:]
    for n in range(1, 1000):
        out = Path(folder) / str(n)
        settings = run_settings(Path(photos), out, url, concurrency=1)
        killed = forked(partial(segment.segment, settings, Ending(n)))
        code = forked(partial(segment.segment, settings))
        made = {"killed": killed, "code": code, "left": left_in(out), "made": sorted(files(out))}
        print(json.dumps(made))  # noqa: T201 - for whoever started this process
        if killed != KILLED:
            return


if __name__ == "__main__":
    main()
