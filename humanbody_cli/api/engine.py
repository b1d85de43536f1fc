"""The API engine: one photo, one call, and another try where that is worth its price.

Which failure is tried how often:

- Nothing was sent (no connection): as often as the gate lets it pass. Where no connection has ever
  come about in this run, such attempts do not use up the photo's retries, and the gate soon gives
  the server up.
- The connection broke, or the server failed (5xx, CONCURRENCY_LIMIT_EXCEEDED): up to ``--retries``.
- A success that is not sound: once more and no more, in whatever order it comes with other
  failures. It was paid for, so the photo then stands as failed until ``--retry-failed``.
- An answer cut short by the connection counts as a broken connection: the next one may be whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
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
from humanbody_cli.api.http import Http, NoAnswer, Unsound, longest_answer
from humanbody_cli.api.responses import kept, understood
from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import AccountError, FatalError, HbsegError, PhotoError
from humanbody_cli.core.settings import ApiSettings
from humanbody_cli.core.stop import Stop, started_pool
from humanbody_cli.imaging.uploads import Upload
from humanbody_cli.pipeline.engine import Ask, Segmentation, SpooledAnswer

P = ParamSpec("P")
T = TypeVar("T")

_FIRST_BACKOFF = 0.5  # seconds; full jitter doubles the upper end at each further try
_LONGEST_BACKOFF = 20.0
_SMALL = 16 * 1024  # bytes that are parsed on the loop: quicker than a hop to a thread


class _Unreached(Exception):
    """No connection came about, as never before in this run: it was no attempt of this photo's."""


