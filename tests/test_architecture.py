"""The folders of the package: imports point down only, the page about them is true, and nothing in
them grows beyond what is read in one go."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import tokenize
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from tokenize import COMMENT

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "humanbody_cli"

FOLDERS = "cli jobs server api embedded pipeline discovery storage imaging core".split()
"""From the top down. A module may import those of its own folder and of folders below it."""

MOST_ENTRIES = 9
"""Modules and data folders in one folder: more are not taken in at a glance."""

MOST_LINES, MOST_LINES_OF_A_FUNCTION, MEDIAN_LINES_OF_A_FUNCTION = 350, 45, 8
TESTS = Path(__file__).resolve().parent


@cache
def modules() -> list[str]:
    """Every module of the package by its name below it."""
    names = []
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        name = name.removesuffix(".__init__")
        if name != "__init__":
            names.append(name)
    return sorted(names)


def folder(name: str) -> str:
    """The folder that a module lies in; empty for what stands above all of them."""
    return name.split(".", maxsplit=1)[0] if name.split(".", maxsplit=1)[0] in FOLDERS else ""


def folders_in(place: Path) -> list[Path]:
    """The folders of modules in a folder; those of data (models, pages) hold no Python."""
    return sorted(path.parent for path in place.rglob("*/__init__.py"))


@cache
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
    """No module imports one of a higher folder."""
    if not folder(name):
        return
    for other in imported(name):
        assert folder(other), f"{name} imports {other}, which stands above all folders"
        is_below = FOLDERS.index(folder(other)) >= FOLDERS.index(folder(name))
        assert is_below, f"{name} imports {other}"


def test_no_import_goes_in_a_circle() -> None:
    """The modules of a folder can be read in an order in which none needs a later one."""
    order = TopologicalSorter({name: imported(name) - {name} for name in modules()})
    order.prepare()  # raises CycleError


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_taken_in_at_a_glance(name: str) -> None:
    """No folder, and no folder in it, holds more than nine entries."""
    for inside in [PACKAGE / name, *folders_in(PACKAGE / name)]:
        entries = {path.name for path in inside.iterdir()} - {"__init__.py", "__pycache__"}
        assert len(entries) <= MOST_ENTRIES, (inside, sorted(entries))


def test_the_package_holds_its_folders_alone() -> None:
    """Beside the folders there is only what Python asks for."""
    entries = {path.name for path in PACKAGE.iterdir()} - {"__pycache__"}
    assert entries == {*FOLDERS, "__init__.py", "__main__.py", "py.typed"}


def test_the_page_about_the_architecture_names_every_folder_in_order() -> None:
    """ARCHITECTURE.md's table has the folders from the top down, each with all its modules."""
    text = (PACKAGE.parent / "ARCHITECTURE.md").read_text()
    rows = re.findall(r"^\| `(\w+)/` \| (.*?) \|", text, re.MULTILINE)
    assert [row[0] for row in rows] == FOLDERS
    for name, listed in rows:
        entries = {
            path.name
            for inside in [PACKAGE / name, *folders_in(PACKAGE / name)]
            for path in inside.iterdir()
        }
        expected = {entry.removesuffix(".py") for entry in entries - {"__init__.py", "__pycache__"}}
        assert set(re.findall(r"`(\w+)/?`", listed)) == expected, name


def functions(path: Path) -> list[tuple[int, str]]:
    """The length in lines, docstring included, and the place of every function of a file."""
    return [
        ((node.end_lineno or node.lineno) - node.lineno + 1, f"{path}:{node.lineno} {node.name}")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


@pytest.mark.parametrize("root", [PACKAGE, TESTS], ids=["package", "tests"])
def test_no_file_is_long(root: Path) -> None:
    """A file is read in one go."""
    lines = {str(path): path.read_text().count("\n") for path in root.rglob("*.py")}
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}


def test_functions_are_short() -> None:
    """None is longer than a screen, and half of them have a few lines."""
    found = [one for path in PACKAGE.rglob("*.py") for one in functions(path)]
    assert [one for one in found if one[0] > MOST_LINES_OF_A_FUNCTION] == []
    assert statistics.median(length for length, _ in found) <= MEDIAN_LINES_OF_A_FUNCTION


@pytest.mark.parametrize("root", [PACKAGE, TESTS], ids=["package", "tests"])
def test_every_exception_to_the_linter_has_its_reason(root: Path) -> None:
    """``# noqa: CODE - reason``, on the line itself."""
    bare = []
    for path in root.rglob("*.py"):
        with tokenize.open(path) as file:
            comments = [
                token for token in tokenize.generate_tokens(file.readline) if token.type == COMMENT
            ]
        bare += [
            f"{path}:{comment.start[0]}"
            for comment in comments
            if "noqa" in comment.string and not re.search(r"noqa: [A-Z0-9, ]+ - \w", comment.string)
        ]
    assert bare == []


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
