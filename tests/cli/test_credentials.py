"""The key pair: where it comes from, what a bad one costs, and where it must not appear."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import KEY, SECRET, Hbseg
from fake_api import FakeApi
from fake_behaviour import Behaviour
from odd_servers import answer, serving

from humanbody_cli.core.console import without_password


def test_a_bad_key_costs_one_call(paid: Hbseg, photos: Path) -> None:
    """AUTHENTICATION_ERROR stops the run at its first call: exit 4, a hint, the rest pending."""
    with FakeApi.in_thread(Behaviour(keys=(("other", "pair"),))) as api:
        ended = paid("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 100)
        assert len(api.stats.calls) == 1
    assert ended.code == 4
    assert "AUTHENTICATION_ERROR" in ended.err and "api-us.faceplusplus.com" in ended.err
    status = json.loads(paid("status", "out", "--json").out)
    assert (status["pending"], status["done"]) == (4, 0)


def test_half_a_key_pair_is_a_usage_error(hbseg: Hbseg, photos: Path) -> None:
    """A key without its secret is never sent, and never taken for no key at all."""
    ended = hbseg("segment", photos, "-o", "out", env={"HBSEG_API_KEY": "k"})
    assert ended.code == 2
    assert "HBSEG_API_SECRET" in ended.err


def test_asking_for_the_api_without_a_key_exits_4(hbseg: Hbseg, photos: Path) -> None:
    """``--engine api`` without a key says what to set."""
    ended = hbseg("segment", photos, "-o", "out", "--engine", "api")
    assert ended.code == 4
    assert "HBSEG_API_KEY" in ended.err


def test_credentials_come_from_a_file(hbseg: Hbseg, photos: Path, tmp_path: Path) -> None:
    """``--credentials FILE`` takes the line that the server prints; open permissions are noted."""
    secrets = tmp_path / "pair"
    secrets.write_text(f"api_key={KEY} api_secret={SECRET}\n")
    secrets.chmod(0o644)
    with FakeApi.in_thread(Behaviour(keys=((KEY, SECRET),))) as api:
        arguments = ("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 100)
        ended = hbseg(*arguments, "--credentials", secrets)
    assert ended.code == 0, ended.err
    assert "chmod 600" in ended.err


@pytest.mark.parametrize("kind", ["ok", "AUTHENTICATION_ERROR", "html502", "garbage", "reset"])
def test_the_secret_appears_nowhere(paid: Hbseg, photos: Path, tmp_path: Path, kind: str) -> None:
    """Neither in what is said, even at ``-vv``, nor in any file of the output folder."""
    with FakeApi.in_thread(Behaviour(always=kind)) as api:
        arguments = ("segment", photos / "a.jpg", "-o", "out", "--endpoint", api.url, "--json")
        ended = paid(*arguments, "-vv", "--retries", 1, "--qps", 100)
        helped = paid("segment", "--help")
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET not in ended.out + ended.err + helped.out
    assert SECRET.encode() not in kept


@pytest.mark.parametrize("command", ["segment", "plan"])
@pytest.mark.parametrize("path", ["", "/?no=address"])
def test_a_password_in_the_endpoint_appears_nowhere(
    paid: Hbseg, photos: Path, api: FakeApi, command: str, path: str
) -> None:
    """A proxy's user and password travel in the address, and are not printed with it."""
    address = api.url.replace("//", "//someone:hush@") + path
    ended = paid(command, photos, "-o", "out", "--endpoint", address, "--qps", 100, "-vv")
    assert ended.code == (2 if path else 0), ended.err
    assert "127.0.0.1" in ended.out + ended.err
    assert "hush" not in ended.out + ended.err


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [("someone:hush@127.0.0.1", "127.0.0.1"), ("https://someone:h/hush@127.0.0.1", "127.0.0.1"),
     ("https:\\\\someone:hush@127.0.0.1", "127.0.0.1"), ("https:u:hush@127.0.0.1", "127.0.0.1"),
     ("https://127.0.0.1/?api_secret=hush", "https://127.0.0.1/?..."),
     ("https://someone:#hush@127.0.0.1", "https://127.0.0.1")],
)  # fmt: skip
def test_nor_does_that_of_an_endpoint_that_is_none(hbseg: Hbseg, endpoint: str, shown: str) -> None:
    """No scheme, a slash in the password or a query: what is wrong with an address is no reason to
    print what is secret in it, in a message or in the list of settings."""
    wrong = hbseg("segment", "x.jpg", "-o", "out", "--endpoint", endpoint)
    listed = hbseg("config", env={"HBSEG_ENDPOINT": endpoint})
    for ended in (wrong, listed):
        assert shown in ended.out + ended.err
        assert "hush" not in ended.out + ended.err


@pytest.mark.parametrize(
    "address", ["http://[::1]:80/x", "https://h:80/a@b", "http://256.1.1.1", "http://", ""]
)
def test_an_endpoint_without_a_password_is_shown_as_it_is(address: str) -> None:
    """An ``@`` in a path is none in front of a host."""
    assert without_password(address) == address


@pytest.mark.parametrize(
    ("status", "page"),
    [(403, '{"error_message": "DENIED: %s"}'), (403, '{"error_message": "%s"}'),
     (500, "<html>%s</html>"), (200, '{"error_message": "DENIED: %s"}')],
)  # fmt: skip
def test_a_secret_that_the_server_repeats_is_not_printed(
    hbseg: Hbseg, photos: Path, tmp_path: Path, status: int, page: str
) -> None:
    """A server or proxy in debug mode may answer with the request itself; the message that quotes
    the answer, the records and the journal do without the secret."""
    secret = "hush-hush-hush"
    body = (page % secret).encode()
    with serving(answer(b"%d X" % status, body)) as odd:
        ended = hbseg(
            *("segment", photos / "a.jpg", "-o", "out", "--endpoint", odd.url(), "--json", "-vv"),
            *("--retries", 0, "--qps", 100),
            env={"HBSEG_API_KEY": KEY, "HBSEG_API_SECRET": secret},
        )
    assert ended.code in (3, 4), ended.err
    assert "***" in ended.out + ended.err
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert secret not in ended.out + ended.err and secret.encode() not in kept
