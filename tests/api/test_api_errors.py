"""The API engine against every answer that there is: retry, this photo failed, or stop the run."""

from __future__ import annotations

import asyncio
import ssl

import httpx
import pytest
import respx
from api_engine import (
    CUTOUT,
    HOST,
    MASK,
    PHOTO,
    RETRIES,
    SOUND,
    Api,
    body,
    outcome,
    page,
    refusal,
    with_api,
)
from making import jpeg, quarters

from humanbody_cli.api.adaptive_rate import RateController
from humanbody_cli.api.engine import ApiEngine
from humanbody_cli.api.gate import Gate
from humanbody_cli.api.slots import OwnSlots
from humanbody_cli.api.transport.http import Http
from humanbody_cli.core.errors import (
    AccountError,
    CallLimitReached,
    FatalError,
    HbsegError,
    PhotoError,
    Stopped,
)
from humanbody_cli.core.settings import ApiSettings, Timeouts
from humanbody_cli.core.stop import Stop
from humanbody_cli.imaging import uploads
from humanbody_cli.imaging.pictures import read_header
from humanbody_cli.pipeline.engine import Ask, Segmentation

# Every row of both tables of the document.

RETRIED = [
    (412, "IMAGE_DOWNLOAD_TIMEOUT"),
    (403, "CONCURRENCY_LIMIT_EXCEEDED"),
    (500, "INTERNAL_ERROR"),
]
PHOTO_FAILED = [
    (400, "IMAGE_ERROR_UNSUPPORTED_FORMAT:image_file"),
    (400, "IMAGE_ERROR_UNSUPPORTED_FORMAT: image_file"),
    (400, "INVALID_IMAGE_SIZE:image_file"),
    (400, "INVALID_IMAGE_URL"),
    (400, "IMAGE_FILE_TOO_LARGE:image_file"),
    (400, "SOMETHING_NEW"),
]
STOPPED = [
    (401, "AUTHENTICATION_ERROR", "keys are regional"),
    (403, "AUTHORIZATION_ERROR:Denied by Client", "disabled this key yourself"),
    (403, "AUTHORIZATION_ERROR:Denied by Admin", "contact its support"),
    (403, "AUTHORIZATION_ERROR:Insufficient Account Balance", "top it up"),
    (403, "AUTHORIZATION_ERROR: Limit reached.", "limit is used up"),
    (403, "AUTHORIZATION_ERROR", "may not call"),
    (403, "SOMETHING_NEW", "SOMETHING_NEW"),
    (400, "MISSING_ARGUMENTS: image_url, image_file, image_base64", "report"),
    (400, "BAD_ARGUMENTS:return_grayscale", "report"),
    (400, "COEXISTENCE_ARGUMENTS", "report"),
    (404, "API_NOT_FOUND", "--endpoint"),
]
PAGES_RETRIED = [
    (500, b"<html>500</html>", "GATEWAY_ERROR"),
    (502, b"<html><center><h1>502 Bad Gateway</h1></center></html>", "GATEWAY_ERROR"),
    (503, b"", "GATEWAY_ERROR"),
    (504, b"upstream timed out", "GATEWAY_ERROR"),
    (429, b"Too Many Requests", "GATEWAY_ERROR"),
]


def test_a_sound_answer(route: respx.Route) -> None:
    """Mask and cutout come with their ids; the cutout's bytes are the API's own."""
    route.mock(return_value=page(200, SOUND))
    found, api = outcome()
    assert isinstance(found, Segmentation)
    assert found.cutout == CUTOUT
    assert found.mask is not None
    assert found.mask.png == MASK
    assert found.request_id == "1470378968,c6f50ec6"
    assert found.image_id == "7OO7N1dYiJjszvV38oKVpw=="
    assert (found.time_used, found.attempts) == (573, 1)
    assert (route.call_count, api.gate.calls, api.gate.in_flight) == (1, 1, 0)


@pytest.mark.parametrize(("status", "message"), RETRIED)
def test_what_may_pass_is_tried_again(route: respx.Route, status: int, message: str) -> None:
    """A row that is worth another try gets it, and the photo is done."""
    route.mock(side_effect=[refusal(status, message), page(200, SOUND)])
    found, api = outcome()
    assert isinstance(found, Segmentation)
    assert (found.attempts, route.call_count) == (2, 2)
    assert not api.stop.is_set


