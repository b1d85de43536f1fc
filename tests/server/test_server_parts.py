"""The server's parts on their own: quotas on a clock of our own, addresses, forms."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_fixture import site

from humanbody_cli.api.requests import FIELDS, MAX_URL, Refused, parse_form, unescaped
from humanbody_cli.discovery.fetch import is_any, is_public
from humanbody_cli.server.access.auth import RateLimiter, read_keys
from humanbody_cli.server.photos.downloads import Downloads


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


Make = Callable[..., RateLimiter]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(clock: Clock) -> Iterator[Make]:
    with contextlib.ExitStack() as stack:
        yield lambda *limits: stack.enter_context(
            contextlib.closing(RateLimiter(limits, clock=clock))
        )


def accepted(limiter: RateLimiter, clock: Clock, *, every: float, calls: int) -> list[int]:
    """Which of evenly spaced calls are let in."""
    taken = []
    for number in range(calls):
        if limiter.take(0) == "ok":
            taken.append(number)
        clock.now += every
    return taken


def test_quota_is_a_sliding_second(clock: Clock, make: Make) -> None:
    """Three calls in any second, and refused ones do not count."""
    limiter = make((3, None))
    assert accepted(limiter, clock, every=0.1, calls=24) == [0, 1, 2, 10, 11, 12, 20, 21, 22]


def test_even_calls_at_the_quota_are_all_let_in(clock: Clock, make: Make) -> None:
    """Who calls exactly as often as allowed is never refused."""
    limiter = make((4, None))
    assert len(accepted(limiter, clock, every=0.25, calls=40)) == 40


@pytest.mark.parametrize(("qps", "gap"), [(0.5, 2.0), (1.0, 1.0), (2.5, 0.4)])
def test_quota_of_any_rate(clock: Clock, make: Make, qps: float, gap: float) -> None:
    """Rates below one and between whole numbers hold over a longer time."""
    limiter = make((qps, None))
    taken = accepted(limiter, clock, every=0.01, calls=2000)
    assert len(taken) == pytest.approx(20 / gap, abs=2)


def test_balance_is_used_up_by_accepted_calls_only(clock: Clock, make: Make) -> None:
    """A call refused for its pace costs nothing."""
    limiter = make((1, 2))
    assert [limiter.take(0), limiter.take(0)] == ["ok", "quota"]
    clock.now += 1
    assert [limiter.take(0), limiter.take(0)] == ["ok", "balance"]


def test_keys_have_quotas_of_their_own(make: Make) -> None:
    """One key's calls leave another's quota alone; no quota is none."""
    limiter = make((1, None), (1, None), (None, None))
    assert [limiter.take(0), limiter.take(1), limiter.take(0)] == ["ok", "ok", "quota"]
    assert {limiter.take(2) for _ in range(1000)} == {"ok"}


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::"])
def test_public_addresses(text: str) -> None:
    """The internet at large, also where an IPv6 address wraps an IPv4 one."""
    assert is_public(text)


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "0.0.0.0", "::1", "fe80::1%eth0", "fec0::1",
     "fd00::1", "::ffff:192.168.0.1", "64:ff9b::a00:1", "2002:a00:1::", "ff0e::1", "", "x",
     "2001:0:a00:1:0:ffff:f5ff:fffe"],
)  # fmt: skip
def test_other_addresses(text: str) -> None:
    """Private, loopback, link-local, multicast, reserved; wrapped or not."""
    assert not is_public(text)


def fetched(url: str, allowed: Callable[[str], bool]) -> bytes | str:
    """What the server makes of an address: the bytes, or the refusal's code."""

    async def run() -> bytes | str:
        downloads = Downloads(allowed=allowed, seconds=2, at_once=2)
        try:
            return await downloads.fetch(url)
        except Refused as refused:
            return refused.code
        finally:
            downloads.close()

    return asyncio.run(run())


def test_redirects_are_judged_again() -> None:
    """A public page that points inside does not get there."""
    with site({"/a": b"public"}) as web:
        port = web.rpartition(":")[2]
        inside = f"http://127.0.0.2:{port}/a"

        def only_the_first(address: str) -> bool:
            return address == "127.0.0.1"

        assert fetched(f"{web}/a", only_the_first) == b"public"
        assert fetched(f"{web}/to/{web}/a", only_the_first) == b"public"
        assert fetched(f"{web}/to/{inside}", only_the_first) == "INVALID_IMAGE_URL"
        assert fetched(f"{web}/a", is_public) == "INVALID_IMAGE_URL"
        assert fetched(f"{web}/to//a", is_any) == b"public"


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:65536/", "http://127.0.0.1:" + "9" * 40, "//127.0.0.1:99999", "ftp://a/",
        "file:///etc/passwd", "http://me:secret@127.0.0.1/", "http://[::1", "http://[::1%25lo]:1/",
        "http://\xff\xfe/", "http://a..b/", "http://" + "a" * 64, "http://a\x01b/",
        "/" + "a" * 50_000, "http:", "", "\xff" * 10_000,
    ],
)  # fmt: skip
def test_redirects_that_lead_nowhere(location: str) -> None:
    """Whatever a page points to, it is an address that is none."""
    with site({}) as web:
        there = quote(location, safe="", encoding="latin-1")
        assert fetched(f"{web}/to/{there}", is_any) == "INVALID_IMAGE_URL"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_redirects_in_other_letters(encoding: str) -> None:
    """A page points to an address with an umlaut, in either encoding: it is asked for as UTF-8."""
    with site({"/%C3%BC": b"page"}) as web:
        there = quote("/\xfc", safe="", encoding=encoding)
        assert fetched(f"{web}/to/{there}", is_any) == b"page"


