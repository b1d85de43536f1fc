"""The steps from one photo's bytes to its results: examine, prepare, segment, make.

All but the engine's call are pure: they touch no file, journal or connection.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from PIL import Image

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import HbsegError, PhotoError
from humanbody_cli.core.settings import Edges, Metadata, Wanted
from humanbody_cli.discovery import sources
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.imaging import pictures, png_writer, uploads
from humanbody_cli.imaging.cutouts import cut_out
from humanbody_cli.imaging.decoding import out_of_memory, short
from humanbody_cli.imaging.masks import Mask
from humanbody_cli.imaging.pictures import Picture
from humanbody_cli.imaging.uploads import Upload
from humanbody_cli.pipeline.engine import AnswerSlot, Ask, Engine, Segmentation

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Steps(Protocol[R_co]):
    """The steps of one photo before and after the engine's call. Each may run in any thread, and
    may raise the `PhotoError` that the photo ends with."""

    def examine(self, data: bytes, size: int) -> Picture:
        """Check a photo; ``data`` may be the beginning of a file of ``size`` bytes."""

    def prepare(self, picture: Picture) -> Upload:
        """Make what the engine is given."""

    def ask(self, picture: Picture, upload: Upload) -> Ask:
        """Choose what the engine is asked for."""

    def make(self, picture: Picture, upload: Upload, segmentation: Segmentation) -> R_co:
        """Make the results."""


@dataclass(frozen=True)
class Prepared(Generic[R]):
    """A photo that was examined and prepared. What follows is `segment`, and then `make`."""

    steps: Steps[R]
    picture: Picture
    upload: Upload

    @classmethod
    def of(cls, steps: Steps[R], picture: Picture) -> Prepared[R]:
        """Prepare an examined photo.

        Raises:
            PhotoError: it cannot be brought within the limits.
        """
        return cls(steps, picture, steps.prepare(picture))

    async def segment(self, engine: Engine, spooled: AnswerSlot | None = None) -> Segmentation:
        """Have the engine find the people. Raises what `Engine.segment` does."""
        return await engine.segment(self.upload, self.steps.ask(self.picture, self.upload), spooled)

    def forget_pixels(self) -> None:
        """Drop the decoded pixels once the results were made."""
        self.picture.forget_pixels()
        self.upload.picture.forget_pixels()

    def make(self, segmentation: Segmentation) -> R:
        """Make the results.

        Raises:
            PhotoError: they cannot be made.
        """
        return self.steps.make(self.picture, self.upload, segmentation)


class Hop(Protocol):
    """Runs a step, usually in a thread."""

    def __call__(self, step: Callable[[], T], /) -> Awaitable[T]:
        """The step's result."""


async def run_steps(steps: Steps[R], data: bytes, size: int, engine: Engine, hop: Hop) -> R:
    """Take one photo of ``size`` bytes through all its steps.

    Raises:
        PhotoError: the photo cannot be done.
        FatalError: no photo can be done.
        Stopped: the run was stopped before the call.
    """
    prepared = await hop(lambda: Prepared.of(steps, steps.examine(data, size)))
    segmentation = await prepared.segment(engine)
    return await hop(lambda: prepared.make(segmentation))


