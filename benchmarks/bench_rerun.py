"""A run over photos that are all done: how long, how much memory, and no call.

The tree of 100,000 done photos grows from one that the real command made: it does 1,000 photos
against the fake API, and these are then multiplied, sources and outputs by ``cp -a``, which keeps
size and mtime, the journal's rows by copies with the folder's name replaced. Doing 100,000 photos
for real would take minutes and leave the very same state; so would hard links, but with fewer
inodes to look at than a real tree has.

The yardstick is ``find OUT -type f | wc -l`` on the same tree. Both are measured warm, alternately,
and the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab import Api, Behaviour, Run, fake_api, make_photos, run, segment, table

BLOCK = 1000
MOST_TIME = 8.0
MOST_MEMORY = 1.3


def command(tree: Path, api: Api) -> list[str]:
    """The command that made the tree and finds it done."""
    options = ("--engine", "api", "--endpoint", api.url, "--qps", "1000", "--concurrency", "16")
    return segment(tree / "photos", tree / "out", *options)


def build(tree: Path, blocks: int, api: Api) -> None:
    """A tree of done photos, in folders of a thousand."""
    make_photos(tree / "photos" / "000", BLOCK, size=(64, 48))
    made = run(command(tree, api), tree / "state")
    if made.exit_code:
        raise SystemExit(f"exit code {made.exit_code}: {made.stderr[-500:]}")
    places = [tree / "photos", tree / "out" / "masks", tree / "out" / "cutouts"]
    for block in range(1, blocks):
        for place in places:
            subprocess.run(["cp", "-a", place / "000", place / f"{block:03}"], check=True)
    with sqlite3.connect(tree / "out" / ".hbseg" / "journal.sqlite3") as journal:
        multiply_rows(journal, blocks)
    journal.close()


def multiply_rows(journal: sqlite3.Connection, blocks: int) -> None:
    """Copy the rows of folder 000 for every other folder."""
    columns = [row[1] for row in journal.execute("PRAGMA table_info(photos)")]
    named = {"key": "/000/", "source": "/000/", "name": "000/"}
    chosen = ", ".join(
        f"CAST(replace(CAST({column} AS TEXT), '{named[column]}', :{column}) AS BLOB)"
        if column in named
        else column
        for column in columns
    )
    copy = f"INSERT INTO photos SELECT {chosen} FROM photos WHERE name < CAST('001' AS BLOB)"
    for block in range(1, blocks):
        values = {column: text.replace("000", f"{block:03}") for column, text in named.items()}
        journal.execute(copy, values)


def find(out: Path) -> tuple[float, int]:
    """Seconds that ``find OUT -type f | wc -l`` takes, and what it counts."""
    started = time.monotonic()
    counted = subprocess.run(
        ["sh", "-c", 'find "$1" -type f | wc -l', "sh", str(out)],
        check=True,
        capture_output=True,
        text=True,
    )
    return time.monotonic() - started, int(counted.stdout)


def rerun(tree: Path, api: Api) -> Run:
    """Run again; there must be nothing to do."""
    api.reset(Behaviour())
    finished = run(command(tree, api), tree / "state")
    calls = len(api.stats().calls)
    if finished.exit_code or calls:
        tail = finished.stderr[-500:]
        raise SystemExit(f"exit code {finished.exit_code}, {calls} calls, expected none: {tail}")
    return finished


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=100_000, help="in thousands")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-rerun-") as folder, fake_api() as api:
        small, large = Path(folder, "small"), Path(folder, "large")
        print("building the trees ...", file=sys.stderr, flush=True)
        build(small, 1, api)
        build(large, options.photos // BLOCK, api)
        base = rerun(small, api)
        found, runs = [], []
        for _ in range(options.rounds):
            print("a round ...", file=sys.stderr, flush=True)
            found.append(find(large / "out"))
            runs.append(rerun(large, api))
    files = found[0][1]
    yardstick = statistics.median(seconds for seconds, _ in found)
    wall = statistics.median(one.wall for one in runs)
    peak = max(one.peak_rss for one in runs) / 1024
    times, memory = wall / yardstick, peak / (base.peak_rss / 1024)
    checks = (
        ("time / find", f"{times:.1f}", f"<= {MOST_TIME:g}", times <= MOST_TIME),
        ("memory / 1,000 done", f"{memory:.2f}", f"<= {MOST_MEMORY}", memory <= MOST_MEMORY),
    )
    rows = [[name, seen, limit, "ok" if good else "MISSED"] for name, seen, limit, good in checks]
    print(f"{options.photos:,} photos done, {files:,} files: run {wall:.2f} s, {peak:.0f} MiB")
    print(f"find {yardstick:.3f} s; run over 1,000: {base.wall:.2f} s, {base.peak_rss >> 10} MiB")
    print(table(("figure", "reached", "required", "result"), rows, markdown=options.markdown))
    return 0 if all(good for *_, good in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
