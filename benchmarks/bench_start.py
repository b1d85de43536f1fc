"""How soon the command answers, beside an import of click. ``make bench-start``

``hbseg --version``, ``--help`` and a completion are what a user waits for at a prompt. Processes
are started in turn, the yardstick before each; the figures are medians of the ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from lab import ROOT
from rows import Row, median_ratio, report

MOST = 1.25
HBSEG = "from humanbody_cli.__main__ import main; main()"
BASH = {"_HBSEG_COMPLETE": "bash_complete", "COMP_WORDS": "hbseg se", "COMP_CWORD": "1"}
CASES: tuple[tuple[str, list[str], dict[str, str]], ...] = (
    ("hbseg --version", ["--version"], {}),
    ("hbseg --help", ["--help"], {}),
    ("completion of a command", [], BASH),
)


def seconds(arguments: list[str], more: dict[str, str]) -> float:
    """From the start to the end of one Python process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", *arguments],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    rows = []
    for name, arguments, more in CASES:
        theirs, ours = [], []
        for _ in range(options.rounds + 1):
            theirs.append(seconds(["import click"], {}))
            ours.append(seconds([HBSEG, *arguments], more))
        del theirs[0], ours[0]  # the first of each fills the caches
        ratio = median_ratio(ours, theirs)
        detail = f"{1000 * statistics.median(ours):.0f} ms"
        rows.append(Row(name, "python -c 'import click'", "time", ratio, MOST, True, detail))
    return report(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
