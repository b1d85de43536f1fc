"""When a watched file is handed out, in a time that the test moves on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import NotReady, PhotoError
from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.core.photo import Due, Photo
from humanbody_cli.core.settings import InputSettings
from humanbody_cli.discovery.find import find
from humanbody_cli.discovery.tree import Part
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.jobs.watching.inbox import INCOMPLETE_REST, RETRY_REST, Inbox

SETTLE, RESCAN = 2.0, 60.0
DAMAGED = PhotoError(api_spec.UNREADABLE, "cut short", rejected=True)


@dataclass
class Watched:
    """A folder, its inbox, and a clock that only `later` moves."""

    folder: Path
    now: float = 0.0
    walks: list[Part | None] = field(default_factory=list)
    put_back: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inbox = Inbox(
            self._find,
            lambda due: self.put_back.append(due.photo.name),
            settle=SETTLE,
            rescan=RESCAN,
            clock=lambda: self.now,
        )

    def _find(self, part: Part | None) -> Iterator[Photo]:
        self.walks.append(part)
        return find(InputSettings((str(self.folder),)), Walk(part=part))

    def write(self, name: str, text: str = "x") -> Path:
        """A file is written, and the system reports it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, ns=(0, int(self.now * 1e9)))
        self.inbox.changed([str(path)])
        return path

    def later(self, seconds: float) -> list[str]:
        """The names of what is handed out, moment by moment."""
        end, found = self.now + seconds, []
        while self.now < end:
            self.now += 0.25
            found += [photo.name for photo in self.inbox.ready()]
        return found

    def due(self, name: str) -> Due:
        """A photo that was handed out, as the pipeline reads it."""
        path = str(self.folder / name)
        return Due(Photo(path, path, name, -1, -1).seen(), None)

    def done(self, name: str, *, transient: bool = False) -> None:
        """It has ended."""
        status = Status.FAILED if transient else Status.DONE
        self.inbox.ended(Outcome(str(self.folder / name), status, transient=transient))


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """An inbox whose folder was looked through once, empty."""
    made = Watched(tmp_path / "in")
    made.folder.mkdir()
    assert made.inbox.ready() == []
    return made


def test_a_file_is_handed_out_once_it_has_not_changed(watched: Watched) -> None:
    """Not before the settling time has passed since the last change, and only once."""
    for _ in range(4):
        watched.write("a.jpg", f"{watched.now}")
        assert watched.later(1) == []
    assert watched.later(1.25) == []
    assert watched.later(3) == ["a.png"]
    assert watched.later(200) == []


def test_a_change_hands_a_file_out_again(watched: Watched) -> None:
    """A replaced file is handed out again, but not while it is under way."""
    watched.write("a.jpg", "old")
    assert watched.later(4) == ["a.png"]
    watched.write("a.jpg", "newer")
    assert watched.later(10) == []
    watched.done("a.jpg")
    assert watched.later(1) == ["a.png"]


def test_a_file_that_changed_before_its_turn_goes_back(watched: Watched) -> None:
    """What was handed out and has changed when it is read is put back, and rests again."""
    watched.write("a.jpg", "half")
    assert watched.later(4) == ["a.png"]
    watched.write("a.jpg", "the whole")
    with pytest.raises(NotReady):
        watched.inbox.admit(watched.due("a.jpg"), None)
    assert watched.put_back == ["a.jpg"]
    assert watched.later(1.5) == []
    assert watched.later(2) == ["a.png"]
    watched.inbox.admit(watched.due("a.jpg"), None)


def test_a_damaged_file_is_rejected_only_after_a_long_rest(watched: Watched) -> None:
    """It may be half a copy that stands still: it is handed out again after a minute, and then
    its rejection is final."""
    watched.write("a.jpg")
    assert watched.later(4) == ["a.png"]
    with pytest.raises(NotReady):
        watched.inbox.admit(watched.due("a.jpg"), DAMAGED)
    assert watched.later(INCOMPLETE_REST - 5) == []
    assert watched.later(5) == ["a.png"]
    watched.inbox.admit(watched.due("a.jpg"), DAMAGED)


