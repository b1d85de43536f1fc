"""Which requests of browsers the server takes: other origins, other names, CORS."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import Hbseg
from server_fixture import PORTRAIT, Server, message, running, serving_keys

ORIGIN = "https://shop.example"
PAGES = ["/", "/healthz", "/metrics"]

FOREIGN = [
    {"Origin": "http://evil.test"},
    {"Origin": "null"},
    {"Origin": "http://localhost:1", "Sec-Fetch-Site": "same-site"},
    {"Origin": "http://evil.test", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    {"Sec-Fetch-Site": "anything else"},
    {"Origin": "http://evil.test", "Connection": "Upgrade", "Upgrade": "websocket"},
]
"""What browsers send for a page of another origin: fetch, a sandboxed frame or a file, another port
of this machine, no-cors, a picture, a frame, WebSocket."""

NAVIGATION = {
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}

HOSTS = ["evil.test", "evil.test:8000", "127.0.0.1.evil.test", "localhost.evil.test", "0.0.0.0",
         "8.8.8.8", "evil.localhost", "[::2]", "127.0.0.1@evil.test", ""]  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Without keys, with an origin and a name that are allowed."""
    with running("--cors-origin", ORIGIN, "--allow-host", "Desk.example") as started:
        yield started


@pytest.fixture(scope="module")
def keyed() -> Iterator[Server]:
    with serving_keys() as started:
        yield started


def call(server: Server, headers: dict[str, str], **fields: str) -> httpx.Response:
    """A call of the API with these headers, with a valid key unless ``fields`` say otherwise."""
    data = {"api_key": server.key, "api_secret": server.secret, **fields}
    return httpx.post(
        server.url,
        headers=headers,
        data={name: value for name, value in data.items() if value},
        files={"image_file": PORTRAIT},
        trust_env=False,
        timeout=30,
    )


def upload(server: Server, headers: dict[str, str]) -> httpx.Response:
    """A call without a key, as the page at ``/`` makes it."""
    return call(server, {"hbseg-page": "1", **headers}, api_key="", api_secret="")


def get(server: Server, path: str, headers: dict[str, str]) -> httpx.Response:
    return httpx.get(server.endpoint + path, headers=headers, trust_env=False)


@pytest.mark.parametrize("headers", FOREIGN)
def test_pages_of_other_origins_are_refused(
    server: Server, keyed: Server, headers: dict[str, str]
) -> None:
    """Even with a valid key pair, before the body is read, on servers of both kinds; and so are
    the pages."""
    for one in (server, keyed):
        answer = call(one, headers)
        assert (answer.status_code, message(answer)) == (
            403,
            "AUTHORIZATION_ERROR: Origin not allowed",
        )
        assert "access-control-allow-origin" not in answer.headers
        for path in PAGES:
            page = get(one, path, headers)
            assert page.status_code == 403
            assert "--cors-origin" in page.text


@pytest.mark.parametrize("host", HOSTS)
def test_other_names_are_refused_without_keys(server: Server, host: str) -> None:
    """DNS rebinding: for its browser the foreign page is of this server's own origin. Nothing is
    answered, with or without a key."""
    own = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    for headers in (own, {"Host": host}):
        assert message(call(server, headers)) == "AUTHORIZATION_ERROR: Host not allowed"
        assert message(upload(server, headers)) == "AUTHORIZATION_ERROR: Host not allowed"
        for path in PAGES:
            page = get(server, path, headers)
            assert (page.status_code, "--allow-host" in page.text) == (403, True)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "127.9.9.9", "[::1]:80", "localhost.",
             "desk.example", "desk.example:8000"]
)  # fmt: skip
def test_names_of_this_machine_are_answered(server: Server, host: str) -> None:
    """Loopback names and addresses, whatever the port (a tunnel may have another), and the name
    that the user allowed."""
    assert call(server, {"Host": host}).status_code == 200
    assert get(server, "/", {"Host": host}).status_code == 200


def test_a_server_with_keys_answers_to_every_name(keyed: Server) -> None:
    """A proxy may hand on any Host; without a key nobody gets anything."""
    assert call(keyed, {"Host": "api.example"}).status_code == 200
    assert get(keyed, "/", {"Host": "api.example"}).status_code == 200


def test_a_run_by_another_name_is_told_what_to_do(
    server: Server, hbseg: Hbseg, photos: Path
) -> None:
    """hbseg itself, with an endpoint that the server does not answer to: it stops at the first
    call, and the name of the option is in its sentence."""
    address = f"http://0.0.0.0:{server.port}"  # which leads to this machine
    pair = {"HBSEG_API_KEY": server.key, "HBSEG_API_SECRET": server.secret}
    ended = hbseg("segment", photos, "-o", "out", "--endpoint", address, env=pair)
    assert ended.code == 4
    assert "--allow-host" in ended.err


