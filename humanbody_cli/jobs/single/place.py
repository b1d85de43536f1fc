"""Where one photo's cutout goes: its name, whether that may be written, the answer beside it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from humanbody_cli.core.errors import OutputError, OutputHeld, UsageError, output_error
from humanbody_cli.core.paths import absolute
from humanbody_cli.core.photo import Kind, Photo
from humanbody_cli.discovery.tree import Folder
from humanbody_cli.storage import ownership
from humanbody_cli.storage.disk import RealDisk, temporary_path, write_all
from humanbody_cli.storage.layout import BESIDE, SINGLE_SEAL
from humanbody_cli.storage.names import MAX_NAME, SUFFIX, folded, marked, namer, plain_name

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_POLL = 0.2
"""Seconds between two looks at a file that another run holds."""


def check_stdout(photo: Photo) -> None:
    """``hbseg segment a.jpg -o - >> a.jpg`` would write into the photo."""
    with contextlib.suppress(OSError):
        out = os.fstat(1)
        if stat.S_ISREG(out.st_mode) and os.path.samestat(out, _status_of(photo)):
            raise UsageError(f"{photo.source} is also stdout; redirect stdout to another file")


def _status_of(photo: Photo) -> os.stat_result:
    return os.fstat(0) if photo.kind is Kind.STDIN else os.stat(photo.source)


def beside(source: str, format: str) -> str:  # noqa: A002 - the option's name
    """The name of a cutout beside its photo: ``me-cutout.png`` for ``me.jpg``, or
    ``me.jpg-cutout.png`` where a photo ``me.png`` is in the folder too."""
    folder, base = os.path.split(source)
    names = namer(_photos_in(folder or os.curdir, base), ())
    try:
        (name,) = names([base])
    except KeyError:  # a walk would not find it, by its suffix
        name = plain_name(base)
    suffix = f".{format}"
    cutout = name.removesuffix(SUFFIX) + BESIDE + suffix
    if len(os.fsencode(cutout)) > MAX_NAME:
        cutout = marked(cutout, cutout, suffix)
    return os.path.join(folder, cutout)


def _photos_in(folder: str, base: str) -> list[str]:
    """The photo ``base`` and the others of its folder, without files named like it that
    ``hbseg segment me.jpg -o me.png`` wrote: they must not change the name of a later cutout, which
    would be paid for again."""
    try:
        pictures = Folder(folder, folder, "").listing().pictures
    except OSError:
        return []
    name = folded(plain_name(base))
    return [
        picture
        for picture in pictures
        if picture == base
        or folded(plain_name(picture)) != name
        or not _is_result(os.path.join(folder, picture))
    ]


def _is_result(path: str) -> bool:
    try:
        return ownership.made_of(path, SINGLE_SEAL) is not None
    except OutputError:
        return False


def check_file(path: str, photo: Photo) -> None:
    """Check that a file may be written, before anything is paid for."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.stat(path), _status_of(photo)):
            raise UsageError(f"-o {path} is the photo itself; give the cutout another name")
    guarded = ownership.results_folder_above(os.path.dirname(absolute(path)))
    if guarded is not None:
        raise UsageError(
            f"-o {path}: only runs over an output folder write to {guarded}; give another name"
        )
    if os.path.isdir(path):
        raise OutputError(f"cannot write {path}: there is a folder of this name; give -o FILE")
    ownership.check_replaceable(path, SINGLE_SEAL, "move it away, or give another -o FILE")


@dataclass
class KeptAnswer:
    """The `AnswerSlot` of one photo, in an open and locked file. ``name`` is that of the upload
    whose answer is wanted."""

    path: str
    file: int
    name: str = ""
    failure: OutputError | None = field(default=None, init=False)

    @property
    def is_there(self) -> bool:
        """See `AnswerSlot`."""
        return bool(self.body())

    def body(self) -> bytes:
        """See `AnswerSlot`."""
        found, _, body = os.pread(self.file, os.fstat(self.file).st_size, 0).partition(b"\n")
        return body if found == self.name.encode() else b""

    def keep(self, body: bytes) -> None:
        """See `AnswerSlot`."""
        try:
            self.discard()
            write_all(RealDisk(), self.file, b"".join((self.name.encode(), b"\n", body)))
        except OSError as error:
            self.failure = output_error(self.path, error)

    def discard(self) -> None:
        """See `AnswerSlot`."""
        os.ftruncate(self.file, 0)
        os.lseek(self.file, 0, os.SEEK_SET)


@contextlib.contextmanager
def kept_answer(path: str, wait: float = 0.0) -> Iterator[KeptAnswer]:
    """The place of the answer for a file at ``path``, which no other run may write meanwhile. It is
    removed at the end unless there is an answer in it.

    Raises:
        OutputHeld: another run is at work on the same file, and still is after ``wait`` seconds.
        OutputError: its folder cannot be written.
    """
    place = temporary_path(f"{path} answer")
    deadline = time.monotonic() + wait
    try:
        while (file := _locked(place)) is None:
            if time.monotonic() >= deadline:
                raise OutputHeld(
                    f"{path}: another run is writing this file; wait for it, or give --lock-wait "
                    "SECONDS"
                )
            time.sleep(_POLL)
    except OSError as error:
        raise output_error(path, error) from error
    try:
        yield KeptAnswer(place, file)
    finally:
        if not os.fstat(file).st_size:
            with contextlib.suppress(OSError):  # then the next run finds it empty
                os.unlink(place)
        os.close(file)


def _locked(place: str) -> int | None:
    """The file, open and locked; ``None`` where another run holds it."""
    file = os.open(place, _FLAGS, 0o666)
    with contextlib.suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A run that ended in between has removed the file that was opened here.
        if os.path.samestat(os.fstat(file), os.stat(place)):
            return file
    os.close(file)
    return None
