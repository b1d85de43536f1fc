"""Photos: header, soundness, upright pixels, colour profile and Exif. Bytes in, pixels out."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from dataclasses import dataclass, field
from typing import Any, cast

from PIL import Image, ImageChops, ImageCms, UnidentifiedImageError

from humanbody_cli.imaging import png_check
from humanbody_cli.imaging.decoding import (
    JPEG_SIGNATURE,
    MAX_SCANS,
    DecodeDeadline,
    Source,
    above_pillows_limit,
    decoding,
    has_too_many_scans,
    kind_of,
    unrecognised,
    unsupported,
)

API_FORMATS = ("JPEG", "PNG")
"""Formats that the API accepts (the document's image requirements), by Pillow's names."""

_CONVERTIBLE = ("MPO", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
_ORIENTATION = 0x0112  # Exif 2.3, tag Orientation
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Exif orientation -> the operation that makes the stored pixels upright."""

_PNG_PART = 16 * 1024
"""Bytes of a PNG that are inflated at a time under a deadline: at most 16 MB of pixels."""

_load_lock = threading.Lock()


@dataclass
class Picture:
    """A photo whose header has been read.

    ``format`` is Pillow's name; an MPO (a phone's multi-picture JPEG) counts as a JPEG. ``stored``
    is the size (width, height) of the stored pixels, ``size`` that of the upright photo: the sides
    swap for Exif orientations 5 to 8.
    """

    data: bytes = field(repr=False)
    format: str
    stored: tuple[int, int]
    orientation: int
    mode: str
    profile: bytes | None = field(repr=False)
    exif: bytes | None = field(repr=False)
    has_alpha: bool
    deadline: DecodeDeadline | None = field(default=None, repr=False)
    _pixels: Image.Image | None = field(default=None, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright photo in pixels."""
        width, height = self.stored
        return (height, width) if self.orientation >= 5 else (width, height)

    def pixels(self) -> Image.Image:
        """The upright photo as RGB or, if it has transparency, RGBA; decoded once.

        Raises:
            PhotoError: the pixels are damaged, or decoding them exceeds the deadline.
        """
        if self._pixels is None:
            self._pixels = _decode(self)
        return self._pixels

    def forget_pixels(self) -> None:
        """Drop the decoded pixels, so that a waiting photo costs no more than its bytes."""
        self._pixels = None


@decoding()
def read_header(
    data: bytes, *, fit: bool = False, deadline: DecodeDeadline | None = None
) -> Picture:
    """Read a photo's header, without decoding its pixels.

    ``fit`` tells whether ``--fit`` is on, for the advice about a format. The ``deadline`` applies
    to this and to the later decoding of the picture.

    Raises:
        PhotoError: rejected; the bytes are not a picture that can be opened.
    """
    if not data:
        raise unsupported("the file is empty; replace it", "empty")
    if data.startswith(JPEG_SIGNATURE) and has_too_many_scans(data):
        raise unsupported(
            f"a JPEG of more than {MAX_SCANS} scans, which no camera or editor writes; "
            "save it again",
            "too many scans",
        )
    with _opened(data, deadline, fit=fit) as image:
        return _described(image, data, deadline)


def _described(image: Image.Image, data: bytes, deadline: DecodeDeadline | None = None) -> Picture:
    info: dict[Any, Any] = image.info
    profile = info.get("icc_profile")
    exif = _exif_of_png(image, data) if image.format == "PNG" else info.get("exif")
    return Picture(
        data=data,
        format="JPEG" if image.format == "MPO" else str(image.format),
        stored=image.size,
        orientation=_orientation(image, exif),
        mode=image.mode,
        profile=profile if isinstance(profile, bytes) and profile else None,
        exif=exif if isinstance(exif, bytes) and exif else None,
        has_alpha="A" in image.getbands() or "a" in image.getbands() or "transparency" in info,
        deadline=deadline,
    )


def of_image(image: Image.Image) -> Picture:
    """An image in memory, of any mode, as a photo that has pixels and no bytes. They are its own:
    the image may be drawn on while the photo is under way, as a video's frame is.

    Raises whatever Pillow does where the image cannot be loaded or converted.
    """
    with _load_lock:  # tasks may share an image whose file is not decoded yet
        image.load()
    picture = _described(image, b"")
    if image.mode == "La":  # which converts to this mode alone
        image = image.convert("LA")
    made = _upright(image, picture)
    picture.format, picture.stored, picture.orientation = "PNG", made.size, 1
    picture._pixels = image.copy() if made is image else made
    return picture


@decoding()
def check_sound(picture: Picture, *, keep_pixels: bool) -> None:
    """Prove that every pixel is there. ``keep_pixels`` decodes in full and keeps the result.

    Pillow's ``verify()`` does not notice a truncated JPEG; only decoding does, and decoding at 1/8
    scale still reads every byte. Bytes after the end of a sound picture are ignored.

    Raises:
        PhotoError: rejected; the file is damaged or cut short.
    """
    if picture.format == "PNG":
        png_check.verify(picture.data)
    if keep_pixels:
        picture.pixels()
    elif picture.format != "PNG":
        with _opened(picture.data, picture.deadline) as image:
            if picture.format == "JPEG":  # of others draft() may choose an embedded preview
                image.draft(image.mode, (max(1, image.width // 8), max(1, image.height // 8)))
            _load(image, picture.deadline)


def configure_pillow() -> None:
    """Set Pillow up for a process of hbseg's own: without its size limit and its warnings."""
    Image.MAX_IMAGE_PIXELS = None
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def _opened(data: bytes, deadline: DecodeDeadline | None, *, fit: bool = False) -> Image.Image:
    try:
        return _recognised(Source(data, deadline), data, fit=fit)
    except Image.DecompressionBombError as error:
        raise above_pillows_limit() from error


def _recognised(source: Source, data: bytes, *, fit: bool) -> Image.Image:
    try:
        return Image.open(source, formats=API_FORMATS)
    except UnidentifiedImageError:
        Image.init()  # load the decoders of other formats only when needed
    try:
        others = tuple(name for name in _CONVERTIBLE if name in Image.OPEN)
        return Image.open(source, formats=others)
    except UnidentifiedImageError:
        return _opened_heif(source, data, fit=fit)


def _opened_heif(source: Source, data: bytes, *, fit: bool) -> Image.Image:
    """A HEIC by its reader. To register that with Pillow would change it for the whole process."""
    if kind_of(data) == "heif":
        with contextlib.suppress(ImportError, SyntaxError):
            import pillow_heif

            opened: Any = pillow_heif.HeifImageFile
            return cast("Image.Image", opened(source))
    raise unrecognised(data, fit=fit)


def _orientation(image: Image.Image, raw: bytes | None) -> int:
    if image.format == "TIFF":
        return 1  # its decoder returns it upright
    try:
        if image.format == "PNG":
            # getexif() of a PNG decodes its pixels first, to find Exif behind them.
            exif = Image.Exif()
            exif.load(raw or b"")
        else:
            exif = image.getexif()
        value = exif.get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - broken Exif is common, raises anything, and affects no pixel
        return 1
    # HEIF's decoder returns it upright and rewrites the tag.
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _exif_of_png(image: Image.Image, data: bytes) -> bytes:
    """The Exif of a PNG: from a chunk before or after the pixels, or from a text chunk."""
    found = image.info.get("exif")
    if isinstance(found, bytes):
        return found
    with contextlib.suppress(ValueError, IndexError):
        text = image.info.get("Raw profile type exif")  # as ImageMagick writes it
        if isinstance(text, str):
            return bytes.fromhex("".join(text.split("\n")[3:]))
    with contextlib.suppress(png_check.BrokenPng):
        return next((bytes(body) for kind, body in png_check.chunks(data) if kind == b"eXIf"), b"")
    return b""


def _load(image: Any, deadline: DecodeDeadline | None) -> None:
    """Decode; under a deadline in parts, so that decoding can end between them."""
    if deadline is not None:
        if image.format == "PNG":
            image.decodermaxblock = _PNG_PART
        elif isinstance(image.fp, Source):
            image.fp.part_scans()
    image.load()


@decoding()
def _decode(picture: Picture) -> Image.Image:
    with _opened(picture.data, picture.deadline) as image:
        _load(image, picture.deadline)
        if picture.deadline is not None:
            picture.deadline.check()
        return _upright(image, picture)


def _upright(image: Image.Image, picture: Picture) -> Image.Image:
    turn = _TURNS.get(picture.orientation)
    return _normalised(image.transpose(turn) if turn is not None else image, picture)


@decoding()
def small(picture: Picture, longest: int) -> Image.Image:
    """The upright photo as RGB or RGBA, shrunk to sides of at most ``longest`` pixels. A JPEG is
    decoded at a fraction of its size, which saves most of its time and memory.

    Raises:
        PhotoError: the pixels are damaged, or decoding them exceeds the deadline.
    """
    with _opened(picture.data, picture.deadline) as image:
        if picture.format == "JPEG":  # of others draft() may choose an embedded preview
            image.draft(image.mode, (longest, longest))
        _load(image, picture.deadline)
        is_gray = image.mode == "L" and not picture.has_alpha
        shrunk = image if is_gray else _normalised(image, picture)
        shrunk.thumbnail((longest, longest), reducing_gap=2.0)
        turn = _TURNS.get(picture.orientation)
        upright = shrunk.transpose(turn) if turn is not None else shrunk
        return upright.convert("RGB") if is_gray else upright


def _normalised(image: Image.Image, picture: Picture) -> Image.Image:
    """Any of Pillow's modes as RGB or RGBA, 8 bits per channel."""
    if picture.has_alpha and image.mode not in ("RGBA", "RGB", "L", "CMYK", "YCbCr", "I;16"):
        return image.convert("RGBA")
    if picture.has_alpha and image.mode in ("RGB", "L"):  # a transparent colour (PNG's tRNS)
        return image.convert("RGBA")
    if image.mode.startswith("I;16") or image.mode == "I":
        return _from_16_bits(image)
    if image.mode == "F":
        _, highest = image.getextrema()
        scale = 255.0 if isinstance(highest, float) and highest <= 1.0 else 1.0
        return image.point(lambda v: v * scale + 0.5).convert("L").convert("RGB")
    if image.mode == "CMYK" and picture.profile:
        return to_srgb(image, picture.profile)
    return image if image.mode in ("RGB", "RGBA") else image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    # convert() clips 16 bits at 255; V / 257 maps 65535 to 255.
    levels = image.convert("F")
    gray = levels.point(lambda v: v * (1 / 257) + 0.5).convert("L").convert("RGB")
    clear = image.info.get("transparency")
    if isinstance(clear, int):  # one gray value is transparent (PNG's tRNS)
        away = levels.point(lambda v: v * 1.0 - clear)
        gray.putalpha(ImageChops.invert(_zeros(away)))
    return gray


def _zeros(levels: Image.Image) -> Image.Image:
    """255 where a float image is 0, else 0."""
    above = levels.point(lambda v: v * 255.0 + 0).convert("L")
    below = levels.point(lambda v: v * -255.0 + 0).convert("L")
    return ImageChops.invert(ImageChops.lighter(above, below))


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """A picture with a colour profile as RGB without one, or as RGBA if it is RGBA."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        converted = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode=mode,
        )
    except Exception:  # noqa: BLE001 - a broken profile raises anything, and affects no pixel
        return image.convert(mode)
    return converted if converted is not None else image.convert(mode)


def rgb_profile(picture: Picture) -> bytes | None:
    """The photo's profile for a cutout; ``None`` unless it is an RGB profile, as cutouts are RGB.

    Bytes 16 to 19 of an ICC profile name its colour space (ICC.1, 7.2.8).
    """
    profile = picture.profile
    return profile if profile is not None and profile[16:20] == b"RGB " else None


def upright_exif(picture: Picture) -> bytes | None:
    """The photo's Exif for a cutout, which is upright: without the orientation."""
    if picture.exif is None:
        return None
    exif = Image.Exif()
    try:
        exif.load(picture.exif)
        exif.pop(_ORIENTATION, None)
        return exif.tobytes().removeprefix(b"Exif\0\0") if len(exif) else None
    except Exception:  # noqa: BLE001 - as in `_orientation`: the cutout does without it
        return None
