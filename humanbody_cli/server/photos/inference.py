"""Inference: one photo to its results off the event loop, with a bounded queue and time limits."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import anyio
from PIL import Image

from humanbody_cli.api.requests import Refused
from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import HbsegError, PhotoError
from humanbody_cli.core.stop import in_thread
from humanbody_cli.imaging import png_check, png_writer
from humanbody_cli.imaging.cutouts import hard_cutout
from humanbody_cli.imaging.decoding import JPEG_SIGNATURE, DecodeDeadline
from humanbody_cli.imaging.pictures import Picture, check_sound, read_header
from humanbody_cli.imaging.uploads import Upload, check_limits
from humanbody_cli.pipeline.engine import Ask, Engine, Segmentation
from humanbody_cli.pipeline.photo_steps import run_steps
from humanbody_cli.server.config import ServerTimeouts
from humanbody_cli.server.metrics import Metrics
from humanbody_cli.server.wire.exchange import NoReply
from humanbody_cli.server.wire.request_log import SERVER_LOG

log = logging.getLogger(SERVER_LOG)

T = TypeVar("T")


@dataclass(frozen=True)
class InferenceRequest:
    """One photo to process. ``shrunk`` halves its results, which is an injected fault; ``measured``
    asks for coverage and doubt."""

    data: bytes = field(repr=False)
    parameter: str
    ask: Ask
    shrunk: bool = False
    measured: bool = False


@dataclass(frozen=True)
class InferenceResult:
    """PNGs, the mask's coverage and doubt (0 to 1), each ``None`` where not asked for; the image's
    id."""

    image_id: str
    mask: bytes | None = field(repr=False)
    cutout: bytes | None = field(repr=False)
    coverage: float | None = None
    doubt: float | None = None


class InferencePool:
    """Processes one photo per thread; while ``queue`` photos wait it refuses others.

    Only a photo being processed has its pixels in memory; a waiting one has its bytes. A thread
    cannot be ended from outside: when one exceeds its time, its client is answered, and another
    thread takes its place, up to ``threads`` times. ``stuck`` counts those that have not returned.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        threads: int,
        queue: int,
        timeouts: ServerTimeouts,
        metrics: Metrics,
    ) -> None:
        self._engine = engine
        self._timeouts = timeouts
        self._metrics = metrics
        self._threads = threads
        self._turns = anyio.Semaphore(threads)
        self._pool = ThreadPoolExecutor(2 * threads, thread_name_prefix="inference")
        self._queue = queue
        self._waiting = 0
        self._at_work: set[asyncio.Task[InferenceResult]] = set()
        self._overdue: set[asyncio.Future[InferenceResult]] = set()

    @property
    def stuck(self) -> int:
        """Photos that are being processed beyond their time."""
        return len(self._overdue)

    @property
    def is_down(self) -> bool:
        """Whether no working thread is left."""
        return self.stuck >= 2 * self._threads

    async def segment(self, request: InferenceRequest) -> InferenceResult:
        """Find the people in one photo. If cancelled, the current step still runs to its end.

        Raises:
            Refused: the queue is full, or the photo cannot be done, or not in time.
        """
        await self._take_turn()
        loop = asyncio.get_running_loop()
        # The turn belongs to the work from here on, not to the client that waits for the answer.
        answer: asyncio.Future[InferenceResult] = loop.create_future()
        work = asyncio.ensure_future(self._work(request, answer))
        self._at_work.add(work)
        timer = loop.call_later(self._timeouts.photo, self._give_up, answer)
        work.add_done_callback(partial(self._end, answer, timer))
        return await answer

    async def _take_turn(self) -> None:
        if self._turns.value == 0 and self._waiting >= self._queue:
            raise Refused(api_spec.CONCURRENCY, reason="too many photos wait: see --queue")
        self._wait(1)
        try:
            with anyio.move_on_after(self._timeouts.queue) as scope:
                await self._turns.acquire()
        finally:
            self._wait(-1)
        if scope.cancelled_caught:
            raise Refused(api_spec.CONCURRENCY, reason="the photo waited too long for its turn")

    def _wait(self, count: int) -> None:
        self._waiting += count
        self._metrics.queued.set(self._waiting)

    async def _work(
        self, request: InferenceRequest, answer: asyncio.Future[InferenceResult]
    ) -> InferenceResult:
        try:
            return await run_steps(
                ServerSteps(request, self._timeouts.decode),
                request.data,
                len(request.data),
                self._engine,
                partial(self._in_thread, answer),
            )
        except PhotoError as error:
            raise Refused(error.code, request.parameter, reason=str(error)) from None

    async def _in_thread(self, answer: asyncio.Future[InferenceResult], task: Callable[[], T]) -> T:
        if answer.done():
            raise NoReply
        done = await in_thread(self._pool, task)
        if answer.done():
            raise NoReply
        return done

    def _give_up(self, answer: asyncio.Future[InferenceResult]) -> None:
        """The photo's time is over, and its thread has not returned."""
        self._overdue.add(answer)
        self._metrics.stuck.set(self.stuck)
        log.warning(
            "a photo has been processed for %g s and does not end: %d stuck",
            self._timeouts.photo,
            self.stuck,
        )
        if self.stuck <= self._threads:
            self._turns.release()
        if not answer.done():
            late = "the photo took longer than it may"
            answer.set_exception(Refused(api_spec.INTERNAL_ERROR, reason=late))

    def _end(
        self,
        answer: asyncio.Future[InferenceResult],
        timer: asyncio.TimerHandle,
        work: asyncio.Task[InferenceResult],
    ) -> None:
        """The photo's thread has returned: pass on its turn, unless another has it already."""
        self._at_work.discard(work)
        timer.cancel()
        if answer not in self._overdue or self.stuck > self._threads:
            self._turns.release()
        self._overdue.discard(answer)
        self._metrics.stuck.set(self.stuck)
        _hand_over(work, answer)

    async def aclose(self) -> None:
        """Stop the threads once they are idle."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        await self._engine.aclose()


def _hand_over(
    work: asyncio.Task[InferenceResult], answer: asyncio.Future[InferenceResult]
) -> None:
    if work.cancelled():
        answer.cancel()
        return
    error = work.exception()
    if answer.done():
        if error is not None and not isinstance(error, HbsegError):
            log.error("a photo whose client has gone failed", exc_info=error)
    elif error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(work.result())


@dataclass(frozen=True)
class ServerSteps:
    """The steps of one photo on the server. Decoding may take ``seconds`` of its thread's time on a
    processor: on a machine that is busy a sound photo must not be refused for good."""

    request: InferenceRequest
    seconds: float

    def examine(self, data: bytes, size: int) -> Picture:
        """Check a photo by the API's limits and decode it, upright.

        Raises:
            PhotoError: with the API's own error name.
        """
        # Only the two decoders that are needed ever see what strangers send.
        if not data.startswith((JPEG_SIGNATURE, png_check.SIGNATURE)):
            raise PhotoError(api_spec.UNSUPPORTED_FORMAT, "neither JPG nor PNG", rejected=True)
        if data.startswith(png_check.SIGNATURE):
            _check_png(data)
        picture = read_header(data, deadline=DecodeDeadline.after(self.seconds, time.thread_time))
        check_limits(picture, size, size)
        check_sound(picture, keep_pixels=True)
        return picture

    def prepare(self, picture: Picture) -> Upload:
        """The photo as it is: turning it upright needs no second round of compression here."""
        return Upload(picture.data, picture.format, picture.size, picture)

    def ask(self, picture: Picture, upload: Upload) -> Ask:
        """What the client asks for."""
        return self.request.ask

    def make(self, picture: Picture, upload: Upload, segmentation: Segmentation) -> InferenceResult:
        """Make the PNGs that were asked for."""
        return _results(self.request, upload, segmentation)


def _check_png(data: bytes) -> None:
    # Before Pillow sees it: its getexif() decodes a PNG that has no Exif, however large it says
    # it is, and 60000 x 60000 pixels are 10 GB.
    try:
        head = png_check.header(data)
    except png_check.BrokenPng as error:
        raise PhotoError(api_spec.UNSUPPORTED_FORMAT, str(error), rejected=True) from None
    if max(head.width, head.height) > api_spec.MAX_SIDE:
        raise PhotoError(api_spec.INVALID_SIZE, "too many pixels", rejected=True)


def _results(
    request: InferenceRequest, upload: Upload, segmentation: Segmentation
) -> InferenceResult:
    mask = segmentation.mask.png if segmentation.mask and request.ask.mask else None
    cutout = None
    if request.ask.cutout:
        cutout = segmentation.cutout or _compose(upload.picture, segmentation)
    if request.shrunk:
        mask, cutout = _halved(mask), _halved(cutout)
    digest = hashlib.sha256(request.data).digest()[:16]
    image_id = base64.b64encode(digest).decode()
    return InferenceResult(image_id, mask, cutout, *_measured(request, segmentation))


def _measured(
    request: InferenceRequest, segmentation: Segmentation
) -> tuple[float | None, float | None]:
    """Coverage and doubt."""
    mask = segmentation.mask
    if not request.measured or mask is None:
        return None, None
    return mask.coverage(), segmentation.doubt_of(mask)


def _compose(picture: Picture, segmentation: Segmentation) -> bytes:
    assert segmentation.mask is not None
    return hard_cutout(picture.pixels(), segmentation.mask.image).png()


def _halved(data: bytes | None) -> bytes | None:
    """The fault `wrongsize`: a sound image, but not of the photo's size."""
    if data is None:
        return None
    with Image.open(io.BytesIO(data)) as image:
        return png_writer.encode(image.resize((image.width // 2, image.height // 2)))
