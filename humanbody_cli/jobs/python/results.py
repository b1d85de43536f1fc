"""What a photo becomes: its mask and cutout as images, and the steps that make them."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field

from PIL import Image

from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.outcomes import DOUBTFUL, code_of, is_nobody
from humanbody_cli.core.settings import MAX_MARGIN
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.imaging import pictures, uploads
from humanbody_cli.imaging.cutouts import Colour, Recipe, compose, cut_out
from humanbody_cli.imaging.pictures import Picture
from humanbody_cli.imaging.uploads import Upload
from humanbody_cli.jobs.python.photos import Source, picture_of
from humanbody_cli.jobs.python.wording import reworded
from humanbody_cli.jobs.recompose.recipes import background_of
from humanbody_cli.pipeline.engine import Ask, Segmentation
from humanbody_cli.pipeline.photo_steps import ClientSteps, full_size, making

_SHOWN = 800
"""Pixels on the longer side of what a notebook shows."""


@dataclass(frozen=True, eq=False)
class SegmentedPhoto:
    """The result of one photo; both images have the size of the upright photo.

    ``mask`` is in mode L: the confidence that a pixel is a person's, times 255. ``cutout`` is in
    mode RGBA, with the photo's colour profile in its ``info`` if it has one, and no Exif.
    ``coverage`` is the part of the photo inside the mask and ``doubt`` how unsure the mask is, both
    from 0 to 1. ``code`` is ``NOBODY_FOUND`` if nobody is in the photo, else ``None``. ``engine``
    is ``api``, ``local`` or ``local:FILE.onnx``; ``attempts`` counts the calls that were made.
    """

    mask: Image.Image = field(repr=False)
    cutout: Image.Image = field(repr=False)
    coverage: float
    doubt: float
    code: str | None
    engine: str
    attempts: int = 0

    @property
    def is_doubtful(self) -> bool:
        """Whether a person should look at the mask: somebody was found, and ``doubt`` is high."""
        return self.doubt > DOUBTFUL and not is_nobody(self.coverage)

    def composed(
        self,
        *,
        background: str | os.PathLike[str] | Colour | Image.Image | None = None,
        crop: bool = False,
        margin: float = Recipe.margin,
    ) -> Image.Image:
        """The cutout in front of a background (a colour's name or RGB, a picture or its path), and
        cropped to the person with a margin that is a part of the crop's longer side. RGB with a
        background, else RGBA.

        Raises:
            UsageError: the background or the margin cannot be used.
        """
        if not (isinstance(margin, (int, float)) and 0 <= margin <= MAX_MARGIN):
            raise UsageError(f"margin must be a number from 0 to {MAX_MARGIN:g}, not {margin!r}")
        recipe = Recipe(crop=crop, margin=margin, background=_ground(background))
        image = compose(self.cutout, self.mask, recipe)
        return _with_profile(image, self.cutout.info.get("icc_profile"))

    def _repr_png_(self) -> bytes:
        """The cutout as a notebook shows it, shrunk if it is large."""
        shown = self.cutout.copy()
        shown.thumbnail((_SHOWN, _SHOWN))
        buffer = io.BytesIO()
        shown.save(buffer, "PNG")
        return buffer.getvalue()


def _ground(
    given: str | os.PathLike[str] | Colour | Image.Image | None,
) -> Colour | Image.Image | None:
    if isinstance(given, Image.Image):
        return given.convert("RGB")
    if isinstance(given, (str, os.PathLike)):
        try:
            return background_of(os.fsdecode(given))
        except UsageError as error:
            raise reworded(error) from None
    if given is None or (
        isinstance(given, tuple)
        and len(given) == 3
        and all(isinstance(part, int) and 0 <= part <= 255 for part in given)
    ):
        return given
    raise UsageError(
        f"background must be a colour (white, #1e90ff, (30, 144, 255)) or a picture, not {given!r}"
    )


def _with_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    # The photo's Exif is in ``info`` too: it may say where the photo was taken, and to turn it.
    image.info.clear()
    if profile:
        image.info["icc_profile"] = profile
    return image


@dataclass(frozen=True)
class LibrarySteps:
    """The command's steps (`ClientSteps`), from a caller's photo to images in memory. ``sent`` says
    whether photos leave the process, so that an image in memory needs bytes."""

    client: ClientSteps
    sent: bool

    @property
    def rules(self) -> Rules:
        """How photos are checked."""
        return self.client.rules

    def picture(self, source: Source) -> Picture:
        """The photo of a caller, checked; see `picture_of`."""
        return picture_of(source, self.rules)

    def examine(self, data: bytes, size: int) -> Picture:
        """Check a photo's bytes."""
        return self.client.examine(data, size)

    def prepare(self, picture: Picture) -> Upload:
        """Make what the engine is given."""
        if picture.data:
            return self.client.prepare(picture)
        return uploads.prepare_pixels(picture, fit=self.client.wanted.fit, sent=self.sent)

    def ask(self, picture: Picture, upload: Upload) -> Ask:
        """The mask alone: the cutout is made from the photo's own pixels."""
        return Ask(mask=True, cutout=False)

    def make(self, picture: Picture, upload: Upload, segmentation: Segmentation) -> SegmentedPhoto:
        """Make the images.

        Raises:
            PhotoError: failed, with the attempts that were spent on it.
        """
        assert segmentation.mask is not None
        with making(segmentation):
            mask = full_size(segmentation.mask, picture)
            cutout = cut_out(picture.pixels(), mask.image, self.client.wanted.edges).image()
        coverage = mask.coverage()
        return SegmentedPhoto(
            mask=_with_profile(mask.image.copy(), None),
            cutout=_with_profile(cutout, pictures.rgb_profile(picture)),
            coverage=coverage,
            doubt=segmentation.doubt_of(mask),
            code=code_of(None, coverage),
            engine=self.client.engine,
            attempts=segmentation.attempts,
        )
