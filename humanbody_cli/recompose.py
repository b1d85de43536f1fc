"""New cutouts from masks already there, with no call: edges, crop, background, size, format."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageColor, ImageOps

from humanbody_cli import compose, pictures, png, reading
from humanbody_cli.compose import Mask
from humanbody_cli.errors import OutputError, PhotoError, UsageError
from humanbody_cli.journal import Journal
from humanbody_cli.names import SUFFIX
from humanbody_cli.outcomes import Outcome, Status, json_line
from humanbody_cli.photos import Kind, single
from humanbody_cli.pictures import Picture
from humanbody_cli.progress import Progress
from humanbody_cli.publish import CUTOUTS, MASKS, Publisher, always
from humanbody_cli.settings import Edges
from humanbody_cli.tally import Tally

RECOMPOSED = "recomposed"
MASK_GONE = "MASK_GONE"
SOURCE_CHANGED = "SOURCE_CHANGED"
_QUALITY = 92


@dataclass(frozen=True)
class Recipe:
    """How cutouts are composed. ``margin`` is a part of the crop's longer side; ``size`` a box in
    pixels that the result fits into; ``background`` a colour or a picture that covers."""

    edges: Edges = Edges.SOFT
    crop: bool = False
    margin: float = 0.05
    background: tuple[int, int, int] | Image.Image | None = field(default=None, repr=False)
    size: tuple[int, int] | None = None
    format: str = "png"

    def __post_init__(self) -> None:
        if self.format == "jpg" and self.background is None:
            # JPEG has no transparency; white is what shops and print expect.
            object.__setattr__(self, "background", (255, 255, 255))


def background(text: str | None) -> tuple[int, int, int] | Image.Image | None:
    """A colour by name or ``#rrggbb``, or the picture at a path.

    Raises:
        UsageError: it is neither.
    """
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        red, green, blue, *_ = ImageColor.getrgb(text)
        return red, green, blue
    try:
        return pictures.read_header(Path(text).read_bytes()).pixels().convert("RGB")
    except (OSError, PhotoError) as error:
        raise UsageError(
            f"--background {text!r} is neither a colour (white, #1e90ff) nor a picture that can "
            f"be read: {error}"
        ) from error


def compose_one(pixels: Image.Image, mask: Image.Image, recipe: Recipe) -> Image.Image:
    """One cutout: RGBA, or RGB over a background. Mask and pixels have one size."""
    blend = compose.soft_cutout if recipe.edges is Edges.SOFT else compose.hard_cutout
    cutout = blend(pixels, mask).image()
    if recipe.crop:
        cutout = cutout.crop(crop_box(mask, recipe.margin))
    if recipe.size is not None:
        cutout = _shrunk(cutout, recipe.size)
    if recipe.background is None:
        return cutout
    if isinstance(recipe.background, tuple):
        ground = Image.new("RGB", cutout.size, recipe.background)
    else:
        ground = ImageOps.fit(recipe.background, cutout.size)
    ground.paste(cutout.convert("RGB"), mask=cutout.getchannel("A"))
    return ground


def crop_box(mask: Image.Image, margin: float) -> tuple[int, int, int, int]:
    """The box around the person with its margin, inside the picture; all of it with nobody."""
    found = mask.point([255 if value > compose.THRESHOLD else 0 for value in range(256)]).getbbox()
    if found is None:
        return (0, 0, *mask.size)
    left, top, right, bottom = found
    extra = round(max(right - left, bottom - top) * margin)
    return (
        max(0, left - extra),
        max(0, top - extra),
        min(mask.width, right + extra),
        min(mask.height, bottom + extra),
    )


def _shrunk(cutout: Image.Image, box: tuple[int, int]) -> Image.Image:
    scale = min(box[0] / cutout.width, box[1] / cutout.height)
    size = (max(1, round(cutout.width * scale)), max(1, round(cutout.height * scale)))
    # Pillow resizes RGBA with premultiplied weights: no colour creeps in from under alpha 0.
    return cutout.resize(size, Image.Resampling.LANCZOS)


def encoded(image: Image.Image, recipe: Recipe, profile: bytes | None) -> bytes:
    """The cutout as a file of the recipe's format."""
    if recipe.format == "png" and image.mode == "RGBA":
        return png.with_looks(png.encode(image), profile=profile)
    buffer = io.BytesIO()
    options: dict[str, Any] = {"icc_profile": profile} if profile else {}
    if recipe.format == "jpg":
        image.save(buffer, "JPEG", quality=_QUALITY, **options)
    elif recipe.format == "webp":
        image.save(buffer, "WEBP", quality=_QUALITY, method=4, **options)
    else:
        image.save(buffer, "PNG", compress_level=3, **options)
    return buffer.getvalue()


