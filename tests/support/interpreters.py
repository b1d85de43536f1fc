"""The check of an installed hbseg (`installation`), with several Pythons.

    python tests/support/interpreters.py WHEEL PHOTOS PYTHON...

Each PYTHON is a command, as ``python3.11``, or a folder with a system in it, as debootstrap makes
them, whose ``python3`` is run in a sandbox (bubblewrap). A Python that is not on this machine is
left out, and said to be. pip, pipx and uv come from the index.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

FROM_OUTSIDE = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs")
"""What a system in a folder needs of this machine's to reach the index."""


def inside(system: Path, room: Path) -> list[str]:
    """The beginning of a command that runs in the system, with ``room`` and the network."""
    given = [word for path in FROM_OUTSIDE for word in ("--ro-bind-try", path, path)]
    devices = ["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]
    return ["bwrap", "--bind", str(system), "/", *devices, *given, "--bind", str(room), str(room)]


def pythons(names: list[str], room: Path) -> Iterator[tuple[str, list[str]]]:
    """The commands of those that are there."""
    for name in names:
        if os.path.isdir(name):
            yield name, [*inside(Path(name), room), "python3"]
        elif _runs(name):
            yield name, [name]
        else:
            print(f"{name}: not on this machine, left out", flush=True)


def _runs(name: str) -> bool:
    """A command may be there and still not run: pyenv has one for each version it knows."""
    try:
        return subprocess.run([name, "-c", ""], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def main(wheel: Path, photos: Path, names: list[str]) -> int:
    """Check the wheel with each Python; the exit code."""
    failed = []
    with tempfile.TemporaryDirectory(prefix="hbseg-package-", dir="/var/tmp") as folder:
        room = Path(folder)
        script = Path(shutil.copy(Path(__file__).with_name("installation.py"), room))
        shutil.copy(wheel, room)
        shutil.copytree(photos, room / "photos")
        for number, (name, python) in enumerate(pythons(names, room)):
            tools = room / f"tools{number}"
            bare = [*python, "-m", "venv", str(tools)]
            enter = python[: -len(["python3"])]
            get = [*enter, str(tools / "bin/pip"), "install", "-q", "pipx", "uv"]
            check = [*enter, str(tools / "bin/python"), str(script), str(room / wheel.name)]
            steps = (bare, get, [*check, str(room / "photos")])
            if any(subprocess.run(step, check=False).returncode for step in steps):
                failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), sys.argv[3:]))
