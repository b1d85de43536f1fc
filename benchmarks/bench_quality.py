"""How good the masks are, and how fast: `python benchmarks/bench_quality.py EVAL_DIR [--markdown]`.

EVAL_DIR holds `images/NAME.*` and `masks/NAME.png` (binary, person = 255). The mask is scored at
the image's size, at a threshold of .5. Exits 1 where a required figure is missed.

Sets named with `--everyday DIR` have people-free photographs too (empty true masks), of which false
positives are counted. `--people main` measures the other choice of whom to cut out. With
`--cross-validate` the constants of the choice of people are chosen on one half of each set and
measured on the other, both ways; nothing else is then measured.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import multiprocessing
import operator
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageFilter

from humanbody_cli.core.outcomes import DOUBTFUL
from humanbody_cli.core.settings import Edges, LocalSettings, People, Wanted
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.embedded import segmenters
from humanbody_cli.embedded.finding import finder, matte, people
from humanbody_cli.imaging import cutouts, matting, pictures, png_writer, uploads
from humanbody_cli.imaging.masks import THRESHOLD, Mask
from humanbody_cli.pipeline import photo_steps
from humanbody_cli.pipeline.engine import Segmentation
from humanbody_cli.pipeline.photo_steps import ClientSteps

Given = TypeVar("Given")
Made = TypeVar("Made")
Gray = np.ndarray[Any, Any]
Segment = Callable[[Image.Image], Image.Image]
TOO_DARK = 2
"""Gray values that rounding and a photo's own noise may make."""

SAMPLE = Path(__file__).parent.parent / "sample_images" / "portraits" / "grace_hopper.jpg"


Doubting = Callable[[Image.Image], tuple[Image.Image, float | None]]
Pair = tuple[Image.Image, Gray]
Sets = dict[str, tuple[list[Pair], float | None]]
"""By name: photographs with their true masks, and the mean IoU that they must reach (None:
told, not required)."""

Answer = TypeVar("Answer")

SOME_MASK = 0.001
"""The part of a people-free photograph from which a mask counts as a false positive."""

GRID: tuple[tuple[Any, str, tuple[float, ...]], ...] = (
    (people, "ACCEPTED", (0.35, 0.4, 0.45)),
    (people, "SURE", (0.4, 0.5, 0.6)),
    (people, "LAST_RESORT", (0.25, 0.3)),
    (people, "BYSTANDER", (0.06, 0.12, 0.2)),
    (people, "MERGE", (1.3, 1.6, 2.0)),
    (finder, "UNCLEAR", (0.09, 0.12, 0.18)),
    (finder, "RESCUE_MARGIN", (0.1, 0.25)),
    (finder, "RESCUE_LEAST", (0.08, 0.15)),
    (matte, "MIDPOINT", (0.38, 0.41, 0.44)),
    (matte, "EVIDENCE", (0.2, 0.3)),
)
"""The constants that cross-validation chooses, and from which values."""


def embedded_engine(who: People = People.ALL) -> Doubting:
    """The one seam to what is measured: an upright RGB photo -> its mask, mode L, same size, and
    the engine's doubt."""
    return segmenters.segmenter(LocalSettings(people=who))


@dataclass(frozen=True)
class Row:
    """One measured figure beside the one it must reach (None: told, not required)."""

    what: str
    reached: float
    required: float | None = None
    most: bool = True
    unit: str = ""

    @property
    def held(self) -> bool:
        """Whether the required figure is reached."""
        if self.required is None:
            return True
        return self.reached <= self.required if self.most else self.reached >= self.required

    def cells(self) -> list[str]:
        """The row as text: what, required, reached, verdict."""
        if self.required is None:
            return [self.what, "", f"{self.reached:.4g}{self.unit}", ""]
        bound = f"{'at most' if self.most else 'at least'} {self.required:g}{self.unit}"
        verdict = "yes" if self.held else "MISSED"
        return [self.what, bound, f"{self.reached:.4g}{self.unit}", verdict]


def load_eval(folder: Path) -> list[tuple[Image.Image, np.ndarray[Any, Any]]]:
    """Photos (RGB) and their true masks (bool [h, w])."""
    pairs = []
    for path in sorted((folder / "images").iterdir()):
        photo = Image.open(path).convert("RGB")
        with Image.open(folder / "masks" / f"{path.stem}.png") as opened:
            pairs.append((photo, np.asarray(opened.convert("L").resize(photo.size)) > 127))
    return pairs


