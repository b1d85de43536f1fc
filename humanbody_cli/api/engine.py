"""The API engine: one call per photo, and retries where they are worth their price.

How often each failure is retried:

- No connection, so nothing was sent: as often as the gate allows. If no connection was ever made
  in this run, such attempts do not count against the photo's retries, and the gate soon gives the
  server up.
- The connection broke, or the server failed (5xx, CONCURRENCY_LIMIT_EXCEEDED): up to ``--retries``.
- An unusable success: once, regardless of the order of other failures. It was charged, so the
  photo then counts as failed until ``--retry-failed``.
- An answer cut short by the connection counts as a broken connection: the next may be complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import ParamSpec, TypeVar

from tenacity import (
    AsyncRetrying,
    RetryError,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from humanbody_cli.api import requests, responses
from humanbody_cli.api.adaptive_rate import Call
from humanbody_cli.api.answer_budget import Budget, Room
from humanbody_cli.api.gate import Gate
from humanbody_cli.api.responses import kept, understood
from humanbody_cli.api.transport.http import Http, NoAnswer, Unsound, longest_answer
from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import AccountError, FatalError, HbsegError, PhotoError
from humanbody_cli.core.settings import API_ENGINE, ApiSettings
from humanbody_cli.core.stop import Stop, started_pool
from humanbody_cli.imaging.uploads import Upload
from humanbody_cli.pipeline.engine import AnswerSlot, Ask, Segmentation

P = ParamSpec("P")
T = TypeVar("T")

_FIRST_BACKOFF = 0.5  # seconds; full jitter doubles the upper end at each further try
_LONGEST_BACKOFF = 20.0
_SMALL = 16 * 1024  # bytes of an answer parsed on the event loop: faster than using a thread


class _Unreached(Exception):
    """No connection was made, nor ever before in this run: not counted as an attempt."""


class _TryAgain(Exception):
    """An attempt failed in a way that the next one may not."""

    def __init__(self, code: str, message: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.request_id = request_id


class ApiEngine:
    """Sends photos to the HumanBody Segment API V2; every attempt, or retry, passes the gate.

    Answers are parsed in threads of its own, or in the caller's ``pool``, all of which run already.

    Raises:
        UsageError: the endpoint cannot be called.
        FatalError: the environment's certificates or proxy cannot be used, or no thread can be
            started.
    """

    name = API_ENGINE
    durable = True

    def __init__(
        self,
        settings: ApiSettings,
        gate: Gate,
        stop: Stop,
        pool: ThreadPoolExecutor | None = None,
    ) -> None:
        if settings.credentials is None:
            raise ValueError("the API engine needs credentials")
        self.gate = gate
        self._credentials = settings.credentials
        self._stop = stop
        self._endpoint = settings.shown_endpoint
        self._http = Http(settings.endpoint.rstrip("/") + api_spec.SEGMENT_PATH, settings.timeouts)
        self._memory = Budget()
        self._parsers = pool or started_pool(2, "parse")  # before anything is paid for
        self._retrying = AsyncRetrying(
            stop=stop_after_attempt(settings.retries + 1),
            wait=wait_random_exponential(multiplier=_FIRST_BACKOFF, max=_LONGEST_BACKOFF),
            retry=retry_if_exception(lambda error: isinstance(error, _TryAgain)),
            sleep=gate.rest,
        )

    def capacity(self) -> int:
        """As many photos as the gate has use for; changes during the run."""
        return self.gate.capacity()

    async def segment(
        self, upload: Upload, ask: Ask, spooled: AnswerSlot | None = None
    ) -> Segmentation:
        """Call the API for one photo, with retries; see `pipeline.engine.Engine`.

        An answer that an earlier run paid for is used instead, and counts as one attempt.
        """
        if spooled is not None and spooled.is_there:
            earlier = await self._in_thread(self._spooled, spooled, upload, ask)
            if earlier is not None:
                return replace(earlier, attempts=1)
        job = _Job(upload, ask, spooled)
        try:
            # Calling the object copies it, so that concurrent tasks do not share its state.
            segmentation: Segmentation = await self._retrying(self._attempt, job)
        except RetryError as error:
            last = error.last_attempt.exception()
            assert isinstance(last, _TryAgain)
            raise PhotoError(
                last.code,
                f"{last.message} (attempts: {job.attempts})",
                # A photo charged in vain must not be charged again by every further run.
                transient=last.code != api_spec.BAD_ANSWER,
                attempts=job.attempts,
                request_id=last.request_id,
            ) from None
        except HbsegError as error:
            error.attempts = job.attempts
            raise
        return replace(segmentation, attempts=job.attempts)

    async def _attempt(self, job: _Job) -> Segmentation:
        """One attempt. Attempts that end in `_Unreached` are repeated and not counted."""
        segmentation = None
        while segmentation is None:
            async with self.gate.attempt() as call:
                job.attempts += 1
                with contextlib.suppress(_Unreached):
                    segmentation = await self._call(call, job)
        return segmentation

    async def _call(self, call: Call, job: _Job) -> Segmentation:
        # The answer's memory is held until it is parsed.
        with self._memory.room() as room:
            answer = await self._answer(call, job, room)
        if job.spooled is not None and job.spooled.failure is not None:
            self._stop.set(job.spooled.failure)  # further answers would be charged and lost too
        if isinstance(answer, Segmentation):
            self.gate.succeeded(call)
            return answer
        raise self._treat(call, answer, job)

    async def _answer(self, call: Call, job: _Job, room: Room) -> Segmentation | responses.Refusal:
        """Send the photo and parse the answer."""
        request = requests.segment_request(
            self._credentials,
            job.upload.data,
            image_format=job.upload.format,
            grayscale=1 if job.ask.mask else 0,
        )
        try:
            status, body = await self._http.post(request, longest_answer(job.upload.size), room)
        except NoAnswer as error:
            raise self._unanswered(call, error, job) from error
        except Unsound as error:
            return responses.unsound(error.status, str(error))
        room.received()
        if len(body) <= _SMALL or not responses.is_success(status):
            body = self._credentials.blotted(body)
        # Refusals are small and parsed here: the stop flag is set before any other task runs.
        if len(body) <= _SMALL:
            return self._received(status, body, job)
        return await self._in_thread(self._received, status, body, job)

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``function`` in a thread, or here if the pool is shut down: answers are charged."""
        work = functools.partial(function, *args, **kwargs)
        try:
            future = asyncio.get_running_loop().run_in_executor(self._parsers, work)
        except RuntimeError:  # the pool is shut down; as all its threads run, nothing is queued
            return work()
        return await future

    def _unanswered(self, call: Call, error: NoAnswer, job: _Job) -> Exception:
        """What to raise for a connection that failed: a retry, or the end of the run."""
        if error.connected and error.advice is not None:
            self.gate.failed(call, str(error), answered=False)
            return self._fatal(FatalError(f"{self._endpoint}: {error}: {error.advice}"))
        if error.connected:
            self.gate.failed(call, str(error), answered=False)
            return _TryAgain(api_spec.CONNECTION, str(error))
        known = self.gate.connected
        given_up = self.gate.unconnected(call, str(error))
        if not known:
            job.attempts -= 1
        if error.advice is not None:
            return self._fatal(FatalError(f"{self._endpoint}: {error}: {error.advice}"))
        if given_up:
            return self._fatal(
                FatalError(
                    f"{self._endpoint} cannot be reached: {error}; check --endpoint, the network "
                    "and the proxy settings (HTTPS_PROXY, HTTP_PROXY)"
                )
            )
        return _TryAgain(api_spec.CONNECTION, str(error)) if known else _Unreached()

    def _fatal(self, error: FatalError) -> FatalError:
        self._stop.set(error)
        return error

    @staticmethod
    def _spooled(spooled: AnswerSlot, upload: Upload, ask: Ask) -> Segmentation | None:
        """The segmentation in the answer of an earlier run; an unusable answer is discarded."""
        segmentation = kept(spooled.body(), upload, ask)
        if segmentation is None:
            spooled.discard()
        return segmentation

    @staticmethod
    def _received(status: int, body: bytes, job: _Job) -> Segmentation | responses.Refusal:
        """Spool a success, then parse it: once it is on disk, a kill does not cost it.

        For an answer of 9 MB the write takes 6 ms, parsing and checking 40
        (`benchmarks/bench_parts.py`).
        """
        spooled = job.spooled if responses.is_success(status) else None
        if spooled is not None:
            spooled.keep(body)
        answer = understood(status, body, job.upload, job.ask)
        if spooled is not None and not isinstance(answer, Segmentation):
            spooled.discard()
        return answer

    def _treat(self, call: Call, refusal: responses.Refusal, job: _Job) -> Exception:
        """What to raise for a refusal: retry, fail this photo, or stop the run.

        The API's error table decides (`api_spec.ROWS`).
        """
        if refusal.treatment is api_spec.Treatment.STOP:
            self.gate.succeeded(call)
            return self._fatal(self._stopping(refusal))
        if refusal.treatment is api_spec.Treatment.PHOTO:
            self.gate.succeeded(call)
            return PhotoError(refusal.code, refusal.message, request_id=refusal.request_id)
        if refusal.code == api_spec.CONCURRENCY:
            self.gate.was_refused(call)
        else:
            answered = refusal.code != api_spec.GATEWAY
            self.gate.failed(call, refusal.message, answered=answered)
        if refusal.treatment is api_spec.Treatment.ONCE_MORE and job.may_not_repeat(refusal.code):
            return PhotoError(
                refusal.code,
                f"{refusal.message} (attempts: {job.attempts})",
                transient=refusal.code != api_spec.BAD_ANSWER,
                request_id=refusal.request_id,
            )
        return _TryAgain(refusal.code, refusal.message, refusal.request_id)

    def _stopping(self, refusal: responses.Refusal) -> FatalError:
        """The API's own refusals concern the account; others concern the connection to it."""
        if refusal.code in (api_spec.GATEWAY, api_spec.API_NOT_FOUND):
            return FatalError(f"{self._endpoint}: {refusal.message}")
        return AccountError(refusal.message)

    async def aclose(self) -> None:
        """Close connections and threads."""
        await self._http.aclose()
        self._parsers.shutdown(wait=False)


@dataclass
class _Job:
    """One photo to send, and what its attempts have met so far."""

    upload: Upload
    ask: Ask
    spooled: AnswerSlot | None
    attempts: int = 0
    _met: set[str] = field(default_factory=set)

    def may_not_repeat(self, code: str) -> bool:
        """Whether this photo has met an answer of this code before: one retry is enough."""
        again = code in self._met
        self._met.add(code)
        return again
