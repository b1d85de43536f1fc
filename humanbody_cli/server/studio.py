"""Photos to results, off the event loop: a bounded queue, then the engine, then the encoding."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from PIL import Image

from humanbody_cli import png
from humanbody_cli.compose import hard_cutout
from humanbody_cli.engines.base import Ask, Engine, Segmentation
from humanbody_cli.errors import PhotoError
from humanbody_cli.pictures import Picture, check_limits, check_sound, read_header
from humanbody_cli.protocol import codes, limits
from humanbody_cli.server.replies import Gone, Refused
from humanbody_cli.uploads import Upload

_JPEG = b"\xff\xd8\xff"
T = TypeVar("T")


@dataclass(frozen=True)
class Commission:
    """One photo to be done. ``wanted`` tells whether anybody still waits for it."""

    data: bytes = field(repr=False)
    parameter: str
    ask: Ask
    wanted: Callable[[], bool] = lambda: True
    shrunk: bool = False


@dataclass(frozen=True)
class Results:
    """PNGs, ``None`` where not asked for, and the image's id."""

    image_id: str
    mask: bytes | None = field(repr=False)
    cutout: bytes | None = field(repr=False)


class Studio:
    """Does one photo a thread at a time; beyond ``queue`` waiting ones it refuses.

    Only a photo at work has its pixels in memory; one that waits costs its bytes.
    """

    def __init__(self, engine: Engine, *, threads: int, queue: int) -> None:
        self._engine = engine
        self._slots = asyncio.Semaphore(threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="studio")
        self._queue = queue
        self.waiting = 0

    async def segment(self, commission: Commission) -> Results:
        """Find the people in one photo.

        Raises:
            Refused: the queue is full, or the photo cannot be done.
            Gone: nobody waits for it any more.
        """
        if self._slots.locked() and self.waiting >= self._queue:
            raise Refused(codes.CONCURRENCY)
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        try:
            if not commission.wanted():
                raise Gone
            return await self._work(commission)
        except PhotoError as error:
            raise Refused(error.code, commission.parameter) from None
        finally:
            self._slots.release()

    async def _work(self, commission: Commission) -> Results:
        upload = await self._aside(lambda: open_upload(commission.data))
        found = await self._engine.segment(upload, commission.ask)
        return await self._aside(lambda: _results(commission, upload, found))

    async def _aside(self, task: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, task)

    async def aclose(self) -> None:
        """Stop the threads once they are idle."""
        self._pool.shutdown(wait=False)
        await self._engine.aclose()


def open_upload(data: bytes) -> Upload:
    """A photo checked by the API's limits and decoded, upright.

    Raises:
        PhotoError: with the API's own error name.
    """
    # Only the two decoders that are needed ever see what strangers send.
    if not data.startswith((_JPEG, png.SIGNATURE)):
        raise PhotoError(codes.UNSUPPORTED_FORMAT, "neither JPG nor PNG", rejected=True)
    if data.startswith(png.SIGNATURE):
        _check_png(data)
    picture = read_header(data)
    check_limits(picture, len(data), len(data))
    check_sound(picture, keep_pixels=True)
    # Not `uploads.prepare`: turning a photo upright needs no second round of compression here.
    return Upload(data, picture.format, picture.size, picture)


def _check_png(data: bytes) -> None:
    # Before Pillow sees it: its getexif() decodes a PNG that has no Exif, however large it says
    # it is, and 60000 x 60000 pixels are 10 GB.
    try:
        head = png.header(data)
    except png.BrokenPng as error:
        raise PhotoError(codes.UNSUPPORTED_FORMAT, str(error), rejected=True) from None
    if max(head.width, head.height) > limits.MAX_SIDE:
        raise PhotoError(codes.INVALID_SIZE, "too many pixels", rejected=True)


def _results(commission: Commission, upload: Upload, found: Segmentation) -> Results:
    mask = found.mask.png if found.mask and commission.ask.mask else None
    cutout = None
    if commission.ask.cutout:
        cutout = found.cutout or _compose(upload.picture, found)
    if commission.shrunk:
        mask, cutout = _halved(mask), _halved(cutout)
    digest = hashlib.sha256(commission.data).digest()[:16]
    return Results(base64.b64encode(digest).decode(), mask, cutout)


def _compose(picture: Picture, found: Segmentation) -> bytes:
    assert found.mask is not None
    return hard_cutout(picture.pixels(), found.mask.image).png()


def _halved(data: bytes | None) -> bytes | None:
    """The fault `wrongsize`: a sound image, but not of the photo's size."""
    if data is None:
        return None
    with Image.open(io.BytesIO(data)) as image:
        return png.encode(image.resize((image.width // 2, image.height // 2)))
