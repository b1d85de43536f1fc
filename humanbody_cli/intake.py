"""From photos found to photos to be done: what the journal knows to be settled is passed by."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from humanbody_cli.journal import Journal, chunked
from humanbody_cli.photos import Photo
from humanbody_cli.selection import Selection

Passed = Callable[[str, bytes], None]
"""Told of a photo that is passed by: its settled status and its key."""


def due(
    photos: Iterable[Photo], journal: Journal, selection: Selection, passed: Passed
) -> Iterator[Photo]:
    """The photos that are to be done, lazily, each with an output name of its own.

    They stand in the journal as pending from then on.
    """
    for chunk in chunked(photos):
        known = journal.known(chunk)
        todo: list[Photo] = []
        for photo in chunk:
            key = os.fsencode(photo.key)
            status = selection.settled(photo, known.get(key))
            if status is None:
                todo.append(photo)
            else:
                passed(status, key)
        if todo:
            yield from journal.expect(todo)
