"""A run over photos that are all done: how long, how much memory, and no call. ``make bench-rerun``

The tree of 100,000 done photos grows from one that the real command made: it does 1,000 photos
against the fake API, and these are then multiplied, sources and outputs by copies that keep size
and mtime, the journal's rows by copies with the name replaced. Doing 100,000 photos for real would
take minutes and leave the very same state; so would hard links, but with fewer inodes to look at
than a real tree has.

Three shapes of the tree: folders of a thousand, one folder, and one folder with a subfolder of a
thousand. The yardstick is ``find OUT -type f | wc -l`` on the same tree. Both are measured warm, in
turn, and the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from lab import Api, Behaviour, Run, fake_api, make_photos, run, segment
from rows import Row, report

BLOCK = 1000
MOST_TIME = 6.0
MOST_MEMORY = 1.3


@dataclass(frozen=True)
class Shape:
    """A tree. ``first`` is the folder of the first thousand photos below a place, ``behind`` what
    follows the block's three digits in a name, ``sub`` another folder of a thousand."""

    name: str
    first: str
    behind: str
    sub: str = ""


SHAPES = (
    Shape("nested", "000", "/"),
    Shape("flat", "", ""),
    Shape("flat, a subfolder", "", "", "sub"),
)


def command(tree: Path, api: Api) -> list[str]:
    """The command that made the tree and finds it done."""
    options = ("--engine", "api", "--endpoint", api.url, "--qps", "1000", "--concurrency", "16")
    return segment(tree / "photos", tree / "out", *options)


def build(tree: Path, shape: Shape, blocks: int, api: Api) -> None:
    """A tree of done photos. The photos of block 0 are 000000.jpg to 000999.jpg."""
    for folder in {shape.first, shape.sub or shape.first}:
        make_photos(tree / "photos" / folder, BLOCK, size=(64, 48))
    made = run(command(tree, api), tree / "state")
    if made.exit_code:
        raise SystemExit(f"exit code {made.exit_code}: {made.stderr[-500:]}")
    for place in (tree / "photos", tree / "out" / "masks", tree / "out" / "cutouts"):
        if shape.first:
            for block in range(1, blocks):
                shutil.copytree(place / shape.first, place / f"{block:03}")
        else:
            multiply_files(place, blocks)
    with sqlite3.connect(tree / "out" / ".hbseg" / "journal.sqlite3") as journal:
        multiply_rows(journal, shape, blocks)
    journal.close()


def multiply_files(folder: Path, blocks: int) -> None:
    """Copies of 000123.jpg as 001123.jpg, 002123.jpg and so on."""
    for path in [one for one in folder.iterdir() if one.is_file()]:
        for block in range(1, blocks):
            shutil.copy2(path, folder / f"{block:03}{path.name[3:]}")


def multiply_rows(journal: sqlite3.Connection, shape: Shape, blocks: int) -> None:
    """Copy the rows of block 0 for every other block."""
    columns = [row[1] for row in journal.execute("PRAGMA table_info(photos)")]
    path = f"CAST(replace(CAST({{}} AS TEXT), '/photos/000{shape.behind}', :path) AS BLOB)"
    made = {"key": path.format("key"), "source": path.format("source")}
    made["name"] = "CAST(:block || substr(CAST(name AS TEXT), 4) AS BLOB)"
    chosen = ", ".join(made.get(column, column) for column in columns)
    copy = f"INSERT INTO photos SELECT {chosen} FROM photos WHERE name < CAST('001' AS BLOB)"
    for block in range(1, blocks):
        number = f"{block:03}"
        journal.execute(copy, {"path": f"/photos/{number}{shape.behind}", "block": number})


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


def measure(folder: Path, shape: Shape, options: argparse.Namespace, api: Api) -> list[Row]:
    """The rows of one shape."""
    small, large = folder / "small", folder / "large"
    print(f"{shape.name}: building the trees ...", file=sys.stderr, flush=True)
    build(small, shape, 1, api)
    build(large, shape, options.photos // BLOCK, api)
    base = rerun(small, api)
    found, runs = [], []
    for _ in range(options.rounds):
        print(f"{shape.name}: a round ...", file=sys.stderr, flush=True)
        found.append(find(large / "out"))
        runs.append(rerun(large, api))
    yardstick = statistics.median(seconds for seconds, _ in found)
    wall = statistics.median(one.wall for one in runs)
    peak = max(one.peak_rss for one in runs) / 1024
    name = f"{options.photos:,} done, {shape.name}"
    took = f"{wall:.2f} s, find {yardstick:.3f} s"
    times = Row(name, "find", "time", wall / yardstick, MOST_TIME, True, took)
    memory = peak / (base.peak_rss / 1024)
    return [times, Row(name, "1,000", "memory", memory, MOST_MEMORY, True, f"{peak:.0f} MiB")]


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=100_000, help="in thousands")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shape", choices=[shape.name for shape in SHAPES], action="append")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    rows: list[Row] = []
    for shape in SHAPES:
        if shape.name in (options.shape or [shape.name]):
            with tempfile.TemporaryDirectory(prefix="bench-rerun-") as folder, fake_api() as api:
                rows += measure(Path(folder), shape, options, api)
    return report(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