@pytest.mark.parametrize("unit", [b"%", b"%41", b"+"])
@pytest.mark.parametrize("name", FIELDS[:2] + FIELDS[3:])
def test_before_the_key_is_known_no_more_than_the_key_is_decoded(name: str, unit: bytes) -> None:
    """2 MB in any field, sent without a key: they are kept as they came, or cut to some thousand
    bytes, and so decoded by nobody or soon."""
    value = unit * (2_000_000 // len(unit))
    form = parse_form("application/x-www-form-urlencoded", name.encode() + b"=" + value)
    assert form.values[name] in (value, value[: len(form.values[name])])
    assert name == "image_base64" or len(form.values[name]) < 20_000


@given(st.text("%0aAfFgG+ &=\xff").map(lambda text: text.encode("latin-1")))
def test_escapes_are_those_of_the_standard_library(value: bytes) -> None:
    """The same bytes, broken escapes included."""
    assert unescaped(value) == unquote_to_bytes(value.replace(b"+", b" "))


def test_a_field_that_is_too_long_is_cut() -> None:
    """A key of megabytes is no key, in either encoding, and an address of that length is told."""
    long = b"a" * 100_000
    form = parse_form(
        "application/x-www-form-urlencoded", b"image_url=" + long + b"&api_key=" + long
    )
    part = b'--B\r\nContent-Disposition: form-data; name="api_key"\r\n\r\n' + long + b"\r\n--B--"
    assert len(form.get("api_key") or b"") < 5000
    assert len(parse_form("multipart/form-data; boundary=B", part).get("api_key") or b"") < 5000
    assert MAX_URL < len(form.get("image_url") or b"") < 20_000


def test_importing_the_server_changes_no_logging() -> None:
    """A program that imports a part of it keeps the levels that it has set."""
    script = (
        "import logging; logging.getLogger('uvicorn').setLevel(logging.DEBUG)\n"
        "import humanbody_cli.server.app, humanbody_cli.server.worker\n"
        "print(logging.getLogger('uvicorn').level)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert ended.stdout.split() == [b"10"]


def test_a_name_is_judged_by_what_it_resolves_to() -> None:
    """localhost is a name like any other."""
    with site({"/a": b"page"}) as web:
        url = f"http://localhost:{web.rpartition(':')[2]}/a"
        assert fetched(url, is_any) == b"page"
        assert fetched(url, is_public) == "INVALID_IMAGE_URL"


def test_broken_multipart_keeps_the_parts_before_the_break() -> None:
    """What came whole stands, so that the right thing is said to be missing."""
    body = (
        b'--B\r\nContent-Disposition: form-data; name="api_key"\r\n\r\nkey\r\n'
        b'--B\r\nContent-Disposition: form-data; name="image_file"\r\n\r\nhalf a pho'
    )
    form = parse_form("multipart/form-data; boundary=B", body)
    assert (form.get("api_key"), form.get("image_file")) == (b"key", None)


def test_first_of_two_equal_fields_counts() -> None:
    """In either encoding."""
    assert (
        parse_form("application/x-www-form-urlencoded", b"api_key=a&api_key=b").get("api_key")
        == b"a"
    )


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json", "multipart/form-data", ";"])
def test_other_bodies_have_no_fields(kind: str) -> None:
    """A body of another kind, or multipart without a boundary, is a form without fields."""
    assert parse_form(kind, b"api_key=a").values == {}


@pytest.mark.parametrize(
    "boundary", ["boundary*=idna''x", "boundary*=undefined''x", "boundary*0=x"]
)
def test_a_boundary_in_an_encoding_of_its_own_is_none(boundary: str) -> None:
    """RFC 2231 encodings are not decoded: a stranger's header raises nothing."""
    assert parse_form(f"multipart/form-data; {boundary}", b"--x--").get("api_key") is None


def test_a_keys_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """As some editors write it: the mark is not a part of the first key."""
    path = tmp_path / "keys"
    path.write_bytes(b"\xef\xbb\xbffirst secret\r\nsecond secret\r\n")
    assert [key.api_key for key in read_keys(path, None)] == ["first", "second"]
