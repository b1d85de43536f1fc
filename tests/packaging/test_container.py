"""The Dockerfile and its page: its steps are followed without Docker; the image does its job."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dockerfile import NEEDED, Stage, build, instructions, start
from installation import listing

from humanbody_cli.cli.main import COMMANDS, hbseg

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "sample_images"
PAGE = (ROOT / "docs" / "container.md").read_text()


def _lacking() -> str:
    """Why the steps cannot be followed here; empty if they can."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed (apt-get install bubblewrap)"
    if os.geteuid() != 0:
        return "only root can take the place of other users"
    probe = ["bwrap", "--ro-bind", "/", "/", "--unshare-net", "--dev", "/dev", "true"]
    refused = subprocess.run(probe, capture_output=True, text=True, check=False)
    return refused.stderr.strip()


def _index() -> None:
    """The steps install from an index."""
    command = [sys.executable, "-m", "pip", "index", "versions", "hatchling"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no package index can be reached")


def _pip_cache(otherwise: Path) -> Path:
    command = [sys.executable, "-m", "pip", "cache", "dir"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    cache = Path(found.stdout.strip())
    return cache if found.returncode == 0 and cache.is_dir() else otherwise


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Stage]:
    """What the Dockerfile makes."""
    if reason := _lacking():
        pytest.skip(reason)
    _index()
    yield build(ROOT / "Dockerfile", tmp_path / "image", _pip_cache(tmp_path))
    shutil.rmtree(tmp_path / "image")


def test_the_image_is_built_and_does_what_it_is_for(image: Stage, tmp_path: Path) -> None:
    """Every step of the Dockerfile succeeds. The image makes cutouts and masks as its own user and
    as any other, with a read-only root and without a network, and writes to OUT alone; it has
    every extra, and serves as docs/container.md says. One test, so that it is built once."""
    _shows_how_it_is_used(image)
    for user in ("", "4242:4243"):
        _does_the_main_job(image, tmp_path / f"out{user}", user)
    _says_that_out_is_not_writable(image, tmp_path / "of-root")
    _is_healthy_while_it_serves(image, tmp_path / "keys")


def _shows_how_it_is_used(image: Stage) -> None:
    ended = start(image, mounts={})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Usage: hbseg ")
    packages = {path.name for path in image.root.glob("opt/hbseg/lib/python3*/site-packages/*")}
    assert packages >= {"pillow_heif", "onnxruntime", "isal", "uvicorn", "watchfiles"}


def _does_the_main_job(image: Stage, out: Path, user: str) -> None:
    out.mkdir()
    uid, gid = map(int, (user or image.user).split(":"))
    os.chown(out, uid, gid)
    assert uid != 0
    mounts = {"/data/photos": (SAMPLES, "ro"), "/data/out": (out, "rw")}
    start(image, "--version", user=user, mounts=mounts)  # leaves the mount points
    before = listing(image.root, SAMPLES)
    ended = start(image, "segment", "photos", "-o", "out", user=user, mounts=mounts)
    assert ended.returncode == 0, ended.stderr
    photos = [path for path in SAMPLES.rglob("*") if path.suffix in {".jpg", ".png"}]
    for kind in ("cutouts", "masks"):
        made = [path for path in (out / kind).rglob("*") if path.is_file()]
        assert len(made) == len(photos)
        assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(uid, gid)}
    assert listing(image.root, SAMPLES) == before


def _says_that_out_is_not_writable(image: Stage, out: Path) -> None:
    """The usual mistake with mounted folders: one sentence, exit 4."""
    out.mkdir(mode=0o755)
    mounts = {"/data/photos": (SAMPLES, "ro"), "/data/out": (out, "rw")}
    ended = start(image, "segment", "photos", "-o", "out", mounts=mounts)
    assert ended.returncode == 4
    assert "out" in ended.stderr and "Traceback" not in ended.stderr


def _is_healthy_while_it_serves(image: Stage, keys: Path) -> None:
    """The server and its check are those of the page, in one container."""
    keys.write_text("key secret\n")
    serve = _of_the_page(r"command: (\[\"serve.*)")
    check = _of_the_page(r"test: (.*)")
    assert check.pop(0) == "CMD"
    script = (
        f"hbseg {shlex.join(serve)} & until {shlex.join(check)}; do kill -0 $! || exit 1; done; "
        "kill $!; wait $!"
    )
    shell = replace(image, entrypoint=["/bin/sh", "-c"])
    ended = start(shell, script, mounts={"/run/secrets/keys": (keys, "ro")})
    assert ended.returncode == 0, ended.stderr


def _of_the_page(pattern: str) -> list[str]:
    found = re.search(pattern, PAGE)
    assert found, pattern
    words = json.loads(found[1])
    assert isinstance(words, list)
    return words


def test_every_option_of_the_page_exists() -> None:
    """Options of hbseg in docs/container.md are those of its commands."""
    known = set().union(*(options_of(name) for name in COMMANDS)) | {"--help"}
    of_docker = "--rm --network --read-only --user --stop-timeout --build-arg --env-file --userns"
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE))
    assert named - set(of_docker.split()) <= known


def options_of(name: str) -> set[str]:
    """The options of a command."""
    command = hbseg.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    return {option for param in command.params for option in param.opts}


def test_a_broken_step_is_noticed(tmp_path: Path) -> None:
    """A Dockerfile that forgets a file of the wheel's sources cannot be followed to its end."""
    if reason := _lacking():
        pytest.skip(reason)
    _index()
    broken = tmp_path / "context"
    broken.mkdir()
    for name in ("humanbody_cli", "pyproject.toml", "README.md", "LICENSE", ".dockerignore"):
        (broken / name).symlink_to(ROOT / name)
    text = (ROOT / "Dockerfile").read_text()
    assert "README.md LICENSE ./" in text
    (broken / "Dockerfile").write_text(text.replace("README.md LICENSE ./", "LICENSE ./"))
    with pytest.raises(AssertionError, match=r"README\.md"):
        build(broken / "Dockerfile", tmp_path / "image", tmp_path)


def test_nothing_secret_gets_into_a_layer() -> None:
    """Of the build's folder the image takes the wheel's sources by name, and no build argument
    carries a key."""
    steps = list(instructions((ROOT / "Dockerfile").read_text()))
    copies = [rest.split() for name, rest in steps if name == "COPY" and "--from" not in rest]
    assert sorted(name for words in copies for name in words[:-1]) == [
        "LICENSE",
        "README.md",
        "humanbody_cli",
        "pyproject.toml",
    ]
    assert [rest.split("=")[0] for name, rest in steps if name == "ARG"] == ["PYTHON"]
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
