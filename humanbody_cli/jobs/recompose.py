"""``hbseg recompose``: new cutouts from existing masks, without calls."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageColor

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import OutputError, PhotoError, UsageError, output_error
from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.core.photo import Kind
from humanbody_cli.core.settings import Telling
from humanbody_cli.discovery import sources
from humanbody_cli.discovery.single import single
from humanbody_cli.discovery.tree import is_picture
from humanbody_cli.imaging import pictures, proof
from humanbody_cli.imaging.cutouts import RECOMPOSED_SEAL, Recipe, compose_one, encoded
from humanbody_cli.imaging.masks import Mask
from humanbody_cli.imaging.pictures import Picture
from humanbody_cli.jobs.progress import log as logs
from humanbody_cli.jobs.progress.figures import Exactly
from humanbody_cli.jobs.progress.reporter import Reporter
from humanbody_cli.pipeline import photo_steps
from humanbody_cli.storage import ownership
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.layout import CUTOUTS, MASKS, RECOMPOSED, RECOMPOSED_MARK
from humanbody_cli.storage.names import SUFFIX
from humanbody_cli.storage.ownership import always
from humanbody_cli.storage.publishing import Publisher

_LONGEST_SIDE = {"webp": 16_383, "jpg": 65_500}
"""Pixels: 14 bits of a WebP's header (RFC 9649, 2.7); what libjpeg takes (JPEG_MAX_DIMENSION)."""

A = TypeVar("A")
B = TypeVar("B")


def background(text: str | None) -> tuple[int, int, int] | Image.Image | None:
    """A colour by name or ``#rrggbb``, or the picture at a path.

    Raises:
        UsageError: it is neither.
    """
    if text is None:
        return None
    pictures.configure_pillow()
    with contextlib.suppress(ValueError):
        red, green, blue, *_ = ImageColor.getrgb(text)
        return red, green, blue
    try:
        return pictures.read_header(Path(text).read_bytes(), fit=True).pixels().convert("RGB")
    except (OSError, PhotoError) as error:
        raise UsageError(
            f"--background {text!r} is neither a colour (white, #1e90ff) nor a picture that can "
            f"be read: {_why(error)}"
        ) from error


