"""Copies and neighbours in the order in which they are hardest: each photo is paid for once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from conftest import Hbseg, photo
from fake_api import FakeApi
from fake_behaviour import Behaviour

REFUSED = "IMAGE_ERROR_UNSUPPORTED_FORMAT: image_file"


def test_copies_whose_first_call_fails_cost_one_more(paid: Hbseg, tmp_path: Path) -> None:
    """Forty copies at once, of which the first call fails for now: whoever is next, one sound
    answer is paid for and serves them all, in this run or the next."""
    first = photo(tmp_path / "photos/0.jpg")
    for index in range(1, 40):
        shutil.copy(first, tmp_path / f"photos/{index}.jpg")
    with FakeApi.in_thread(Behaviour(script=("INTERNAL_ERROR",), latency=0.2)) as api:
        arguments = ("segment", "photos", "-o", "out", "--endpoint", api.url, "--qps", 400)
        paid(*arguments, "--retries", 0)
        assert paid(*arguments).code == 0
        assert api.stats.kinds["ok"] == 1


def test_the_copy_that_was_paid_for_is_found_among_many(
    paid: Hbseg, hbseg: Hbseg, tmp_path: Path
) -> None:
    """More copies than are looked at at once were done by the embedded engine before the first of
    the API's run was known: it alone is paid for."""
    first = photo(tmp_path / "photos/0/0.jpg")
    for index in range(1, 40):
        shutil.copy(first, tmp_path / f"photos/0/{index}.jpg")
    assert hbseg("segment", "photos", "-o", "out").code == 0
    for index in range(4):
        shutil.copy(first, tmp_path / f"photos/x{index}.jpg")
    with FakeApi.in_thread(Behaviour()) as api:
        assert paid("segment", "photos", "-o", "out", "--endpoint", api.url).code == 0
        assert len(api.stats.calls) == 1


def test_a_name_that_is_free_again_takes_no_row_along(
    paid: Hbseg, api: FakeApi, tmp_path: Path
) -> None:
    """Two photos of one name are done; the first one goes: the second keeps its result,
    whatever it is called now and though it was touched."""
    gone = photo(tmp_path / "photos/x.jpg", seed=1)
    stays = photo(tmp_path / "photos/x.png", seed=2)
    where = ("-o", "out", "--endpoint", api.url)
    for name in ("photos/x.jpg", "photos/x.png"):
        assert paid("segment", name, *where).code == 0
    gone.unlink()
    os.utime(stays)
    for name in ("photos/x.png", "photos"):
        assert paid("segment", name, *where).code == 0
        assert len(api.stats.calls) == 2


@pytest.mark.parametrize("option", [("--edges", "soft"), ("--metadata", "keep")])
def test_a_refused_photo_is_not_sent_again_for_another_look(
    paid: Hbseg, tmp_path: Path, option: tuple[str, str]
) -> None:
    """What the API refused for good is not sent again because its cutout is to look different."""
    photo(tmp_path / "photos/a.jpg")
    with FakeApi.in_thread(Behaviour(always=REFUSED)) as api:
        arguments = ("segment", "photos", "-o", "out", "--endpoint", api.url)
        for options in ((), option):
            assert paid(*arguments, *options).code == 3
            assert len(api.stats.calls) == 1
