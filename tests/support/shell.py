"""A shell for the blocks of the documentation, and what it prints, without what varies."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from conftest import ROOT
from waiting import PATIENCE, until

GRACE = ROOT / "sample_images" / "portraits" / "grace_hopper.jpg"

_SECONDS = re.compile(r"\b[\d.]+ s\b")


class Shell:
    """A shell in a folder with ``photos``, ``me.jpg`` and a file ``last`` that is older."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        self._program("hbseg", f'exec {shlex.quote(sys.executable)} -m humanbody_cli "$@"')
        self._program("curl", f"exec cat {shlex.quote(str(GRACE))}")
        path = os.pathsep.join((str(folder / "bin"), environment.get("PATH", os.defpath)))
        self.environment = {**environment, "PATH": path}
        (folder / "last").touch()
        os.utime(folder / "last", (1, 1))
        (folder / "photos" / "a").mkdir(parents=True)
        shutil.copy(GRACE, folder / "photos" / "a" / "grace.jpg")
        shutil.copy(GRACE, folder / "me.jpg")

    def _program(self, name: str, text: str) -> None:
        program = self.folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run a block; the first command that fails ends it."""
        ended = self._sh(text, stderr=subprocess.PIPE)
        assert ended.returncode == 0, ended.stderr
        return ended

    def transcript(self, text: str) -> str:
        """Run each ``$ command`` of a transcript; the transcript as it comes out now, without the
        seconds. Exit codes are not looked at."""
        commands = re.findall(r"^\$ (.*)$", text, re.MULTILINE)
        printed = [
            f"$ {command}\n{self._sh(command, stderr=subprocess.STDOUT).stdout}"
            for command in commands
        ]
        return timeless("".join(printed))

    def _sh(self, text: str, stderr: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-ec", text],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def until_told(self, text: str, words: str) -> int:
        """Start a command that does not end, wait for its words, end it; the exit code."""
        log = self.folder / "told"
        with open(log, "wb") as file:
            process = subprocess.Popen(
                ["sh", "-c", f"exec {text}"],
                cwd=self.folder,
                env=self.environment,
                stdout=file,
                stderr=file,
            )
            assert until(lambda: words in log.read_text()), log.read_text()
            process.send_signal(signal.SIGTERM)
            return process.wait(PATIENCE)


def timeless(text: str) -> str:
    """A transcript without the seconds that a run took."""
    return _SECONDS.sub("N s", text)
