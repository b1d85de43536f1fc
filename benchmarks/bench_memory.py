"""Memory does not grow with the number of photos: peak RSS over 20 photos and over 2,000.

Fresh runs, each in a process of its own, whose peak the kernel tells when it has ended.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from lab import Behaviour, Run, Style, fake_api, make_photos, outputs, run, segment, table

FEW, MANY = 20, 2000
MOST = 1.3
SIZE = (640, 480)


def measure(folder: Path, count: int, options: tuple[str, ...]) -> Run:
    """One run over ``count`` photos."""
    make_photos(folder / "photos", count, size=SIZE, wanted=60_000)
    finished = run(segment(folder / "photos", folder / "out", *options), folder / "state")
    made = outputs(folder / "out")
    if finished.exit_code or made != (count, count):
        tail = finished.stderr[-500:]
        raise SystemExit(f"exit code {finished.exit_code}, outputs {made} of {count}: {tail}")
    return finished


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=("api", "local"), action="append")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    options = parser.parse_args()
    # The fake answers at once and the limit of calls in flight is the same for few and for many, so
    # that the runs differ in their length alone.
    behaviour = Behaviour(latency=0.05, style=Style(answer_bytes=150_000), prepare=(SIZE,))
    rows, passed = [], True
    with fake_api() as api:
        api.reset(behaviour)
        told = {
            "api": ("--engine", "api", "--endpoint", api.url, "--qps", "500", "--concurrency", "8"),
            "local": ("--engine", "local"),
        }
        for engine in options.engine or told:
            peaks = []
            for count in (FEW, MANY):
                print(f"{engine}, {count} photos ...", file=sys.stderr, flush=True)
                with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
                    finished = measure(Path(folder), count, told[engine])
                peaks.append(finished.peak_rss / 1024)
            ratio = peaks[1] / peaks[0]
            passed = passed and ratio <= MOST
            rate = f"{MANY / finished.wall:.0f}/s"
            figures = [f"{peak:.0f} MiB" for peak in peaks]
            result = "ok" if ratio <= MOST else "MISSED"
            rows.append([engine, *figures, f"{ratio:.2f}", f"<= {MOST}", rate, result])
    head = ("engine", f"{FEW} photos", f"{MANY} photos", "ratio", "required", "speed", "result")
    print(table(head, rows, markdown=options.markdown))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
