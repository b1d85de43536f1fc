"""Addresses that image_url must not reach, or that are none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from server_fixture import PORTRAIT, Server, message, running, site


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("--fetch-timeout", "0.5") as started:
        yield started


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "localhost", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "0x7f.1",
        "2130706433", "127.1", "[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[ff02::1]",
        "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
    ],
)  # fmt: skip
def test_private_addresses_are_not_fetched(server: Server, address: str) -> None:
    """image_url reaches nothing inside, however the address is written."""
    with site({"/photo.jpg": PORTRAIT}) as web:
        answer = server.form(image_url=f"http://{address}:{web.rpartition(':')[2]}/photo.jpg")
    assert (answer.status_code, message(answer)) == (400, "INVALID_IMAGE_URL")


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8:65536/", "http://127.0.0.1:65536/", "http://127.0.0.1:0/",
        "http://127.0.0.1:" + "9" * 40, "http://127.0.0.1:-1/", "http://127.0.0.1:x/",
        "http://[::1]:65536/", "http://[::1%25lo]:1/", "http://[fe80::1%lo]:1/", "http://[::1/",
        "http://[v1.a]/", "http://me:secret@127.0.0.1:1/", "http://@:1/", "http://:1/", "http:///",
        "http://" + "a" * 64 + ".example/", "http://" + "a." * 900, "http://.example/",
        "http://a..b/", "http://xn--zzzzzz/", "http://\u2028/", "http://\U0001f600.invalid/",
        "http://a%00b/", "http://a\x00b/", "http://a\rb/", "http://127.0.0.1:1/\nX: y", "http://%/",
        "ftp://127.0.0.1/", "file:///etc/passwd", "javascript:x", "data:,x", "//127.0.0.1/", "x",
        "http:127.0.0.1", "HTTP://127.0.0.1:99999", "https://127.0.0.1:65536", "\ud7ff",
    ],
)  # fmt: skip
def test_addresses_that_are_none(server: Server, url: str) -> None:
    """Whatever is sent for an address, it is the client's fault and not the server's."""
    answer = server.form(image_url=url)
    assert (answer.status_code, message(answer)) == (400, "INVALID_IMAGE_URL")
