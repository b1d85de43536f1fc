"""The second process that looks at published files."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from humanbody_cli.journal import Done
from humanbody_cli.lookout import Lookout, Looks, OwnLooks


@pytest.fixture(params=["own", "forked", "killed"])
def looks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Looks]:
    """Looks at ``masks/`` and ``cutouts/``: itself, by a second process, by one that was killed."""
    folders = [tmp_path / kind for kind in ("masks", "cutouts")]
    for folder in folders:
        folder.mkdir()
    own = OwnLooks(*(os.fsencode(folder) + b"/" for folder in folders))
    made: Looks = own if request.param == "own" else Lookout(own)
    if request.param == "killed":
        assert isinstance(made, Lookout)
        os.kill(made._process, signal.SIGKILL)
    yield made
    made.close()


def _row(name: str, mask: int | None, cutout: int | None) -> Done:
    return (b"/photos/" + name.encode(), name.encode(), 1, 1, mask, cutout)


def test_only_files_of_the_published_size_are_whole(looks: Looks, tmp_path: Path) -> None:
    """Missing, short, long: each is told, in the order of the questions, whoever looks."""
    for kind in ("masks", "cutouts"):
        (tmp_path / kind / "whole.png").write_bytes(b"12345")
        (tmp_path / kind / "short.png").write_bytes(b"123")
    (tmp_path / "masks" / "half.png").write_bytes(b"12345")
    questions = [
        [_row("whole.png", 5, 5), _row("short.png", 5, 5), _row("gone.png", 5, 5)],
        [],
        [_row("half.png", 5, 5), _row("whole.png", 5, None)],
    ]
    for rows in questions:
        looks.ask(rows)
    assert [looks.answer() for _ in questions] == [b"\1\0\0", b"", b"\0\0"]


def test_what_is_not_wanted_is_not_looked_at(tmp_path: Path) -> None:
    """A run without masks does not miss them."""
    (tmp_path / "a.png").write_bytes(b"12345")
    looks = OwnLooks(None, os.fsencode(tmp_path) + b"/")
    looks.ask([_row("a.png", None, 5)])
    assert looks.answer() == b"\1"
