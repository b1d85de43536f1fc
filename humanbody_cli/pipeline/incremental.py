"""From photos found to photos due: photos that the journal knows to be settled are skipped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from humanbody_cli.core.paths import to_bytes
from humanbody_cli.core.photo import DoneRow, Due, Group, Known, Photo, Siblings, key_of, keys_of
from humanbody_cli.pipeline.decision import Decider, Settled, lacks_person
from humanbody_cli.pipeline.earlier.stat_check import ForkedStatChecker, StatCheck
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.naming import OutputNames

_MANY = 10
"""Photos in a chunk from which the extra query for done photos saves more than it costs."""

OnSkipped = Callable[[Settled, list[bytes]], None]
"""Called with photos that are skipped: how they are settled, and their keys."""


def due(
    chunks: Iterator[Group],
    journal: Journal,
    decider: Decider,
    on_skipped: OnSkipped,
    names: OutputNames,
    *,
    at_once: bool = False,
) -> Iterator[Due]:
    """The photos that are to be done, lazily, each with an output name of its own.

    They are pending in the journal from then on. ``at_once``: no photo waits for the next.
    """
    for todo in unsettled(chunks, journal, decider, on_skipped, at_once=at_once):
        yield from names.settle(todo)


def unsettled(
    chunks: Iterator[Group],
    journal: Journal,
    decider: Decider,
    on_skipped: OnSkipped,
    *,
    at_once: bool = False,
) -> Iterator[list[Due]]:
    """The photos that are not settled, a chunk at a time, with what the journal knows of each.

    Writes nothing: a plan uses it too.
    """
    # A second process costs some milliseconds and saves 2 µs a photo.
    helped = journal.is_large() and not at_once
    stats: StatCheck = ForkedStatChecker(decider.stats) if helped else decider.stats
    try:
        for rest in _not_done(chunks, journal, decider, stats, on_skipped):
            todo = _not_settled(rest, journal, decider, on_skipped)
            if todo:
                yield todo
    finally:
        stats.close()


def foreseen(photos: Group, journal: Journal, decider: Decider) -> int:
    """How many of these photos are most likely settled: by their rows alone, as no file is looked
    at. For an estimate of what is left."""
    if decider.force or journal.was_lost:
        return 0
    keys = keys_of(photos)
    done = {row[0] for row in journal.done(keys, decider.fingerprint.accepted)}
    others = [key for key in keys if key not in done]
    if not others:
        return len(keys)
    left_out = {"rejected"} if decider.retry_failed else {"rejected", "failed"}

    def is_settled(row: Known) -> bool:
        if row.status == "done":  # `Journal.done` leaves out photos in which nobody was found
            is_wanted = row.shape in decider.fingerprint.accepted
            return is_wanted and not lacks_person(decider.fingerprint.wanted, row.coverage)
        return row.status in left_out and not row.transient

    return len(keys) - len(others) + sum(map(is_settled, journal.known(others).values()))


def _not_done(
    chunks: Iterator[Group],
    journal: Journal,
    decider: Decider,
    stats: StatCheck,
    on_skipped: OnSkipped,
) -> Iterator[list[Photo]]:
    """The quick check: skips a hundred thousand done photos in half a second.

    Questions about the files run some chunks ahead of their answers. The remaining photos have been
    `Photo.seen`. Those in which nobody was found are left to the full check.
    """
    asked: deque[tuple[Group, Sequence[DoneRow | None]]] = deque()
    for chunk in chunks:
        rows = _done_rows(chunk, journal, decider)
        stats.ask(_to_look_at(chunk, rows))
        asked.append((chunk, rows))
        if len(asked) > stats.ahead:
            yield _rest(*asked.popleft(), stats.answer(), on_skipped)
    while asked:
        yield _rest(*asked.popleft(), stats.answer(), on_skipped)


def _done_rows(chunk: Group, journal: Journal, decider: Decider) -> Sequence[DoneRow | None]:
    """For each photo its row, if by that it is done."""
    keys = keys_of(chunk)
    # For a few photos the full check alone is cheaper than both.
    many = len(chunk) >= _MANY
    rows = journal.done(keys, decider.fingerprint.accepted) if many else []
    if decider.are_their_rows(chunk, keys, rows):
        return rows
    done = {row[0]: row for row in rows}
    return [
        row if (row := done.get(key)) and decider.is_its_row(photo, row[1], row[3]) else None
        for photo, key in zip(chunk, keys, strict=True)
    ]


def _to_look_at(chunk: Group, rows: Sequence[DoneRow | None]) -> list[DoneRow]:
    """The rows, each with the path of its photo in place of the key where ``..`` in it may lead
    elsewhere now."""
    if isinstance(chunk, Siblings) and ".." not in chunk.here:
        return [row for row in rows if row]
    return [
        row if ".." not in photo.source else (to_bytes(photo.source), *row[1:])
        for photo, row in zip(chunk, rows, strict=True)
        if row is not None
    ]


def _rest(
    chunk: Group, rows: Sequence[DoneRow | None], answer: bytes, on_skipped: OnSkipped
) -> list[Photo]:
    """The photos of a chunk that are not done, or whose files are not whole."""
    if len(answer) == len(chunk) and all(answer):  # as nearly every chunk of a second run
        on_skipped(Settled("done"), [row[0] for row in rows if row])
        return []
    verdicts = iter(answer)
    whole = [row is not None and next(verdicts) == 1 for row in rows]
    if any(whole):
        keys = [row[0] for row, good in zip(rows, whole, strict=True) if good and row]
        on_skipped(Settled("done"), keys)
    return [photo.seen() for photo, good in zip(chunk, whole, strict=True) if not good]


def _not_settled(
    photos: list[Photo], journal: Journal, decider: Decider, on_skipped: OnSkipped
) -> list[Due]:
    """The full check: done photos that the quick one left, rejects, permanent failures."""
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
            on_skipped(settled, [key])
    return todo
