"""``hbseg recompose``: new cutouts from existing masks, without calls."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from PIL import Image

from humanbody_cli.core import api_spec
from humanbody_cli.core.console import Stopwatch, counted
from humanbody_cli.core.errors import PhotoError
from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.core.paths import to_bytes
from humanbody_cli.core.photo import Kind
from humanbody_cli.core.settings import Telling
from humanbody_cli.discovery import sources
from humanbody_cli.discovery.single import single
from humanbody_cli.imaging import pictures, proof
from humanbody_cli.imaging.cutouts import Recipe
from humanbody_cli.imaging.masks import Mask
from humanbody_cli.imaging.pictures import Picture
from humanbody_cli.jobs.progress import log as logs
from humanbody_cli.jobs.progress.figures import Exactly
from humanbody_cli.jobs.progress.reporter import Reporter
from humanbody_cli.jobs.recompose.recipes import composed
from humanbody_cli.jobs.recompose.selection import Selection
from humanbody_cli.jobs.recompose.target import Target
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.layout import RECOMPOSED, RECOMPOSED_SEAL

A = TypeVar("A")
B = TypeVar("B")


def run(
    journal: Journal,
    recipe: Recipe,
    selection: Selection,
    into: str | None = None,
    *,
    json: bool,
    telling: Telling,
    all_or_none: bool = True,
) -> int:
    """Compose the selected photos of an output folder, except those whose pictures are there
    already, made of the same results by the same recipe; the exit code.

    With ``all_or_none`` nothing is begun if a file that is not hbseg's is at a picture's place;
    without it, only that picture fails.

    Raises:
        UsageError: the results would be among masks and cutouts, or replace photos.
        OutputError: the results cannot be written, or would replace a file that is not hbseg's.
    """
    pictures.configure_pillow()
    folder = into or os.path.join(journal.root, RECOMPOSED)
    target = Target(journal, lambda: selection.photos(journal), folder, recipe.format)
    with logs.opened(telling) as log:
        reporter = Reporter(telling, json=json, log=log)
        check = target.check if all_or_none else _unchecked
        return _run(journal, recipe, selection, target, reporter, check)


def _unchecked(place: str) -> None:
    """The place of a picture is checked when that is written."""


def _run(
    journal: Journal,
    recipe: Recipe,
    selection: Selection,
    target: Target,
    reporter: Reporter,
    check: Callable[[str], None],
) -> int:
    count, nobody = selection.counts(journal)
    reporter.progress.ahead = Exactly(count, has_ended=True)
    workers = os.cpu_count() or 1
    try:
        with (
            ThreadPoolExecutor(workers, thread_name_prefix="compose") as pool,
            reporter.at_work(),
        ):
            for _ in in_order(pool, check, target.places(), 2 * workers):
                pass
            target.make()
            reporter.progress.begin()
            work = _Work(recipe, target)
            for end in in_order(pool, work.end_of, selection.photos(journal), 2 * workers):
                _report(reporter, end)
        for outcome in selection.not_found():
            reporter.add(outcome)
    finally:
        reporter.close()
        _summarise(reporter, target)
    if nobody:
        photos = counted(nobody, "photo")
        reporter.say(
            f"left out: {photos} in which nobody was found (hbseg recompose --include-empty)"
        )
    elif not reporter.tally.total and not reporter.tally.settled:
        reporter.say(f"nothing to do: no photo in {journal.root} is {selection.what}")
    return reporter.exit_code()


class _End(NamedTuple):
    """How a photo ended, and whether its picture was there already."""

    outcome: Outcome
    is_settled: bool = False


def _report(reporter: Reporter, end: _End) -> None:
    if end.is_settled:
        key = to_bytes(end.outcome.source)
        reporter.skip(Status.DONE.value, [key], lambda key: end.outcome)
    else:
        reporter.add(end.outcome)
    if reporter.stop.reason is not None:
        raise reporter.stop.reason


def _summarise(reporter: Reporter, target: Target) -> None:
    if reporter.tally.total or reporter.tally.settled:
        reporter.say(f"{reporter.tally.counts()}, in {target.folder}")
    for folder in target.mixed:
        reporter.say(
            f"{folder}: also holds other pictures, so hbseg segment would take these cutouts "
            "for photos there"
        )


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[A], B], items: Iterable[A], ahead: int
) -> Iterator[B]:
    """The results in the order of the items; only a few are under way at a time."""
    waiting: deque[Future[B]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@dataclass(frozen=True)
class _Work:
    """Composes one photo after another, on several threads."""

    recipe: Recipe
    target: Target

    def end_of(self, outcome: Outcome) -> _End:
        watch = Stopwatch()
        outcome = replace(outcome, attempts=0)
        try:
            mask = _mask_bytes(outcome)
            made = proof.digest_of(
                str(outcome.sha256), hashlib.sha256(mask).hexdigest(), self.recipe.made
            )
            there = self.target.there(outcome, made)
            if there is not None:
                _check_unchanged(outcome)
                return _End(replace(outcome, cutout=there), is_settled=True)
            picture = _source(outcome)
            data = composed(
                self.recipe, picture, _mask(outcome, mask, picture), RECOMPOSED_SEAL, made
            )
            path = self.target.publish(outcome, data)
        except PhotoError as error:
            failed = replace(outcome, status=Status.FAILED, code=error.code, message=error.message)
            return _End(failed)
        return _End(replace(outcome, cutout=path, elapsed=round(watch.seconds() * 1000)))


def _check_unchanged(outcome: Outcome) -> None:
    """Check that the photo's file, if it is there, still is what the mask was made from. An address
    is not asked again."""
    if single(outcome.source).kind is Kind.FILE:
        _source(outcome)


def _source(outcome: Outcome) -> Picture:
    """The photo that the mask was made from, and no other."""
    photo = single(outcome.source)
    if photo.kind is Kind.STDIN:
        raise PhotoError(api_spec.UNREADABLE, "came from stdin and was not kept; give it as a file")
    data, _ = sources.read(photo, sources.MAX_FIT_BYTES)
    picture = pictures.read_header(data, fit=True)
    if sources.sha256_of(picture) != outcome.sha256:
        raise PhotoError(
            api_spec.SOURCE_CHANGED,
            "the photo has changed since its mask was made; run hbseg segment again first",
        )
    return picture


def _mask_bytes(outcome: Outcome) -> bytes:
    """The confidence mask's file, or the cutout's where no mask was kept."""
    path = str(outcome.mask or outcome.cutout)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise _mask_gone(path) from error
    inside = proof.read(data)
    if proof.is_present(data) and (inside is None or inside.sha256 != outcome.sha256):
        raise _mask_gone(path)  # it belongs to another photo, or is damaged
    return data


def _mask(outcome: Outcome, data: bytes, picture: Picture) -> Image.Image:
    """The confidence mask, or the cutout's own transparency where no mask was kept."""
    read = Mask.of_cutout if outcome.mask is None else Mask.read
    try:
        return read(data, picture.size).image
    except ValueError as error:
        raise _mask_gone(str(outcome.mask or outcome.cutout)) from error


def _mask_gone(path: str) -> PhotoError:
    return PhotoError(
        api_spec.MASK_GONE, f"{path} is gone or damaged; run hbseg segment again first"
    )
