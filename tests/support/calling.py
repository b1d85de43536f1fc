"""The command called in this process, for tests that need no process of its own: it is quicker."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from conftest import Ended, photo, run_settings
from fake_api import FakeApi
from fake_behaviour import Behaviour

from humanbody_cli.cli import main
from humanbody_cli.jobs import segment


@dataclass(frozen=True)
class Called:
    """Runs the command in a folder; as ``conftest.Hbseg``, without a process."""

    cwd: Path

    def __call__(self, *arguments: object) -> Ended:
        """Run it to its end."""
        out = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="surrogateescape")
        err = io.StringIO()
        words = ["hbseg", *map(str, arguments)]
        env = {name: text for name, text in os.environ.items() if not name.startswith("HBSEG_")}
        with (
            _in(self.cwd),
            mock.patch("sys.argv", words),
            mock.patch.dict(os.environ, env, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = main._exit_code()
        out.flush()
        out.seek(0)
        return Ended(code, out.read(), err.getvalue())


@contextlib.contextmanager
def _in(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def done(folder: Path, *names: str) -> Called:
    """Photos of these names below ``photos``, and what a run made of them in ``out``."""
    for seed, name in enumerate(names):
        photo(folder / "photos" / name, seed=seed)
    segmented(folder, "photos", "out")
    return Called(folder)


def segmented(folder: Path, photos: str, out: str, *, fit: bool = False) -> None:
    """A run over a folder, to its end."""
    with FakeApi.in_thread(Behaviour()) as api, _in(folder):
        settings = run_settings(Path(photos), Path(out), api.url)
        assert segment.segment(replace(settings, wanted=replace(settings.wanted, fit=fit))) == 0


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder but the journal's and marks: its bytes and its inode."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.lstat().st_ino)
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(("journal.sqlite3", ".hbseg-recomposed"))
    }


def refused(hbseg: Called, *arguments: object, code: int) -> str:
    """The one sentence with which a command is refused that changes no file."""
    before = everything(hbseg.cwd)
    ended = hbseg(*arguments)
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert everything(hbseg.cwd) == before
    assert ended.err.count("\n") == 1 and "done" not in ended.err
    return ended.err
