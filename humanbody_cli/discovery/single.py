"""One photo that was named by itself: a file, an address, or a photo on standard input."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote_to_bytes, urlsplit

from humanbody_cli.core.paths import NO_TIME, absolute, mtime_of, to_bytes, to_text
from humanbody_cli.core.photo import Kind, Photo
from humanbody_cli.discovery import lists
from humanbody_cli.discovery.inputs import STDIN, is_url
from humanbody_cli.storage.names import SUFFIX, plain_name, shortened

_STDIN_KEY = "-:"
_IS_STDIN_KEY = re.compile(_STDIN_KEY + "[0-9a-f]{64}").fullmatch


def trouble(source: str, key: str, prefix: str, error: OSError) -> Photo:
    """A photo that stands for something unreadable: it is reported as rejected, not skipped."""
    why = f"cannot be read: {error.strerror or error}; check the path and its permissions"
    name = shortened(prefix.rstrip("/").rsplit("/", 1)[-1] + SUFFIX)
    return Photo(source, key, name, -1, NO_TIME, Kind.TROUBLE, why)


def from_stdin(name: str | None, most: int) -> Photo:
    """The photo on standard input, read in: its key is the digest of its bytes.

    Reads at most ``most`` bytes; ``name`` is its output name if the user gave one.
    """
    import hashlib  # takes 3 ms to load

    try:
        data = lists.stdin().read_all(most)
    except OSError as error:
        return trouble(STDIN, _STDIN_KEY + "unreadable", "stdin", error)
    key = _STDIN_KEY + hashlib.sha256(data).hexdigest()
    photo = single(STDIN)._replace(key=key, keeps_name=name is None, data=data)
    if name is None:
        return photo
    folder, base = os.path.split(name)
    return photo._replace(name=os.path.join(folder, _plain(base)))


def stdin_in_list(number: int) -> Photo:
    """Reported as rejected: a list that is read from stdin cannot ask for a photo on stdin."""
    return Photo(
        *(STDIN, f"{_STDIN_KEY}line {number}", "stdin" + SUFFIX, -1, NO_TIME, Kind.TROUBLE),
        f"line {number} of the list asks for a photo on stdin, but stdin is the list itself; "
        "name the photo's file, or write ./- for a file called -",
    )


def single(name: str) -> Photo:
    """The photo with this name: a file, an address, or ``-`` (or the key of an earlier one)."""
    if name == STDIN or _IS_STDIN_KEY(name):
        return Photo(STDIN, name, "stdin" + SUFFIX, -1, NO_TIME, Kind.STDIN)
    if is_url(name):
        return _at_address(name)
    key = absolute(name)
    try:
        status = os.stat(name)
    except OSError as error:
        # x.jpg/ must not be mistaken for the photo x.jpg.
        key += os.sep if name.endswith(("/", "/.")) and key != os.sep else ""
        return trouble(name, key, os.path.basename(key.rstrip(os.sep)), error)
    return Photo(name, key, _plain(os.path.basename(key)), status.st_size, mtime_of(status))


def _at_address(url: str) -> Photo:
    try:
        path = urlsplit(url).path
    except ValueError as error:
        reason = f"not a valid address: {error}"
        return Photo(url, url, "photo" + SUFFIX, -1, NO_TIME, Kind.TROUBLE, reason)
    # Through bytes: the file system's encoding decides which characters a name may have.
    text = to_text(unquote_to_bytes(to_bytes(path)))
    base = text.rstrip("/").rsplit("/", 1)[-1].replace("\0", "").lstrip(".") or "photo"
    return Photo(url, url, _plain(base), -1, NO_TIME, Kind.URL)


def _plain(base: str) -> str:
    return shortened(plain_name(base))
