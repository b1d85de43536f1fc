"""From photos found to photos to be done: what the journal knows to be settled is passed by."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from humanbody_cli.core.paths import to_bytes
from humanbody_cli.core.photo import Photo, key_of
from humanbody_cli.pipeline.fingerprint import Selection
from humanbody_cli.pipeline.stat_check import Lookout, Looks
from humanbody_cli.storage.journal import Done, Due, Files, Journal, Known, Order

Passed = Callable[[str, list[bytes]], None]
"""Told of photos that are passed by: their settled status and their keys."""


def due(
    chunks: Iterator[list[Photo]],
    journal: Journal,
    selection: Selection,
    passed: Passed,
    files: Files,
    order: Order,
    *,
    at_once: bool = False,
) -> Iterator[Due]:
    """The photos that are to be done, lazily, each with an output name of its own.

    They stand in the journal as pending from then on. ``at_once``: no photo waits for the next.
    """
    for todo in unsettled(chunks, journal, selection, passed, at_once=at_once):
        yield from journal.expect([photo for photo, _ in todo], files, order)


def unsettled(
    chunks: Iterator[list[Photo]],
    journal: Journal,
    selection: Selection,
    passed: Passed,
    *,
    at_once: bool = False,
) -> Iterator[list[Due]]:
    """The photos that are not settled, a chunk at a time, with what the journal knows of each.
    Writes nothing: a plan asks the same."""
    # A second process costs some milliseconds and saves 2 µs a photo.
    helped = journal.is_large() and not at_once
    looks: Looks = Lookout(selection.looks) if helped else selection.looks
    try:
        for rest in _not_done(chunks, journal, selection, looks, passed):
            todo = _not_settled(rest, journal, selection, passed)
            if todo:
                yield todo
    finally:
        looks.close()


def _not_done(
    chunks: Iterator[list[Photo]],
    journal: Journal,
    selection: Selection,
    looks: Looks,
    passed: Passed,
) -> Iterator[list[Photo]]:
    """The quick look: a hundred thousand done photos are passed by in half a second.

    Questions about the files run some chunks ahead of their answers. Photos that are left have been
    looked at.
    """
    asked: deque[tuple[list[Photo], list[Done | None]]] = deque()
    for chunk in chunks:
        keys = [to_bytes(photo.key) for photo in chunk]
        done = journal.done(keys, selection.fingerprint.accepted)
        rows = [
            row if (row := done.get(key)) and selection.may_stand(photo, row) else None
            for photo, key in zip(chunk, keys, strict=True)
        ]
        looks.ask(
            [
                row if ".." not in photo.source else (to_bytes(photo.source), *row[1:])
                for photo, row in zip(chunk, rows, strict=True)
                if row is not None
            ]
        )
        asked.append((chunk, rows))
        if len(asked) > looks.ahead:
            yield _rest(*asked.popleft(), looks.answer(), passed)
    while asked:
        yield _rest(*asked.popleft(), looks.answer(), passed)


def _rest(
    chunk: list[Photo], rows: list[Done | None], answer: bytes, passed: Passed
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
    photos: list[Photo], journal: Journal, selection: Selection, passed: Passed
) -> list[Due]:
    """The whole look: rejects and failures that stand."""
    if not photos:
        return []
    rows: dict[bytes, Known] = journal.known([key_of(photo) for photo in photos])
    todo: list[Due] = []
    for photo in photos:
        key = key_of(photo)
        status = selection.settled(photo, rows.get(key))
        if status is None:
            todo.append(Due(photo, rows.get(key)))
        else:
            passed(status, [key])
    return todo
