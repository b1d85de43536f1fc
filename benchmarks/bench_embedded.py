"""The embedded engine beside rembg and beside its own functions. ``make bench-embedded``

Sixty JPEG photos of 1.5 to 12 megapixels, made by enlarging the sample photographs: every sample in
every size, with a little noise, at quality 92. At 12 megapixels they have about 1.3 MB, so they are
smoother than most of a phone's photos, whose PNGs are larger for both programs. Every run is a
process of its own with its start included, ours and the other in turn; the figures are medians of
the ratios over all pairs.
"""

from __future__ import annotations

import argparse
import io
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from lab import ROOT, Run, hiding, run, segment
from peers import REMBG, prepare_rembg
from PIL import Image
from rows import Row, median_ratio, report

SAMPLES = [path for path in sorted((ROOT / "sample_images").rglob("*.*")) if path.suffix != ".md"]
MEGAPIXELS = (1.5, 2.0, 3.0, 5.0, 8.0, 12.0)
MOST_BYTES = 2_000_000
SMALL = 640
"""The longer side of a small photo, in pixels."""

Runner = Callable[[Path, Path], Run]
"""Runs one of the programs over a folder of photos, into a folder."""


def jpeg(image: Image.Image) -> bytes:
    """At quality 92, or as much lower as 2 MB require."""
    for quality in range(92, 20, -6):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        if file.tell() <= MOST_BYTES:
            break
    return file.getvalue()


def make_photos(folder: Path, count: int) -> None:
    """The sizes in turn, and the samples in turn, each in another size every time."""
    folder.mkdir()
    for number in range(count):
        sample = number + number // len(MEGAPIXELS)
        with Image.open(SAMPLES[sample % len(SAMPLES)]) as opened:
            photo = opened.convert("RGB")
        scale = (MEGAPIXELS[number % len(MEGAPIXELS)] * 1e6 / photo.width / photo.height) ** 0.5
        size = (min(4096, round(photo.width * scale)), min(4096, round(photo.height * scale)))
        large = photo.resize(size, Image.Resampling.BICUBIC)
        noise = Image.effect_noise(size, 12 + number % 7).convert("RGB")  # as a sensor's
        (folder / f"{number:03}.jpg").write_bytes(jpeg(Image.blend(large, noise, 0.04)))


def make_small(folder: Path, count: int) -> None:
    """Small photos, all different."""
    folder.mkdir()
    for number in range(count):
        with Image.open(SAMPLES[number % len(SAMPLES)]) as opened:
            photo = opened.convert("RGB")
        photo.thumbnail((SMALL - number, SMALL - number))
        photo.save(folder / f"{number:03}.jpg", quality=90)


class Bench:
    """The runs, each into an empty folder."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self.folder, self.rounds = folder, rounds
        self.hidden = hiding(folder / "hiding")

    def _run(self, command: list[str], out: Path, paths: tuple[Path, ...] = ()) -> Run:
        shutil.rmtree(out, ignore_errors=True)
        finished = run(command, self.folder / "state", paths=paths)
        if finished.exit_code:
            raise SystemExit(
                f"{command[0]}: exit code {finished.exit_code}: {finished.stderr[-500:]}"
            )
        return finished

    def fast(self, photos: Path, out: Path) -> Run:
        """hbseg with the extra ``fast``."""
        return self._run(segment(photos, out, "--engine", "local"), out)

    def plain(self, photos: Path, out: Path) -> Run:
        """hbseg without it."""
        return self._run(segment(photos, out, "--engine", "local"), out, (self.hidden,))

    def bare(self, photos: Path, out: Path) -> Run:
        """hbseg's functions called bare, on two threads."""
        script = str(ROOT / "benchmarks" / "bare.py")
        return self._run([sys.executable, script, str(photos), str(out), "2"], out)

    def rembg(self, photos: Path, out: Path) -> Run:
        """``rembg p`` with its lightest model."""
        return self._run([str(REMBG), "p", "-m", "u2netp", str(photos), str(out)], out)

    def rembg_one(self, photo: Path, out: Path) -> Run:
        """``rembg i`` with its lightest model."""
        target = str(self.folder / "one.png")
        return self._run([str(REMBG), "i", "-m", "u2netp", str(photo), target], out)

    def pairs(self, ours: Runner, theirs: Runner, photos: Path) -> tuple[list[Run], list[Run]]:
        """Ours and theirs in turn, and the other way round in every other pair."""
        found: tuple[list[Run], list[Run]] = ([], [])
        for number in range(self.rounds):
            order = (0, 1) if number % 2 == 0 else (1, 0)
            for which in order:
                program = (ours, theirs)[which]
                print(f"{program.__name__}, pair {number + 1} ...", file=sys.stderr, flush=True)
                out = self.folder / "out"
                out.mkdir(exist_ok=True)
                found[which].append(program(photos, out))
        return found


def times(runs: list[Run]) -> list[float]:
    """Seconds, start included."""
    return [one.wall for one in runs]


def against_rembg(bench: Bench, photos: Path, weights: str) -> list[Row]:
    """Photos per second and peak memory."""
    rows = []
    for runner, required in ((bench.fast, 20.0), (bench.plain, 10.0)):
        ours, theirs = bench.pairs(runner, bench.rembg, photos)
        name = f"embedded, {runner.__name__}"
        ratio = median_ratio(times(theirs), times(ours))
        count = sum(1 for _ in photos.iterdir())
        detail = f"{count / statistics.median(times(ours)):.1f} photos/s; {weights}"
        rows.append(Row(name, "rembg p -m u2netp", "photos/s", ratio, required, detail=detail))
        memory = median_ratio([one.peak_rss for one in ours], [one.peak_rss for one in theirs])
        peak = f"{statistics.median(one.peak_rss for one in ours) / 1024:.0f} MiB"
        rows.append(Row(name, "rembg p -m u2netp", "peak memory", memory, 0.25, True, peak))
    return rows


def against_bare(bench: Bench, photos: Path, small: Path) -> list[Row]:
    """The time of a whole run, and of twelve small photos with the start in."""
    rows = []
    for name, which, most in (("embedded, fast", photos, 1.10), ("12 small photos", small, 1.3)):
        ours, theirs = bench.pairs(bench.fast, bench.bare, which)
        ratio = median_ratio(times(ours), times(theirs))
        detail = f"{statistics.median(times(ours)):.2f} s"
        rows.append(Row(name, "bare functions", "time", ratio, most, True, detail))
    return rows


def first_result(bench: Bench, small: Path) -> list[Row]:
    """One photo, from the command's start to its end."""
    one = next(iter(sorted(small.iterdir())))
    ours, theirs = bench.pairs(bench.fast, bench.rembg_one, one)
    detail = f"{statistics.median(times(ours)):.2f} s"
    ratio = median_ratio(times(ours), times(theirs))
    return [Row("first result", "rembg i -m u2netp", "time", ratio, 1 / 6, True, detail)]


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-embedded-") as name:
        folder = Path(name)
        weights = prepare_rembg(folder)
        bench = Bench(folder, options.rounds)
        photos, small = folder / "photos", folder / "small"
        make_photos(photos, options.photos)
        make_small(small, 12)
        rows = against_rembg(bench, photos, weights)
        rows += against_bare(bench, photos, small)
        rows += first_result(bench, small)
    return report(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
