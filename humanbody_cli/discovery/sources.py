"""A photo's bytes from a file, standard input or an address, checked against the limits."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import PhotoError
from humanbody_cli.core.photo import Kind, Photo
from humanbody_cli.imaging import pictures, uploads
from humanbody_cli.imaging.decoding import unsupported
from humanbody_cli.imaging.pictures import Picture

MAX_FIT_BYTES = uploads.MAX_FIT_BYTES
_HEAD = 256 * 1024  # bytes: enough for the header of a file that is too large anyway

_REASONS = {
    errno.EACCES: "you may not read it; change its permissions",
    errno.EPERM: "you may not read it; change its permissions",
    errno.ENOENT: "it is not there (a dangling link, or it has been removed); check the path",
    errno.ELOOP: "it is a link that leads back to itself; replace it",
    errno.EIO: "the disk reports an input/output error; check it",
}


@dataclass(frozen=True)
class Rules:
    """How photos are checked: ``keep_pixels`` where the engine needs them decoded anyway;
    ``overhead`` are the bytes of a request beside the photo, which count for the API's limit."""

    fit: bool = False
    keep_pixels: bool = False
    overhead: int = 0

    @property
    def most_bytes(self) -> int:
        """The most bytes that are read."""
        return MAX_FIT_BYTES if self.fit else api_spec.MAX_BYTES


def examine(photo: Photo, rules: Rules) -> Picture:
    """Read a photo and check it against the limits: the pre-validation of every engine.

    Raises:
        PhotoError: rejected, with the API's own error name where one fits.
    """
    return check(*read(photo, rules.most_bytes), rules)


def check(data: bytes, size: int, rules: Rules) -> Picture:
    """Check a photo's bytes against the limits; ``data`` may be the beginning of a file of ``size``
    bytes that is too large to be read.

    Raises:
        PhotoError: rejected, with the API's own error name where one fits.
    """
    picture = _header(data, size, rules)
    if rules.fit:
        uploads.check_fit_size(size)
        uploads.check_pixels(picture)
    else:
        uploads.check_limits(picture, size, size + rules.overhead)
    pictures.check_sound(picture, keep_pixels=rules.keep_pixels)
    return picture


def _header(data: bytes, size: int, rules: Rules) -> Picture:
    try:
        return pictures.read_header(data, fit=rules.fit)
    except PhotoError:
        if size > len(data):  # the header may come after a preview that was not read
            if rules.fit:
                uploads.check_fit_size(size)
            else:
                uploads.check_file_size(size, size)
        raise


def read(photo: Photo, most: int) -> tuple[bytes, int]:
    """The photo's bytes and its size; only the beginning of a file larger than ``most``.

    Raises:
        PhotoError: rejected, where it cannot be read.
    """
    if photo.kind is Kind.TROUBLE:
        raise PhotoError(api_spec.UNREADABLE, photo.trouble, rejected=True, transient=True)
    if photo.kind is Kind.STDIN:
        return photo.data, len(photo.data)
    if photo.kind is Kind.URL:
        from humanbody_cli.discovery.download import download

        data, announced = download(photo.source, most)
        if announced is None:
            raise _longer_than(most)
        return data, announced
    try:
        return _read_file(photo.source, most)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, f"{error.strerror or error}; check the file")
        message = f"cannot be read: {reason}"
        raise PhotoError(api_spec.UNREADABLE, message, rejected=True, transient=True) from error


def _read_file(path: str, most: int) -> tuple[bytes, int]:
    # Without O_NONBLOCK, opening a FIFO named x.jpg would block for ever.
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise _no_file() from error
        raise
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise _no_file()
        with open(file, "rb", closefd=False) as stream:
            is_too_large = status.st_size > most
            data = stream.read(_HEAD if is_too_large else -1)
        # What was read counts: some file systems, and files that change, report another size.
        return data, status.st_size if is_too_large else len(data)
    finally:
        os.close(file)


def _longer_than(most: int) -> PhotoError:
    """The rejection of a photo whose size is unknown."""
    can_fit = most < MAX_FIT_BYTES
    advice = "use --fit to have it shrunk" if can_fit else "shrink the photo yourself"
    message = f"it is larger than {most:,} bytes, the most allowed; {advice}"
    return PhotoError(api_spec.FILE_TOO_LARGE, message, rejected=True)


def _no_file() -> PhotoError:
    return unsupported(
        "not a regular file (a pipe, socket, folder or device); replace it", "not a file"
    )


def sha256_of(picture: Picture) -> str:
    """The sha256 of a photo's bytes, hexadecimal: photos that share it are one photo."""
    return hashlib.sha256(picture.data).hexdigest()