@pytest.mark.parametrize(("status", "message"), RETRIED)
def test_what_does_not_pass_fails_this_photo(route: respx.Route, status: int, message: str) -> None:
    """After the last retry the photo has failed, for now, with the API's own code."""
    route.mock(return_value=refusal(status, message))
    found, api = outcome()
    assert isinstance(found, PhotoError)
    assert (found.code, found.transient, found.rejected) == (message, True, False)
    assert (found.attempts, route.call_count) == (RETRIES + 1, RETRIES + 1)
    assert not api.stop.is_set
    assert api.gate.refused == (RETRIES + 1 if "CONCURRENCY" in message else 0)


@pytest.mark.parametrize(("status", "body", "code"), PAGES_RETRIED)
def test_pages_in_between_are_tried_again(
    route: respx.Route, status: int, body: bytes, code: str
) -> None:
    """Gateway pages are tried again, then this photo has failed for now."""
    route.mock(side_effect=[page(status, body), page(200, SOUND)])
    assert isinstance(outcome()[0], Segmentation)
    route.mock(side_effect=None, return_value=page(status, body))
    found, _ = outcome()
    assert isinstance(found, PhotoError)
    assert (found.code, found.transient, found.attempts) == (code, True, RETRIES + 1)
    assert route.call_count == 2 + RETRIES + 1


@pytest.mark.parametrize(("status", "message"), PHOTO_FAILED)
def test_what_is_wrong_with_a_photo_fails_it_at_once(
    route: respx.Route, status: int, message: str
) -> None:
    """One call, no retry, the API's own code and request id; the run goes on."""
    route.mock(return_value=refusal(status, message, request_id="1503306112,dd26", time_used=3))
    found, api = outcome()
    assert isinstance(found, PhotoError)
    assert found.code == message.partition(":")[0]
    assert (found.transient, found.rejected, found.request_id) == (False, False, "1503306112,dd26")
    assert (found.attempts, route.call_count) == (1, 1)
    assert not api.stop.is_set


@pytest.mark.parametrize("body", [b"Request Entity Too Large", b"<html>413</html>", b""])
def test_a_request_that_is_too_large_fails_its_photo(route: respx.Route, body: bytes) -> None:
    """413 comes as plain text or as a page: this photo failed, and no other."""
    route.mock(return_value=page(413, body))
    found, api = outcome()
    assert isinstance(found, PhotoError)
    assert (found.code, found.attempts, found.transient) == ("Request Entity Too Large", 1, False)
    assert not api.stop.is_set


@pytest.mark.parametrize(("status", "message", "words"), STOPPED)
def test_what_concerns_the_key_stops_the_run(
    route: respx.Route, status: int, message: str, words: str
) -> None:
    """One call, the run's stop flag set with words for the user, and no secret in them."""
    route.mock(return_value=refusal(status, message))
    found, api = outcome()
    assert isinstance(found, FatalError)
    assert isinstance(found, AccountError) == (message != "API_NOT_FOUND")
    assert found.attempts == route.call_count == 1
    assert isinstance(api.stop.reason, FatalError)
    assert api.stop.reason.exit_code == 4
    assert words in str(api.stop.reason)
    assert "SECRETSECRET" not in str(api.stop.reason)


def test_a_404_page_stops_the_run(route: respx.Route) -> None:
    """A server that does not know the address at all is the wrong endpoint."""
    route.mock(return_value=page(404, b"<html>404</html>"))
    found, api = outcome()
    assert isinstance(found, FatalError)
    assert "--endpoint" in str(api.stop.reason)
    assert HOST in str(api.stop.reason)


def test_after_a_stop_nothing_is_sent(route: respx.Route) -> None:
    """Photos that come after a refused key are not sent: they stay pending."""
    route.mock(return_value=refusal(401, "AUTHENTICATION_ERROR"))

    async def work(api: Api) -> list[Segmentation | BaseException]:
        photos = [api.segment() for _ in range(20)]
        return await asyncio.gather(*photos, return_exceptions=True)

    found = with_api(work)
    assert route.call_count == 1
    kinds = [type(one) for one in found]
    assert (kinds.count(AccountError), kinds.count(Stopped)) == (1, 19)
    assert all(one.attempts == 0 for one in found if isinstance(one, Stopped))


def test_a_stop_during_the_rest_before_a_retry(route: respx.Route) -> None:
    """A photo that waits for its retry when the run ends stays pending, its call counted."""

    async def work(api: Api) -> HbsegError:
        def refuse(_: httpx.Request) -> httpx.Response:
            api.stop.set(FatalError("the disk is full"))
            return refusal(500, "INTERNAL_ERROR")

        route.mock(side_effect=refuse)
        with pytest.raises(Stopped) as caught:
            await api.segment()
        return caught.value

    assert with_api(work).attempts == 1
    assert route.call_count == 1


