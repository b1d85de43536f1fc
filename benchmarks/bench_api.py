"""The API engine's photos per second and CPU, beside a plain script. ``make bench-api``

The server answers at once (or after a fixed latency) with bytes made in advance, so the client is
what limits. Each row is measured in pairs, ours and the other in turn, every run a process of its
own with its start included; the figures are medians over the pairs, the ratios those of each pair.
CPU is user and system time of the whole process: on a busy machine believe it rather than photos
per second.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import ROOT, Run, Style, add_comment, cut_images, hiding, outputs, run, segment
from PIL import Image
from rows import Row, report

SAMPLE = ROOT / "sample_images" / "portraits" / "astronaut.png"
SIZE = (1200, 900)
EXTRA = ("deflate", "isal", "numpy", "pybase64")
"""Modules of the extra `fast`, hidden from runs without it."""


@dataclass(frozen=True)
class Case:
    """One row. ``other`` is the plain script's HTTP client, or options of another hbseg."""

    name: str
    against: str
    least: float  # of the other's photos per second
    most: float  # of the other's CPU; 0: nothing required
    options: tuple[str, ...] = ()
    fast: bool = True
    other: str | tuple[str, ...] = "httpx"
    in_flight: int = 16
    latency: float = 0.0


CASES = (
    Case("fast", "script, httpx", 1.3, 0.8),
    Case("plain", "script, httpx", 0.9, 1.2, fast=False),
    Case("fast, --no-sync", "script, httpx", 1.3, 0.8, ("--no-sync",)),
    Case("plain, --no-sync", "script, httpx", 0.9, 1.2, ("--no-sync",), fast=False),
    Case("fast", "fast, --no-sync", 0.9, 0, other=("--no-sync",)),
    Case(
        "fast, 100 in flight, .6 s", "script, aiohttp", 0.95, 1.2,
        other="aiohttp", in_flight=100, latency=0.6,
    ),
)  # fmt: skip


def photo_and_answer() -> tuple[bytes, bytes]:
    """A JPEG of 185 kB and a whole HTTP answer of 1.1 MB with its mask and its cutout."""
    with Image.open(SAMPLE) as opened:
        photo = opened.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
    drawn = cut_images(photo, 0, Style(true_colours=True))
    images = {"result": drawn.result, "body_image": drawn.body_image}
    fields = {name: base64.b64encode(data).decode() for name, data in images.items()}
    ids = {"request_id": "1,a", "time_used": 7, "image_id": "abc"}
    body = json.dumps({**ids, **fields}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=90)
    return file.getvalue(), f"{head}\r\n".encode() + body


@contextlib.contextmanager
def server(answer: Path, latency: float) -> Iterator[str]:
    """The server in a process of its own; its URL."""
    script = str(ROOT / "benchmarks" / "instant_server.py")
    command = [sys.executable, script, str(answer), str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


class Bench:
    """What all runs share: the photos, the answer, and places to write to."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        photo, answer = photo_and_answer()
        self.photos, self.answer = folder / "photos", folder / "answer"
        self.photos.mkdir()
        for number in range(count):
            (self.photos / f"{number:06}.jpg").write_bytes(add_comment(photo, number))
        self.answer.write_bytes(answer)
        self.hiding = hiding(folder / "hiding", EXTRA)

    def hbseg(self, case: Case, url: str, options: tuple[str, ...]) -> Run:
        flight = ("--qps", "1000", "--concurrency", str(case.in_flight))
        command = segment(self.photos, self.folder / "out", "--engine", "api", "--endpoint", url)
        return self._run([*command, *flight, *options], () if case.fast else (self.hiding,))

    def script(self, case: Case, client: str, url: str) -> Run:
        script = str(ROOT / "benchmarks" / "plain_script.py")
        out = str(self.folder / "out")
        arguments = [client, str(self.photos), out, url, str(case.in_flight)]
        return self._run([sys.executable, script, *arguments])

    def _run(self, command: Sequence[str], paths: Sequence[Path] = ()) -> Run:
        finished = run(command, self.folder / "state", paths=paths)
        done = outputs(self.folder / "out")
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        if finished.exit_code or done != (self.count, self.count):
            raise SystemExit(f"{command}: {finished.exit_code}, {done}: {finished.stderr[-500:]}")
        return finished

    def pairs(self, case: Case, number: int) -> list[tuple[Run, Run]]:
        """Both runs of each pair, in turn, and each first every other time."""
        found = []
        with server(self.answer, case.latency) as url:
            for pair in range(number):
                both = {}
                for ours in (True, False) if pair % 2 else (False, True):
                    if ours:
                        both[ours] = self.hbseg(case, url, case.options)
                    elif isinstance(case.other, str):
                        both[ours] = self.script(case, case.other, url)
                    else:
                        both[ours] = self.hbseg(case, url, case.other)
                found.append((both[True], both[False]))
        return found

    def rows(self, case: Case, number: int) -> list[Row]:
        """Photos per second and, where the case asks for it, CPU."""
        pairs = self.pairs(case, number)
        middle = statistics.median
        speed = middle(other.wall / ours.wall for ours, other in pairs)
        cpu = middle(ours.cpu / other.cpu for ours, other in pairs)
        sides = list(zip(*pairs, strict=True))
        rates = [f"{self.count / middle(each.wall for each in side):.0f}" for side in sides]
        costs = [f"{1000 * middle(each.cpu for each in side) / self.count:.1f}" for side in sides]
        name = f"API, {case.name}"
        told = f"{rates[0]}/s, {rates[1]}/s"
        rows = [Row(name, case.against, "photos/s", speed, case.least, detail=told)]
        if case.most:
            told = f"{costs[0]} ms, {costs[1]} ms"
            rows.append(Row(name, case.against, "CPU", cpu, case.most, True, told))
        return rows


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--only", type=int, action="append", metavar="CASE", help="from 1")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    cases = [CASES[number - 1] for number in options.only] if options.only else CASES
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-api-", dir=ROOT) as folder:
        bench = Bench(Path(folder), options.photos)
        for case in cases:
            print(f"{case.name} against {case.against} ...", file=sys.stderr, flush=True)
            rows += bench.rows(case, options.pairs)
    return report(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
