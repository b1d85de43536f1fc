"""The floors: imports point down only."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "humanbody_cli"

FLOORS: list[set[str]] = [
    {"__main__"},
    {"cli"},
    {"commands"},
    {"options", "server.serve"},
    {"single", "plan", "report", "recompose", "server"},
    {"run", "check", "status"},
    {"assembly", "drive"},
    {"batch", "progress", "intake"},
    {"pipeline", "tally"},
    {"reuse", "engines"},
    {"selection", "results"},
    {"lookout"},
    {"engines.base"},
    {"journal", "compose", "reading", "uploads", "lock", "receipts", "ownership"},
    {"publish", "pictures", "mattes", "database", "download"},
    {"proof", "seals"},
    {"photos", "quota", "png", "jpeg", "decoding"},
    {"inputs", "tree"},
    {"names", "outcomes", "stopping", "streams", "lists"},
    {"settings", "paths", "digests", "faults", "threads"},
    {"protocol"},
    {"errors", "deadlines"},
    {"models"},
]
"""From the top down. A module may import those of floors below its own, and of its own package."""


def modules() -> list[str]:
    """Every module of the package by its name below it."""
    names = []
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        name = name.removesuffix(".__init__")
        if name != "__init__":
            names.append(name)
    return sorted(names)


def floor(name: str) -> int:
    """The floor of a module: its own entry, else its package's."""
    for candidate in (name, name.split(".", maxsplit=1)[0]):
        for number, floor_names in enumerate(FLOORS):
            if candidate in floor_names:
                return number
    raise AssertionError(f"{name} stands on no floor")


def imported(name: str) -> set[str]:
    """What a module imports of the package, wherever in its text, type checking included."""
    path = PACKAGE / Path(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("humanbody_cli"):
            module = str(node.module).removeprefix("humanbody_cli").lstrip(".")
            for alias in node.names:
                full = f"{module}.{alias.name}".lstrip(".")
                found.add(full if full in modules() else module)
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix("humanbody_cli.")
                for alias in node.names
                if alias.name.startswith("humanbody_cli.")
            }
    return found - {""}


@pytest.mark.parametrize("name", modules())
def test_imports_point_down_only(name: str) -> None:
    """No module imports one of a higher floor, or of its own floor in another package."""
    package = name.split(".", maxsplit=1)[0]
    for other in imported(name):
        same_package = other.split(".", maxsplit=1)[0] == package
        assert same_package or floor(other) > floor(name), f"{name} imports {other}"


def test_help_imports_nothing_heavy() -> None:
    """``hbseg --help`` imports none of the libraries that a run needs."""
    script = (
        "import sys; sys.argv = ['hbseg', '--help']\n"
        "from humanbody_cli.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'httpx', 'PIL', 'numpy', 'onnxruntime', 'tqdm', 'sqlite3', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    assert ended.stderr.strip() == "[]"
    assert "segment" in ended.stdout
