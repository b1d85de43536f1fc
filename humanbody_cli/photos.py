"""Finding photos: folders walked lazily, files, addresses, standard input, lists of these."""

from __future__ import annotations

import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from humanbody_cli.errors import UsageError
from humanbody_cli.names import SUFFIX, folder_names, namer, root_names, shortened
from humanbody_cli.settings import InputSettings, Shard

PICTURE_SUFFIXES = frozenset(
    "jpg jpeg jpe jfif png webp heic heif hif avif tif tiff bmp gif".split()
)
"""Names taken for pictures in a walk. Those that the API does not take are rejected with a hint at
``--fit`` instead of being passed over: a photo that is silently not done is a photo lost."""

_USUAL = (".jpg", ".JPG", ".jpeg", ".png")
"""What nearly all end in: looked at first, for a walk asks it of every file."""

STATE = ".hbseg"
"""The folder in an output tree where its state lives."""

RESULTS = ("masks", "cutouts", "recomposed")
"""The folders of an output tree that hold what was made."""


class Kind(Enum):
    """Where a photo's bytes come from."""

    FILE = "file"
    URL = "url"
    STDIN = "stdin"
    TROUBLE = "trouble"  # something that may hold photos and cannot be read


class Photo(NamedTuple):
    """A photo that was found and not yet opened.

    ``source`` is how the user would name it, ``key`` what it is known by (the absolute path),
    ``name`` its output name, ``size`` (bytes) and ``mtime`` (ns) what a look at the file showed: -1
    before that, and where there is no file.
    """

    source: str
    key: str
    name: str
    size: int
    mtime: int
    kind: Kind = Kind.FILE
    trouble: str = ""

    def seen(self) -> Photo:
        """The same photo once its file was looked at. The walk leaves that to those who need it."""
        if self.kind is not Kind.FILE:
            return self
        try:
            status = os.stat(self.source)
        except OSError:  # a dangling link: reading it will say so
            return self
        return self._replace(size=status.st_size, mtime=status.st_mtime_ns)


@dataclass
class Walk:
    """What a walk passed over. Counted, so that the summary can say so."""

    skipped: int = 0
    outputs_skipped: int = 0
    _out: tuple[int, int] | None = field(default=None, repr=False)

    def avoid(self, folder: str) -> None:
        """Leave the run's own output folder out, wherever the walk meets it."""
        try:
            status = os.stat(folder)
        except OSError:
            return
        self._out = (status.st_dev, status.st_ino)

    def folder(self, path: str, prefix: str) -> Iterator[Photo]:
        """Every picture below a folder, by name, depth first.

        Hidden entries and output trees are left out; links are followed, but not back into a folder
        that is being walked.
        """
        waiting = [_Folder(path, os.path.abspath(path), prefix, ())]
        while waiting:  # a stack of our own: trees may be deeper than Python's
            folder = waiting.pop()
            try:
                listing = folder.listing()
            except OSError as error:
                yield trouble(folder.path, folder.absolute, folder.prefix or "folder", error)
                continue
            is_out = listing.identity == self._out
            if listing.identity in folder.above or (is_out and folder.above):
                continue
            if is_out or (listing.is_output and folder.above):
                # Photos may lie there too, but results are no photos, unless they were named.
                self.outputs_skipped += not is_out
                listing.folders = [name for name in listing.folders if name not in RESULTS]
            self.skipped += listing.others
            yield from _photos(listing, folder)
            waiting += [folder.below(name, listing.identity) for name in listing.folders[::-1]]


@dataclass
class _Listing:
    """What is in a folder: names by order, for entries of a hundred thousand files take 100 MB."""

    identity: tuple[int, int]
    pictures: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    others: int = 0
    is_output: bool = False

    def sort_out(self, entries: Iterable[os.DirEntry[str]]) -> None:
        """Tell pictures, folders and the rest apart."""
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                self.is_output |= name == STATE
            elif not entry.is_file(follow_symlinks=False) and _is_folder(entry):
                self.folders.append(name)
            elif name.endswith(_USUAL) or _suffix(name) in PICTURE_SUFFIXES:
                self.pictures.append(name)
            else:
                self.others += 1
        self.pictures.sort()
        self.folders.sort()


class _Folder(NamedTuple):
    """A folder to be walked. ``above`` are the folders it lies in, by device and inode."""

    path: str
    absolute: str
    prefix: str
    above: tuple[tuple[int, int], ...]

    def listing(self) -> _Listing:
        """What is in it, by name."""
        status = os.stat(self.path)
        listing = _Listing((status.st_dev, status.st_ino))
        with os.scandir(self.path) as entries:
            listing.sort_out(entries)
        return listing

    def below(self, name: str, identity: tuple[int, int]) -> _Folder:
        """A folder in this one."""
        path, absolute = os.path.join(self.path, name), os.path.join(self.absolute, name)
        return _Folder(path, absolute, self.prefix + name + "/", (*self.above, identity))


