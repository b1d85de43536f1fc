"""Reports of changes in a folder, by the system's own means (inotify, FSEvents)."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator

from humanbody_cli.core.errors import FatalError, HbsegError

_QUIET = 2000
"""Milliseconds without a change after which it is checked that the folder is still the same one."""

_TOGETHER = 400
"""Milliseconds for which changes are collected at most."""

_GONE = 2.0
"""Seconds between looks for a folder that is gone."""


@contextlib.contextmanager
def reported(
    folder: str,
    changed: Callable[[Iterable[str]], None],
    look_through: Callable[[], None],
    fail: Callable[[HbsegError], None],
) -> Iterator[None]:
    """While the block runs, ``changed`` receives the absolute paths of what changes below
    ``folder``, and ``look_through`` is called whenever changes may have been missed. ``fail``
    receives the reason if the system cannot report. All are called on another thread."""
    ended = threading.Event()

    def report() -> None:
        while not ended.is_set():
            try:
                _report(folder, changed, look_through, ended)
            except FileNotFoundError:
                ended.wait(_GONE)
            except (OSError, RuntimeError) as error:  # those of watchfiles are RuntimeErrors
                fail(_no_reports(folder, error))
                return

    threading.Thread(target=report, name="reports", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _report(
    folder: str,
    changed: Callable[[Iterable[str]], None],
    look_through: Callable[[], None],
    ended: threading.Event,
) -> None:
    """Report until the folder is another one: unmounted, mounted, replaced.

    Raises:
        FileNotFoundError: the folder is gone.
        OSError, RuntimeError: the system cannot report.
    """
    import watchfiles

    watched = _identity(folder)
    is_first = True
    for changes in watchfiles.watch(
        folder,
        watch_filter=None,
        debounce=_TOGETHER,
        rust_timeout=_QUIET,
        yield_on_timeout=True,
        stop_event=ended,
        raise_interrupt=False,
        ignore_permission_denied=True,
    ):
        if is_first:  # changes before this moment went unseen
            look_through()
            is_first = False
        if changes:
            changed(path for _, path in changes)
        elif _identity(folder) != watched:
            return


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _no_reports(folder: str, error: Exception) -> FatalError:
    return FatalError(
        f"{folder}: the system cannot report changes here: {error}; raise the limit "
        "fs.inotify.max_user_watches, or use --poll"
    )