def test_tasks_do_not_mix_their_errors_up(route: respx.Route) -> None:
    """Photos under way together each meet their own answer, retries and all."""
    answers: dict[int, list[httpx.Response]] = {
        n: [refusal(500, "INTERNAL_ERROR")] * (n % 3)
        + [refusal(400, "INVALID_IMAGE_SIZE") if n % 2 else page(200, SOUND)]
        for n in range(24)
    }
    photos = [
        uploads.prepare(read_header(jpeg(quarters(), comment=b"#%d#" % n)), fit=False)
        for n in range(24)
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        return answers[int(request.content.split(b"#")[1])].pop(0)

    route.mock(side_effect=answer)

    async def work(api: Api) -> list[Segmentation | BaseException]:
        tasks = [api.engine.segment(photo, Ask()) for photo in photos]
        return await asyncio.gather(*tasks, return_exceptions=True)

    for n, one in enumerate(with_api(work)):
        assert isinstance(one, PhotoError if n % 2 else Segmentation)
        assert one.attempts == n % 3 + 1


def test_retries_wait_with_full_jitter(route: respx.Route) -> None:
    """Rests before retries are random, below a bound that doubles: .5, 1, 2 ... 20 seconds."""
    route.mock(return_value=refusal(412, "IMAGE_DOWNLOAD_TIMEOUT"))
    slept = [
        [s for s in outcome(retries=5)[1].stop.slept if s not in (1.0, 2.0, 4.0)] for _ in range(20)
    ]
    for bound, rests in zip((0.5, 1, 2, 4, 8), zip(*slept, strict=False), strict=False):
        assert all(0 <= rest <= bound for rest in rests)
    assert len({rests[0] for rests in slept}) > 10


def test_no_retries_means_one_call(route: respx.Route) -> None:
    """``--retries 0`` sends once."""
    route.mock(return_value=refusal(500, "INTERNAL_ERROR"))
    found, _ = outcome(retries=0)
    assert isinstance(found, PhotoError)
    assert route.call_count == 1


def test_every_attempt_counts_for_the_call_limit(route: respx.Route) -> None:
    """Retries count: the limit's last call is made, and not one more."""
    route.mock(return_value=refusal(500, "INTERNAL_ERROR"))
    found, api = outcome(max_calls=2, retries=5)
    assert isinstance(found, Stopped)
    assert isinstance(api.stop.reason, CallLimitReached)
    assert api.stop.reason.exit_code == 5
    assert route.call_count == found.attempts == 2


# What is asked for


@pytest.mark.parametrize(
    ("ask", "grayscale", "answer"),
    [
        (Ask(mask=True, cutout=True), b"1", {}),
        (Ask(mask=False, cutout=True), b"0", {"result": None}),
        (Ask(mask=True, cutout=False), b"1", {"body_image": None}),
    ],
)
def test_only_what_is_needed_is_asked_for(
    route: respx.Route, ask: Ask, grayscale: bytes, answer: dict[str, None]
) -> None:
    """Without the mask the request says return_grayscale=0, and its absence is no lie."""
    route.mock(return_value=page(200, body(**answer)))
    found, _ = outcome(ask)
    assert isinstance(found, Segmentation)
    assert (found.mask is not None, found.cutout is not None) == (ask.mask, ask.cutout)
    sent = route.calls.last.request.content
    assert b'name="return_grayscale"\r\n\r\n' + grayscale + b"\r\n" in sent
    assert PHOTO.data in sent


def test_the_secret_is_in_the_body_only(route: respx.Route) -> None:
    """Key and secret go in the form: never in the address or a header."""
    route.mock(return_value=page(200, SOUND))
    outcome()
    request = route.calls.last.request
    assert b"SECRET" in request.content
    assert "SECRET" not in str(request.url)
    assert "SECRET" not in str(dict(request.headers))
    assert request.headers["content-length"] == str(len(request.content))


def test_without_credentials_there_is_no_engine() -> None:
    """An engine without a key is a programming error."""
    stop = Stop()
    with pytest.raises(ValueError, match="credentials"):
        ApiEngine(ApiSettings(), Gate(RateController(1, None), OwnSlots(), stop), stop)


def test_tls_certificates_are_checked() -> None:
    """Https is verified: a key must not go to whoever answers."""

    async def context() -> ssl.SSLContext:
        one = Http("https://example.com", Timeouts())
        tls = one._tls
        assert tls is not None
        await one.aclose()
        return tls

    assert asyncio.run(context()).verify_mode is ssl.CERT_REQUIRED
