"""The units, settings and cron lines of docs/automation.md, each run as it is written.

Only the places are others: what they call ``/usr``, ``/etc`` and ``/srv`` is below a folder of the
test, where ``/usr/local/bin/hbseg`` starts the command.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT, photo
from fake_api import FakeApi
from fake_behaviour import Behaviour
from waiting import PATIENCE, until

DOCS = ROOT / "docs"
UNITS = DOCS / "systemd"
CRON = [
    line
    for page in (DOCS / "automation.md", DOCS / "tutorial.md")
    for line in re.findall(r"^(?:[\d*]+ ){5} *(.*)$", page.read_text(), re.MULTILINE)
]
KEYS = "api_key=your-key\napi_secret=your-secret\n"


@dataclass
class Machine:
    """A machine with hbseg, below a folder."""

    root: Path
    api: FakeApi

    def __post_init__(self) -> None:
        for name in ("usr/local/bin", "etc", "srv/photos", "srv/cutouts", "var/lib/hbseg"):
            (self.root / name).mkdir(parents=True)
        program = self.root / "usr/local/bin/hbseg"
        program.write_text(
            f"#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} HBSEG_ENDPOINT={self.api.url} "
            f'exec {shlex.quote(sys.executable)} -m humanbody_cli "$@"\n'
        )
        program.chmod(0o755)
        (self.root / "etc/hbseg.key").write_text(KEYS)
        (self.root / "etc/hbseg.key").chmod(0o600)
        for seed in range(3):
            self.photo(seed)

    def photo(self, seed: int) -> None:
        photo(self.root / f"srv/photos/{seed}.jpg", seed=seed)

    def moved(self, text: str) -> str:
        """A text with its places below the folder."""
        return re.sub(r"(?<![\w/.])/(usr/local|etc|srv|var)/", rf"{self.root}/\1/", text)

    def cron(self, line: str) -> subprocess.CompletedProcess[str]:
        """A line as cron runs it: by /bin/sh, with next to no environment."""
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.root), "SHELL": "/bin/sh"}
        return subprocess.run(
            ["/bin/sh", "-c", self.moved(line)],
            env={**environment, "LOGNAME": "hbseg"},
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def service(self, name: str) -> subprocess.Popen[str]:
        """The program of a service, with its environment, as systemd starts it."""
        unit = ConfigParser(interpolation=None, strict=False)
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string(self.moved((UNITS / name).read_text()))
        service = unit["Service"]
        assert service["EnvironmentFile"] == str(self.root / "etc/hbseg.env")
        settings = self.moved((UNITS / "hbseg.env").read_text())
        lines = [*settings.splitlines(), service["Environment"]]
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            **dict(line.split("=", 1) for line in lines if line and line[0] != "#"),
        }
        words = [
            re.sub(r"\$\{(\w+)\}", lambda found: environment[found[1]], word)
            for word in shlex.split(service["ExecStart"])
        ]
        return subprocess.Popen(words, env=environment, cwd="/", text=True, stderr=subprocess.PIPE)


@pytest.fixture
def machine(tmp_path: Path, api: FakeApi) -> Machine:
    """A machine with three photos in ``/srv/photos``."""
    return Machine(tmp_path, api)


def test_the_nightly_service(machine: Machine, api: FakeApi) -> None:
    """It does the photos with the keys of its environment file, and a second night is free."""
    for _ in range(2):
        service = machine.service("hbseg.service")
        _, err = service.communicate(timeout=PATIENCE)
        assert service.returncode == 0, err
        assert len(api.stats.calls) == 3
    assert (machine.root / "srv/cutouts/cutouts/0.png").exists()


def test_the_watching_service(machine: Machine, api: FakeApi) -> None:
    """It does what is there and what arrives, and ends by SIGTERM with the code that its unit
    takes for success."""
    service = machine.service("hbseg-watch.service")
    assert until(lambda: len(api.stats.calls) == 3)
    machine.photo(4)
    assert until((machine.root / "srv/cutouts/cutouts/4.png").exists)
    service.send_signal(signal.SIGTERM)
    _, err = service.communicate(timeout=PATIENCE)
    assert service.returncode == 143, err
    assert "SuccessExitStatus=143" in (UNITS / "hbseg-watch.service").read_text()


def test_the_cron_lines(machine: Machine, api: FakeApi) -> None:
    """Each runs with cron's short PATH. A run without news prints nothing and exits 0."""
    assert len(CRON) >= 3
    runs = [line for line in CRON if " segment " in line]
    for line in [*runs, *CRON]:
        ended = machine.cron(line)
        assert (ended.returncode, ended.stderr) == (0, ""), line
        assert bool(ended.stdout) is (" segment " not in line)
    assert len(api.stats.calls) == 3


def test_a_cron_job_that_overlaps(machine: Machine) -> None:
    """While another run uses the output folder, it says so and exits 6."""
    with FakeApi.in_thread(Behaviour(always="hang")) as hanging:
        slow = Machine(machine.root / "slow", hanging)
        service = slow.service("hbseg.service")
        try:
            assert until(lambda: len(hanging.stats.calls) == 1)
            ended = slow.cron(CRON[0])
            assert ended.returncode == 6, ended.stderr
            assert "another run is using this folder" in ended.stderr
        finally:
            service.kill()
            service.communicate()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """``systemd-analyze verify`` has nothing to say but that the program is not installed."""
    units = sorted(str(path) for path in UNITS.iterdir() if path.suffix != ".env")
    ended = subprocess.run(
        ["systemd-analyze", "verify", *units],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in ended.stderr.splitlines() if "hbseg" in line]
    assert [line for line in told if "is not executable" not in line] == []


def test_every_file_that_the_page_names_exists() -> None:
    """Links and copied files of docs/automation.md."""
    page = (DOCS / "automation.md").read_text()
    named = re.findall(r"\((systemd/[\w.-]+)\)", page)
    named += [path.removeprefix("docs/") for path in re.findall(r"docs/systemd/[\w.-]+", page)]
    assert {f"systemd/{path.name}" for path in UNITS.iterdir()} <= {*named}
    for name in named:
        assert (DOCS / name).is_file(), name
