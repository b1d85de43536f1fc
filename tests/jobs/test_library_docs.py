"""docs/library.md: its examples run as scripts, inside an event loop and in a notebook's kernel.

They leave everything else as it was.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Hbseg, photo
from fake_api import FakeApi
from jupyter_client.manager import KernelManager
from mypy import api as mypy
from waiting import PATIENCE

import humanbody_cli

TEXT = (ROOT / "docs" / "library.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
AWAITS = [block for block in BLOCKS if re.search(r"^\S.*\bawait\b", block, re.MULTILINE)]
SCRIPTS = [block for block in BLOCKS if "asyncio.run(" in block]
PLAIN = [block for block in BLOCKS if block not in AWAITS and block not in SCRIPTS]
SUPPORT = ROOT / "tests" / "support"


def called(block: str, api: FakeApi) -> str:
    """A block whose API is the fake one."""
    return block.replace("qps=10", f"endpoint={api.url!r}, qps=300")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the examples find beside them."""
    photo(tmp_path / "me.jpg")
    photo(tmp_path / "photos" / "a.jpg", seed=1)
    photo(tmp_path / "photos" / "trip" / "b.png", seed=2)
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"no photo")
    return tmp_path


@pytest.fixture
def environment(hbseg: Hbseg) -> dict[str, str]:
    """A home of its own; a key in the environment that must not be used."""
    path = os.pathsep.join((str(ROOT), str(SUPPORT)))
    home = hbseg.cwd / "home"
    home.mkdir()
    key = {"HBSEG_API_KEY": "not-to-be-used", "HBSEG_API_SECRET": "not-to-be-used"}
    mine = {"MY_KEY": "a-key", "MY_SECRET": "a-secret"}
    return hbseg.environment(PYTHONPATH=path, HOME=str(home), **key, **mine)


def run(folder: Path, environment: dict[str, str], how: str, block: str) -> None:
    (folder / "example.py").write_text(block)
    ended = subprocess.run(
        [sys.executable, "-W", "error", str(SUPPORT / "process_state.py"), how, "example.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_there_are_examples_of_each_kind() -> None:
    """The tests below have something to run."""
    assert len(PLAIN) >= 5 and len(SCRIPTS) == 1 and len(AWAITS) == 1


@pytest.mark.parametrize("block", [*PLAIN, *SCRIPTS])
def test_as_a_script(block: str, folder: Path, environment: dict[str, str], api: FakeApi) -> None:
    """It ends well, prints nothing, and changes nothing of the process."""
    run(folder, environment, "script", called(block, api))


@pytest.mark.parametrize("block", [*PLAIN, *AWAITS])
def test_inside_an_event_loop(
    block: str, folder: Path, environment: dict[str, str], api: FakeApi
) -> None:
    """The same where a loop is running already."""
    run(folder, environment, "asyncio", called(block, api))


@pytest.fixture
def kernel(folder: Path, environment: dict[str, str]) -> Iterator[Any]:
    """A client of a notebook's kernel."""
    manager = KernelManager()
    places = ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    own = {name: str(folder / "jupyter") for name in places}
    manager.start_kernel(cwd=str(folder), env={**environment, **own})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def cell(kernel: Any, text: str) -> list[Any]:
    """Run a cell; what it shows. It fails where the cell does, or prints."""
    shown: list[Any] = []

    def hook(message: dict[str, Any]) -> None:
        kind, content = message["msg_type"], message["content"]
        assert kind not in ("stream", "error"), content
        if kind == "execute_result":
            shown.append(content["data"])

    kernel.execute_interactive(text, timeout=PATIENCE, output_hook=hook)
    return shown


def test_in_a_notebook(kernel: Any, api: FakeApi) -> None:
    """Every example that does not start a loop of its own runs as a cell, and the last shows its
    picture; no error of a nested loop, nothing printed, nothing changed."""
    cell(kernel, "import process_state; before = process_state.state()")
    for block in [*PLAIN, *AWAITS]:
        shown = cell(kernel, called(block, api))
        if block in AWAITS:
            assert shown[0]["image/png"]
    cell(kernel, "assert not process_state.changes(before), process_state.changes(before)")
    assert cell(kernel, "segment('me.jpg')")[0]["image/png"]


def test_the_examples_are_typed(tmp_path: Path) -> None:
    """``mypy --strict`` accepts them, and knows the type of a result."""
    for number, block in enumerate([*PLAIN, *SCRIPTS]):
        (tmp_path / f"example{number}.py").write_text(block)
    (tmp_path / "wrong.py").write_text(
        "from humanbody_cli import segment, segmented\nsegment('me.jpg', edges='round').cutouts\n"
    )
    files = [str(path) for path in tmp_path.glob("*.py")]
    options = ["--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}"]
    os.environ["MYPYPATH"] = str(ROOT)
    try:
        out, _, code = mypy.run([*options, "--follow-imports=silent", *files])
    finally:
        del os.environ["MYPYPATH"]
    errors = [line for line in out.splitlines() if ": error:" in line]
    assert all("wrong.py" in line for line in errors), out
    assert (code, len(errors)) == (1, 3), out


def test_the_page_names_every_name() -> None:
    """What the package exports is on the page; the types of results are described there."""
    exported = set(humanbody_cli.__all__) - {"__version__", "SegmentedPhoto", "FolderPhoto"}
    assert {name for name in exported if f"`{name}" not in TEXT} == set()
    assert exported <= set(dir(humanbody_cli))


def test_to_import_the_package_imports_nothing_heavy() -> None:
    """Neither Pillow nor a loop; a wrong name is an AttributeError."""
    script = (
        "import sys, humanbody_cli\ndir(humanbody_cli)\nassert not hasattr(humanbody_cli, 'x')\n"
        "heavy = {'PIL', 'numpy', 'onnxruntime', 'httpx', 'asyncio', 'click', 'sqlite3'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
