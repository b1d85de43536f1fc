"""The walk gives files other names while workers look for results: neither disturbs the other."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import files, photo, run_settings
from fake_api import FakeApi

from humanbody_cli.core.photo import Due
from humanbody_cli.jobs import segment
from humanbody_cli.pipeline.earlier import reuse
from humanbody_cli.storage.names import marked
from humanbody_cli.storage.naming import OutputNames


def _hold_the_first_look(monkeypatch: pytest.MonkeyPatch, until: threading.Event) -> None:
    """The first look at a published file waits until the walk has come further."""
    look, first = reuse._read, threading.Lock()

    def held(path: str) -> bytes | None:
        if first.acquire(blocking=False):
            until.wait(20)
        return look(path)

    monkeypatch.setattr(reuse, "_read", held)


def _tell_of_chunks(monkeypatch: pytest.MonkeyPatch, count: int) -> threading.Event:
    """Set once the names of so many chunks of photos are settled."""
    told, settle = threading.Event(), OutputNames.settle
    seen: list[int] = []

    def settling(self: OutputNames, photos: Sequence[Due]) -> list[Due]:
        due = settle(self, photos)
        seen.append(len(due))
        if len(seen) == count:
            told.set()
        return due

    monkeypatch.setattr(OutputNames, "settle", settling)
    return told


def _many(folder: Path, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        photo(folder / f"{number:04}.jpg", seed=number, size=(64, 48))


def test_a_name_that_changes_hands_meanwhile_costs_no_call(
    tmp_path: Path, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy looks for the results of another photo while the walk renames them: it finds them
    under their new name, and the journal stays whole."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    _many(photos / "sub", 3)
    assert segment.segment(run_settings(photos / "sub", out, api.url)) == 0
    calls = len(api.stats.calls)
    # The outer folder's own photos want the names that the inner ones have had so far.
    _many(photos, 520, first=0)
    copy = photos / "sub" / "0000.jpg"
    (photos / "0000.jpg").write_bytes(copy.read_bytes())
    (photos / "0001.jpg").write_bytes((photos / "sub" / "0001.jpg").read_bytes())
    distinct = 520 - 2 - 1  # two are copies, one more has the bytes of sub/0002
    _hold_the_first_look(monkeypatch, _tell_of_chunks(monkeypatch, 2))
    assert segment.segment(run_settings(photos, out, api.url)) == 0
    assert len(api.stats.calls) - calls == distinct
    assert len(files(out)) == 2 * 523
    assert not list((out / ".hbseg").glob("*damaged*"))


def test_a_foreign_file_at_a_marked_name_ends_no_run(tmp_path: Path, api: FakeApi) -> None:
    """Where a photo cannot make room, because a file of the user's is in the way, the other one
    takes a name of its own: no file is lost and none is overwritten."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    photo(photos / "sub/x.jpg", seed=1)
    assert segment.segment(run_settings(photos / "sub", out, api.url)) == 0
    mine = out / "masks" / marked("x.png", str(photos / "sub/x.jpg"))
    mine.write_bytes(b"mine")
    photo(photos / "x.jpg", seed=2, size=(120, 90))
    assert segment.segment(run_settings(photos, out, api.url)) == 0
    assert mine.read_bytes() == b"mine"
    assert len(api.stats.calls) == 2
