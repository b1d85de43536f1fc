"""Runs the table, and judges what each command said by the rules that hold for all."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import KEY, SECRET, photo
from forking import Forks, forks
from waiting import COMMAND_PATH

from every_error import servers, world
from every_error.case import Case
from humanbody_cli.storage.disk import temporary_path

_DOES = re.compile(
    r"\b(add|allow|change|check|choose|close|contact|copy|correct|Did you mean|did you mean|drop|"
    r"edit|enable|fix|free|give|install|keep|leave|lower|make|move|name|needs?|put|raise|redirect|"
    r"reinstall|remove|replace|report|restore|run|save|set|shorten|shrink|top|try|Try|update|use|wait|"
    r"write|hbseg \w+|must|such as|or drop|end)\b"
)
"""Words by which a sentence tells what to do."""

_NEVER = (
    "Traceback",
    "PosixPath(",
    "[Errno",
    "OSError",
    "Error(",
    "<class",
    "object at 0x",
    SECRET,
)

_PHOTO = re.compile(r"^(?:hbseg: )?\S.*?: [A-Z]{3}[A-Z_]{3,}: ")


@dataclass(frozen=True)
class Said:
    """What a command wrote, and how it ended."""

    code: int
    out: str
    err: str

    def sentences(self) -> list[str]:
        """The sentences about what is wrong."""
        lines = self.err.splitlines()
        fatal = [line.removeprefix("hbseg: ") for line in lines if line.startswith("hbseg: ")]
        fatal += [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
        if self.code == 3:
            fatal += [line for line in lines + self.out.splitlines() if _PHOTO.match(line)]
        return fatal or [line for line in self.out.splitlines() if line.startswith("fail ")]


@dataclass(frozen=True)
class Walk:
    """Where commands run: ``root`` holds a new copy of ``world`` for each."""

    root: Path
    world: Path
    places: Mapping[str, str]
    forks: Forks

    def said(self, case: Case) -> Said:
        """Run one command of the table."""
        here = self.root / "here"
        with ExitStack() as stack:
            if not here.exists():
                _copy(self.world, here)
                (here / "folder.html").mkdir()
            if case.code != 2:  # the others write nothing
                stack.callback(_remove, here)
            if "held" in case.line:
                stack.enter_context(servers.held(here / "held" / ".hbseg" / "lock"))
                answer = Path(temporary_path(str(here / "held.png") + " answer"))
                stack.enter_context(servers.held(answer))
            out, err = (self.root / name for name in ("stdout", "stderr"))
            out.write_bytes(b"")
            err.write_bytes(b"")
            code = self.forks.run(
                case.arguments(self.places),
                cwd=here,
                env=_environment(case, here),
                stdin=case.stdin,
                stdout=case.stdout or str(out),
                stderr=str(err),
                unprivileged=case.unprivileged,
                limits=case.limits,
            )
            shutil.rmtree(here / "new", ignore_errors=True)  # a fault found late leaves it
            return Said(code, out.read_text("utf-8", "replace"), err.read_text("utf-8", "replace"))


def _copy(world_: Path, here: Path) -> None:
    subprocess.run(["cp", "-a", str(world_), str(here)], check=True)


def _remove(here: Path) -> None:
    if os.geteuid():  # rights that a case took would keep its folders from being removed
        subprocess.run(["chmod", "-R", "u+rwX", str(here)], check=True)
    shutil.rmtree(here)


def _environment(case: Case, here: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    own = {f"XDG_{name}_HOME": str(here / "home") for name in ("STATE", "CONFIG")}
    pair = {"HBSEG_API_KEY": KEY, "HBSEG_API_SECRET": SECRET} if case.keyed else {}
    found = {**kept, "HOME": str(here), "PYTHONPATH": COMMAND_PATH, **own, **pair, **case.env}
    return {name: value for name, value in found.items() if value}


@contextmanager
def walk(folder: Path) -> Iterator[Walk]:
    """A world, its servers and the process to fork. Every user may enter ``folder``."""
    with forks() as forked, servers.running(folder) as places:
        there = folder / "world"
        there.mkdir()
        world.build(there)
        walking = Walk(folder, there, {**places, "world": str(there)}, forked)
        _make_results(walking)
        world.with_results(there, folder / "results")
        world.shut(there)
        folder.chmod(0o777)
        yield walking


def _make_results(walking: Walk) -> None:
    photo(walking.world / "photos" / "a.jpg", seed=2)
    code = walking.forks.run(
        ["segment", "photos", "-o", "../results", "--endpoint", walking.places["api"]],
        cwd=walking.world,
        env=_environment(Case("", 0, (), keyed=True), walking.world),
        stdout=os.devnull,
        stderr=os.devnull,
    )
    assert code == 0


def complaints(case: Case, said: Said, taken: str) -> Iterator[str]:
    """What is wrong with what a command said; nothing if all is well."""
    if said.code != case.code:
        yield f"exit code {said.code}, not {case.code}"
    sentences = said.sentences()
    if len(sentences) != 1:
        yield f"{len(sentences)} sentences about what is wrong"
    first = next((line for line in said.err.splitlines() if not line.startswith("engine: ")), "")
    if case.code == 2 and not first.startswith(("hbseg: ", "Usage: ")):
        yield "the first line is neither hbseg's nor a usage line"
    sentence = " ".join(sentences)
    words = [word.replace("{taken}", taken) for word in case.says]
    yield from (f"does not say {word!r}" for word in words if word not in sentence)
    yield from (f"says {word!r}" for word in _NEVER if word in said.err + said.out)
    has_hint = "\nTry 'hbseg" in said.err
    if "(attempts: " in sentence:  # what to do about calls is said of the whole run
        sentence = said.err
    if not has_hint and not _DOES.search(sentence):
        yield "does not say what to do"
