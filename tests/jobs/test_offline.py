"""Nothing leaves this machine, and nothing is left on it, beyond what hbseg says."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import no_network
import pytest
from conftest import KEY, SECRET, Hbseg, photo
from fake_api import FakeApi
from PIL import Image
from server_fixture import PORTRAIT, command, running
from waiting import until

ROOT = Path(__file__).resolve().parents[2]
CONFINED = [sys.executable, str(ROOT / "tests" / "support" / "no_network.py")]


@pytest.fixture
def empty_home(tmp_path: Path) -> Path:
    """A home folder with nothing in it."""
    home = tmp_path / "home"
    home.mkdir()
    return home


def environment(hbseg: Hbseg, home: object) -> dict[str, str]:
    """No folder but ``home`` is named to a library that looks for a place for its files."""
    kept = {name: value for name, value in hbseg.environment().items() if "XDG_" not in name}
    return {**kept, "HOME": str(home)}


def inside(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


def run(
    hbseg: Hbseg, home: object, *arguments: object, confined: bool = True
) -> subprocess.CompletedProcess[str]:
    """The real command, which dies by SIGSYS where it reaches for the network."""
    ended = subprocess.run(
        [
            *(CONFINED if confined else []),
            sys.executable,
            "-m",
            "humanbody_cli",
            *map(str, arguments),
        ],
        cwd=hbseg.cwd,
        env=environment(hbseg, home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if confined and ended.returncode == no_network.NOT_POSSIBLE:
        pytest.skip("needs seccomp on x86-64 or arm64")
    return ended


@pytest.mark.parametrize(
    "code",
    [
        "socket.getaddrinfo('a.invalid', 80)",
        "socket.socket().connect(('127.0.0.1', 1))",
        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
    ],
)
def test_the_confinement_confines(code: str) -> None:
    """A look-up of a name, a connection, a datagram: each is the end of the process."""
    ended = subprocess.run(
        [*CONFINED, sys.executable, "-c", f"import socket; socket.socketpair(); {code}"],
        capture_output=True,
        check=False,
    )
    if ended.returncode == no_network.NOT_POSSIBLE:
        pytest.skip("needs seccomp on x86-64 or arm64")
    assert ended.returncode == -31  # SIGSYS


def test_the_embedded_engine_leaves_nothing_and_calls_nobody(
    hbseg: Hbseg, photos: Path, empty_home: Path
) -> None:
    """A run without a key, over each format and with each library that reads one: no network, and
    no file outside OUT."""
    for name in ("e.webp", "f.avif", "g.heic"):
        image = Image.open(photos / "a.jpg")
        if name.endswith("heic"):
            pytest.importorskip("pillow_heif").from_pillow(image).save(photos / name)
        else:
            image.save(photos / name)
    ended = run(hbseg, empty_home, "segment", photos, "-o", "out", "--fit", "--edges", "soft")
    assert (ended.returncode, inside(empty_home)) == (0, []), ended.stderr
    for arguments in (["report", "out"], ["status", "out"], ["check", photos, "--fit"]):
        assert run(hbseg, empty_home, *arguments).returncode == 0
    assert inside(empty_home) == []


def test_a_run_that_lasts_calls_nobody(hbseg: Hbseg, photos: Path, empty_home: Path) -> None:
    """The library that runs the model calls its vendor after some seconds. A run that began before
    a program with the bare library is still at work when that one reaches for the network."""
    there = {**environment(hbseg, empty_home), "ORT_DISABLE_TELEMETRY": "0"}
    program = [*CONFINED, sys.executable]
    arguments = ("-m", "humanbody_cli", "segment", "--from-file", "-", "-o", "out")
    with subprocess.Popen(
        [*program, *arguments], cwd=hbseg.cwd, env=there, stdin=subprocess.PIPE
    ) as lasting:
        assert lasting.stdin is not None
        lasting.stdin.write(f"{photos / 'a.jpg'}\n".encode())
        lasting.stdin.flush()
        result = hbseg.cwd / "out" / "cutouts" / "a.png"
        until(lambda: result.exists() or lasting.poll() is not None)
        if lasting.poll() == no_network.NOT_POSSIBLE:
            pytest.skip("needs seccomp on x86-64 or arm64")
        bare = subprocess.run(
            [*program, "-c", "import onnxruntime, time; time.sleep(30)"],
            env={**there, "HOME": str(hbseg.cwd)},
            check=False,
        )
        assert lasting.poll() is None
        lasting.stdin.close()
        assert lasting.wait(60) == 0
    assert inside(empty_home) == []
    if bare.returncode != -signal.SIGSYS:
        pytest.skip("this version of onnxruntime calls nobody")


def test_a_home_that_cannot_be_written_is_not_spoken_of(
    hbseg: Hbseg, photos: Path, empty_home: Path
) -> None:
    """Nothing is to be written there, so not a line more is said than elsewhere."""
    said = []
    for number, home in enumerate((empty_home, "/dev/null", "/nowhere/at/all")):
        ended = run(hbseg, home, "segment", photos, "-o", f"out{number}")
        assert ended.returncode == 0
        said.append([line.split()[0] for line in ended.stderr.splitlines()])
    assert said[1:] == [said[0], said[0]]


def test_the_server_leaves_nothing_and_calls_nobody(hbseg: Hbseg, empty_home: Path) -> None:
    """Photos are done, figures are told, in one process and in two: no network, and no file."""
    for options in ([], ["--workers", "2"]):
        confined = [*CONFINED, *command(*options)]
        with running(arguments=confined, env=environment(hbseg, empty_home)) as server:
            assert server.post(image=PORTRAIT).status_code == 200
            assert httpx.get(f"{server.endpoint}/metrics", trust_env=False).status_code == 200
            assert server.stop() == 0
    assert inside(empty_home) == []


def test_a_run_over_the_api_leaves_its_shared_slots_only(
    hbseg: Hbseg, photos: Path, api: FakeApi, empty_home: Path
) -> None:
    """What runs with one key share lies in the state folder; the HTTP libraries add nothing."""
    (hbseg.cwd / "key").write_text(f"api_key={KEY}\napi_secret={SECRET}\n")
    (hbseg.cwd / "key").chmod(0o600)
    options = ("--credentials", "key", "--endpoint", api.url, "--qps", "100")
    ended = run(hbseg, empty_home, "segment", photos, "-o", "out", *options, confined=False)
    assert ended.returncode == 0, ended.stderr
    files = [name for name in inside(empty_home) if (empty_home / name).is_file()]
    assert all(name.startswith(".local/state/hbseg/") for name in files), files
    assert len(files) == 1


def test_a_library_that_uses_the_engine_is_as_quiet(hbseg: Hbseg, empty_home: Path) -> None:
    """Whoever imports the engine gets it without telemetry, whatever the variable was set to."""
    path = photo(hbseg.cwd / "a.png")
    script = (
        "from PIL import Image\n"
        "from humanbody_cli.embedded import segmenters\n"
        "from humanbody_cli.core.settings import LocalSettings\n"
        f"segmenters.segmenter(LocalSettings())(Image.open({str(path)!r}).convert('RGB'))\n"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        env={**environment(hbseg, empty_home), "ORT_DISABLE_TELEMETRY": "0"},
        check=True,
    )
    assert inside(empty_home) == []


def test_one_module_imports_onnxruntime() -> None:
    """The one that first turns its telemetry off."""
    importers = set()
    for path in (ROOT / "humanbody_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.append(str(node.module))
            if any(name.partition(".")[0] == "onnxruntime" for name in names):
                importers.add(path.name)
    assert importers == {"ort.py"}