@dataclass(frozen=True)
class Scores:
    """What a set's masks are worth, photograph by photograph."""

    overlap: Gray
    covered: Gray
    doubt: Gray
    with_people: Gray
    cpu: Gray

    def rows(self, name: str, least: float | None) -> list[Row]:
        """The set's figures; the mean IoU must reach `least`, if it is given."""
        overlap, doubt = self.overlap[self.with_people], self.doubt[self.with_people]
        flagged, free = doubt > DOUBTFUL, self.covered[~self.with_people]
        bad, good = overlap < 0.5, overlap >= 0.8
        rows = [
            Row(f"{name}: mean IoU, {len(overlap)} photographs", _mean(overlap), least, most=False),
            Row(f"{name}: under IoU .3", int((overlap < 0.3).sum()), None if free.size else 0),
            Row(f"{name}: under IoU .5", int(bad.sum())),
            Row(
                f"{name}: empty",
                int((self.covered[self.with_people] == 0).sum()),
                4 if free.size else 0,
            ),
            Row(f"{name}: rank correlation of doubt with 1 - IoU", _spearman(doubt, 1 - overlap)),
            Row(f"{name}: flagged as doubtful", 100 * _mean(flagged), unit=" %"),
            Row(f"{name}: mean IoU of the flagged", _mean(overlap[flagged])),
            Row(f"{name}: mean IoU of the others", _mean(overlap[~flagged])),
            Row(f"{name}: of those under .5, flagged", 100 * _mean(flagged[bad]), unit=" %"),
            Row(f"{name}: of those from .8, flagged", 100 * _mean(flagged[good]), unit=" %"),
            Row(f"{name}: CPU time, median", 1000 * float(np.median(self.cpu)), unit=" ms"),
            Row(f"{name}: CPU time, mean", 1000 * _mean(self.cpu), unit=" ms"),
        ]
        if free.size:
            wrong = int((free > SOME_MASK).sum())
            rows.append(Row(f"{name}: false positives of {free.size} without people", wrong, 10))
        return rows


def scores(segment: Doubting, pairs: list[Pair]) -> Scores:
    """Masks of photographs, scored against the true ones; one thread."""
    lines = []
    for photo, truth in pairs:
        started = time.process_time()
        mask, doubt = segment(photo)
        taken = time.process_time() - started
        found = np.asarray(mask) > THRESHOLD
        either = np.count_nonzero(found | truth)
        overlap = np.count_nonzero(found & truth) / either if either else 1.0
        lines.append((overlap, found.mean(), doubt or 0.0, truth.any(), taken))
    overlaps, covered, doubts, with_people, cpu = (
        np.array(column) for column in zip(*lines, strict=True)
    )
    return Scores(overlaps, covered, doubts, with_people, cpu)


def mask_rows(segment: Doubting, sets: Sets) -> list[Row]:
    """Accuracy, doubt, CPU time and memory over the sets."""
    rows = []
    for name, (pairs, least) in sets.items():
        segment(pairs[0][0])
        rows += scores(segment, pairs).rows(name, least)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [*rows, Row("peak memory, the photographs of all sets included", peak, unit=" MB")]


class Remembered:
    """A model's answers, kept by its input's bytes: a constant that moves no crop costs no run."""

    def __init__(self, run: Callable[[Gray], Answer]) -> None:
        self._run = run
        self._answers: dict[bytes, Answer] = {}

    def __call__(self, pixels: Gray) -> Answer:
        """The model's answer for one input."""
        key = hashlib.blake2b(np.ascontiguousarray(pixels), digest_size=16).digest()
        if key not in self._answers:
            self._answers[key] = self._run(pixels)
        return self._answers[key]


def cross_validated_rows(sets: Sets, who: People) -> list[Row]:
    """The sets' figures, each half measured with the constants that were best on the other halves.

    A process for each half, with models of its own.
    """
    halves = [{name: pairs[half::2] for name, (pairs, _) in sets.items()} for half in (0, 1)]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        folds = list(pool.map(_fold, halves, reversed(halves), (who, who)))
    rows = [
        Row(f"half {half}: {name}", value)
        for half, (chosen, _) in enumerate(folds)
        for name, value in chosen.items()
    ]
    for name, (_, least) in sets.items():
        both = _joined([measured[name] for _, measured in folds])
        rows += both.rows(f"{name}, cross-validated", least)
    return rows


