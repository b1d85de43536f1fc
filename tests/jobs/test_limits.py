"""Limits of the system on memory, threads and open files: one sentence that names the limit."""

from __future__ import annotations

import contextlib
import os
import re
import resource
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from conftest import ROOT, Hbseg

from humanbody_cli.core.errors import JournalError, OutputError
from humanbody_cli.storage.tables import database

NO_THREADS = "import threading\nthreading.stack_size(1 << 46)\n"
"""No machine has room for the stack of a thread of 64 TiB."""


def _startup(folder: Path, code: str) -> str:
    """``PYTHONPATH`` with a module that Python runs before the command."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    return f"{folder}{os.pathsep}{ROOT}"


@pytest.mark.parametrize(
    "arguments",
    [
        ("segment", "photos", "-o", "out"),
        ("segment", "photos/a.jpg", "-o", "-"),
    ],
)
def test_a_thread_that_cannot_be_started(
    hbseg: Hbseg, photos: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Python's bare RuntimeError becomes a sentence that says which limits to raise; exit 4."""
    ended = hbseg(*arguments, env={"PYTHONPATH": _startup(tmp_path / "early", NO_THREADS)})
    assert ended.code == 4, ended.err
    assert "Traceback" not in ended.err
    assert re.search(r"^hbseg: no more threads can be started; .*ulimit -u", ended.err, re.M)


@pytest.mark.parametrize("megabytes", [40, 60, 80])
def test_little_memory(hbseg: Hbseg, photos: Path, megabytes: int) -> None:
    """Under ``ulimit -v`` the command ends well, or names the limit; never with a traceback, and
    never by calling a library missing that is there."""
    most = megabytes << 20
    ended = hbseg(
        *("segment", photos, "-o", "out"),
        preexec_fn=partial(resource.setrlimit, resource.RLIMIT_AS, (most, most)),
    )
    assert ended.code in (0, 4), ended.err
    assert ended.code == 0 or "ulimit -v" in ended.err
    assert "Traceback" not in ended.err
    assert "no engine" not in ended.err


def test_a_library_that_cannot_be_loaded_is_not_missing(
    hbseg: Hbseg, photos: Path, tmp_path: Path
) -> None:
    """onnxruntime is installed and its import fails: the loader's reason is said, exit 4."""
    (tmp_path / "block" / "onnxruntime").mkdir(parents=True)
    broken = "try: raise ImportError('libx.so: bad ELF')\n" + (
        "except ImportError as error: raise ImportError('a page of advice') from error\n"
    )
    (tmp_path / "block" / "onnxruntime" / "__init__.py").write_text(broken)
    path = f"{tmp_path / 'block'}{os.pathsep}{ROOT}"
    ended = hbseg("segment", photos, "-o", "out", env={"PYTHONPATH": path})
    assert ended.code == 4
    assert "is installed but cannot be loaded: libx.so: bad ELF; " in ended.err
    assert "Traceback" not in ended.err


def test_a_bug_keeps_its_traceback(hbseg: Hbseg, photos: Path, tmp_path: Path) -> None:
    """Another RuntimeError is no limit: it is shown whole, exit 1."""
    broken = (
        "import humanbody_cli.jobs.inspection.check as check\n"
        "def bug(*_, **__): raise RuntimeError('a bug')\n"
        "check.check = bug\n"
    )
    ended = hbseg("check", photos, env={"PYTHONPATH": _startup(tmp_path / "early", broken)})
    assert ended.code == 1
    assert "RuntimeError: a bug" in ended.err


@contextlib.contextmanager
def _no_file_left() -> Iterator[None]:
    """No further file can be opened within."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_journal_that_meets_the_limit_on_open_files(tmp_path: Path) -> None:
    """SQLite says only that it cannot open the file: the limit is found and named."""
    path = database.path_in(str(tmp_path))
    os.mkdir(os.path.dirname(path))

    with (
        _no_file_left(),
        pytest.raises(OutputError, match="ulimit -n"),
        database.translated(path),
    ):
        database.open_to_write(path)
    database.open_to_write(path)[0].close()
    with _no_file_left(), pytest.raises(JournalError, match="ulimit -n"):
        database.open_to_read(path)
