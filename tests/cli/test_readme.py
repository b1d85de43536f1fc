"""Every block of the README that can run, run as it is written.

``curl`` is replaced by a script that prints a photo, a key's dots by a key, and places below
``/srv`` by a folder of the test. ``make run``, ``make test`` and ``pip install`` are what CI does;
the cron line is run in test_automation.py.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import KEY, ROOT, SECRET, Hbseg
from fake_api import FakeApi
from waiting import PATIENCE, until

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
GRACE = ROOT / "sample_images" / "portraits" / "grace_hopper.jpg"

FIRST = "hbseg segment ./photos -o ./out\n"
ONE = next(block for block in BLOCKS if block.startswith("hbseg segment me.jpg"))
WITH_KEY = next(block for block in BLOCKS if block.startswith("export HBSEG_API_KEY"))
PIPELINES = next(block for block in BLOCKS if block.startswith("curl "))
WATCH = "hbseg watch /srv/photos -o /srv/cutouts\n"
SERVE = "pip install '.[serve]'\nhbseg serve\n"
ELSEWHERE = ("make run\n", "make test\n")


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
        ended = subprocess.run(
            ["sh", "-ec", text],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended

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


@pytest.fixture
def shell(hbseg: Hbseg, tmp_path: Path) -> Shell:
    """A shell without a key."""
    return Shell(tmp_path, hbseg.environment())


def test_each_block_has_its_test() -> None:
    """A block that is added to the README has to be run here too."""
    known = {FIRST, ONE, WITH_KEY, PIPELINES, WATCH, SERVE, *ELSEWHERE}
    assert {block for block in BLOCKS if not block.startswith("0 3 * * *")} == known


def test_the_first_command(shell: Shell) -> None:
    """A folder's photos become cutouts and masks, in the tree of the photos."""
    shell.run(FIRST)
    assert (shell.folder / "out/cutouts/a/grace.png").exists()
    assert (shell.folder / "out/masks/a/grace.png").exists()


def test_one_photo(shell: Shell) -> None:
    """The files that the block names are written."""
    before = set(os.listdir(shell.folder))
    shell.run(ONE)
    written = set(os.listdir(shell.folder)) - before - {"state"}
    assert written == {"me-cutout.png", "cutout.webp", "pass.jpg"}


def test_with_a_key(shell: Shell, api: FakeApi) -> None:
    """The plan makes no call, the run one per photo."""
    key, secret = (f"{name}={value}" for name, value in (("KEY", KEY), ("SECRET", SECRET)))
    block = WITH_KEY.replace("KEY=...", key).replace("SECRET=...", secret)
    shell.environment["HBSEG_ENDPOINT"] = api.url
    shell.run(block)
    assert len(api.stats.calls) == 1
    assert (shell.folder / "out/cutouts/a/grace.png").exists()


@pytest.mark.skipif(shutil.which("jq") is None, reason="the block calls jq")
def test_pipelines(shell: Shell) -> None:
    """Each line ends well, after a run over the same folder."""
    shell.run(FIRST)
    shell.run(PIPELINES)
    assert (shell.folder / "me.png").exists()
    assert (shell.folder / "shop/a/grace.jpg").exists()
    assert (shell.folder / "out/recomposed/a/grace.jpg").exists()


def test_a_watched_folder(shell: Shell) -> None:
    """The photo that is there is done; SIGTERM ends it."""
    shell.environment["HBSEG_VERBOSE"] = "1"
    command = WATCH.replace("/srv/photos", "photos").replace("/srv/", "")
    assert shell.until_told(command, "grace.jpg: done") == 128 + signal.SIGTERM
    assert (shell.folder / "cutouts/cutouts/a/grace.png").exists()


def test_a_server(shell: Shell) -> None:
    """It prints a key and its address, and SIGTERM ends it well."""
    assert SERVE.endswith("\nhbseg serve\n")
    assert shell.until_told("hbseg serve --port 0", "http://127.0.0.1:") == 0