def _fold(
    chosen_on: dict[str, list[Pair]], measured_on: dict[str, list[Pair]], who: People
) -> tuple[dict[str, float], dict[str, Scores]]:
    """The constants that are best on some photographs, and the scores of others with them."""
    models = segmenters.bundled_models()
    kept = finder.Models(Remembered(models.look), Remembered(models.detect))
    chosen = _best_constants(partial(_segment, kept, who), list(chosen_on.values()))
    segment = partial(_segment, models, who)
    return chosen, {name: scores(segment, pairs) for name, pairs in measured_on.items()}


def _best_constants(segment: Doubting, halves: list[list[Pair]]) -> dict[str, float]:
    """Choose the constants of `GRID`, leave them set, and name them.

    "Best" is the mean over the sets of their mean IoU, people-free photographs included (IoU 1 if
    the mask is empty). Each is chosen in turn, beginning with the value it has: another one must be
    better, not as good.
    """

    def worth() -> float:
        return float(np.mean([_mean(scores(segment, pairs).overlap) for pairs in halves]))

    best = worth()
    for module, name, values in GRID:
        kept = getattr(module, name)
        for value in (value for value in values if value != kept):
            setattr(module, name, value)
            if (reached := worth()) > best:
                best, kept = reached, value
        setattr(module, name, kept)
    return {name: getattr(module, name) for module, name, _ in GRID}


def _segment(
    models: finder.Models, who: People, photo: Image.Image
) -> tuple[Image.Image, float | None]:
    found = finder.find_people(models, photo, who)
    return matte.to_mask(found, photo.size), found.doubt


def _joined(parts: list[Scores]) -> Scores:
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Scores(*(np.concatenate(column) for column in columns))


def full_size_rows(segment: Segment) -> list[Row]:
    """24 megapixels with ``--fit``: all of a photo's way but the engine, from the file's bytes to
    both PNGs, against decode and PNG encode of the same photo."""
    large = Image.open(SAMPLE).convert("RGB").resize((4000, 6000), Image.Resampling.BICUBIC)
    # An enlarged photo compresses better than a real one: sensor noise puts that right.
    noise = np.random.default_rng(0).normal(0, 3, (6000, 4000, 1))
    large = Image.fromarray(np.clip(np.asarray(large) + noise, 0, 255).astype(np.uint8))
    stream = io.BytesIO()
    large.save(stream, "JPEG", quality=92)
    data = stream.getvalue()
    photo, decode = _best(partial(_decode, data))
    _, usual = _timed(partial(_pillow_png, level=6), photo)
    _, quick = _timed(partial(_pillow_png, level=1), photo)
    _, own = _best(partial(png_writer.encode, photo.convert("RGBA")))
    rows = [
        Row("24 Mpx: decode + PNG encode, Pillow as it comes", 1000 * (decode + usual), unit=" ms"),
        Row("24 Mpx: decode + PNG encode, Pillow's level 1", 1000 * (decode + quick), unit=" ms"),
        Row("24 Mpx: decode + PNG encode, our own encoder", 1000 * (decode + own), unit=" ms"),
    ]
    for edges in Edges:
        _, seconds = min(
            (_whole_way(data, Wanted(fit=True, edges=edges), segment) for _ in range(3)),
            key=operator.itemgetter(1),
        )
        what = f"24 Mpx --fit, {edges.value} edges, engine aside"
        rows += [
            Row(what, 1000 * seconds, unit=" ms"),
            Row(f"{what}: of Pillow's level 1", seconds / (decode + quick), 1.5, unit=" x"),
            Row(f"{what}: of our own encoder", seconds / (decode + own), unit=" x"),
        ]
    return rows


def _whole_way(data: bytes, wanted: Wanted, segment: Segment) -> tuple[photo_steps.Results, float]:
    """What a run makes of one photo's bytes, and the seconds it takes without the engine."""
    started = time.perf_counter()
    picture = pictures.read_header(data)
    pictures.check_sound(picture, keep_pixels=True)
    upload = uploads.prepare(picture, fit=True)
    mask, engine = _timed(segment, upload.pixels())
    made = ClientSteps(wanted, Rules(), "local").make(picture, upload, Segmentation(Mask(mask)))
    assert made.mask
    assert made.cutout
    return made, time.perf_counter() - started - engine


def _pillow_png(image: Image.Image, level: int) -> None:
    image.save(io.BytesIO(), "PNG", compress_level=level)


