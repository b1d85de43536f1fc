"""From photos found to photos due: those that the journal knows to be settled are passed by."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from humanbody_cli.core.paths import to_bytes
from humanbody_cli.core.photo import DoneRow, Due, Known, Photo, key_of
from humanbody_cli.pipeline.decision import Decider
from humanbody_cli.pipeline.stat_check import ForkedStatChecker, StatCheck
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.naming import OutputNames

_MANY = 10
"""Photos from which on one question for those that are done saves more than it costs."""

Passed = Callable[[str, list[bytes]], None]
"""Told of photos that are passed by: their settled status and their keys."""


def due(
    chunks: Iterator[list[Photo]],
    journal: Journal,
    decider: Decider,
    passed: Passed,
    names: OutputNames,
    *,
    at_once: bool = False,
) -> Iterator[Due]:
    """The photos that are to be done, lazily, each with an output name of its own.

    They are pending in the journal from then on. ``at_once``: no photo waits for the next.
    """
    for todo in unsettled(chunks, journal, decider, passed, at_once=at_once):
        yield from names.settle(todo)


def unsettled(
    chunks: Iterator[list[Photo]],
    journal: Journal,
    decider: Decider,
    passed: Passed,
    *,
    at_once: bool = False,
) -> Iterator[list[Due]]:
    """The photos that are not settled, a chunk at a time, with what the journal knows of each.
    Writes nothing: a plan asks the same."""
    # A second process costs some milliseconds and saves 2 µs a photo.
    helped = journal.is_large() and not at_once
    stats: StatCheck = ForkedStatChecker(decider.stats) if helped else decider.stats
    try:
        for rest in _not_done(chunks, journal, decider, stats, passed):
            todo = _not_settled(rest, journal, decider, passed)
            if todo:
                yield todo
    finally:
        stats.close()


def _not_done(
    chunks: Iterator[list[Photo]],
    journal: Journal,
    decider: Decider,
    stats: StatCheck,
    passed: Passed,
) -> Iterator[list[Photo]]:
    """The quick check: a hundred thousand done photos are passed by in half a second.

    Questions about the files run some chunks ahead of their answers. Photos that are left have been
    `Photo.seen`.
    """
    asked: deque[tuple[list[Photo], list[DoneRow | None]]] = deque()
    for chunk in chunks:
        keys = [key_of(photo) for photo in chunk]
        # For a few photos the whole check is cheaper than two questions.
        many = len(chunk) >= _MANY
        done = journal.done(keys, decider.fingerprint.accepted) if many else {}
        rows = [
            row if (row := done.get(key)) and decider.is_its_row(photo, row[1], row[3]) else None
            for photo, key in zip(chunk, keys, strict=True)
        ]
        stats.ask(
            [
                row if ".." not in photo.source else (to_bytes(photo.source), *row[1:])
                for photo, row in zip(chunk, rows, strict=True)
                if row is not None
            ]
        )
        asked.append((chunk, rows))
        if len(asked) > stats.ahead:
            yield _rest(*asked.popleft(), stats.answer(), passed)
    while asked:
        yield _rest(*asked.popleft(), stats.answer(), passed)


def _rest(
    chunk: list[Photo], rows: list[DoneRow | None], answer: bytes, passed: Passed
) -> list[Photo]:
    """The photos of a chunk that are not done, or whose files are not whole."""
    if len(answer) == len(chunk) and all(answer):  # as nearly every chunk of a second run
        passed("done", [row[0] for row in rows if row])
        return []
    verdicts = iter(answer)
    whole = [row is not None and next(verdicts) == 1 for row in rows]
    if any(whole):
        passed("done", [row[0] for row, good in zip(rows, whole, strict=True) if good and row])
    return [photo.seen() for photo, good in zip(chunk, whole, strict=True) if not good]


def _not_settled(
    photos: list[Photo], journal: Journal, decider: Decider, passed: Passed
) -> list[Due]:
    """The whole check: done photos that the quick one left, rejects, failures for good."""
    if not photos:
        return []
    rows: dict[bytes, Known] = journal.known([key_of(photo) for photo in photos])
    todo: list[Due] = []
    for photo in photos:
        key = key_of(photo)
        settled = decider.by_row(photo, rows.get(key))
        if settled is None:
            todo.append(Due(photo, rows.get(key)))
        else:
            passed(settled.status, [key])
    return todo
