"""An installed hbseg, checked from outside the repository with the standard library alone.

    python tests/support/installation.py hbseg-0.1.0-py3-none-any.whl PHOTOS

installs the wheel with pip, pipx and uv, each in an environment and an empty home folder of its
own, for the Python that runs this file. First without extras: the client alone says which command
adds the embedded engine. That command is run, and then hbseg makes cutouts and masks of the photos.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n"

Listing = dict[str, tuple[int, int]]


def listing(*folders: Path) -> Listing:
    """Every entry below the folders, files with their size and time of change.

    Python's compiled files do not count: who installed a package may leave them to its first run.
    """
    found: Listing = {}
    for folder in folders:
        for place, subfolders, files in os.walk(folder):
            subfolders[:] = [name for name in subfolders if name != "__pycache__"]
            for name in subfolders:
                found[os.path.join(place, name)] = (0, 0)
            for name in files:
                path = os.path.join(place, name)
                status = os.lstat(path)
                found[path] = (status.st_size, status.st_mtime_ns)
    return found


def does_the_main_job(
    command: Sequence[str | Path], photos: Path, room: Path, env: dict[str, str]
) -> None:
    """Cut the people out of ``photos``, from an empty current folder.

    ``room`` holds the home folder (``HOME``), the temporary folder (``TMPDIR``) and, where hbseg
    was installed for it, the environment.

    Raises:
        AssertionError: a cutout or a mask is missing, a photo is not done, or something in the room
            or beside the photos has changed, OUT excepted.
    """
    out, current = room / "out", room / "current"
    current.mkdir(parents=True)
    before = listing(room, photos)
    ended = subprocess.run(
        [*command, "segment", photos, "-o", out, "--json"],
        cwd=current,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    expected = [path for path in photos.rglob("*") if path.suffix in {".jpg", ".png"}]
    records = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [record["status"] for record in records] == ["done"] * len(expected), records
    for path in expected:
        for kind in ("cutouts", "masks"):
            made = (out / kind / path.relative_to(photos)).with_suffix(".png")
            assert made.read_bytes().startswith(PNG), made
    changed = {path for path, _ in listing(room, photos).items() ^ before.items()}
    elsewhere = sorted(path for path in changed if out not in [Path(path), *Path(path).parents])
    assert not elsewhere, f"changed outside OUT: {elsewhere}"


def named_command(message: str) -> str:
    """The command that adds the embedded engine, as the message names it."""
    found = re.search(r"install the embedded one \((.*?)\), or", message)
    assert found, message
    return found[1]


def check_installer(name: str, install: Sequence[str], wheel: Path, photos: Path) -> None:
    """Install the wheel, do as its message says, and let it do the main job."""
    with tempfile.TemporaryDirectory(prefix=f"hbseg-{name}-") as folder:
        room = Path(folder)
        env = _environment(room)
        _run(["/bin/sh", "-c", " ".join(install)], env)
        hbseg = _found("hbseg", env)
        message = _run([hbseg, "segment", str(photos), "-o", str(room / "none")], env, code=4)
        advice = named_command(message)
        _run(["/bin/sh", "-c", advice], env)
        began = time.monotonic()
        does_the_main_job([hbseg], photos, room, env)
        seconds = time.monotonic() - began
        print(f"{name}: {advice}\n{name}: done in {seconds:.1f} s", flush=True)


def _environment(room: Path) -> dict[str, str]:
    """An empty home, with the tools of this Python's environment on the path."""
    kept = ("PIP_", "UV_", "SSL_", "http", "HTTP", "no_proxy", "NO_PROXY", "LD_", "LANG")
    env = {name: value for name, value in os.environ.items() if name.startswith(kept)}
    for name, variable in (("home", "HOME"), ("tmp", "TMPDIR")):
        (room / name).mkdir()
        env[variable] = str(room / name)
    places = (room / "venv/bin", room / "home/.local/bin", sysconfig.get_path("scripts"))
    env["PATH"] = os.pathsep.join([*map(str, places), "/usr/bin", "/bin"])
    env["PIPX_DEFAULT_PYTHON"] = env["UV_PYTHON"] = sys.executable
    env["UV_PYTHON_DOWNLOADS"] = "never"
    return env


def _found(name: str, env: dict[str, str]) -> str:
    path = shutil.which(name, path=env["PATH"])
    assert path, f"{name} was not installed on {env['PATH']}"
    return path


def _run(command: Sequence[str], env: dict[str, str], code: int = 0) -> str:
    ended = subprocess.run(
        command, env=env, cwd=env["HOME"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == code, f"{command}: {ended.returncode}\n{ended.stdout}{ended.stderr}"
    return ended.stderr


def main(wheel: Path, photos: Path) -> None:
    """Check the wheel with each installer."""
    print(f"Python {sys.version.split()[0]}", flush=True)
    requirement = f"'hbseg @ {wheel.as_uri()}'"
    venv = f"{sys.executable} -m venv $HOME/../venv && $HOME/../venv/bin/pip"
    check_installer("pip", [venv, "install -q", requirement], wheel, photos)
    check_installer("pipx", ["pipx install -q", requirement], wheel, photos)
    check_installer("uv", ["uv tool install -q", requirement], wheel, photos)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
