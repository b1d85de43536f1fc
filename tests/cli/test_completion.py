"""The Tab key in real shells, and what hbseg answers them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Hbseg
from terminal import terminal

from humanbody_cli.cli.completion import split
from humanbody_cli.cli.main import COMMANDS
from humanbody_cli.cli.main import hbseg as group

SHELLS = ("bash", "zsh", "fish")

ODD_NAMES = (
    "a b.jpg",
    "it's.png",
    'q"q.jpg',
    "c:d.jpg",
    "e,f,.jpg",
    "g*[1].jpg",
    "k=v@h.jpg",
    "p&q;r(s).jpg",
    "x\\y.jpg",
    "日本 é.jpg",
    "~u.jpg",
)

Ask = Callable[..., list[str]]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with photos of odd names, outputs, a model; and ``bin/hbseg``."""
    folder = tmp_path / "place"
    for name in ("photos", "my photos", "an empty one", "out/.hbseg", "results/day1/.hbseg", "bin"):
        (folder / name).mkdir(parents=True)
    for name in (*(f"photos/{name}" for name in ODD_NAMES), "my photos/one.jpg"):
        (folder / name).touch()
    for name in ("me.jpg", "other.heic", "notes.txt", "u2net.onnx", ".hidden.jpg", "key.env"):
        (folder / name).touch()
    program = folder / "bin" / "hbseg"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m humanbody_cli "$@"\n')
    program.chmod(0o755)
    return folder


@pytest.fixture
def environment(place: Path, hbseg: Hbseg) -> dict[str, str]:
    """The environment of a shell that finds ``hbseg``."""
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return hbseg.environment(PATH=path, HOME=str(place))


@pytest.fixture
def ask(place: Path, environment: dict[str, str]) -> Ask:
    """What may stand in place of a line's last word, as the bash script gets it."""

    def ask(line: str, **more: str) -> list[str]:
        asked = {"_HBSEG_COMPLETE": "bash_complete", "COMP_WORDS": line}
        ended = subprocess.run(
            ["hbseg"],
            cwd=place,
            env={**environment, **asked, **more},
            capture_output=True,
            check=True,
        )
        assert ended.stderr == b""
        return [line.partition(",")[2] for line in ended.stdout.decode().split("\n") if line]

    return ask


@pytest.mark.parametrize("shell", SHELLS)
def test_names_of_files_become_the_words_that_they_are(
    shell: str, place: Path, environment: dict[str, str]
) -> None:
    """A tab behind the first letter of a name with spaces, quotes, colons, wildcards, Chinese."""
    with terminal(shell, place, environment) as shown:
        for name in ODD_NAMES:
            first = "\\~" if name[0] == "~" else name[0]
            assert shown.typed(f"hbseg segment photos/{first}\t") == ["segment", f"photos/{name}"]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_kind_of_value_is_completed(
    shell: str, place: Path, environment: dict[str, str]
) -> None:
    """Commands, options, choices, photos, folders, models; below ~ too, and behind ``=``."""
    expected = {
        "hbseg rep\t": ["report"],
        "hbseg segment --edg\t": ["segment", "--edges"],
        "hbseg segment --edges s\t": ["segment", "--edges", "soft"],
        "hbseg segment --edges=s\t": ["segment", "--edges=soft"],
        "hbseg segment m\te\t": ["segment", "me.jpg"],
        "hbseg segment --model u\t": ["segment", "--model", "u2net.onnx"],
        "hbseg segment --model=u\t": ["segment", "--model=u2net.onnx"],
        "hbseg segment --credentials k\t": ["segment", "--credentials", "key.env"],
        "hbseg segment my\\ photos/\t": ["segment", "my photos/one.jpg"],
        "hbseg segment 'my photos/\t": ["segment", "my photos/one.jpg"],
        "hbseg segment ~/me\t": ["segment", f"{place}/me.jpg"],
        "hbseg recompose out --only d\t": ["recompose", "out", "--only", "doubtful"],
        "hbseg segment nothing-like-it\t": ["segment", "nothing-like-it"],
    }
    folders = {
        "hbseg status \t": ["status", "out"],
        "hbseg status r\t": ["status", "results"],
        "hbseg report results/\t": ["report", "results/day1"],
        "hbseg segment me.jpg --output=o\t": ["segment", "me.jpg", "--output=out"],
        "hbseg segment an\t": ["segment", "an empty one"],
        "hbseg watch ~/my\t": ["watch", f"{place}/my photos"],
    }
    with terminal(shell, place, environment) as shown:
        for keys, words in expected.items():
            assert shown.typed(keys) == words, keys
        for keys, words in folders.items():  # zsh takes the slash back where a space follows
            assert [word.removesuffix("/") for word in shown.typed(keys)] == words, keys


def test_a_name_is_completed_behind_what_bash_takes_for_the_end_of_a_word(
    place: Path, environment: dict[str, str]
) -> None:
    """Bash itself splits words at colons, equals signs and ``@``, and within open quotes."""
    with terminal("bash", place, environment) as shown:
        for keys in ("photos/c:\t", "photos/c\\:\t", '"photos/c:\t', "photos/c:d\t"):
            assert shown.typed(f"hbseg segment {keys}") == ["segment", "photos/c:d.jpg"], keys
        for keys in ("photos/k=\t", "photos/k=v@\t"):
            assert shown.typed(f"hbseg segment {keys}") == ["segment", "photos/k=v@h.jpg"], keys
        assert shown.typed('hbseg segment "my ph\t') == ["segment", "my photos/"]
        assert shown.typed("hbseg segment $HOME/me\t") == ["segment", f"{place}/me.jpg"]


