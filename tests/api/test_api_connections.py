"""Connections of the API engine that break, are never made, or bring too much."""

from __future__ import annotations

import asyncio
import gzip
import random
import zlib
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import respx
from api_engine import (
    HOST,
    RETRIES,
    SOUND,
    URL,
    Api,
    outcome,
    page,
    refusal,
    with_api,
)
from making import png
from PIL import Image

from humanbody_cli.api.answer_budget import Budget
from humanbody_cli.api.requests import Multipart
from humanbody_cli.api.responses import Success, success_body
from humanbody_cli.api.transport.http import MAX_ERROR_PAGE, Http, Unsound, longest_answer
from humanbody_cli.core.errors import (
    FatalError,
    HbsegError,
    PhotoError,
    Stopped,
)
from humanbody_cli.core.network import TRANSPORT_FAULTS, explain
from humanbody_cli.core.settings import Timeouts
from humanbody_cli.pipeline.engine import Segmentation

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
    assert explain(kind("")) in [text for _, text in TRANSPORT_FAULTS]


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
