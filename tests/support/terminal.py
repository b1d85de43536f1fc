"""A shell on a terminal of its own, in which keys are pressed."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import PATIENCE

_COMMANDS = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--no-config", "-i"),
}

_SETUP = {
    "bash": 'eval "$(hbseg completion bash)"; show() { printf "<%s>" "$@"; echo; }',
    "zsh": "autoload -U compinit; compinit -u -d ./.dump; "
    'eval "$(hbseg completion zsh)"; show() { printf "<%s>" "$@"; echo; }',
    "fish": 'hbseg completion fish | source; function show; printf "<%s>" $argv; echo; end',
}

_AS_ITS_OWN = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Takes the terminal for its own, which shells need for their jobs, and becomes the shell."""

_QUESTION = re.compile(rb"\x1b\[0?c")
"""A terminal is asked what it is (DA1); fish waits for the answer."""


class Terminal:
    """A shell with the completion of hbseg."""

    def __init__(self, shell: str, file: int) -> None:
        self._file = file
        self._press(f"{_SETUP[shell]}; echo REA''DY\n")
        self._until(b"READY\r\n")

    def typed(self, keys: str) -> list[str]:
        """The words of a command line that was typed with these keys (a tab completes), as the
        shell understands it: the line is run as the arguments of ``show``."""
        self._press(keys)
        self._press("\x01show \x05 THE''END\r")
        told = self._until(b"<THEEND>")
        found = re.findall(rb"<hbseg>.*<THEEND>", told, re.DOTALL)
        return re.findall(r"<([^>]*)>", found[-1].decode())[1:-1]

    def _press(self, keys: str) -> None:
        os.write(self._file, keys.encode())

    def _until(self, words: bytes) -> bytes:
        told, end = b"", time.monotonic() + PATIENCE
        while words not in told:
            assert time.monotonic() < end, told
            if select.select([self._file], [], [], 1)[0]:
                part = os.read(self._file, 1 << 16)
                if _QUESTION.search(part):
                    os.write(self._file, b"\x1b[?6c")
                told += part
        return told


@contextlib.contextmanager
def terminal(shell: str, folder: Path, environment: dict[str, str]) -> Iterator[Terminal]:
    """A shell at work in a folder, its home; skips the test where the shell is not installed."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    kind = "xterm" if shell == "fish" else "dumb"
    more = {"TERM": kind, "HOME": str(folder), "LC_ALL": "C.UTF-8", "PS1": "> "}
    file, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _AS_ITS_OWN, *_COMMANDS[shell]],
        cwd=folder,
        env={**environment, **more},
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
    )
    os.close(other)
    try:
        yield Terminal(shell, file)
    finally:
        process.kill()
        process.wait()
        os.close(file)
