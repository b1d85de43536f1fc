"""Fixtures: the real command in a subprocess, a fake of the API on a real socket, real photos."""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import Browser, chromium
from checking import Check
from fake_api import FakeApi
from fake_behaviour import Behaviour
from hypothesis import HealthCheck, settings
from PIL import Image, ImageDraw
from waiting import COMMAND_PATH

from humanbody_cli.api.requests import request_size
from humanbody_cli.core.api_spec import SEGMENT_PATH
from humanbody_cli.core.errors import PhotoError
from humanbody_cli.core.settings import (
    ApiSettings,
    Credentials,
    EngineChoice,
    InputSettings,
    LocalSettings,
    OutputSettings,
    RunSettings,
    Telling,
    Wanted,
)
from humanbody_cli.discovery.single import single
from humanbody_cli.discovery.sources import Rules, examine
from humanbody_cli.imaging.pictures import Picture

if TYPE_CHECKING:
    import respx

# How fast examples are made is the machine's affair: in a new clone its tables are built first.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parent.parent
GRACE = ROOT / "sample_images" / "portraits" / "grace_hopper.jpg"
KEY, SECRET = "the-key-of-the-tests", "the-secret-of-the-tests"


def pytest_configure(config: pytest.Config) -> None:
    """Give the runs in this process state and settings of their own, and compile the package once.

    Where Python is told to write no bytecode, as in many containers,
    each of the thousand commands that are started here would compile it again, a fifth of its
    time."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(ROOT / "humanbody_cli", quiet=2)
    state = tempfile.TemporaryDirectory(prefix="hbseg-state-")
    config.add_cleanup(state.cleanup)
    for name in ("HBSEG_CONFIG", "HBSEG_PROFILE"):
        os.environ.pop(name, None)
    os.environ["XDG_STATE_HOME"] = os.environ["XDG_CONFIG_HOME"] = state.name


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The objects of ``--json``."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ended]


@dataclass(frozen=True)
class Hbseg:
    """Runs the real command, with an environment of its own."""

    cwd: Path
    env: dict[str, str] = field(default_factory=dict)

    def environment(self, **more: str) -> dict[str, str]:
        """No variable of the caller's reaches the command."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HBSEG_")}
        own = {f"XDG_{name.upper()}_HOME": str(self.cwd / name) for name in ("state", "config")}
        paths = {"PYTHONPATH": COMMAND_PATH, "HOME": str(self.cwd), **own}
        return {**kept, **paths, **self.env, **more}

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
        """Start it and return at once."""
        environment = self.environment(**options.pop("env", {}))
        command = [sys.executable, "-m", "humanbody_cli", *map(os.fspath, map(_text, arguments))]
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
        return subprocess.Popen(command, cwd=self.cwd, env=environment, **options)

    def __call__(self, *arguments: object, stdin: bytes = b"", **options: Any) -> Ended:
        """Run it to its end."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with self.start(*arguments, **pipes, **options) as process:
            out, err = process.communicate(stdin, timeout=90)
        text = (stream.decode("utf-8", "surrogateescape") for stream in (out or b"", err or b""))
        return Ended(process.returncode, *text)


def _text(argument: object) -> str:
    return argument if isinstance(argument, str) else str(argument)


@pytest.fixture
def hbseg(tmp_path: Path) -> Hbseg:
    """The command without a key."""
    return Hbseg(tmp_path)


@pytest.fixture
def paid(tmp_path: Path) -> Hbseg:
    """The command with a key."""
    return Hbseg(tmp_path, {"HBSEG_API_KEY": KEY, "HBSEG_API_SECRET": SECRET})


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """A fake of the API that accepts everything at once."""
    with FakeApi.in_thread(Behaviour()) as running:
        yield running


@pytest.fixture
def run(paid: Hbseg, api: FakeApi) -> Run:
    """``segment`` with these arguments into ``out``, against the fake API."""

    def run(*arguments: object, code: int = 0, **options: Any) -> Ended:
        where = ("-o", "out", "--endpoint", api.url, "--qps", 300)
        ended = paid("segment", *arguments, *where, **options)
        assert ended.code == code, ended.err
        assert "Traceback" not in ended.err
        return ended

    return run


@pytest.fixture
def one(paid: Hbseg, api: FakeApi, tmp_path: Path) -> Run:
    """``segment`` with these arguments against the fake API; there is a photo ``me.jpg``."""
    photo(tmp_path / "me.jpg", seed=1)

    def run(*arguments: object, code: int = 0, **options: Any) -> Ended:
        ended = paid("segment", *arguments, "--endpoint", api.url, "--qps", 300, **options)
        assert ended.code == code, ended.err
        assert "Traceback" not in ended.err
        return ended

    return run


@pytest.fixture
def route() -> Iterator[respx.Route]:
    """The API's address as ``api_engine`` calls it, answered by respx."""
    import respx

    with respx.mock(assert_all_called=False) as mock:
        yield mock.post("https://api.example.com" + SEGMENT_PATH)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the system may enter, unlike those of ``tmp_path``."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for locked in folder.glob("locked"):
        locked.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of four different photos, one of them in a folder below."""
    folder = tmp_path / "photos"
    for index, name in enumerate(("a.jpg", "b.jpg", "c.png", "deeper/d.jpg")):
        photo(folder / name, seed=index)
    return folder


def photo(path: Path, *, seed: int = 0, size: tuple[int, int] = (96, 80)) -> Path:
    """A photo of its own bytes: ``seed`` decides what is on it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (40 + seed * 7 % 200, 90, 160))
    draw = ImageDraw.Draw(image)
    draw.ellipse((size[0] // 4, 8, size[0] * 3 // 4, size[1] - 8), fill=(220, 180, seed % 256))
    draw.point((seed % size[0], seed // size[0] % size[1]), fill=(255, 0, 0))
    image.save(path, quality=95)
    return path


def files(folder: Path) -> dict[str, bytes]:
    """Every published file below an output folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for kind in ("masks", "cutouts")
        for path in sorted((folder / kind).rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def checked(tmp_path: Path) -> Check:
    """The whole pre-validation of bytes in a file: the picture, or the code of its rejection."""

    def check(data: bytes, rules: Rules | None = None) -> Picture | str:
        path = tmp_path / "photo.jpg"
        path.write_bytes(data)
        try:
            return examine(single(str(path)), rules or Rules(overhead=request_size(0)))
        except PhotoError as error:
            return error.code if error.rejected and not error.attempts else "not rejected"

    return check


def run_settings(
    photos: Path, out: Path, url: str, *, concurrency: int | None = None
) -> RunSettings:
    """A quiet run over the API, for tests that put another disk under it."""
    return RunSettings(
        inputs=InputSettings((str(photos),)),
        output=OutputSettings(out),
        wanted=Wanted(),
        engine=EngineChoice.API,
        api=ApiSettings(Credentials(KEY, SECRET), url, qps=500.0, concurrency=concurrency),
        local=LocalSettings(),
        telling=Telling(verbosity=-1),
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of a file."""
    with chromium() as running:
        yield running