def _suffix(name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    return suffix.lower() if stem else ""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _photos(listing: _Listing, folder: _Folder) -> Iterator[Photo]:
    name_of = namer(listing.pictures, listing.folders)
    here, below = os.path.join(folder.path, ""), os.path.join(folder.absolute, "")
    prefix, kind = folder.prefix, Kind.FILE
    # A named tuple's own constructor costs as much as the look at the file; tuple's does not.
    new: Callable[[type[Photo], tuple[object, ...]], Photo] = tuple.__new__
    for name in listing.pictures:
        yield new(Photo, (here + name, below + name, prefix + name_of(name), -1, -1, kind, ""))


def trouble(source: str, key: str, prefix: str, error: OSError) -> Photo:
    """Something that cannot be read: it becomes a rejected record, not a silence."""
    reason = error.strerror or str(error)
    name = shortened(prefix.rstrip("/").rsplit("/", 1)[-1] + SUFFIX)
    return Photo(source, key, name, -1, -1, Kind.TROUBLE, f"cannot be read: {reason}")


def find(settings: InputSettings, walk: Walk) -> Iterator[Photo]:
    """Every photo that the user named, lazily, in a fixed order.

    Raises:
        UsageError: an input named on the command line does not exist.
    """
    found = _all(settings, walk)
    if settings.shard.count == 1:
        return found
    return (photo for photo in found if _in_shard(photo, settings.shard))


def _in_shard(photo: Photo, shard: Shard) -> bool:
    # By name, so that the parts are the same on every machine, wherever the photos lie there.
    return zlib.crc32(os.fsencode(photo.name)) % shard.count == shard.index - 1


def check_inputs(settings: InputSettings) -> None:
    """See to it that what was named on the command line is there, before anything is made.

    Raises:
        UsageError: something is not.
    """
    for name in settings.inputs:
        if not is_url(name) and name != "-" and not os.path.lexists(name):
            raise UsageError(f"{name}: there is no such file or folder; check the path")


def is_piped(settings: InputSettings) -> bool:
    """Whether names come through a pipe: then each is done as it comes."""
    path = settings.from_file
    if path is None:
        return False
    try:
        return not stat.S_ISREG((os.fstat(0) if path == "-" else os.stat(path)).st_mode)
    except OSError:
        return False


def _all(settings: InputSettings, walk: Walk) -> Iterator[Photo]:
    check_inputs(settings)
    yield from _each(settings.inputs, walk)
    if settings.from_file is not None:
        for name in listed(settings.from_file, nul=settings.nul):
            yield from _each((name,), walk)


def _each(inputs: Iterable[str], walk: Walk) -> Iterator[Photo]:
    unique = list({_identity(name): name for name in reversed(list(inputs))}.values())[::-1]
    folders = [name for name in unique if not is_url(name) and os.path.isdir(name)]
    prefixes = dict(
        zip(folders, root_names([os.path.abspath(name) for name in folders]), strict=True)
    )
    names = _names_of_files([name for name in unique if name not in prefixes])
    for name in unique:
        if name in prefixes:
            prefix = prefixes[name]
            yield from walk.folder(name, prefix + "/" if prefix else "")
        else:
            photo = single(name)
            yield photo._replace(name=names.get(name, photo.name))


def _names_of_files(files: list[str]) -> dict[str, str]:
    """Output names of files that were named one by one: by the rule of the folder they lie in."""
    by_folder: dict[str, dict[str, str]] = {}
    for file in files:
        if not is_url(file) and file != "-" and os.path.exists(file):
            folder, base = os.path.split(os.path.abspath(file))
            by_folder.setdefault(folder, {})[base] = file
    return {
        named[base]: name
        for named in by_folder.values()
        for base, name in folder_names(list(named)).items()
    }


def _identity(name: str) -> str:
    return name if is_url(name) or name == "-" else os.path.realpath(name)


def is_url(name: str) -> bool:
    """Whether an input is an address."""
    return name.startswith(("http://", "https://"))


def single(name: str) -> Photo:
    """One photo by its own name: a file, an address, or ``-``."""
    if name == "-":
        return Photo("-", "-", "stdin" + SUFFIX, -1, -1, Kind.STDIN)
    if is_url(name):
        try:
            path = unquote(urlsplit(name).path)
        except ValueError as error:
            return Photo(name, name, "photo" + SUFFIX, -1, -1, Kind.TROUBLE, f"no address: {error}")
        base = path.rstrip("/").rsplit("/", 1)[-1].replace("\0", "")
        base = base.lstrip(".") or "photo"
        return Photo(name, name, _plain(base), -1, -1, Kind.URL)
    absolute = os.path.abspath(name)
    try:
        status = os.stat(name)
    except OSError as error:
        return trouble(name, absolute, os.path.basename(absolute), error)
    return Photo(
        name, absolute, _plain(os.path.basename(absolute)), status.st_size, status.st_mtime_ns
    )


def _plain(base: str) -> str:
    return folder_names([base])[base]


def listed(path: str, *, nul: bool) -> Iterator[str]:
    """The inputs of a list, one a line or NUL-separated, read as they come.

    Raises:
        UsageError: the list cannot be read.
    """
    separator = b"\0" if nul else b"\n"
    try:
        file = sys.stdin.fileno() if path == "-" else path
        with open(file, "rb", closefd=path != "-") as stream:
            rest = b""
            while block := stream.read1(65536):
                *lines, rest = (rest + block).split(separator)
                yield from (name for line in lines if (name := _line(line, nul=nul)))
            if name := _line(rest, nul=nul):
                yield name
    except OSError as error:
        raise UsageError(
            f"--from-file {path}: cannot be read: {error.strerror or error}; check the path"
        ) from error


def _line(line: bytes, *, nul: bool) -> str:
    if b"\0" in line:
        raise UsageError("--from-file: the list has NUL bytes between its names; give -0 too")
    return os.fsdecode(line if nul else line.rstrip(b"\r"))