def _best(function: Callable[[], Made]) -> tuple[Made, float]:
    """The quickest of three."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - started)
    return result, min(times)


def own_photo_rows(segment: Segment, folder: Path) -> list[Row]:
    """A soft cutout laid over its own photo is the photo again: the sample, then the whole set."""
    with Image.open(SAMPLE) as opened:
        sample = opened.convert("RGB")
    difference, alpha, excess = _over_itself(sample, segment)
    several = [_over_itself(photo, segment)[2] for photo, _ in load_eval(folder)]
    rims = np.concatenate(several)
    return [
        Row(
            "soft over itself, sample: mean difference, alpha 1", _mean(difference[alpha == 255]), 1
        ),
        Row(
            "soft over itself, sample: rim darker than both sides by", float(excess.max()), TOO_DARK
        ),
        Row(
            "soft over itself, all: photographs with any such rim pixel",
            sum(bool((each > TOO_DARK).any()) for each in several),
        ),
        Row("soft over itself, all: part of the rim", 100 * _mean(rims > TOO_DARK), unit=" %"),
        Row("soft over itself, all: rim darker than both sides by", float(rims.max()), TOO_DARK),
    ]


def _over_itself(photo: Image.Image, segment: Segment) -> tuple[Gray, Gray, Gray]:
    """Differences [h, w, 3] to the photo, the alpha [h, w], and by how much each pixel of the rim
    [n] is darker, in its darkest channel, than both its sides.

    A side is the darkest that the photo has within 4 px of the nearest pixel where the mask is sure
    (person: 250 and more, ground: 5 and less). No pixel is blamed for what the photo shows there.
    """
    mask = segment(photo)
    alpha = np.asarray(mask)
    cutout = cutouts.soft_cutout(photo, mask).image()
    again = Image.alpha_composite(photo.convert("RGBA"), cutout).convert("RGB")
    laid, pixels = (np.asarray(image, np.int16) for image in (again, photo))
    rim = (alpha > 0) & (alpha < 255)
    near = np.asarray(photo.filter(ImageFilter.MinFilter(9)), np.int16).reshape(-1, 3)
    lowest = pixels[rim]
    for sure in (alpha >= 250, alpha <= 5):
        nearest = matting.nearest_cells(sure, rim)[rim]
        own = np.where(nearest >= 0, nearest, np.flatnonzero(rim))
        lowest = np.minimum(lowest, near[own])
    return np.abs(laid - pixels), alpha, (lowest - laid[rim]).max(axis=1, initial=-255)


def _decode(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _timed(function: Callable[[Given], Made], argument: Given) -> tuple[Made, float]:
    started = time.perf_counter()
    result = function(argument)
    return result, time.perf_counter() - started


def _mean(values: np.ndarray[Any, Any]) -> float:
    return float(values.mean()) if values.size else 0.0


def print_table(rows: list[Row], *, markdown: bool) -> None:
    """What was required beside what was reached."""
    table = [["what", "must reach", "reached", "held"], *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    if markdown:
        table.insert(1, ["-" * width for width in widths])
    for line in table:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print(f"| {' | '.join(cells)} |" if markdown else "  ".join(cells).rstrip())


def _spearman(one: Gray, other: Gray) -> float:
    """Rank correlation; equal values share their mean rank."""
    ranks = [
        np.array([(np.sum(values < v) + np.sum(values <= v)) / 2 for v in values])
        for values in (one, other)
    ]
    return float(np.corrcoef(*ranks)[0, 1])


def main() -> int:
    """Measure, print, and say by the exit code whether all that is required was reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("eval_dir", type=Path, metavar="EVAL_DIR")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--everyday", type=Path, metavar="DIR")
    parser.add_argument("--people", type=People, choices=list(People), default=People.ALL)
    parser.add_argument("--cross-validate", action="store_true")
    options = parser.parse_args()
    sets: Sets = {"set": (load_eval(options.eval_dir), 0.915)}
    if options.everyday is not None:
        # Its true masks show everyone.
        least = 0.56 if options.people is People.ALL else None
        sets["everyday"] = (load_eval(options.everyday), least)

    if options.cross_validate:
        rows = cross_validated_rows(sets, options.people)
    else:
        doubting = embedded_engine(options.people)

        def segment(photo: Image.Image) -> Image.Image:
            return doubting(photo)[0]

        rows = (
            mask_rows(doubting, sets)
            + full_size_rows(segment)
            + own_photo_rows(segment, options.eval_dir)
        )
    print_table(rows, markdown=options.markdown)
    return 0 if all(row.held for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
