"""Every photo that the user named: on the command line, in folders, in a list.

However many inputs lead to a photo, it has one key and one output name in a run.
"""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.paths import absolute, to_bytes
from humanbody_cli.core.photo import Group, Kind, Photo
from humanbody_cli.core.settings import InputSettings, Shard
from humanbody_cli.discovery import lists
from humanbody_cli.discovery.inputs import (
    STDIN,
    Common,
    Input,
    Met,
    Named,
    arranged,
    holder_of,
    is_path,
    is_second_name,
    place_below,
    relative,
)
from humanbody_cli.discovery.single import from_stdin, single, stdin_in_list
from humanbody_cli.discovery.tree import Folder
from humanbody_cli.discovery.walk import Walk
from humanbody_cli.storage.layout import RECOMPOSED_MARK
from humanbody_cli.storage.names import SUFFIX, Claims, beside, folded, namer

STDIN_BYTES = 256 * 1024 * 1024 + 1
"""Bytes that are read of a photo on stdin: one more than ``--fit`` accepts."""


def find(settings: InputSettings, walk: Walk, *, stdin_bytes: int = STDIN_BYTES) -> Iterator[Photo]:
    """Every photo of the inputs, lazily, in a fixed order, each once; see `find_groups`.

    Raises:
        UsageError: an input named on the command line does not exist, a list cannot be read.
    """
    return itertools.chain.from_iterable(find_groups(settings, walk, stdin_bytes=stdin_bytes))


def find_groups(
    settings: InputSettings, walk: Walk, *, stdin_bytes: int = STDIN_BYTES
) -> Iterator[Group]:
    """The photos of `find`, those of a folder together.

    ``walk`` receives notes for the user. A photo on stdin is read here, up to ``stdin_bytes``.

    Raises:
        UsageError: an input named on the command line does not exist, a list cannot be read.
    """
    found = _Finder(settings, walk, stdin_bytes).groups()
    if settings.shard.count == 1:
        return found
    return ([photo for photo in group if _in_shard(photo, settings.shard)] for group in found)


def find_to_count(settings: InputSettings, walk: Walk) -> Iterator[Group] | None:
    """The photos of `find_groups` once more, while it is at work, to be counted: nothing is taken
    from stdin. ``None`` where their names cannot be read twice."""
    listed = settings.from_file
    if listed is not None and is_piped(settings):
        return None
    if listed == "-":  # a regular file: opened again, it is read from its beginning
        listed = _STDIN_AGAIN
        if not os.path.exists(listed):
            return None
    return find_groups(replace(settings, from_file=listed), walk, stdin_bytes=0)


_STDIN_AGAIN = "/proc/self/fd/0"


def _in_shard(photo: Photo, shard: Shard) -> bool:
    # By output name: the parts are the same on every machine, wherever the photos are stored.
    return zlib.crc32(to_bytes(photo.name)) % shard.count == shard.index - 1


def check_inputs(settings: InputSettings) -> None:
    """Check that every input on the command line exists, before anything is made.

    Raises:
        UsageError: one does not, or the current folder is gone.
    """
    for name in settings.inputs:
        if is_path(name) and not os.path.lexists(name):
            raise UsageError(f"{name}: there is no such file or folder; check the path")
        if is_path(name):
            absolute(name)  # fails where the current folder is gone


def is_piped(settings: InputSettings) -> bool:
    """Whether names come through a pipe: then each is processed as it arrives."""
    return settings.from_file is not None and lists.is_pipe(settings.from_file)


def waits_for_stdin(settings: InputSettings) -> bool:
    """Whether a name or a photo comes through stdin or a pipe, which may stay open for long: no
    photo that is found before it waits for it."""
    return STDIN in settings.inputs or is_piped(settings)


def walk_order(settings: InputSettings) -> Callable[[str], tuple[object, ...] | None]:
    """A function from a photo's key to its position in the walk of the command line's folders.

    Positions compare in the order in which the walk yields the photos: a folder's own by name, then
    those of its subfolders by name. ``None`` if no folder's walk reaches the key.
    """
    named = arranged(settings.inputs, lambda note: None)
    roots = {one.key: index for index, one in enumerate(named.roots)}

    def place(key: str) -> tuple[object, ...] | None:
        root = holder_of(key, roots)
        if root is None:
            return (roots[key],) if key in roots else None
        *folders, base = relative(key, root).split(os.sep)
        # 1 before a folder's name, 0 before a photo's: photos come first.
        steps = [step for folder in folders for step in (1, folder)]
        return (roots[root], *steps, 0, base)

    return place


