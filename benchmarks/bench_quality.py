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
import io
import operator
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from cross_validation import cross_validated_rows
from mask_scores import Doubting, Gray, Row, Sets, load_eval, mean, scores
from PIL import Image, ImageFilter

from humanbody_cli.core.settings import Edges, LocalSettings, People, Wanted
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.embedded import segmenters
from humanbody_cli.imaging import cutouts, matting, pictures, png_writer, uploads
from humanbody_cli.imaging.masks import Mask
from humanbody_cli.pipeline import photo_steps
from humanbody_cli.pipeline.engine import Segmentation
from humanbody_cli.pipeline.photo_steps import ClientSteps

Given = TypeVar("Given")
Made = TypeVar("Made")
Segment = Callable[[Image.Image], Image.Image]
TOO_DARK = 2
"""Gray values that rounding and a photo's own noise may make."""

SAMPLE = Path(__file__).parent.parent / "sample_images" / "portraits" / "grace_hopper.jpg"


def embedded_engine(who: People = People.ALL) -> Doubting:
    """The one seam to what is measured: an upright RGB photo -> its mask, mode L, same size, and
    the engine's doubt."""
    return segmenters.segmenter(LocalSettings(people=who))


def mask_rows(segment: Doubting, sets: Sets) -> list[Row]:
    """Accuracy, doubt, CPU time and memory over the sets."""
    rows = []
    for name, (pairs, least) in sets.items():
        segment(pairs[0][0])
        rows += scores(segment, pairs).rows(name, least)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [*rows, Row("peak memory, the photographs of all sets included", peak, unit=" MB")]


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
            "soft over itself, sample: mean difference, alpha 1", mean(difference[alpha == 255]), 1
        ),
        Row(
            "soft over itself, sample: rim darker than both sides by", float(excess.max()), TOO_DARK
        ),
        Row(
            "soft over itself, all: photographs with any such rim pixel",
            sum(bool((each > TOO_DARK).any()) for each in several),
        ),
        Row("soft over itself, all: part of the rim", 100 * mean(rims > TOO_DARK), unit=" %"),
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


def print_table(rows: list[Row], *, markdown: bool) -> None:
    """What was required beside what was reached."""
    table = [["what", "must reach", "reached", "held"], *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    if markdown:
        table.insert(1, ["-" * width for width in widths])
    for line in table:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print(f"| {' | '.join(cells)} |" if markdown else "  ".join(cells).rstrip())


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
