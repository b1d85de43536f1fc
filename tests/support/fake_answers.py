"""The answers of the fake API: deterministic images for every upload, sound or broken on purpose.

Everything is made once per picture size and variant and kept: an answer of megabytes costs the fake
no more than a dictionary look-up.
"""

from __future__ import annotations

import base64
import hashlib
import io
import random
from dataclasses import dataclass, replace

from PIL import Image, ImageDraw, ImageFilter, ImageOps

_ORIENTATION = 0x0112  # the EXIF tag
VARIANTS = 8  # differing answers per picture size: a client that mixes photos up is found out
FAINT = 40
"""A gray value that is no person's, and not black either."""
BODY_FAULTS = ("wrongsize", "badbase64", "notimage", "missing", "brokenpng")


@dataclass(frozen=True)
class Style:
    """What the images of an answer are like."""

    answer_bytes: int = 0
    """Size of an answer with a cutout, about: so much of its person is noise."""
    jpeg_mask: bool = False
    """``result`` as JPEG instead of PNG."""
    true_colours: bool = False
    """The cutout has the upload's own pixels: every upload is decoded, which costs time."""
    nobody: tuple[tuple[int, int], ...] = ()
    """Sizes of the pictures that show nobody: the highest confidence in their masks is `FAINT`."""


@dataclass(frozen=True)
class Images:
    """The two images of a sound answer, as files."""

    result: bytes
    body_image: bytes


def draw_images(size: tuple[int, int], variant: int, style: Style) -> Images:
    """The answer for any picture of this size: a soft ellipse of a person, filled with a colour."""
    width, height = size
    left, bottom = 0.2 + 0.02 * variant, 0.97 - 0.03 * variant
    mask = Image.new("L", size, 0)
    ellipse = (width * left, height * 0.1, width * 0.8, height * bottom)
    ImageDraw.Draw(mask).ellipse(ellipse, fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(2))
    if size in style.nobody:
        mask = mask.point([round(value * FAINT / 255) for value in range(256)])
    person = mask.point([0] * 128 + [255] * 128)  # the document's hard edge at confidence 0.5
    colour = Image.new("RGB", size, (200, 30 * variant, 90))
    if style.answer_bytes:
        # Three quarters for base64; PNG makes a third more of noise beside a constant alpha.
        _add_noise(colour, person, style.answer_bytes * 9 // 16, variant)
    return Images(_encode(mask, jpeg=style.jpeg_mask), _cut_out(colour, person))


def cut_images(upload: Image.Image, variant: int, style: Style) -> Images:
    """As ``draw_images``, with the upload's own colours in the cutout."""
    drawn = draw_images(upload.size, variant, replace(style, answer_bytes=0))
    with Image.open(io.BytesIO(drawn.body_image)) as cutout:
        return Images(drawn.result, _cut_out(upload.convert("RGB"), cutout.getchannel("A")))


def _add_noise(colour: Image.Image, person: Image.Image, wanted: int, seed: int) -> None:
    """Fill the person's middle rows with noise until they hold ``wanted`` bytes."""
    width, height = colour.size
    half = 0
    for half in range(1, height // 2 + 1):
        band = (0, height // 2 - half, width, height // 2 + half)
        if 3 * person.crop(band).histogram()[255] >= wanted:
            break
    band = (0, height // 2 - half, width, height // 2 + half)
    noise = random.Random(seed).randbytes(width * 2 * half * 3)
    colour.paste(Image.frombytes("RGB", (width, 2 * half), noise), band, person.crop(band))


def _cut_out(colour: Image.Image, person: Image.Image) -> bytes:
    cutout = Image.new("RGBA", colour.size, (0, 0, 0, 0))
    cutout.paste(colour, (0, 0), person)
    return _encode(cutout)


def _encode(image: Image.Image, *, jpeg: bool = False) -> bytes:
    file = io.BytesIO()
    if jpeg:
        image.save(file, "JPEG", quality=95)
    else:
        image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _damage(png: bytes) -> bytes:
    """A valid head and end around pixels that do not decode."""
    start = png.index(b"IDAT") + 4
    return png[:start] + bytes(len(png) - start - 16) + png[-16:]


class Answers:
    """Makes the images of answers, sound and lying ones, and keeps what will serve again."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._bodies: dict[object, bytes] = {}

    def images(self, upload: bytes) -> Images:
        """The images of the sound answer to these bytes, for a test to compare with."""
        size, picture = self._look(upload)
        return self._make(size, _variant(hashlib.sha256(upload).digest()), picture)

    def prepare(self, size: tuple[int, int]) -> None:
        """Make all sound answers for a picture size now, not at the first call."""
        for variant in range(VARIANTS):
            self._cached(size, variant, 1, "ok")

    def body(self, upload: memoryview, digest: bytes, grayscale: int, kind: str) -> bytes | None:
        """The image fields and the end of an answer's body; None: the upload is no picture."""
        try:
            size, picture = self._look(upload)
        except (OSError, ValueError):
            return None
        if picture is not None:
            return _fields(self._make(size, _variant(digest), picture), grayscale, kind)
        return self._cached(size, _variant(digest), grayscale, kind)

    def _cached(self, size: tuple[int, int], variant: int, grayscale: int, kind: str) -> bytes:
        key = (size, variant, grayscale, kind)
        if key not in self._bodies:
            self._bodies[key] = _fields(self._make(size, variant, None), grayscale, kind)
        return self._bodies[key]

    def _look(self, upload: bytes | memoryview) -> tuple[tuple[int, int], Image.Image | None]:
        """The upright size from the header; the pixels only where the answer needs them."""
        with Image.open(io.BytesIO(upload)) as picture:
            if self._style.true_colours:
                upright = ImageOps.exif_transpose(picture)
                return upright.size, upright
            width, height = picture.size
            turned = picture.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
            return ((height, width) if turned else (width, height)), None

    def _make(self, size: tuple[int, int], variant: int, picture: Image.Image | None) -> Images:
        if picture is not None:
            return cut_images(picture, variant, self._style)
        return draw_images(size, variant, self._style)


def _variant(digest: bytes) -> int:
    return digest[0] % VARIANTS


def _fields(images: Images, grayscale: int, kind: str) -> bytes:
    """The image fields of an answer's JSON object, and its end."""
    wanted = {0: ("body_image",), 1: ("result", "body_image"), 2: ("result",)}[grayscale]
    if kind == "missing":
        wanted = wanted[1:]
    fields = ((name, _field(getattr(images, name), kind)) for name in wanted)
    return b"".join(b', "%s": "%s"' % (name.encode(), text) for name, text in fields) + b"}"


def _field(image: bytes, kind: str) -> bytes:
    if kind == "notimage":
        image = b"this is no picture" * 9
    elif kind == "wrongsize":
        image = _grow(image)
    elif kind == "brokenpng" and image.startswith(b"\x89PNG"):
        image = _damage(image)
    text = base64.b64encode(image)
    return b"*" + text[:-6] if kind == "badbase64" else text


def _grow(image: bytes) -> bytes:
    with Image.open(io.BytesIO(image)) as picture:
        larger = picture.resize((picture.width + 2, picture.height + 1))
        return _encode(larger, jpeg=picture.format == "JPEG")