def _why(error: OSError | PhotoError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file; check the colour's name or the path"
    if isinstance(error, OSError):
        return f"{error.strerror or error}; check the path and its permissions"
    return str(error)


def run(journal: Journal, recipe: Recipe, into: str | None, *, json: bool, telling: Telling) -> int:
    """Compose every done photo of an output folder anew; the exit code.

    Raises:
        UsageError: the results would be among masks and cutouts, or replace photos.
        OutputError: the results cannot be written, or would replace a file that is not hbseg's.
    """
    pictures.configure_pillow()
    target = _Target(journal, into or os.path.join(journal.root, RECOMPOSED), recipe.format)
    with logs.opened(telling) as log:
        return _run(journal, recipe, target, Reporter(telling, json=json, log=log))


def _run(journal: Journal, recipe: Recipe, target: _Target, reporter: Reporter) -> int:
    reporter.progress.ahead = Exactly(journal.count(Status.DONE.value), has_ended=True)
    workers = os.cpu_count() or 1
    try:
        with (
            ThreadPoolExecutor(workers, thread_name_prefix="compose") as pool,
            reporter.at_work(),
        ):
            target.prepare(pool, 2 * workers)
            reporter.progress.begin()
            work = partial(_recomposed, recipe, target)
            for outcome in _in_order(pool, work, target.photos(), 2 * workers):
                reporter.add(outcome)
                if reporter.stop.reason is not None:
                    raise reporter.stop.reason
    finally:
        reporter.close()
        if reporter.tally.total:
            reporter.say(f"{reporter.tally.counts()}, in {target.folder}")
            if reasons := reporter.tally.by_reason(Status.FAILED):
                reporter.say(reasons)
        for folder in target.mixed:
            reporter.say(
                f"{folder}: also holds other pictures, so hbseg segment would take these cutouts "
                "for photos there"
            )
    if not reporter.tally.total:
        reporter.say(f"nothing to do: no photo in {journal.root} is done")
    return reporter.exit_code()


def _in_order(
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


class _Target:
    """The folder that recomposed cutouts go to, where nothing is replaced but earlier ones.

    Each folder of it gets a mark that tells walks that its pictures are not photos. ``mixed`` are
    the folders without a mark, because they hold other pictures too.
    """

    def __init__(self, journal: Journal, folder: str, format: str) -> None:  # noqa: A002 - its name
        self.folder = folder
        self._journal = journal
        self._format = format
        self._publisher = Publisher(folder, durable=False)
        self._sources: frozenset[tuple[int, int]] = frozenset()
        self._photo_folders: frozenset[tuple[int, int]] = frozenset()
        self._ready: set[str] = set()
        self.mixed: list[str] = []
        self._written: set[tuple[int, int]] = set()
        self._guard = threading.Lock()

    def photos(self) -> Iterator[Outcome]:
        """Every photo that has a mask or a cutout."""
        return self._journal.outcomes(Status.DONE.value, absolute=True)

    def prepare(self, pool: ThreadPoolExecutor, ahead: int) -> None:
        """Check every place that will be written to, then make the folder.

        Raises:
            UsageError: photos, masks or cutouts would be replaced or added to.
            OutputError: another file would be, or the folder cannot be made.
        """
        if os.path.isdir(self.folder):
            self._sources = frozenset(_identities(self._journal))
            self._photo_folders = frozenset(_folder_identities(self._journal))
        self._check_folder(self.folder)
        if os.path.isdir(self.folder):
            for _ in _in_order(pool, self._check, self._places(), ahead):
                pass
        try:
            os.makedirs(self.folder, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.folder} cannot be created: {error.strerror}; "
                "choose another folder with --into DIR"
            ) from error

    def publish(self, outcome: Outcome, data: bytes) -> str:
        """Write one photo's new cutout; its path.

        Raises:
            PhotoError: something is there that must not be replaced.
            OutputError: it cannot be written.
        """
        name = self._name(outcome)
        path = self._publisher.path("", name)
        with self._guard:  # two names may be one place: the later photo has to see the earlier one
            self._check_again(path)
            self._make_ready(self.folder)
            self._make_ready(os.path.dirname(path))
            self._publisher.publish("", name, data, may_replace=always)
            self._written.add(_identity(os.lstat(path)))
        return path

    def _check_again(self, path: str) -> None:
        try:
            there = ownership.seen(path)
            if there is not None and _identity(there) in self._written:
                raise PhotoError(
                    api_spec.OUTPUT_NAME_TAKEN,
                    f"{path} belongs to another photo: both names are the same on this file system",
                )
            self._check(path)
        except (UsageError, OutputError) as error:  # it came to be there only now
            raise PhotoError(api_spec.OUTPUT_NAME_TAKEN, str(error)) from error

    def _make_ready(self, folder: str) -> None:
        """Make a folder and mark it, unless it holds other pictures, which may be photos.

        Raises:
            OutputError: it cannot be written.
        """
        if folder in self._ready:
            return
        mark = os.path.join(folder, RECOMPOSED_MARK)
        try:
            os.makedirs(folder, exist_ok=True)
            if not os.path.lexists(mark):
                if _holds_only_own(folder):
                    Path(mark).touch()
                else:
                    self.mixed.append(folder)
        except OSError as error:
            raise output_error(mark, error) from error
        self._ready.add(folder)

    def _places(self) -> Iterator[str]:
        last = self.folder
        for outcome in self.photos():
            path = self._publisher.path("", self._name(outcome))
            if (folder := os.path.dirname(path)) != last:
                self._check_folder(folder)
                last = folder
            yield path

    def _name(self, outcome: Outcome) -> str:
        return _name(self._journal.root, outcome).removesuffix(SUFFIX) + "." + self._format

    def _check_folder(self, folder: str) -> None:
        guarded = ownership.results_folder_above(folder, self._journal.root)
        if guarded is not None:
            raise UsageError(
                f"--into {self.folder}: only hbseg segment writes to {guarded}; "
                "choose another folder"
            )
        with contextlib.suppress(OSError):  # not there yet
            if _identity(os.stat(folder)) in self._photo_folders:
                raise UsageError(
                    f"--into {self.folder}: {folder} holds photos of {self._journal.root}, and "
                    "cutouts beside them would be taken for photos; choose another folder"
                )

    def _check(self, path: str) -> None:
        with contextlib.suppress(OSError):
            if _identity(os.stat(path)) in self._sources:
                raise UsageError(
                    f"--into {self.folder}: {path} is one of the photos; choose another folder"
                )
        ownership.check_replaceable(
            path, RECOMPOSED_SEAL, "move it away, or choose another --into DIR"
        )


def _identities(journal: Journal) -> Iterator[tuple[int, int]]:
    """The files of a journal's photos by device and inode, whatever links lead to them."""
    for outcome in journal.outcomes(absolute=True):
        with contextlib.suppress(OSError, ValueError):  # gone, or not a file
            yield _identity(os.stat(outcome.source))


def _folder_identities(journal: Journal) -> Iterator[tuple[int, int]]:
    """The folders of a journal's photos by device and inode, except of photos that are gone."""
    last = None
    for outcome in journal.outcomes(absolute=True):
        folder = os.path.dirname(outcome.source)
        if folder != last and os.path.lexists(outcome.source):
            last = folder
            with contextlib.suppress(OSError, ValueError):
                yield _identity(os.stat(folder))


def _holds_only_own(folder: str) -> bool:
    """Whether every picture in a folder is a recomposed cutout as hbseg wrote it."""
    with os.scandir(folder) as entries:
        pictures = [entry.path for entry in entries if is_picture(entry.name)]
    return all(ownership.is_own(path, RECOMPOSED_SEAL) for path in pictures)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _recomposed(recipe: Recipe, target: _Target, outcome: Outcome) -> Outcome:
    try:
        picture = _source(outcome)
        with photo_steps.composing():
            data = _composed(recipe, picture, _mask(outcome, picture))
        path = target.publish(outcome, data)
    except PhotoError as error:
        return replace(outcome, status=Status.FAILED, code=error.code, message=error.message)
    return replace(outcome, cutout=path, attempts=0)


def _composed(recipe: Recipe, picture: Picture, mask: Image.Image) -> bytes:
    image = compose_one(picture.pixels(), mask, recipe)
    longest = _LONGEST_SIDE.get(recipe.format)
    if longest is not None and max(image.size) > longest:
        raise PhotoError(
            api_spec.TOO_LARGE_FOR_FORMAT,
            f"a {recipe.format} has at most {longest:,} pixels per side, and this cutout has "
            f"{image.width} x {image.height}; give --size or another --format",
        )
    return encoded(image, recipe, pictures.rgb_profile(picture))


def _name(root: str, outcome: Outcome) -> str:
    kind, path = (CUTOUTS, outcome.cutout) if outcome.cutout else (MASKS, outcome.mask)
    return os.path.relpath(str(path), os.path.join(root, kind))


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


def _mask(outcome: Outcome, picture: Picture) -> Image.Image:
    """The confidence mask, or the cutout's own transparency where no mask was kept."""
    path = outcome.mask or outcome.cutout
    try:
        data = Path(str(path)).read_bytes()
        inside = proof.read(data)
        if proof.is_present(data) and (inside is None or inside.sha256 != outcome.sha256):
            raise ValueError("it belongs to another photo, or is damaged")
        read = Mask.of_cutout if outcome.mask is None else Mask.read
        mask = read(data, picture.size)
    except (OSError, ValueError) as error:
        message = f"{path} is gone or damaged; run hbseg segment again first"
        raise PhotoError(api_spec.MASK_GONE, message) from error
    return mask.image
