"""The sdist and the wheel: what is in them, what an index shows, and that the wheel works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from installation import does_the_main_job
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
HOME = "https://github.com/hbseg/hbseg/blob/HEAD/"
PICTURES = "https://raw.githubusercontent.com/hbseg/hbseg/HEAD/"


def build(source: Path, into: Path, *options: str) -> None:
    """What ``make package`` runs, with the build tools of this environment."""
    command = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", str(into)]
    ended = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(packages: Path) -> Path:
    """The wheel built from the sdist."""
    (path,) = packages.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """What the wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and the packages of this one below it."""
    venv = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = str(venv / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index"]
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "below.pth").write_text(f"{ours}\n")
    return venv


def test_the_wheel_is_the_same_from_the_repository(wheel: Path, tmp_path: Path) -> None:
    """A wheel built without the way over the sdist has the same bytes, at any time."""
    build(ROOT, tmp_path, "--wheel")
    (other,) = tmp_path.glob("*.whl")
    assert other.name == wheel.name
    assert other.read_bytes() == wheel.read_bytes()


def _package_files() -> Iterator[str]:
    for path in (ROOT / "humanbody_cli").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield str(path.relative_to(ROOT))


def test_the_wheel_holds_the_package_its_licences_and_nothing_else(wheel: Path) -> None:
    """Modules, models, pages and ``py.typed``; the licence of the code and of each model; manual
    pages; no tests."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    versioned = "-".join(wheel.name.split("-")[:2])
    licences = {name for name in _package_files() if "LICENSE" in name} | {"LICENSE"}
    pages = [path.name for path in ROOT.glob("docs/man/*.1")]
    expected = {
        *_package_files(),
        *(f"hbseg.dist-info/licenses/{name}" for name in licences),
        *(f"hbseg.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL")),
        "hbseg.dist-info/entry_points.txt",
        *(f"hbseg.data/data/share/man/man1/{name}" for name in pages),
    }
    assert len(licences) == 4
    assert {name.replace(f"{versioned}.", "hbseg.") for name in names} == expected


def test_an_index_accepts_the_packages(packages: Path) -> None:
    """``twine check --strict`` has nothing to say."""
    paths = [str(path) for path in packages.iterdir()]
    command = [sys.executable, "-m", "twine", "check", "--strict", *paths]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_metadata_says_what_it_is(metadata: Message) -> None:
    """Name, licences, Python versions and addresses."""
    assert metadata["Name"] == "hbseg"
    assert metadata["License-Expression"] == "MIT AND Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    labels = [label.partition(",")[0] for label in metadata.get_all("Project-URL", [])]
    assert labels == ["Homepage", "Documentation", "Source", "Issues", "Changelog"]


def _targets(text: str) -> Iterator[tuple[str, str]]:
    """The kind and target of every link and picture of a page, raw HTML included."""
    for token in MarkdownIt().parse(text):
        for part in [token, *(token.children or ())]:
            if part.type in ("link_open", "image"):
                kind = "href" if part.type == "link_open" else "src"
                yield kind, str(part.attrs[kind])
            elif part.type in ("html_block", "html_inline"):
                yield from re.findall(r'\b(href|src|srcset)="([^"]*)"', part.content)


def test_links_of_the_long_description_work_outside_the_repository(metadata: Message) -> None:
    """Every link of README.md is absolute there, and one to a file names a file that exists."""
    here = list(_targets((ROOT / "README.md").read_text()))
    there = list(_targets(str(metadata.get_payload())))
    assert len(here) == len(there) > 3
    for (kind, local), (_, absolute) in zip(here, there, strict=True):
        if "://" in local or local.startswith(("#", "mailto:")):
            assert absolute == local
        else:
            assert absolute == (HOME if kind == "href" else PICTURES) + local
            assert (ROOT / local.partition("#")[0]).exists()


def _environment(room: Path) -> dict[str, str]:
    env = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    for name, variable in (("home", "HOME"), ("tmp", "TMPDIR")):
        (room / name).mkdir()
        env[variable] = str(room / name)
    return env


def test_the_installed_wheel_does_the_main_job(installed: Path, tmp_path: Path) -> None:
    """Outside the repository it makes cutouts and masks, and writes nothing outside OUT."""
    env = _environment(tmp_path)
    python = str(installed / "bin" / "python")
    script = "import humanbody_cli; print(humanbody_cli.__file__)"
    place = subprocess.check_output([python, "-c", script], env=env, cwd=tmp_path, text=True)
    assert place.startswith(str(installed))
    does_the_main_job([installed / "bin" / "hbseg"], ROOT / "sample_images", tmp_path, env)


@pytest.mark.parametrize(
    ("record", "command"),
    [
        ("none", "pip install"),
        ("pipx_metadata.json", "pipx install --force"),
        ("uv-receipt.toml", "uv tool install --force"),
    ],
)
def test_a_message_names_the_command_of_the_tool_that_installed_hbseg(
    installed: Path, wheel: Path, tmp_path: Path, record: str, command: str
) -> None:
    """It installs from the same place, and with pipx and uv it keeps the extras in use."""
    script = "from humanbody_cli.core import errors; print(errors.how_to_install('watch'))"
    path = installed / record
    path.touch()
    python = str(installed / "bin" / "python")
    advice = subprocess.check_output([python, "-c", script], cwd=tmp_path, text=True).strip()
    path.unlink()
    found = re.fullmatch(rf"{command} 'hbseg\[(.*)\] @ {re.escape(wheel.as_uri())}'", advice)
    assert found, advice
    extras = set(found[1].split(","))
    assert extras == {"watch"} if record == "none" else extras >= {"local", "fit", "watch"}
