"""An answer that was paid for is kept until it is published: a failing disk does not cost it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import KEY, SECRET, Ended, Hbseg, files
from fake_api import FakeApi

from humanbody_cli import run
from humanbody_cli.protocol.requests import Credentials
from humanbody_cli.publish import RealDisk
from humanbody_cli.receipts import FOLDER, Receipts
from humanbody_cli.settings import (
    ApiSettings,
    EngineChoice,
    InputSettings,
    LocalSettings,
    OutputSettings,
    RunSettings,
    Wanted,
)

PHOTOS = 4  # as many as the fixture makes


class NoRename(RealDisk):
    """A disk that takes bytes and then fails: nothing comes to its final name."""

    def rename(self, old: str, new: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def paid_for(
    tmp_path: Path, photos: Path, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Path]:
    """Makes runs that pay and cannot publish, until every photo was paid for; the answers' folder.

    A run ends at the first failure, so that it takes some.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    settings = RunSettings(
        inputs=InputSettings((str(photos),)),
        output=OutputSettings(tmp_path / "out"),
        wanted=Wanted(),
        engine=EngineChoice.API,
        api=ApiSettings(Credentials(KEY, SECRET), api.url, qps=500.0, concurrency=PHOTOS),
        local=LocalSettings(),
        verbosity=-1,
    )

    def pay() -> Path:
        kept = tmp_path / "out" / ".hbseg" / FOLDER
        while not kept.exists() or len(list(kept.iterdir())) < PHOTOS:
            before = len(api.stats.calls)
            assert run.segment(settings, NoRename()) == 4
            assert before < len(api.stats.calls) <= PHOTOS
        assert files(tmp_path / "out") == {}
        return kept

    return pay


def _again(paid: Hbseg, api: FakeApi, *more: str) -> tuple[Ended, int]:
    """A run to the end, and the calls that it made."""
    before = len(api.stats.calls)
    ended = paid(
        *("segment", "photos", "-o", "out", "--engine", "api", "--endpoint", api.url),
        *("--qps", "500", "--json", *more),
    )
    return ended, len(api.stats.calls) - before


def test_what_could_not_be_published_is_not_paid_for_again(
    paid: Hbseg, api: FakeApi, paid_for: Callable[[], Path]
) -> None:
    """The next run makes everything of the answers kept, as a run without the fault would have;
    the records tell of the one call that each photo cost, and nothing stays behind."""
    kept = paid_for()
    ended, calls = _again(paid, api)
    assert (ended.code, calls) == (0, 0)
    assert [(one["status"], one["attempts"]) for one in ended.records] == [("done", 1)] * PHOTOS
    assert all(one["request_id"] for one in ended.records)
    assert list(kept.iterdir()) == []
    whole = paid(*("segment", "photos", "-o", "whole", "--engine", "api", "--endpoint", api.url))
    assert whole.code == 0
    assert files(paid.cwd / "out") == files(paid.cwd / "whole")


@pytest.mark.parametrize("length", [0, 100, -1])
def test_an_answer_cut_short_is_asked_for_again(
    paid: Hbseg, api: FakeApi, paid_for: Callable[[], Path], length: int
) -> None:
    """A kill may cut the file anywhere: what does not prove whole is no answer."""
    first = paid_for() / "0"
    first.write_bytes(first.read_bytes()[:length])
    ended, calls = _again(paid, api)
    assert (ended.code, calls) == (0, 1)
    assert [one["status"] for one in ended.records] == ["done"] * PHOTOS


def test_force_pays_anew(paid: Hbseg, api: FakeApi, paid_for: Callable[[], Path]) -> None:
    """``--force`` asks for fresh results: an earlier answer is none."""
    paid_for()
    ended, calls = _again(paid, api, "--force")
    assert (ended.code, calls) == (0, PHOTOS)


def test_an_answer_belongs_to_a_photos_bytes_and_to_what_was_sent(
    paid: Hbseg, api: FakeApi, photos: Path, paid_for: Callable[[], Path]
) -> None:
    """A photo that changed is sent; so is one that may be shrunk now."""
    paid_for()
    (photos / "a.jpg").write_bytes((photos / "b.jpg").read_bytes() + b"changed")
    assert _again(paid, api)[1] == 1
    (photos / "c.png").write_bytes((photos / "c.png").read_bytes() + b"changed")
    assert _again(paid, api, "--fit")[1] == 1


def test_nothing_is_kept_of_a_run_that_publishes(paid: Hbseg, api: FakeApi, photos: Path) -> None:
    """Answers are kept for as long as they are needed."""
    ended, calls = _again(paid, api)
    assert (ended.code, calls) == (0, PHOTOS)
    assert list((paid.cwd / "out" / ".hbseg" / FOLDER).iterdir()) == []


def test_an_answer_that_nobody_asks_for_is_let_go(tmp_path: Path) -> None:
    """After a month; until then it waits."""
    receipts = _receipts(tmp_path)
    for name in ("old", "new"):
        receipts.of(name, fitted=False).keep(name.encode())
    path = tmp_path / ".hbseg" / FOLDER / "0"
    month = time.time() - 31 * 86400
    os.utime(path, (month, month))
    receipts = _receipts(tmp_path)
    assert not path.exists()
    assert not receipts.of("old", fitted=False).is_there
    assert not receipts.of("new", fitted=True).is_there
    assert receipts.of("new", fitted=False).body() == b"new"


def test_files_are_used_again(tmp_path: Path) -> None:
    """As many files as answers under way at once; what a kill left of photos that are done is
    free, what it left of others is not touched."""
    receipts = _receipts(tmp_path)
    kept = [receipts.of(name, fitted=False) for name in ("done", "waiting")]
    for receipt in kept:
        receipt.keep(b"answer")
    receipts = _receipts(tmp_path, "done")
    for number in range(20):
        one, two = (receipts.of(f"{number}-{place}", fitted=True) for place in "ab")
        one.keep(b"one")
        two.keep(b"two")
        assert (one.body(), two.body()) == (b"one", b"two")
        one.drop()
        two.drop()
    folder = tmp_path / ".hbseg" / FOLDER
    assert sorted(path.name for path in folder.iterdir()) == ["0", "1", "2"]
    receipts.close()
    assert [path.name for path in folder.iterdir()] == ["1"]
    assert _receipts(tmp_path).of("waiting", fitted=False).body() == b"answer"


def _receipts(root: Path, *settled: str) -> Receipts:
    return Receipts(str(root), settled.__contains__)


def test_where_nothing_can_be_kept_the_run_goes_on(tmp_path: Path) -> None:
    """Keeping is a help: a file in the folder's place is no error."""
    (tmp_path / ".hbseg").write_bytes(b"")
    receipt = _receipts(tmp_path).of("a", fitted=False)
    receipt.keep(b"answer")
    assert receipt.body() == b""
    receipt.drop()