def test_folders_with_results_come_first(ask: Ask) -> None:
    """``-o`` offers all folders, those of earlier runs first; ``status`` those alone."""
    folders = ["out", "an empty one", "bin", "my photos", "photos", "results"]
    assert ask("hbseg segment photos -o ") == folders
    assert ask("hbseg status ") == ["out"]


def test_photos_are_those_that_a_run_takes(ask: Ask) -> None:
    """JPEG and PNG; with --fit, or if nothing else fits, other formats. No text, nothing hidden."""
    files = ("me.jpg", "other.heic", "notes.txt")
    offered = ask("hbseg segment ")
    assert [name for name in files if name in offered] == ["me.jpg"]
    assert ".hidden.jpg" not in offered
    assert set(files[:2]) <= set(ask("hbseg segment --fit "))
    assert ask("hbseg segment oth") == ["other.heic"]
    assert ask("hbseg segment .hid") == [".hidden.jpg"]


def test_what_cannot_be_listed_is_answered_by_nothing(ask: Ask) -> None:
    """A folder that is none, a name that is too long, an option that is none, settings that are
    wrong: no word and no message amid the line that is being typed."""
    assert ask("hbseg segment me.jpg/") == []
    assert ask(f"hbseg segment {'a' * 5000}/") == []
    assert ask("hbseg segment --nonsense me") == ["me.jpg"]
    assert ask("hbseg nonsense ") == list(COMMANDS)
    assert ask("hbseg segment me", HBSEG_QPS="-1", HBSEG_SHARD="x") == ["me.jpg"]
    assert ask("hbseg segment me", HBSEG_CONFIG="notes.txt", HBSEG_PROFILE="x") == ["me.jpg"]


def test_a_name_that_no_line_can_hold_is_left_out(ask: Ask, place: Path) -> None:
    """A line break in a name, or bytes that are no text."""
    (place / "photos" / "z1\n.jpg").touch()
    Path(os.fsdecode(os.fsencode(place) + b"/photos/z2\xff.jpg")).touch()
    (place / "photos" / "z3.jpg").touch()
    assert ask("hbseg segment photos/z") == ["photos/z3.jpg"]


def test_the_name_of_a_command_is_completed_without_importing_it(
    place: Path, environment: dict[str, str]
) -> None:
    """Neither the module of a command nor a library that a run needs."""
    script = (
        "import sys\n"
        "from humanbody_cli.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'httpx', 'PIL', 'numpy', 'onnxruntime', 'tqdm', 'sqlite3', 'asyncio'}\n"
        "found = heavy & set(sys.modules)\n"
        "found |= {one for one in sys.modules if one.startswith('humanbody_cli.cli.commands.')}\n"
        "print(sorted(found), file=sys.stderr)"
    )
    for line, modules in (("hbseg se", []), ("hbseg segment me", ["segment"])):
        ended = subprocess.run(
            [sys.executable, "-c", script],
            cwd=place,
            env={**environment, "_HBSEG_COMPLETE": "zsh_complete", "COMP_WORDS": line},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stdout
        expected = [f"humanbody_cli.cli.commands.{module}" for module in modules]
        assert ended.stderr.strip() == str(expected)


def test_every_value_that_is_a_path_is_completed() -> None:
    """Each option and argument that takes a file or folder says what is completed there."""
    paths = {"FILE", "LIST", "OUT", "DIR", "INBOX", "INPUT...", "FILE.onnx"}
    for name in COMMANDS:
        command = group.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        for param in command.params:
            if param.metavar in paths:
                is_path = type(param.type).__name__ == "Path"
                assert is_path or param._custom_shell_complete is not None, (name, param.name)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_printed(hbseg: Hbseg, shell: str) -> None:
    """``hbseg completion SHELL`` prints it, and its help says where to put it."""
    ended = hbseg("completion", shell)
    assert ended.code == 0, ended.err
    assert f"_HBSEG_COMPLETE={shell}_complete" in ended.out
    assert f"hbseg completion {shell}" in hbseg("completion", "--help").out


@pytest.mark.parametrize(
    ("line", "words", "cut"),
    [
        ("hbseg ", ["hbseg", ""], 0),
        ("hbseg a\\ b", ["hbseg", "a b"], 0),
        ("hbseg 'a b", ["hbseg", "a b"], 0),
        ('hbseg "a\\"b\\c" d', ["hbseg", 'a"b\\c', "d"], 0),
        ("hbseg a:b", ["hbseg", "a:b"], 2),
        ("hbseg a\\:b", ["hbseg", "a:b"], 0),
        ("hbseg --x=a:b", ["hbseg", "--x=a:b"], 6),
        ("hbseg --x='a b", ["hbseg", "--x=a b"], 4),
        ("hbseg a@b", ["hbseg", "a@b"], 1),
        ("hbseg ''", ["hbseg", ""], 0),
        ("", [""], 0),
        ("hbseg a\\", ["hbseg", "a"], 0),
    ],
)
def test_a_line_is_split_as_the_shell_does(line: str, words: list[str], cut: int) -> None:
    """The words without their quotes, and where bash begins to replace the last one."""
    assert split(line, " \t\n\"'@><=;|&(:") == (words, cut)
