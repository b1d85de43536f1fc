"""The steps of a Dockerfile followed without Docker: each stage is a folder, each step a command in
a sandbox (bubblewrap) whose root is that folder.

The base image ``python:*`` is played by this machine's system, read-only, with the Python that runs
the tests as ``python`` and ``pip`` in ``/usr/local/bin``. So the version in ``FROM`` is not tested.
Any instruction or flag that is not known here is an error, not skipped.
"""

from __future__ import annotations

import fnmatch
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

NEEDED = ("bwrap", "setpriv")

_SYSTEM = ("bin", "sbin", "lib", "lib64")
_SETTINGS = ("ssl", "resolv.conf", "hosts", "nsswitch.conf", "ld.so.cache", "ca-certificates")
_PASSED = "PIP_CERT PIP_INDEX_URL PIP_TRUSTED_HOST SSL_CERT_FILE http_proxy https_proxy no_proxy"
"""What reaching an index may need: Docker's counterparts are its build arguments and secrets."""


@dataclass
class Stage:
    """One stage of the build, and at last the image."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin"})
    user: str = "0:0"
    folder: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """A path in the image, as seen from outside."""
        return self.root / os.path.join(self.folder, name).lstrip("/")


def stage_from_base(root: Path) -> Stage:
    """A stage that holds no more than ``python:*-slim`` does."""
    for name in ("usr/local/bin", "etc", "root", "tmp", "proc", "dev", "var/tmp"):
        (root / name).mkdir(parents=True)
    for name in _SYSTEM:
        if os.path.islink(f"/{name}"):
            (root / name).symlink_to(os.readlink(f"/{name}"))
    interpreter = os.path.join(sys.base_prefix, "bin", f"python3.{sys.version_info[1]}")
    for name, more in (("python", ""), ("python3", ""), ("pip", " -m pip")):
        path = root / "usr/local/bin" / name
        path.write_text(f'#!/bin/sh\nexec {interpreter}{more} "$@"\n')
        path.chmod(0o755)
    return Stage(root)


def sandbox(stage: Stage, mounts: Mapping[str, tuple[Path, str]], *, read_only: bool) -> list[str]:
    """The beginning of a command in the stage. ``mounts``: a folder outside, and ``ro`` or ``rw``,
    by its place inside."""
    bind = "--ro-bind" if read_only else "--bind"
    command = ["bwrap", bind, str(stage.root), "/", "--ro-bind", "/usr", "/usr"]
    command += [bind, str(stage.root / "usr/local"), "/usr/local", "--dev", "/dev"]
    command += ["--proc", "/proc", "--unshare-pid", "--unshare-ipc", "--die-with-parent"]
    shared = [f"/{name}" for name in _SYSTEM if not os.path.islink(f"/{name}")]
    shared += [f"/etc/{name}" for name in _SETTINGS]
    shared += [] if sys.base_prefix.startswith("/usr") else [sys.base_prefix]
    for path in filter(os.path.exists, shared):
        _mount_point(stage.root, path, Path(path))
        command += ["--ro-bind", os.path.realpath(path), path]
    for inside, (outside, mode) in mounts.items():
        _mount_point(stage.root, inside, outside)
        command += ["--ro-bind" if mode == "ro" else "--bind", str(outside), inside]
    command += ["--clearenv", "--chdir", stage.folder]
    return command + [word for pair in stage.env.items() for word in ("--setenv", *pair)]


def _mount_point(root: Path, inside: str, outside: Path) -> None:
    """A read-only root gets none later."""
    point = root / inside.lstrip("/")
    if outside.is_dir():
        point.mkdir(parents=True, exist_ok=True)
    else:
        point.parent.mkdir(parents=True, exist_ok=True)
        if not point.exists():
            point.touch()


def start(
    image: Stage, *arguments: str, user: str = "", mounts: Mapping[str, tuple[Path, str]]
) -> subprocess.CompletedProcess[str]:
    """``docker run --read-only --network none``, with the image's entry point."""
    uid, _, gid = (user or image.user).partition(":")
    rights = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--unshare-net"]
    drop = ["setpriv", "--reuid", uid, "--regid", gid, "--clear-groups", "--no-new-privs", "--"]
    command = [*sandbox(image, mounts, read_only=True), *rights, *drop, *image.entrypoint]
    command += arguments or image.arguments
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction with the rest of its line, continued lines put together."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name, rest.strip()


