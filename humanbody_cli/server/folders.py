"""A place for the server's temporary files, also where the root is read-only."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from humanbody_cli.core.errors import FatalError

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a folder of its own, with a random name, is made in it
"""A file system in memory that Linux has, in containers with a read-only root too."""


@contextmanager
def temporary_folder(prefix: str) -> Iterator[str]:
    """A folder that is removed afterwards.

    Raises:
        FatalError: there is no place for one.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix=prefix, dir=_place())
    except OSError as error:
        raise no_temporary_folder(error) from None
    with made as folder:
        yield folder


def _place() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return _SHARED_MEMORY


def no_temporary_folder(error: OSError) -> FatalError:
    """The one sentence about a machine on which no temporary file can be made."""
    return FatalError(
        f"no temporary folder can be written ({error.strerror or error}); "
        "set TMPDIR to one that can"
    )
