"""The API engine against every answer that there is: retry, this photo failed, or stop the run."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import ssl
import zlib
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import respx
from api_engine import (
    CUTOUT,
    HOST,
    MASK,
    PHOTO,
    RETRIES,
    SIZE,
    SOUND,
    URL,
    Api,
    body,
    encoded,
    outcome,
    page,
    refusal,
    with_api,
)
from making import jpeg, noise, opened, png, quarters
from PIL import Image

from humanbody_cli.api.adaptive_rate import RateController
from humanbody_cli.api.answer_budget import Budget
from humanbody_cli.api.engine import ApiEngine
from humanbody_cli.api.gate import Gate
from humanbody_cli.api.http import MAX_ERROR_PAGE, Http, Unsound, longest_answer
from humanbody_cli.api.requests import Multipart
from humanbody_cli.api.responses import Success, success_body
from humanbody_cli.api.slots import OwnSlots
from humanbody_cli.core.errors import (
    AccountError,
    CallLimitReached,
    FatalError,
    HbsegError,
    PhotoError,
    Stopped,
)
from humanbody_cli.core.network import FAULTS, explain
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


# Connections


FAULTY = [
    httpx.ReadTimeout("slow"),
    httpx.WriteTimeout("slow"),
    httpx.ReadError("reset"),
    httpx.WriteError("broken pipe"),
    httpx.RemoteProtocolError("cut"),
]


@pytest.mark.parametrize("fault", FAULTY, ids=lambda fault: type(fault).__name__)
def test_broken_connections_are_tried_again(
    route: respx.Route, fault: httpx.TransportError
) -> None:
    """A connection that fails in any way is tried again, then this photo has failed for now."""
    route.mock(side_effect=[fault, page(200, SOUND)])
    found, _ = outcome()
    assert isinstance(found, Segmentation)
    assert found.attempts == 2
    route.mock(side_effect=fault)
    failed, api = outcome()
    assert isinstance(failed, PhotoError)
    assert (failed.code, failed.transient) == ("CONNECTION_ERROR", True)
    assert failed.attempts == RETRIES + 1
    assert "attempts: 3" in failed.message
    assert api.gate.in_flight == 0


def _kinds(root: type[httpx.TransportError]) -> list[type[httpx.TransportError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _kinds(child))]


@pytest.mark.parametrize("kind", _kinds(httpx.TransportError), ids=lambda kind: kind.__name__)
def test_every_transport_fault_has_words(kind: type[httpx.TransportError]) -> None:
    """Each fault that httpx knows is explained, by the words nearest to it."""
    assert explain(kind("detail")).endswith("(detail)")
    assert explain(kind("")) in [text for _, text in FAULTS]


def post(response: httpx.Response, route: respx.Route, most: int = 1 << 20) -> tuple[int, bytes]:
    """What one POST that is answered with this comes to."""
    route.mock(return_value=response)

    async def work() -> tuple[int, bytes]:
        one = Http(URL, Timeouts())
        try:
            with Budget().room() as room:
                return await one.post(Multipart(b"x", "text/plain"), most, room)
        finally:
            await one.aclose()

    return asyncio.run(work())


async def endless() -> AsyncIterator[bytes]:
    """A body without end."""
    while True:
        yield bytes(1 << 16)


def test_an_answer_without_end_is_given_up(route: respx.Route) -> None:
    """An answer beyond what its photo can need is not read to its end."""
    with pytest.raises(Unsound, match="longer than 1,048,576 bytes"):
        post(httpx.Response(200, stream=_Endless(endless)), route)


def test_an_answer_that_announces_too_much_is_not_read(route: respx.Route) -> None:
    """The length in the header is believed before a byte of the body is read."""

    async def unread() -> AsyncIterator[bytes]:
        for _ in range(1):
            raise AssertionError("the body was read")
        yield b""

    headers = {"Content-Length": str(10 << 30)}
    with pytest.raises(Unsound, match="longer"):
        post(httpx.Response(200, headers=headers, stream=_Endless(unread)), route)


def test_of_an_error_page_only_the_beginning_is_read(route: respx.Route) -> None:
    """An error without end is that error: its status says what to do."""
    status, page = post(httpx.Response(502, stream=_Endless(endless)), route)
    assert (status, len(page)) == (502, MAX_ERROR_PAGE)


@pytest.mark.parametrize("packed", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
def test_a_compressed_answer_is_read_within_its_bound(
    route: respx.Route, packed: Callable[[bytes], bytes]
) -> None:
    """A proxy that compresses unasked loses nothing; a few kilobytes that hold 100 MB do."""
    encoding = {"Content-Encoding": "gzip" if packed is gzip.compress else "deflate"}
    sound = httpx.Response(200, headers=encoding, stream=_Once(packed(SOUND)))
    assert post(sound, route) == (200, SOUND)
    with pytest.raises(Unsound, match="longer"):
        post(httpx.Response(200, headers=encoding, stream=_Once(packed(bytes(10**8)))), route)
    with pytest.raises(Unsound, match="damaged"):
        post(httpx.Response(200, headers=encoding, stream=_Once(b"nonsense")), route)
    nested = {"Content-Encoding": "gzip, gzip"}
    with pytest.raises(Unsound, match="unknown"):
        post(httpx.Response(200, headers=nested, stream=_Once(b"")), route)


class _Endless(httpx.AsyncByteStream):
    def __init__(self, make: Callable[[], AsyncIterator[bytes]]) -> None:
        self._make = make

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._make()


class _Once(httpx.AsyncByteStream):
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data


def test_the_bound_holds_for_what_does_not_compress() -> None:
    """Pixels of pure noise, at any size, fit into the bound, however JSON spells the base64."""
    for size in ((48, 48), (300, 200), (1000, 700)):
        pixels = random.Random(1).randbytes(size[0] * size[1] * 4)
        cutout = png(Image.frombytes("RGBA", size, pixels), compress_level=1)
        mask = png(Image.frombytes("L", size, pixels[: size[0] * size[1]]), compress_level=1)
        whole = success_body(Success("a", "b", 7, mask, cutout)).replace(b"/", b"\\/")
        assert len(whole) < longest_answer(size)
    assert longest_answer((4096, 4096)) < 128 * 2**20


LARGER = Image.new("RGBA", (SIZE[0] + 1, SIZE[1]))
LIES = {
    "not-json": b"this is no JSON at all",
    "cut-short": SOUND[: len(SOUND) // 2],
    "cut-by-one": SOUND[:-1],
    "no-object": b"[]",
    "mask-missing": body(result=None),
    "cutout-missing": body(body_image=None),
    "both-missing": body(result=None, body_image=None),
    "mask-empty": body(result=""),
    "mask-no-base64": body(result="*" * 400),
    "cutout-no-base64": body(body_image="*" * 400),
    "mask-padding": body(result=encoded(MASK) + "="),
    "mask-a-number": body(result=7),
    "mask-no-image": body(result=encoded(b"no image" * 30)),
    "cutout-no-image": body(body_image=encoded(b"no image" * 30)),
    "mask-cut-short": body(result=encoded(MASK[:-20])),
    "cutout-cut-short": body(body_image=encoded(CUTOUT[:-20])),
    "mask-larger": body(result=encoded(png(LARGER.convert("L")))),
    "cutout-larger": body(body_image=encoded(png(LARGER))),
    "mask-turned": body(result=encoded(png(opened(MASK).transpose(Image.Transpose.ROTATE_90)))),
    "cutout-turned": body(body_image=encoded(png(Image.new("RGBA", SIZE[::-1])))),
    "cutout-jpeg": body(body_image=encoded(jpeg(quarters()))),
    "cutout-opaque": body(body_image=encoded(png(quarters()))),
    "cutout-flipped-byte": body(body_image=encoded(CUTOUT[:90] + b"\xff" + CUTOUT[91:])),
}


@pytest.mark.parametrize("name", LIES)
def test_lies_are_tried_once_more_and_never_taken(route: respx.Route, name: str) -> None:
    """An answer that is not what the document promises is paid twice at most, and then the photo
    has failed for good."""
    route.mock(side_effect=[page(200, LIES[name]), page(200, SOUND)])
    found, _ = outcome(retries=5)
    assert isinstance(found, Segmentation)
    assert found.attempts == 2
    route.mock(side_effect=None, return_value=page(200, LIES[name]))
    failed, api = outcome(retries=5)
    assert isinstance(failed, PhotoError)
    assert (failed.code, failed.transient) == ("BAD_ANSWER", False)
    assert (failed.attempts, route.call_count) == (2, 4)
    assert not api.stop.is_set


def test_a_lie_without_retries_is_paid_once(route: respx.Route) -> None:
    """``--retries 0`` pays once, and no further run pays again by itself."""
    route.mock(return_value=page(200, LIES["cut-short"]))
    failed, _ = outcome(retries=0)
    assert isinstance(failed, PhotoError)
    assert (failed.transient, failed.attempts, route.call_count) == (False, 1, 1)


def test_lies_between_other_failures_are_counted_together(route: respx.Route) -> None:
    """The second lie is the last, whatever came between; other failures keep their retries."""
    broken = httpx.ReadError("reset")
    lie, failure = page(200, LIES["cutout-larger"]), refusal(500, "INTERNAL_ERROR")
    route.mock(side_effect=[failure, lie, broken, failure, lie, page(200, SOUND)])
    failed, _ = outcome(retries=9)
    assert isinstance(failed, PhotoError)
    assert (failed.code, failed.transient, failed.attempts) == ("BAD_ANSWER", False, 5)
    route.mock(side_effect=[failure, lie, broken, failure, page(200, SOUND)])
    found, _ = outcome(retries=9)
    assert isinstance(found, Segmentation)
    assert found.attempts == 5


def test_a_lie_before_an_outage_leaves_the_photo_for_the_next_run(route: respx.Route) -> None:
    """One lie and then a server that fails: the last word was a failure that may pass."""
    route.mock(side_effect=[page(200, LIES["cut-short"]), *[refusal(500, "INTERNAL_ERROR")] * 2])
    failed, _ = outcome(retries=2)
    assert isinstance(failed, PhotoError)
    assert (failed.code, failed.transient, failed.attempts) == ("INTERNAL_ERROR", True, 3)


@pytest.mark.parametrize("empty", [None, "", "  ", False, 0, [], {}], ids=repr)
def test_an_empty_error_beside_sound_images_is_an_answer(route: respx.Route, empty: object) -> None:
    """Servers that always write error_message leave it empty in a success: it is paid and taken."""
    route.mock(
        return_value=page(200, json.dumps({**json.loads(SOUND), "error_message": empty}).encode())
    )
    found, _ = outcome()
    assert isinstance(found, Segmentation)
    assert (found.cutout, route.call_count) == (CUTOUT, 1)


def test_an_empty_error_without_images_is_unsound(route: respx.Route) -> None:
    """Nothing named and nothing sent: as any answer without its images."""
    route.mock(return_value=page(200, b'{"error_message": null, "request_id": "a"}'))
    failed, _ = outcome(retries=5)
    assert isinstance(failed, PhotoError)
    assert (failed.code, failed.attempts) == ("BAD_ANSWER", 2)


# Pages of whatever stands in between


@pytest.mark.parametrize("status", [401, 402, 403, 405, 407, 411, 421, 451, 501, 505, 511, 302])
@pytest.mark.parametrize(
    "text", [b"<html>Access denied</html>", b"", b'"Forbidden"', b'{"message": "Forbidden"}', b"[]"]
)
def test_a_page_that_never_gets_better_stops_the_run_at_once(status: int, text: bytes) -> None:
    """One call; the message names the endpoint without its password, and what to check."""
    endpoint = "https://user:hush@api.example.com"
    with respx.mock(assert_all_called=False) as mock:
        route = mock.post(host="api.example.com").mock(return_value=page(status, text))
        found, api = outcome(endpoint=endpoint, retries=5)
    assert isinstance(found, FatalError)
    assert not isinstance(found, AccountError)
    assert (route.call_count, found.attempts) == (1, 1)
    said = str(api.stop.reason)
    assert said.startswith("https://api.example.com: the server answered")
    assert str(status) in said
    assert any(word in said for word in ("check", "open a web page", "put them in"))
    assert "hush" not in said


@pytest.mark.parametrize("status", [400, 406, 409, 422])
def test_a_page_that_may_concern_one_photo_fails_it_for_now(
    route: respx.Route, status: int
) -> None:
    """A firewall may dislike one upload: one further try, then the next run may try again."""
    route.mock(return_value=page(status, b"<html>blocked</html>"))
    failed, api = outcome(retries=5)
    assert isinstance(failed, PhotoError)
    assert (failed.code, failed.transient, failed.attempts) == ("GATEWAY_ERROR", True, 2)
    assert not api.stop.is_set


# Servers that were never reached

UNREACHED = [
    httpx.ConnectError("refused"),
    httpx.ConnectTimeout("slow"),
    httpx.ProxyError("503 no route"),
]


@pytest.mark.parametrize("fault", UNREACHED, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("retries", [0, 5])
def test_a_server_that_is_never_reached_is_given_up(
    route: respx.Route, fault: httpx.TransportError, retries: int
) -> None:
    """Three connections within four seconds, whatever ``--retries``; then one sentence, exit 4."""
    route.mock(side_effect=fault)
    found, api = outcome(retries=retries)
    assert isinstance(found, FatalError)
    assert (found.exit_code, found.attempts, api.gate.calls) == (4, 0, 0)
    assert route.call_count == 3
    assert api.clock.now - 1000 < 5
    assert f"{HOST} cannot be reached" in str(api.stop.reason)
    assert "check --endpoint" in str(api.stop.reason)


@pytest.mark.parametrize("fault", UNREACHED, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("failures", [1, 2])
def test_a_network_that_comes_up_late_is_waited_for(
    route: respx.Route, fault: httpx.TransportError, failures: int
) -> None:
    """As at boot: the photo is done, and what reached nobody counts as no attempt and no call."""
    route.mock(side_effect=[*[fault] * failures, page(200, SOUND)])
    found, api = outcome(retries=0, max_calls=1)
    assert isinstance(found, Segmentation)
    assert (found.attempts, api.gate.calls) == (1, 1)
    assert not api.stop.is_set


def test_once_a_server_was_reached_an_outage_is_waited_for(route: respx.Route) -> None:
    """After any answer a lost connection is an ordinary failure with its retries."""
    route.mock(side_effect=[refusal(500, "INTERNAL_ERROR"), *[UNREACHED[0]] * 4, page(200, SOUND)])
    found, api = outcome(retries=5)
    assert isinstance(found, Segmentation)
    assert (found.attempts, api.gate.calls) == (6, 2)


def test_all_photos_together_try_no_more_often(route: respx.Route) -> None:
    """Twenty photos that reach nobody make three tries between them; all stay pending."""
    route.mock(side_effect=UNREACHED[0])

    async def work(api: Api) -> list[Segmentation | BaseException]:
        photos = [api.segment() for _ in range(20)]
        return await asyncio.gather(*photos, return_exceptions=True)

    found = with_api(work)
    assert route.call_count == 3
    assert {type(one) for one in found} == {FatalError, Stopped}
    assert all(isinstance(one, HbsegError) and one.attempts == 0 for one in found)


@pytest.mark.parametrize("reached", [False, True])
@pytest.mark.parametrize("refused", ["407 Proxy Authentication Required", "403 Forbidden"])
def test_a_proxy_that_refuses_is_not_asked_again(
    route: respx.Route, reached: bool, refused: str
) -> None:
    """A proxy that wants a password, or allows no such host, answers every call the same way."""
    before = [refusal(500, "INTERNAL_ERROR")] if reached else []
    route.mock(side_effect=[*before, httpx.ProxyError(refused), page(200, SOUND)])
    found, api = outcome(retries=5)
    assert isinstance(found, FatalError)
    assert route.call_count == len(before) + 1
    assert "check the proxy settings" in str(api.stop.reason)


def test_large_lies_are_found_in_the_parsers_thread(route: respx.Route) -> None:
    """Answers that are parsed off the loop meet the same treatment."""
    large = body(body_image=encoded(png(noise((300, 200)).convert("RGBA"), compress_level=0)))
    assert len(large) > 100_000
    route.mock(return_value=page(200, large))
    failed, _ = outcome()
    assert isinstance(failed, PhotoError)
    assert "300 x 200" in failed.message
    assert "96 x 64" in failed.message


@pytest.mark.parametrize("mask", [MASK, jpeg(opened(MASK)), png(opened(MASK).convert("RGB"))])
def test_a_mask_may_be_png_or_jpeg(route: respx.Route, mask: bytes) -> None:
    """The document's sample is a JPEG: both are taken, and become an 8-bit gray PNG."""
    route.mock(return_value=page(200, body(result=encoded(mask))))
    found, _ = outcome()
    assert isinstance(found, Segmentation)
    assert found.mask is not None
    image = opened(found.mask.png)
    assert (image.format, image.mode, image.size) == ("PNG", "L", SIZE)


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
