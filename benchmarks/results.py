"""Run the benchmarks of speed and memory one after the other and write RESULTS.md. ``make bench``

Every benchmark compares what it measures with something else on the same machine in the same
minutes; this script only starts them and puts their rows together. A benchmark that fails is named
in the results and does not stop the others.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import peers
from lab import ROOT, table
from plot import bars
from rows import HEAD, Row

TARGET = ROOT / "benchmarks" / "RESULTS.md"
PLOT = ROOT / "docs" / "images" / "speed.svg"
BENCHMARKS = ("start", "api", "embedded", "server", "rerun", "memory")
LIBRARIES = ("httpx", "click", "pillow", "onnxruntime", "numpy", "isal", "pybase64")


def run(name: str, folder: Path, more: list[str]) -> list[Row] | str:
    """The rows of a benchmark, or what went wrong."""
    target = folder / f"{name}.json"
    script = str(ROOT / "benchmarks" / f"bench_{name}.py")
    print(f"== {name}", file=sys.stderr, flush=True)
    ended = subprocess.run(
        [sys.executable, script, "--json", str(target), *more], cwd=ROOT, check=False
    )
    if not target.exists():
        return f"bench_{name}.py failed with exit code {ended.returncode}"
    return [Row(**fields) for fields in json.loads(target.read_text())]


def machine() -> str:
    """Processor, cores, memory and system."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = {line.partition(": ")[2] for line in lines if line.startswith("model name")}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({', '.join(sorted(models)) or platform.machine()}), "
        f"{memory:.0f} GiB of memory, {platform.system()} {platform.release()}"
    )


def text(results: dict[str, list[Row] | str], seconds: float) -> str:
    """RESULTS.md."""
    rows = [row.cells() for each in results.values() if not isinstance(each, str) for row in each]
    failed = [each for each in results.values() if isinstance(each, str)]
    ours = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return "\n".join(
        [
            "# Results",
            "",
            "Written by `make bench`. Every figure is a ratio: the median over pairs of runs, ours "
            "and the other in turn, on one machine. 'Required' is what the project asks of itself.",
            "",
            f"- {time.strftime('%Y-%m-%d')}, {seconds / 60:.0f} minutes, {machine()}",
            f"- Python {platform.python_version()}; {ours}",
            f"- beside it: {peers.versions()}",
            "",
            table(HEAD, rows, markdown=True),
            *(["", *(f"Not measured: {each}." for each in failed)] if failed else []),
            "",
        ]
    )


def main() -> int:
    """Run them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=BENCHMARKS)
    options, more = parser.parse_known_args()
    started = time.monotonic()
    results: dict[str, list[Row] | str] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for name in options.only or BENCHMARKS:
            results[name] = run(name, Path(folder), more)
    TARGET.write_text(text(results, time.monotonic() - started))
    rows = [row for each in results.values() if not isinstance(each, str) for row in each]
    PLOT.write_text(bars([row for row in rows if not row.most and row.reached > 1]))
    print(f"written: {TARGET.relative_to(ROOT)}", file=sys.stderr)
    good = all(not isinstance(each, str) for each in results.values())
    return 0 if good and all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
