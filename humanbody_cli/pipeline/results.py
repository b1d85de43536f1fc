"""What is published of one photo, and how it is made from a segmentation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import HbsegError, PhotoError
from humanbody_cli.core.settings import Edges, Metadata, Wanted
from humanbody_cli.imaging import pictures, png_writer
from humanbody_cli.imaging.cutouts import cut_out
from humanbody_cli.imaging.decoding import out_of_memory, short
from humanbody_cli.imaging.masks import Mask
from humanbody_cli.imaging.pictures import Picture
from humanbody_cli.imaging.uploads import Upload
from humanbody_cli.pipeline.engine import Ask, Segmentation


@dataclass(frozen=True)
class Results:
    """PNG bytes, ``None`` where none is wanted. ``coverage`` and ``doubt`` go from 0 to 1.

    ``engine`` is `Fingerprint.engine` of whatever made the mask. ``in_place`` names the kinds of
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


def ask_for(wanted: Wanted, picture: Picture, upload: Upload) -> Ask:
    """What the engine is asked for: its cutout only where that is the one to publish."""
    own = (
        wanted.cutout
        and wanted.edges is Edges.HARD
        and upload.size == picture.size
        and not picture.has_alpha
    )
    return Ask(mask=wanted.mask or (wanted.cutout and not own), cutout=own)


def make(
    wanted: Wanted, picture: Picture, upload: Upload, found: Segmentation, engine: str
) -> Results:
    """Results from a segmentation: the mask at the photo's full size, the cutout from its pixels.

    Raises:
        PhotoError: failed, with the attempts that were spent on it, where this cannot be made.
    """
    try:
        return _made(wanted, picture, upload, found, engine)
    except PhotoError as error:  # it was sent, so it is not rejected, whatever is wrong with it
        error.rejected, error.attempts = False, found.attempts
        raise


@contextlib.contextmanager
def composing() -> Iterator[None]:
    """Whatever goes wrong while one photo's results are composed is that photo's failure.

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


@composing()
def _made(
    wanted: Wanted, picture: Picture, upload: Upload, found: Segmentation, engine: str
) -> Results:
    mask = found.mask
    if mask is not None and mask.image.size != picture.size:
        mask = Mask(enlarged(mask.image, picture))
    if found.cutout is not None and wanted.cutout:
        cutout: bytes | None = _with_looks(found.cutout, picture, wanted)
    else:
        cutout = cutout_of(wanted, picture, mask) if wanted.cutout and mask else None
    coverage, doubt = _figures(mask, found.cutout, upload.size)
    return Results(
        mask=mask.png if wanted.mask and mask else None,
        cutout=cutout,
        coverage=coverage,
        doubt=found.doubt if found.doubt is not None else doubt,
        engine=engine,
        attempts=found.attempts,
        request_id=found.request_id,
        image_id=found.image_id,
        time_used=found.time_used,
    )


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
    return _with_looks(cutout.png(), picture, wanted)


def _with_looks(cutout: bytes, picture: Picture, wanted: Wanted) -> bytes:
    exif = pictures.upright_exif(picture) if wanted.metadata is Metadata.KEEP else None
    return png_writer.with_metadata(cutout, profile=pictures.rgb_profile(picture), exif=exif)


def _figures(
    mask: Mask | None, cutout: bytes | None, size: tuple[int, int]
) -> tuple[float | None, float | None]:
    """Coverage and doubt. None of a cutout that is sound by its structure but not to Pillow."""
    if mask is not None:
        return mask.coverage(), mask.doubt()
    if cutout is None:
        return None, None
    try:
        return Mask.of_cutout(cutout, size).coverage(), None
    except (ValueError, PhotoError):
        return None, None
