"""Memory does not grow with the number of photos: peak RSS of a short run and of a long one.

Fresh runs, each in a process of its own, whose peak the kernel tells when it has ended. By default
1,000 photos and 10,000, which takes a quarter of an hour; ``--many 100000`` takes hours.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from lab import Behaviour, Run, Style, fake_api, make_photos, outputs, run, segment
from rows import Row, report

MOST = 1.10
SIZE = (160, 120)


def measure(folder: Path, count: int, options: tuple[str, ...]) -> Run:
    """One run over ``count`` photos."""
    make_photos(folder / "photos", count, size=SIZE, wanted=12_000)
    finished = run(
        segment(folder / "photos", folder / "out", *options), folder / "state", limit=24 * 3600
    )
    made = outputs(folder / "out")
    if finished.exit_code or made != (count, count):
        tail = finished.stderr[-500:]
        raise SystemExit(f"exit code {finished.exit_code}, outputs {made} of {count}: {tail}")
    return finished


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", choices=("api", "local"), action="append")
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    # The fake answers at once and the limit of calls in flight is the same for few and for many, so
    # that the runs differ in their length alone.
    behaviour = Behaviour(latency=0.01, style=Style(answer_bytes=30_000), prepare=(SIZE,))
    rows = []
    with fake_api() as api:
        api.reset(behaviour)
        told = {
            "api": ("--engine", "api", "--endpoint", api.url, "--qps", "500", "--concurrency", "8"),
            "local": ("--engine", "local"),
        }
        for engine in options.engine or told:
            peaks = []
            for count in (options.few, options.many):
                print(f"{engine}, {count} photos ...", file=sys.stderr, flush=True)
                with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
                    finished = measure(Path(folder), count, told[engine])
                peaks.append(finished.peak_rss / 1024)
            detail = f"{peaks[1]:.0f} MiB, {options.many / finished.wall:.0f} photos/s"
            name = f"{options.many:,} photos, {engine}"
            ratio = peaks[1] / peaks[0]
            rows.append(Row(name, f"{options.few:,}", "memory", ratio, MOST, True, detail))
    return report(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
