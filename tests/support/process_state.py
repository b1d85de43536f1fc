"""The state of a process that a library must leave as it was, and programs run between two looks.

``python process_state.py script FILE`` runs a program, ``asyncio FILE`` runs it inside an event
loop, where it may await at its top level. Both fail where something has changed.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import logging
import os
import resource
import signal
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image


def state() -> dict[str, str]:
    """What the library must not change, by name."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    return {
        "signals": str(handlers),
        "hooks": str((sys.excepthook, sys.unraisablehook, threading.excepthook)),
        "environment": str(sorted(os.environ.items())),
        "limits": str(resource.getrlimit(resource.RLIMIT_NOFILE)),
        "folder": os.getcwd(),
        "warnings": str(warnings.filters),
        "logging": str(
            (logging.root.level, logging.root.handlers, logging.getLogger("hbseg").level)
        ),
        "pillow": str((Image.MAX_IMAGE_PIXELS, "HEIF" in Image.OPEN)),
        "libraries": f"{np.geterr()} {httpx.__name__}",
        "threads": str(sorted(own_threads())),
        "home": str(sorted(path for path in Path.home().rglob("*") if ".cache" not in path.parts)),
    }


def own_threads() -> list[str]:
    """The names of the library's threads."""
    return [one.name for one in threading.enumerate() if one.name.startswith(("hbseg", "walk"))]


@contextlib.contextmanager
def no_thread_left() -> Iterator[None]:
    """Check that the library's threads are those from before."""
    before = sorted(own_threads())
    yield
    assert sorted(own_threads()) == before


def changes(before: dict[str, str]) -> list[str]:
    """What is not as it was, each with what it was and what it is."""
    now = state()
    return [f"{name}: {before[name]} -> {now[name]}" for name in now if now[name] != before[name]]


def run(text: str, *, inside: bool) -> None:
    """Run a program as ``__main__``, inside an event loop if asked."""
    names: dict[str, Any] = {"__name__": "__main__"}
    code = compile(text, "example", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if inside else 0)
    if not inside:
        exec(code, names)
        return

    async def main() -> None:
        function = types.FunctionType(code, names)
        ended = function()
        if inspect.isawaitable(ended):
            await ended

    asyncio.run(main())


if __name__ == "__main__":
    looked = state()
    run(Path(sys.argv[2]).read_text(), inside=sys.argv[1] == "asyncio")
    if found := changes(looked):
        sys.exit("\n".join(found))
