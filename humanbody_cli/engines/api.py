"""The API engine: one photo, one call, and another try where that is worth its price."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tenacity import (
    AsyncRetrying,
    RetryError,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from humanbody_cli import png
from humanbody_cli.compose import Mask
from humanbody_cli.engines.base import Ask, Receipt, Segmentation
from humanbody_cli.engines.http import Http, NoAnswer
from humanbody_cli.errors import AccountError, HbsegError, PhotoError
from humanbody_cli.protocol import answers, codes, limits, requests
from humanbody_cli.quota.gate import Gate
from humanbody_cli.quota.learning import Call
from humanbody_cli.settings import ApiSettings
from humanbody_cli.stopping import Stop
from humanbody_cli.uploads import Upload

_FIRST_BACKOFF = 0.5  # seconds; full jitter doubles the upper end at each further try
_LONGEST_BACKOFF = 20.0
_SMALL = 16 * 1024  # bytes that are parsed on the loop: quicker than a hop to a thread


class _TryAgain(Exception):
    """An attempt failed in a way that another one may not."""

    def __init__(self, code: str, message: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.request_id = request_id


class ApiEngine:
    """Sends photos to the HumanBody Segment API V2; every attempt, retries too, passes the gate."""

    name = "api"
    durable = True

    def __init__(self, settings: ApiSettings, gate: Gate, stop: Stop) -> None:
        if settings.credentials is None:
            raise ValueError("the API engine needs credentials")
        self.gate = gate
        self._credentials = settings.credentials
        self._stop = stop
        self._http = Http(settings.endpoint.rstrip("/") + limits.SEGMENT_PATH, settings.timeouts)
        self._parsers = ThreadPoolExecutor(2, thread_name_prefix="parse")
        self._retrying = AsyncRetrying(
            stop=stop_after_attempt(settings.retries + 1),
            wait=wait_random_exponential(multiplier=_FIRST_BACKOFF, max=_LONGEST_BACKOFF),
            retry=retry_if_exception(lambda error: isinstance(error, _TryAgain)),
            sleep=gate.rest,
        )

    def capacity(self) -> int:
        """Grows and shrinks with what the gate lets through."""
        return self.gate.capacity()

    async def segment(
        self, upload: Upload, ask: Ask, receipt: Receipt | None = None
    ) -> Segmentation:
        """One photo's call, tried again where that may help; see `base.Engine`.

        An answer that an earlier run had paid for is taken instead, and counts as its one attempt.
        """
        if receipt is not None and receipt.is_there:
            loop = asyncio.get_running_loop()
            earlier = await loop.run_in_executor(self._parsers, self._take_up, receipt, upload, ask)
            if isinstance(earlier, Segmentation):
                return replace(earlier, attempts=1)
        attempts = 0

        async def attempt() -> Segmentation:
            nonlocal attempts
            async with self.gate.attempt() as call:
                attempts += 1
                return await self._call(call, upload, ask, receipt)

        try:
            # Calling the object copies it: one shared between tasks would mix their state up.
            found: Segmentation = await self._retrying(attempt)
        except RetryError as error:
            last = error.last_attempt.exception()
            assert isinstance(last, _TryAgain)
            raise PhotoError(
                last.code,
                f"{last.message} (attempts: {attempts})",
                transient=True,
                attempts=attempts,
                request_id=last.request_id,
            ) from None
        except HbsegError as error:
            error.attempts = attempts
            raise
        return replace(found, attempts=attempts)

    async def _call(
        self, call: Call, upload: Upload, ask: Ask, receipt: Receipt | None
    ) -> Segmentation:
        request = requests.segment_request(
            self._credentials,
            upload.data,
            image_format=upload.format,
            grayscale=1 if ask.mask else 0,
        )
        try:
            status, body = await self._http.post(request)
        except NoAnswer as error:
            self.gate.failed(call, str(error), answered=False)
            raise _TryAgain(codes.CONNECTION, str(error)) from error
        # Refusals are small and parsed at once: the stop flag is set before any other task runs.
        if len(body) <= _SMALL:
            answer = self._take(status, body, upload, ask, receipt)
        else:
            answer = await asyncio.get_running_loop().run_in_executor(
                self._parsers, self._take, status, body, upload, ask, receipt
            )
        if receipt is not None and receipt.failure is not None:
            self._stop.set(receipt.failure)  # what is paid for from here on would be lost too
        if isinstance(answer, Segmentation):
            self.gate.succeeded(call)
            return answer
        raise self._treat(call, answer)

    def _take_up(
        self, receipt: Receipt, upload: Upload, ask: Ask
    ) -> Segmentation | answers.Refusal:
        answer = self._understand(200, receipt.body(), upload, ask)
        if not isinstance(answer, Segmentation):
            receipt.discard()
        return answer

    def _take(
        self, status: int, body: bytes, upload: Upload, ask: Ask, receipt: Receipt | None
    ) -> Segmentation | answers.Refusal:
        if status == 200 and receipt is not None:
            receipt.keep(body)  # before anything else: from here on a kill costs nothing
        answer = self._understand(status, body, upload, ask)
        if status == 200 and receipt is not None and not isinstance(answer, Segmentation):
            receipt.discard()
        return answer

    def _understand(
        self, status: int, body: bytes, upload: Upload, ask: Ask
    ) -> Segmentation | answers.Refusal:
        answer = answers.parse(status, body)
        if isinstance(answer, answers.Refusal):
            return answer
        try:
            return _segmentation(answer, upload, ask)
        except ValueError as error:
            return answers.lie(status, str(error))

    def _treat(self, call: Call, refusal: answers.Refusal) -> Exception:
        """Retry, this photo failed, or stop the run: the row of the error table decides."""
        if refusal.treatment is codes.Treatment.STOP:
            self._stop.set(AccountError(refusal.message))
            self.gate.succeeded(call)
            return AccountError(refusal.message)
        if refusal.treatment is codes.Treatment.PHOTO:
            self.gate.succeeded(call)
            return PhotoError(refusal.code, refusal.message, request_id=refusal.request_id)
        if refusal.code == codes.CONCURRENCY:
            self.gate.was_refused(call)
        else:
            answered = refusal.code != codes.GATEWAY
            self.gate.failed(call, refusal.message, answered=answered)
        return _TryAgain(refusal.code, refusal.message, refusal.request_id)

    async def aclose(self) -> None:
        """Close connections and threads."""
        await self._http.aclose()
        self._parsers.shutdown(wait=False)


def _segmentation(answer: answers.Success, upload: Upload, ask: Ask) -> Segmentation:
    """A sound answer's images, proved to be what the document promises.

    Raises:
        ValueError: an image is missing, damaged or of another size.
    """
    mask = None
    if ask.mask:
        if answer.result is None:
            raise ValueError("result, the mask, is missing")
        mask = Mask.read(answer.result, upload.size)
    cutout = None
    if ask.cutout:
        if answer.body_image is None:
            raise ValueError("body_image, the cutout, is missing")
        cutout = answer.body_image
        head = png.verify(cutout)
        if (head.width, head.height) != upload.size:
            raise ValueError(
                f"the cutout has {head.width} x {head.height} pixels, "
                f"the photo {upload.size[0]} x {upload.size[1]}"
            )
        if not png.has_alpha(head, cutout):
            raise ValueError("body_image has no transparency")
    return Segmentation(
        mask=mask,
        cutout=cutout,
        request_id=answer.request_id,
        image_id=answer.image_id,
        time_used=answer.time_used,
    )