def build(dockerfile: Path, into: Path, cache: Path) -> Stage:
    """Follow the steps; the last stage.

    Raises:
        AssertionError: a step fails or is not understood.
    """
    stages: list[Stage] = []
    names: dict[str, Stage] = {}
    variables: dict[str, str] = {}
    for name, rest in instructions(dockerfile.read_text()):
        if name == "ARG":
            variable, _, value = rest.partition("=")
            variables[variable] = value
        elif name == "FROM":
            image, _, label = _expanded(rest, variables).partition(" AS ")
            assert re.fullmatch(r"python:3\.\d+-slim", image), image
            stages.append(stage_from_base(into / str(len(stages))))
            names[label] = stages[-1]
        else:
            _follow(stages[-1], name, rest, dockerfile.parent, (names, cache))
    return stages[-1]


def _follow(
    stage: Stage, name: str, rest: str, context: Path, others: tuple[dict[str, Stage], Path]
) -> None:
    if name == "RUN":
        _run(stage, rest, others[1])
    elif name == "COPY":
        _copy(stage, rest, context, others[0])
    elif name in ("ENV", "LABEL"):
        pairs = dict(word.split("=", 1) for word in shlex.split(_expanded(rest, stage.env)))
        (stage.env if name == "ENV" else stage.labels).update(pairs)
    elif name == "WORKDIR":
        stage.folder = os.path.join(stage.folder, rest)
        stage.path("").mkdir(parents=True, exist_ok=True)
    elif name == "USER":
        assert re.fullmatch(r"\d+:\d+", rest), f"USER {rest}: names are not in the image"
        stage.user = rest
    elif name in ("ENTRYPOINT", "CMD"):
        words = json.loads(rest)
        setattr(stage, "entrypoint" if name == "ENTRYPOINT" else "arguments", words)
    else:
        raise AssertionError(f"{name}: not understood")


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: variables[found[1]], text)


def _run(stage: Stage, rest: str, cache: Path) -> None:
    flags, script = [], rest
    while script.startswith("--"):
        flag, _, script = script.partition(" ")
        flags.append(flag)
        script = script.lstrip()
    mounts = {}
    for flag in flags:
        kind, target = re.fullmatch(r"--mount=type=(\w+),target=(\S+)", flag).groups()  # type: ignore[union-attr]
        assert kind == "cache", flag
        mounts[target] = (cache, "rw")
    passed = {name: os.environ[name] for name in _PASSED.split() if name in os.environ}
    step = Stage(stage.root, {"HOME": "/root", **passed, **stage.env}, folder=stage.folder)
    assert stage.user == "0:0", "RUN after USER is not played"
    command = [*sandbox(step, mounts, read_only=False), "/bin/sh", "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, f"RUN {script}\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}"


def _copy(stage: Stage, rest: str, context: Path, names: dict[str, Stage]) -> None:
    *sources, target = rest.split()
    patterns: list[str] = []
    if sources[0].startswith("--"):
        flag, origin = sources.pop(0).split("=")
        assert flag == "--from", flag
        found = [names[origin].path(source) for source in sources]
    else:
        patterns = _patterns(context / ".dockerignore")
        kept = [source for source in sources if not _is_left_out(source, patterns)]
        assert kept == sources, f"COPY {rest}: .dockerignore leaves out what is not in {kept}"
        found = [context / source for source in sources]
    for source in found:
        assert source.exists(), f"COPY {rest}: {source} is not there"
        if source.is_dir():
            skip = functools.partial(_skipped, context, patterns)
            into = stage.path(target)
            shutil.copytree(source, into, symlinks=True, dirs_exist_ok=True, ignore=skip)
        else:
            assert target.endswith("/"), f"COPY {rest}: the target of files ends with a slash"
            stage.path(target).mkdir(parents=True, exist_ok=True)
            shutil.copy(source, stage.path(target))


def _patterns(dockerignore: Path) -> list[str]:
    lines = [line.strip() for line in dockerignore.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _skipped(context: Path, patterns: list[str], folder: str, inside: list[str]) -> set[str]:
    place = os.path.relpath(folder, context)
    return {name for name in inside if _is_left_out(f"{place}/{name}", patterns)}


def _is_left_out(name: str, patterns: list[str]) -> bool:
    """Whether ``.dockerignore`` keeps a path from the build: the last pattern that fits counts."""
    parts, left_out = name.split("/"), False
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        places = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        tried = parts if bare.startswith("**/") else places
        if any(fnmatch.fnmatch(one, bare.removeprefix("**/")) for one in tried):
            left_out = not pattern.startswith("!")
    return left_out
