"""The answer for a single file: kept until the file is there, and paid for once."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

from conftest import Hbseg, Run, photo
from fake_api import FakeApi
from fake_behaviour import Behaviour
from making import noise
from results import names
from waiting import until

from humanbody_cli.jobs.single.place import kept_answer

SLOW = ("--canvas", "4000", "--background", "noise.png")
"""A picture that takes more than a second to compose, and tens of megabytes."""


def test_an_answer_outlives_a_kill(paid: Hbseg, one: Run, api: FakeApi, tmp_path: Path) -> None:
    """Killed between the answer and the file: nothing at the name, and no second call."""
    noise((800, 800)).save(tmp_path / "noise.png")
    arguments = ("segment", "me.jpg", "-o", "new/me.png", *SLOW, "--endpoint", api.url)
    with paid.start(*arguments) as command:
        assert until(lambda: any(path.stat().st_size for path in tmp_path.glob("new/.hbseg-*")))
        command.send_signal(signal.SIGKILL)
    assert not (tmp_path / "new/me.png").exists()
    one("me.jpg", "-o", "new/me.png", *SLOW)
    assert len(api.stats.calls) == 1
    assert names(tmp_path / "new") == ["me.png"]


def test_an_answer_is_dropped_once_its_file_is_there(
    paid: Hbseg, one: Run, api: FakeApi, tmp_path: Path
) -> None:
    """A run that was killed between the file and the removal of its answer leaves it to the next
    one, which has nothing else to do."""
    one("me.jpg", "-o", "me.png")
    with kept_answer(str(tmp_path / "me.png")) as answer:
        answer.keep(b"left over")
    assert len(names(tmp_path)) == 3
    one("me.jpg", "-o", "me.png")
    assert names(tmp_path) == ["me.jpg", "me.png"]
    assert len(api.stats.calls) == 1


def test_an_answer_outlives_a_picture_that_cannot_be_composed(
    one: Run, api: FakeApi, tmp_path: Path
) -> None:
    """Too large for a WebP: exit 3 and what to do; doing it costs no second call."""
    ended = one("me.jpg", "-o", "new/me.webp", "--canvas", "16384x10", code=3)
    assert "a webp has at most 16,383 pixels per side" in ended.err
    one("me.jpg", "-o", "new/me.webp", "--canvas", "1000x10")
    assert len(api.stats.calls) == 1
    assert names(tmp_path / "new") == ["me.webp"]


def test_a_call_in_flight_is_finished(paid: Hbseg, api: FakeApi, tmp_path: Path) -> None:
    """After Ctrl-C its answer still becomes the file, and the exit code is 130."""
    photo(tmp_path / "me.jpg")
    api.reset(Behaviour(latency=3.0))
    arguments = ("segment", "me.jpg", "-o", "me.png", "--endpoint", api.url)
    with paid.start(*arguments) as command:
        assert until(lambda: bool(api.stats.calls))
        command.send_signal(signal.SIGINT)
        assert command.wait(60) == 130
    assert names(tmp_path) == ["me.jpg", "me.png"]
    assert paid(*arguments).code == 0
    assert len(api.stats.calls) == 1


def test_an_answer_outlives_a_file_that_cannot_be_written(
    one: Run, api: FakeApi, tmp_path: Path
) -> None:
    """The file grows beyond what the system allows: exit 4, and later no second call."""
    noise((800, 800)).save(tmp_path / "noise.png")
    size = 1_000_000

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    ended = one("me.jpg", "-o", "new/me.png", *SLOW, code=4, preexec_fn=limited)
    assert "may not grow this large" in ended.err
    assert not (tmp_path / "new/me.png").exists()
    one("me.jpg", "-o", "new/me.png", *SLOW)
    assert len(api.stats.calls) == 1
    assert names(tmp_path / "new") == ["me.png"]