def test_programs_are_served_as_before(server: Server, keyed: Server) -> None:
    """Programs send none of a browser's headers; HTTP/1.0 has no Host."""
    for one in (server, keyed):
        assert call(one, {}).status_code == 200
        with socket.create_connection(("127.0.0.1", one.port), timeout=10) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_a_link_on_another_site_leads_to_the_page(server: Server) -> None:
    """A navigation of the whole tab shows the page, and does not call the API."""
    assert get(server, "/", NAVIGATION).status_code == 200
    assert upload(server, {**NAVIGATION, "Origin": "http://evil.test"}).status_code == 403


def test_the_page_needs_no_key_without_keys(server: Server) -> None:
    """The page's own upload on a loopback name: coverage and doubt come as headers."""
    answer = upload(server, {"Origin": server.endpoint, "Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 200
    assert 0.5 < float(answer.headers["hbseg-coverage"]) < 0.7
    assert 0 < float(answer.headers["hbseg-doubt"]) < 0.1
    assert "hbseg-code" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://desk.example", "Host": "desk.example"},
    ],
    ids=["no browser", "an allowed origin", "an allowed name"],
)
def test_everyone_else_needs_a_key(server: Server, headers: dict[str, str]) -> None:
    """A call without a key is taken of the page alone, and on loopback alone."""
    answer = upload(server, headers)
    assert message(answer) == "MISSING_ARGUMENTS: api_key"
    page = get(server, "/", {"Host": "desk.example"})
    assert 'data-keyless="no"' in page.text


def test_the_page_needs_a_key_with_keys(keyed: Server) -> None:
    """With --keys there is no way without one, on loopback either."""
    answer = upload(keyed, {"Origin": keyed.endpoint, "Sec-Fetch-Site": "same-origin"})
    assert message(answer) == "MISSING_ARGUMENTS: api_key"
    assert 'data-keyless="no"' in get(keyed, "/", {}).text


def test_the_page_works_behind_a_proxy(keyed: Server) -> None:
    """A proxy with TLS, which keeps Host; and one that changes it, where the browser says that the
    origin is the same."""
    for headers in (
        {"Host": "a.example", "Origin": "https://a.example"},
        {"Origin": "https://a.example", "Sec-Fetch-Site": "same-origin"},
    ):
        assert call(keyed, headers).status_code == 200


# --- CORS -----------------------------------------------------------------------------------------


def preflight(server: Server, origin: str, **headers: str) -> httpx.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.options(server.url, headers={**asked, **more}, trust_env=False)


def test_an_allowed_origin_may_call_and_read(server: Server) -> None:
    """The answer names the origin and varies by it; errors do so too; cookies are not asked for."""
    sent = {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}
    for answer in (call(server, sent), call(server, sent, api_secret="wrong")):
        assert answer.status_code in (200, 401)
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers


def test_a_preflight_is_answered(server: Server) -> None:
    """For POST, of the allowed origin, on the API's path alone, from public pages to a private
    network too."""
    answer = preflight(server, ORIGIN, Access_Control_Request_Private_Network="true")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-credentials" not in answer.headers
    for refused in (
        preflight(server, "https://shop.example.evil.test"),
        preflight(server, "null"),
        preflight(server, ORIGIN, Access_Control_Request_Headers="hbseg-page"),
        preflight(server, ORIGIN, Access_Control_Request_Method="DELETE"),
    ):
        assert refused.status_code == 400
    page = httpx.options(server.endpoint + "/", headers={"Origin": ORIGIN}, trust_env=False)
    assert page.status_code == 404
    assert "access-control-allow-origin" not in page.headers


def test_without_the_option_no_preflight_succeeds(keyed: Server) -> None:
    """No origin is allowed by default."""
    answer = preflight(keyed, ORIGIN)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_an_allowed_origin_gets_no_pages(server: Server) -> None:
    """What may be called is the API; figures and page are not for other origins."""
    for path in PAGES:
        page = get(server, path, {"Origin": ORIGIN})
        assert "access-control-allow-origin" not in page.headers


def test_every_origin_on_a_server_with_keys(tmp_path: Path) -> None:
    """``*`` for a public server: its callers need a key anyway."""
    keys = tmp_path / "keys"
    keys.write_text("good secret\n")
    with running("--keys", str(keys), env=environment("*")) as server:
        server.key, server.secret = "good", "secret"
        answer = call(server, {"Origin": "https://any.example"})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert preflight(server, "https://any.example").status_code == 200


def test_several_origins_in_the_environment() -> None:
    """The variable has them separated by spaces."""
    with running(env=environment(f"http://a.example {ORIGIN}")) as server:
        assert preflight(server, ORIGIN).status_code == 200
        assert preflight(server, "http://a.example").status_code == 200


def environment(origins: str) -> dict[str, str]:
    return {**os.environ, "HBSEG_SERVE_CORS_ORIGIN": origins}
