"""From photos found to photos to be done: what the journal knows to be settled is passed by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from humanbody_cli.journal import Journal, chunked, key_of
from humanbody_cli.photos import Photo
from humanbody_cli.selection import Selection

Passed = Callable[[str, list[bytes]], None]
"""Told of photos that are passed by: their settled status and their keys."""


def due(
    photos: Iterable[Photo], journal: Journal, selection: Selection, passed: Passed
) -> Iterator[Photo]:
    """The photos that are to be done, lazily, each with an output name of its own.

    They stand in the journal as pending from then on.
    """
    for chunk in chunked(photos):
        rest = _not_done(chunk, journal, selection, passed)
        todo = _not_settled(rest, journal, selection, passed) if rest else []
        if todo:
            yield from journal.expect(todo)


def _not_done(
    chunk: list[Photo], journal: Journal, selection: Selection, passed: Passed
) -> list[Photo]:
    """The quick look: a hundred thousand done photos are passed by in about a second."""
    keys = [key_of(photo) for photo in chunk]
    done = journal.done(keys, selection.shape.accepted)
    if not done:
        return chunk
    rest: list[Photo] = []
    settled: list[bytes] = []
    for photo, key in zip(chunk, keys, strict=True):
        row = done.get(key)
        if row is not None and selection.is_done(photo, row):
            settled.append(key)
        else:
            rest.append(photo)
    passed("done", settled)
    return rest


def _not_settled(
    photos: list[Photo], journal: Journal, selection: Selection, passed: Passed
) -> list[Photo]:
    """The whole look: rejects and failures that stand."""
    known = journal.known([key_of(photo) for photo in photos])
    todo: list[Photo] = []
    for photo in photos:
        key = key_of(photo)
        status = selection.settled(photo, known.get(key))
        if status is None:
            todo.append(photo)
        else:
            passed(status, [key])
    return todo
