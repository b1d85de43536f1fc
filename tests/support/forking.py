"""The real command, forked from a process that has imported it already.

A command costs a tenth of the processor time of an interpreter of its own, so that hundreds can be
run. Everything else is as in a shell: its own process, folder, environment, streams and exit code.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from waiting import COMMAND_PATH

NOBODY = 65534
"""The user that may read and write only what everyone may."""

_LONGEST = 60
"""Seconds after which a command that does not end is killed."""


class Forks:
    """The process that is forked for each command."""

    def __init__(self, channel: socket.socket) -> None:
        self._send = channel.makefile("w")
        self._receive = channel.makefile("r")

    def run(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: str = os.devnull,
        stdout: str,
        stderr: str,
        unprivileged: bool = False,
        umask: int = 0o22,
        limits: Mapping[str, int] | None = None,
    ) -> int:
        """Run a command to its end; its exit code, negative for a signal. Streams are files."""
        order = {
            "arguments": list(arguments),
            "cwd": str(cwd),
            "env": dict(env),
            "streams": [stdin, stdout, stderr],
            "unprivileged": unprivileged,
            "limits": dict(limits or {}),
        }
        print(json.dumps(order), file=self._send, flush=True)
        return int(self._receive.readline())


@contextmanager
def forks() -> Iterator[Forks]:
    """A process to fork, with the package imported."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, str(Path(__file__)), str(theirs.fileno())]
    environment = {**os.environ, "PYTHONPATH": COMMAND_PATH}
    with ours, subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment) as process:
        theirs.close()
        running = Forks(ours)
        try:
            yield running
        finally:
            ours.shutdown(socket.SHUT_RDWR)
            process.wait(_LONGEST)


def _serve(channel: socket.socket) -> None:
    orders, answers = channel.makefile("r"), channel.makefile("w")
    for line in orders:
        child = os.fork()
        if not child:
            channel.close()
            _become(json.loads(line))
            from humanbody_cli.cli.main import main

            main()  # ends as in a process of its own
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _become(order: dict[str, Any]) -> None:
    """Take on what the command shall find."""
    signal.alarm(_LONGEST)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    for number, path in enumerate(order["streams"]):
        _redirect(number, path)
    if order["unprivileged"] and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    if order["limits"]:
        import resource

        for name, most in order["limits"].items():
            number = getattr(resource, name)
            resource.setrlimit(number, (most, resource.getrlimit(number)[1]))
    sys.argv = ["hbseg", *order["arguments"]]


def _redirect(number: int, path: str) -> None:
    if path == "broken":  # a pipe whose reader has gone
        reader, file = os.pipe()
        os.close(reader)
    else:
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        file = os.open(path, flags, 0o666)
    os.dup2(file, number)
    os.close(file)


def _prepare() -> None:
    """Import what nearly all commands need. Nothing that starts threads: they do not survive."""
    import importlib

    from humanbody_cli.cli.main import COMMANDS, hbseg

    for name in COMMANDS:
        hbseg.get_command(None, name)  # type: ignore[arg-type] # it is not looked at
    for name in (
        "difflib",
        "inspect",
        "tempfile",
        "shutil",
        "sqlite3",
        "concurrent.futures.thread",
        "ctypes",
        "importlib.util",
        "numbers",
        "pickle",
        "PIL.Image",
        "httpx",
        "certifi",
    ):
        importlib.import_module(name)  # where another user may not read them
    for name in (
        "jobs.segment",
        "jobs.single.run",
        "jobs.inspection.plan",
        "jobs.recompose.batch",
        "jobs.inspection.doctor.run",
    ):
        importlib.import_module(f"humanbody_cli.{name}")


if __name__ == "__main__":
    _prepare()
    _serve(socket.socket(fileno=int(sys.argv[1])))