@dataclass(frozen=True)
class Results:
    """PNG bytes, ``None`` where none is wanted. ``coverage`` and ``doubt`` go from 0 to 1.

    ``engine`` is the `Fingerprint.engine` that made the mask. ``in_place`` names the kinds of
    files that already are where they belong, byte for byte.
    """

    mask: bytes | None = field(repr=False)
    cutout: bytes | None = field(repr=False)
    coverage: float | None
    doubt: float | None
    engine: str
    attempts: int = 0
    request_id: str | None = None
    image_id: str | None = None
    time_used: int | None = None
    in_place: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ClientSteps:
    """The steps of ``hbseg segment``. ``engine`` is the `Fingerprint.engine` for the results."""

    wanted: Wanted
    rules: Rules
    engine: str

    def examine(self, data: bytes, size: int) -> Picture:
        """Check a photo; see `sources.check`."""
        return sources.check(data, size, self.rules)

    def prepare(self, picture: Picture) -> Upload:
        """Make what is sent; see `uploads.prepare`. Drop pixels that the engine does not need."""
        upload = uploads.prepare(picture, fit=self.wanted.fit)
        if not self.rules.keep_pixels:
            picture.forget_pixels()
        return upload

    def ask(self, picture: Picture, upload: Upload) -> Ask:
        """Ask for the engine's own cutout only where that is the one to publish."""
        wanted = self.wanted
        own = (
            wanted.cutout
            and wanted.edges is Edges.HARD
            and upload.size == picture.size
            and not picture.has_alpha
        )
        return Ask(mask=wanted.mask or (wanted.cutout and not own), cutout=own)

    def make(self, picture: Picture, upload: Upload, segmentation: Segmentation) -> Results:
        """Make the mask at the photo's full size and the cutout from its pixels.

        Raises:
            PhotoError: failed, with the attempts that were spent on it, where this cannot be made.
        """
        with making(segmentation):
            return self._made(picture, upload, segmentation)

    def _made(self, picture: Picture, upload: Upload, segmentation: Segmentation) -> Results:
        wanted, mask = self.wanted, segmentation.mask
        mask = full_size(mask, picture) if mask is not None else None
        if segmentation.cutout is not None and wanted.cutout:
            cutout: bytes | None = _with_metadata(segmentation.cutout, picture, wanted)
        else:
            cutout = cutout_of(wanted, picture, mask) if wanted.cutout and mask else None
        coverage, doubt = figures(mask, segmentation.cutout, upload.size)
        return Results(
            mask=mask.png if wanted.mask and mask else None,
            cutout=cutout,
            coverage=coverage,
            doubt=segmentation.doubt if segmentation.doubt is not None else doubt,
            engine=self.engine,
            attempts=segmentation.attempts,
            request_id=segmentation.request_id,
            image_id=segmentation.image_id,
            time_used=segmentation.time_used,
        )


@contextlib.contextmanager
def making(segmentation: Segmentation) -> Iterator[None]:
    """Turn any error while results are made into the failure of the photo: it was sent, so it is
    not rejected.

    Raises:
        PhotoError: failed, with the attempts that were spent on it.
    """
    try:
        with composing():
            yield
    except PhotoError as error:
        error.rejected, error.attempts = False, segmentation.attempts
        raise


@contextlib.contextmanager
def composing() -> Iterator[None]:
    """Turn any error while one photo's results are composed into that photo's failure.

    Raises:
        PhotoError: in the place of any exception that is not one of ours already.
    """
    try:
        yield
    except HbsegError:
        raise
    except MemoryError as error:
        raise out_of_memory() from error
    except Exception as error:
        message = f"cannot be composed: {short(error)}; report this with the photo"
        raise PhotoError(api_spec.NOT_COMPOSED, message) from error


def full_size(mask: Mask, picture: Picture) -> Mask:
    """A mask at the photo's own size.

    Raises:
        PhotoError: where the photo's pixels are damaged.
    """
    return mask if mask.image.size == picture.size else Mask(enlarged(mask.image, picture))


def enlarged(mask: Image.Image, picture: Picture) -> Image.Image:
    """A mask of a shrunk photo at full size, along the photo's own edges where numpy is there.

    Raises:
        PhotoError: where the photo's pixels are damaged.
    """
    try:
        from humanbody_cli.imaging import matting
    except ImportError:
        return mask.resize(picture.size, Image.Resampling.BICUBIC)
    pixels = picture.pixels()
    return matting.enlarge_mask(mask, pixels if pixels.mode == "RGB" else pixels.convert("RGB"))


@composing()
def cutout_of(wanted: Wanted, picture: Picture, mask: Mask) -> bytes:
    """The cutout as PNG, composed from the photo's own pixels.

    Raises:
        PhotoError: where the photo's pixels are damaged, or this goes wrong.
        UsageError: where soft edges are wanted and numpy is not installed.
    """
    cutout = cut_out(picture.pixels(), mask.image, wanted.edges)
    return _with_metadata(cutout.png(), picture, wanted)


def _with_metadata(cutout: bytes, picture: Picture, wanted: Wanted) -> bytes:
    exif = pictures.upright_exif(picture) if wanted.metadata is Metadata.KEEP else None
    return png_writer.with_metadata(cutout, profile=pictures.rgb_profile(picture), exif=exif)


def figures(
    mask: Mask | None, cutout: bytes | None, size: tuple[int, int]
) -> tuple[float | None, float | None]:
    """Coverage and doubt by the mask, or coverage by the transparency of the cutout, both of this
    ``size`` (width, height); ``None`` for a cutout of sound structure that Pillow rejects."""
    if mask is not None:
        return mask.coverage(), mask.doubt()
    if cutout is None:
        return None, None
    try:
        return Mask.of_cutout(cutout, size).coverage(), None
    except (ValueError, PhotoError):
        return None, None
