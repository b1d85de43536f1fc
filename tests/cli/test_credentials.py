"""The key pair: where it comes from, what a bad one costs, and where it must not appear."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import KEY, SECRET, Hbseg
from fake_api import FakeApi
from fake_behaviour import Behaviour


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