class _TryAgain(Exception):
    """An attempt failed in a way that another one may not."""

    def __init__(self, code: str, message: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.request_id = request_id


class ApiEngine:
    """Sends photos to the HumanBody Segment API V2; every attempt, retries too, passes the gate.

    Raises:
        UsageError: nothing can be called at the endpoint.
        FatalError: the environment's certificates or proxy cannot be used, or no thread can be
            started.
    """

    name = "api"
    durable = True

    def __init__(self, settings: ApiSettings, gate: Gate, stop: Stop) -> None:
        if settings.credentials is None:
            raise ValueError("the API engine needs credentials")
        self.gate = gate
        self._credentials = settings.credentials
        self._stop = stop
        self._endpoint = settings.shown_endpoint
        self._http = Http(settings.endpoint.rstrip("/") + api_spec.SEGMENT_PATH, settings.timeouts)
        self._memory = Budget()
        self._parsers = started_pool(2, "parse")  # before anything is paid for
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
        self, upload: Upload, ask: Ask, spooled: SpooledAnswer | None = None
    ) -> Segmentation:
        """One photo's call, tried again where that may help; see `base.Engine`.

        An answer that an earlier run had paid for is taken instead, and counts as its one attempt.
        """
        if spooled is not None and spooled.is_there:
            earlier = await self._parsed(self._take_up, spooled, upload, ask)
            if earlier is not None:
                return replace(earlier, attempts=1)
        way = _Way(upload, ask, spooled)
        try:
            # Calling the object copies it: one shared between tasks would mix their state up.
            found: Segmentation = await self._retrying(self._attempt, way)
        except RetryError as error:
            last = error.last_attempt.exception()
            assert isinstance(last, _TryAgain)
            raise PhotoError(
                last.code,
                f"{last.message} (attempts: {way.attempts})",
                # What was paid for in vain is not paid for again by every further run.
                transient=last.code != api_spec.BAD_ANSWER,
                attempts=way.attempts,
                request_id=last.request_id,
            ) from None
        except HbsegError as error:
            error.attempts = way.attempts
            raise
        return replace(found, attempts=way.attempts)

    async def _attempt(self, way: _Way) -> Segmentation:
        """One attempt; those that reach nobody, as nobody was ever reached, are not counted."""
        found = None
        while found is None:
            async with self.gate.attempt() as call:
                way.attempts += 1
                with contextlib.suppress(_Unreached):
                    found = await self._call(call, way)
        return found

    async def _call(self, call: Call, way: _Way) -> Segmentation:
        # Room for the answer is held until it is understood.
        with self._memory.room() as room:
            answer = await self._answer(call, way, room)
        if way.spooled is not None and way.spooled.failure is not None:
            self._stop.set(way.spooled.failure)  # what is paid for from here on would be lost too
        if isinstance(answer, Segmentation):
            self.gate.succeeded(call)
            return answer
        raise self._treat(call, answer, way)

    async def _answer(self, call: Call, way: _Way, room: Room) -> Segmentation | responses.Refusal:
        """Send, and understand what comes back."""
        request = requests.segment_request(
            self._credentials,
            way.upload.data,
            image_format=way.upload.format,
            grayscale=1 if way.ask.mask else 0,
        )
        try:
            status, body = await self._http.post(request, longest_answer(way.upload.size), room)
        except NoAnswer as error:
            raise self._unanswered(call, error, way) from error
        except Unsound as error:
            return responses.unsound(error.status, str(error))
        room.received()
        # Refusals are small and parsed at once: the stop flag is set before any other task runs.
        if len(body) <= _SMALL:
            return self._take(status, body, way.upload, way.ask, way.spooled)
        return await self._parsed(self._take, status, body, way.upload, way.ask, way.spooled)

    async def _parsed(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``function`` makes of an answer, in a thread, or here where none takes it: the
        answer was paid for."""
        work = functools.partial(function, *args, **kwargs)
        try:
            future = asyncio.get_running_loop().run_in_executor(self._parsers, work)
        except RuntimeError:  # the pool is shut down; as all its threads run, nothing is queued
            return work()
        return await future

    def _unanswered(self, call: Call, error: NoAnswer, way: _Way) -> Exception:
        """A connection that failed: another try, or the end of the run."""
        if error.connected:
            self.gate.failed(call, str(error), answered=False)
            return _TryAgain(api_spec.CONNECTION, str(error))
        known = self.gate.connected
        given_up = self.gate.unconnected(call, str(error))
        if not known:
            way.attempts -= 1
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
    def _take_up(spooled: SpooledAnswer, upload: Upload, ask: Ask) -> Segmentation | None:
        found = kept(spooled.body(), upload, ask)
        if found is None:
            spooled.discard()
        return found

    @staticmethod
    def _take(
        status: int, body: bytes, upload: Upload, ask: Ask, spooled: SpooledAnswer | None
    ) -> Segmentation | responses.Refusal:
        if responses.is_success(status) and spooled is not None:
            spooled.keep(body)  # before anything else: from here on a kill costs nothing
        answer = understood(status, body, upload, ask)
        if (
            responses.is_success(status)
            and spooled is not None
            and not isinstance(answer, Segmentation)
        ):
            spooled.discard()
        return answer

    def _treat(self, call: Call, refusal: responses.Refusal, way: _Way) -> Exception:
        """Retry, this photo failed, or stop the run: the row of the error table decides."""
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
        if refusal.treatment is api_spec.Treatment.ONCE_MORE and way.may_not_repeat(refusal.code):
            return PhotoError(
                refusal.code,
                f"{refusal.message} (attempts: {way.attempts})",
                transient=refusal.code != api_spec.BAD_ANSWER,
                request_id=refusal.request_id,
            )
        return _TryAgain(refusal.code, refusal.message, refusal.request_id)

    def _stopping(self, refusal: responses.Refusal) -> FatalError:
        """The API's own refusals concern the account; others concern the way to it."""
        if refusal.code in (api_spec.GATEWAY, api_spec.API_NOT_FOUND):
            return FatalError(f"{self._endpoint}: {refusal.message}")
        return AccountError(refusal.message)

    async def aclose(self) -> None:
        """Close connections and threads."""
        await self._http.aclose()
        self._parsers.shutdown(wait=False)


@dataclass
class _Way:
    """One photo on its way through its attempts."""

    upload: Upload
    ask: Ask
    spooled: SpooledAnswer | None
    attempts: int = 0
    _met: set[str] = field(default_factory=set)

    def may_not_repeat(self, code: str) -> bool:
        """Whether this photo met an answer of this code before: one further try was enough."""
        again = code in self._met
        self._met.add(code)
        return again