@dataclass
class _Finder:
    """Goes through the inputs of one run."""

    settings: InputSettings
    walk: Walk
    stdin_bytes: int

    def __post_init__(self) -> None:
        self.claims = Claims()
        self.met: Met | None = None
        self.took_stdin = False
        self.beside: tuple[str, set[str]] = ("", set())
        self.results: tuple[str | None, bool] = (None, False)

    def groups(self) -> Iterator[Group]:
        check_inputs(self.settings)
        named = arranged(self.settings.inputs, self.walk.note)
        self.reals = named.reals
        self.met = named.met(listed=self.settings.from_file is not None)
        for root in named.roots:
            self.claims.folder(root.prefix.rstrip("/"))
        taken = _taken_at_root(named)
        for one in named.inputs:
            if one.is_folder:
                yield from self._folder(one)
            else:
                yield from _alone(self._file(one, taken))
        if self.settings.from_file is not None:
            yield from _alone(self._listed(self.settings.from_file))

    # -- what the command line names -------------------------------------------------------------

    def _folder(self, one: Input) -> Iterator[Group]:
        if one.nested and self.met is not None and self.met.has_walked(one.key):
            if self.walk.is_empty(one.name):
                self.walk.note_empty(one.name)
            return iter(())
        groups = self.walk.folder(one.name, one.prefix, self.met)
        # A list may claim the same output names.
        return groups if self.settings.from_file is None else _alone(self._claimed(groups))

    def _claimed(self, groups: Iterator[Group], *, keep: bool = False) -> Iterator[Photo]:
        """Photos of a walk, with their output names claimed."""
        return (
            photo._replace(name=self.claims.claim(photo.name, photo.key), keeps_name=keep)
            for group in groups
            for photo in group
        )

    def _file(self, one: Input, taken: set[str]) -> Iterator[Photo]:
        """A photo that was named by itself; names of a folder's photos take precedence over its."""
        if is_path(one.name) and self.walk.is_own(os.path.dirname(one.key)):
            self.walk.note_own(one.name)
            return
        for photo in self._photo(one.name):
            if one.nested:  # its folder's walk has skipped it
                taken = self._taken_beside(os.path.dirname(one.key))
            wanted = one.base if one.base and photo.kind is Kind.FILE else photo.name
            folder, base = os.path.split(wanted)  # the name given for stdin may contain a folder
            base = base if folder else beside(taken, base, photo.key)
            yield self._called(photo, one.prefix + os.path.join(folder, base))

    def _taken_beside(self, folder: str) -> set[str]:
        if self.beside[0] != folder:
            self.beside = (folder, _taken_in(folder))
        return self.beside[1]

    def _called(self, photo: Photo, name: str) -> Photo:
        return photo._replace(name=self.claims.claim(name, photo.key))

    def _photo(self, name: str) -> Iterator[Photo]:
        """The photo with this name, unless it was met before."""
        if is_path(name) and self.walk.is_log(name):
            return
        if name != STDIN:
            photo = single(name)._replace(keeps_name=True)
        elif not self.took_stdin:
            self.took_stdin = True
            photo = from_stdin(self.settings.name, self.stdin_bytes)
        else:
            return
        if self.met is None or self.met.is_new(photo.key):
            yield photo

    # -- what a list names -----------------------------------------------------------------------

    def _listed(self, path: str) -> Iterator[Photo]:
        takes_stdin = lists.is_stdin(path)
        entry = None
        with lists.opened(path) as source, lists.Spool() as spool:
            names = lists.NameList(source, path, self.settings.nul)
            bases, entries = self._based(names, spool)
            for entry in entries:
                if entry.name == STDIN and takes_stdin:
                    yield self._called(stdin_in_list(entry.number), "stdin" + SUFFIX)
                elif not is_path(entry.name):
                    for photo in self._photo(entry.name):
                        yield self._called(photo, photo.name)
                else:
                    yield from self._path(entry.name, bases)
        if entry is None:
            # A `find` without a match is normal in a job; a list in a file is written on purpose.
            quiet = is_piped(self.settings)
            self.walk.note(f"--from-file {path}: the list is empty", quiet=quiet)

    def _based(
        self, names: lists.NameList, spool: lists.Spool
    ) -> tuple[list[str], Iterator[lists.Entry]]:
        """The folder below which a list's names keep their path, by all its names; the names."""
        settings = self.settings
        if settings.base is not None:
            entries = (entry for entry in names.entries() if entry is not None)
            # A shell's $PWD may contain links that the system's current folder does not.
            return [absolute(settings.base), os.path.realpath(settings.base)], entries
        # Shards on several machines need the same names: these must not depend on timing.
        hurried = is_piped(settings) and settings.shard.count == 1
        common = Common()
        ahead = lists.Ahead(names, lists.Limits() if hurried else None, spool, common.add)
        first, rest = ahead.entries()
        return [common.folder()], itertools.chain(first, rest)

    def _path(self, name: str, bases: list[str]) -> Iterator[Photo]:
        """A file or folder of a list, under its path below the base."""
        assert self.met is not None
        key = absolute(name)
        if self.met.has_met(key):
            return
        is_folder = os.path.isdir(name)
        if self._is_result(os.path.dirname(name)) or (is_folder and self._is_result(name)):
            self.walk.skipped += 1
            return
        place = place_below(bases, key)
        if not is_folder:
            for photo in self._photo(name):
                yield self._called(photo, os.path.join(os.path.dirname(place), photo.name))
        elif not self.met.has_walked(key) and not is_second_name(self.reals, name, self.walk.note):
            prefix = place + "/" if place else ""
            yield from self._claimed(self.walk.folder(name, prefix, self.met), keep=True)

    def _is_result(self, folder: str) -> bool:
        """Whether hbseg made the files of a folder that a list names. What `find` lists was not
        chosen one by one, so recomposed cutouts are skipped here too."""
        if self.results[0] != folder:  # once per folder: a list has its files together
            marked = os.path.lexists(os.path.join(folder, RECOMPOSED_MARK))
            self.results = (folder, marked or self.walk.is_own(folder or os.curdir))
        return self.results[1]


def _alone(photos: Iterator[Photo]) -> Iterator[Group]:
    return ([photo] for photo in photos)


def _taken_at_root(named: Named) -> set[str]:
    """Output names (folded) at the root that belong to the only folder's photos."""
    apart = any(not one.is_folder and not one.nested for one in named.inputs)
    return _taken_in(named.roots[0].name) if apart and len(named.roots) == 1 else set()


def _taken_in(path: str) -> set[str]:
    """Output names (folded) of what a walk finds directly in a folder."""
    try:
        listing = Folder(path, path, "").listing()
    except OSError:
        return set()
    names = namer(listing.pictures, listing.folders)(listing.pictures)
    return set(map(folded, (*names, *listing.folders)))