def run(journal: Journal, recipe: Recipe, into: str | None, *, json: bool, verbosity: int) -> int:
    """Compose every done photo of an output folder anew; the exit code.

    Raises:
        OutputError: the results cannot be written.
    """
    pictures.configure_pillow()
    target = into or os.path.join(journal.root, RECOMPOSED)
    try:
        os.makedirs(target, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--into {target}: cannot be made: {error.strerror}") from error
    publisher = Publisher(target, durable=False)
    progress = Progress(verbosity=verbosity)
    tally = Tally()
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers, thread_name_prefix="compose") as pool:
        for outcome in _in_order(pool, journal, recipe, publisher, 2 * workers):
            tally.add(outcome)
            progress.add(outcome, tally)
            if json:
                print(json_line(outcome.record()))  # noqa: T201
    progress.close()
    progress.say(f"{tally.counts()}, in {target}")
    return tally.exit_code()


def _in_order(
    pool: ThreadPoolExecutor, journal: Journal, recipe: Recipe, publisher: Publisher, ahead: int
) -> Iterator[Outcome]:
    """Results as they come to their turn; only a few are under way at a time."""
    waiting = []
    for outcome in journal.outcomes(Status.DONE.value, absolute=True):
        waiting.append(pool.submit(_recomposed, journal.root, outcome, recipe, publisher))
        if len(waiting) >= ahead:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def _recomposed(root: str, outcome: Outcome, recipe: Recipe, publisher: Publisher) -> Outcome:
    try:
        picture = _source(outcome)
        mask = _mask(outcome, picture)
        image = compose_one(picture.pixels(), mask, recipe)
        profile = pictures.rgb_profile(picture)
        name = _name(root, outcome).removesuffix(SUFFIX) + "." + recipe.format
        publisher.publish("", name, encoded(image, recipe, profile), may_replace=always)
    except PhotoError as error:
        return replace(outcome, status=Status.FAILED, code=error.code, message=error.message)
    return replace(outcome, cutout=publisher.path("", name), attempts=0)


def _name(root: str, outcome: Outcome) -> str:
    kind, path = (CUTOUTS, outcome.cutout) if outcome.cutout else (MASKS, outcome.mask)
    return os.path.relpath(str(path), os.path.join(root, kind))


def _source(outcome: Outcome) -> Picture:
    """The photo that the mask was made from, and no other."""
    photo = single(outcome.source)
    if photo.kind is Kind.STDIN:
        raise PhotoError(reading.UNREADABLE, "came from stdin and is not kept; give it as a file")
    data, _ = reading.read(photo, reading.MAX_FIT_BYTES)
    picture = pictures.read_header(data)
    if reading.digest(picture) != outcome.sha256:
        raise PhotoError(
            SOURCE_CHANGED,
            "the photo has changed since its mask was made; run hbseg segment again first",
        )
    return picture


def _mask(outcome: Outcome, picture: Picture) -> Image.Image:
    """The confidence mask, or the cutout's own transparency where no mask was kept."""
    path = outcome.mask or outcome.cutout
    try:
        data = Path(str(path)).read_bytes()
        if outcome.mask is None:
            with Image.open(io.BytesIO(data), formats=["PNG"]) as cutout:
                mask = Mask(cutout.convert("RGBA").getchannel("A"))
        else:
            mask = Mask.read(data, picture.size)
    except (OSError, ValueError) as error:
        message = f"{path} is gone or damaged; run hbseg segment again first"
        raise PhotoError(MASK_GONE, message) from error
    if mask.image.size != picture.size:
        raise PhotoError(MASK_GONE, f"{path} is of another size; run hbseg segment again first")
    return mask.image