def test_a_damaged_file_that_is_completed_does_not_wait(watched: Watched) -> None:
    """A change ends the long rest."""
    watched.write("a.jpg")
    watched.later(4)
    with pytest.raises(NotReady):
        watched.inbox.admit(watched.due("a.jpg"), DAMAGED)
    watched.write("a.jpg", "complete")
    assert watched.later(3) == ["a.png"]


def test_a_file_that_is_gone_when_it_is_read_is_forgotten(watched: Watched) -> None:
    """A photo that was moved away before its turn is no reject."""
    path = watched.write("a.jpg")
    watched.later(4)
    due = watched.due("a.jpg")
    path.unlink()
    with pytest.raises(NotReady):
        watched.inbox.admit(due, DAMAGED)
    assert watched.later(200) == []
    assert watched.inbox.is_idle


def test_a_temporary_failure_is_tried_again(watched: Watched) -> None:
    """After a quarter of an hour, without any change."""
    watched.write("a.jpg")
    watched.later(4)
    watched.done("a.jpg", transient=True)
    assert watched.later(RETRY_REST - 1) == []
    assert watched.later(2) == ["a.png"]


def test_a_rename_is_found(watched: Watched) -> None:
    """The new name is handed out, the old one forgotten."""
    path = watched.write("a.jpg")
    watched.later(4)
    watched.done("a.jpg")
    path.rename(watched.folder / "b.jpg")
    watched.inbox.changed([str(path), str(watched.folder / "b.jpg")])
    assert watched.later(4) == ["b.png"]


def test_a_neighbour_can_change_a_name(watched: Watched) -> None:
    """Beside a new ``a.png``, the results of ``a.jpg`` have another name, as in a run."""
    watched.write("a.jpg")
    watched.later(4)
    watched.done("a.jpg")
    watched.write("a.png")
    assert watched.later(4) == ["a.jpg.png", "a.png.png"]


def test_a_folder_that_is_moved_in_is_looked_through(watched: Watched, tmp_path: Path) -> None:
    """The system reports the folder alone, not what is in it."""
    away = tmp_path / "away"
    (away / "deeper").mkdir(parents=True)
    (away / "deeper" / "a.jpg").write_text("x")
    away.rename(watched.folder / "new")
    watched.inbox.changed([str(watched.folder / "new")])
    assert watched.later(4) == ["new/deeper/a.png"]


def test_only_what_changed_is_walked(watched: Watched) -> None:
    """A change costs a look into its folder, not into all of them."""
    for name in ("one/a.jpg", "two/b.jpg"):
        watched.write(name)
    watched.later(5)
    watched.walks.clear()
    watched.write("one/c.jpg")
    assert watched.later(4) == ["one/c.png"]
    parts = [part for part in watched.walks if part is not None]
    assert parts
    assert not any(part.holds(str(watched.folder / "two")) for part in parts)


def test_a_change_that_was_not_reported_is_found_within_a_minute(watched: Watched) -> None:
    """Reports may get lost; the whole folder is looked through as well."""
    (watched.folder / "a.jpg").write_text("x")
    assert watched.later(RESCAN + 2 * SETTLE) == ["a.png"]


def test_nothing_is_walked_while_nothing_happens(watched: Watched) -> None:
    """An idle inbox looks once a minute."""
    watched.later(5)
    watched.walks.clear()
    watched.later(10 * RESCAN)
    assert len(watched.walks) == 10


def test_the_end_of_a_photo_is_not_undone_by_a_failure(watched: Watched) -> None:
    """A photo that changed while it failed is handed out for its change, not after a rest."""
    watched.write("a.jpg", "old")
    watched.later(4)
    watched.write("a.jpg", "newer")
    watched.later(4)
    watched.done("a.jpg", transient=True)
    assert watched.later(1) == ["a.png"]
