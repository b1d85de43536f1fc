"""hbseg doctor: what it finds on a machine, one line per check, and what it leaves there."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import KEY, ROOT, SECRET, Hbseg
from finding import common_user
from models import mean_model
from mounting import in_own_mounts

from humanbody_cli.jobs.inspection.doctor import disk, machine
from humanbody_cli.jobs.inspection.doctor.finding import Finding, Level


def lines(text: str) -> dict[str, str]:
    """The lines of a report by their checks."""
    return {line.split()[1]: line for line in text.splitlines()}


def without(hbseg: Hbseg, library: str, fault: str = "ModuleNotFoundError('blocked')") -> str:
    """A PYTHONPATH with which a library cannot be imported."""
    folder = hbseg.cwd / "block" / library
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(f"raise {fault}")
    return f"{folder.parent}{os.pathsep}{ROOT}"


def test_a_sound_machine(hbseg: Hbseg, tmp_path: Path) -> None:
    """One line per check, all ok, exit code 0; nothing is left on disk, OUT is not made."""
    before = sorted(tmp_path.rglob("*"))
    ended = hbseg("doctor", "-o", "out/deeper")
    assert (ended.code, ended.err) == (0, "")
    assert {line[:4] for line in ended.out.splitlines()} == {"ok  "}
    extras = [f"[{name}]" for name in machine.EXTRAS]
    checks = ["hbseg", *extras, "key", "host", "clock", "engine", "disk", "locks", "names", "text"]
    assert list(lines(ended.out)) == checks
    assert re.search(r"a small picture took \d+ ms", ended.out)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_folder_is_left_as_it_is(hbseg: Hbseg, tmp_path: Path) -> None:
    """Nothing is added to a folder with results."""
    for name in (".hbseg", "masks", "cutouts"):
        (tmp_path / "out" / name).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    assert hbseg("doctor", "-o", "out").code == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_the_same_as_json(hbseg: Hbseg) -> None:
    """One object: whether a run could start, and each check with its level and advice."""
    (report,) = hbseg("doctor", "--json").records
    assert report["ok"] is True
    assert all(set(one) == {"check", "level", "message", "advice"} for one in report["checks"])
    ended = hbseg("doctor", "--json", "--engine", "api", "--offline")
    assert ended.code == 4
    report = json.loads(ended.out)
    assert report["ok"] is False
    (key,) = [one for one in report["checks"] if one["check"] == "key"]
    assert key["level"] == "fail" and "HBSEG_API_KEY" in key["advice"]


def test_where_the_key_is_from(hbseg: Hbseg, paid: Hbseg, tmp_path: Path) -> None:
    """Environment, option or file; neither key nor secret is shown."""
    (tmp_path / "key.env").write_text(f"api_key={KEY}\napi_secret={SECRET}\n")
    (tmp_path / "key.env").chmod(0o600)
    told = [
        paid("doctor", "--offline"),
        hbseg("doctor", "--offline", "--credentials", "key.env"),
        hbseg("doctor", "--offline", "--api-key", KEY, env={"HBSEG_API_SECRET": SECRET}),
    ]
    found = [lines(ended.out)["key"] for ended in told]
    sources = ("HBSEG_API_KEY", "key.env", "--api-key")
    for line, source in zip(found, sources, strict=True):
        assert line.startswith("ok") and source in line
    assert all(word not in ended.out + ended.err for ended in told for word in (KEY, SECRET))


def test_half_a_key_and_a_file_that_is_none(hbseg: Hbseg, tmp_path: Path) -> None:
    """Both would end a run; the other checks are made all the same."""
    for ended in (
        hbseg("doctor", env={"HBSEG_API_KEY": KEY}),
        hbseg("doctor", env={"HBSEG_API_SECRET": SECRET}),
        hbseg("doctor", "--credentials", "no-such-file"),
    ):
        assert ended.code == 4
        assert lines(ended.out)["key"].startswith("fail")
        assert "engine" in lines(ended.out)
        assert SECRET not in ended.out + ended.err


def test_the_engine_is_missing(hbseg: Hbseg, paid: Hbseg) -> None:
    """Without a key a run needs it: exit code 4, and what to install. With one it does not."""
    path = without(hbseg, "onnxruntime")
    ended = hbseg("doctor", env={"PYTHONPATH": path})
    assert ended.code == 4
    told = lines(ended.out)
    assert told["engine"].startswith("fail") and "hbseg[local]" in told["engine"]
    assert told["[local]"].startswith("ok") and "not installed (onnxruntime)" in told["[local]"]
    assert paid("doctor", "--offline", env={"PYTHONPATH": path}).code == 0


def test_a_library_cannot_be_loaded(hbseg: Hbseg) -> None:
    """A warning where no run needs it; a failure where the engine does."""
    fault = "ImportError('libz.so.1: cannot open shared object file')"
    ended = hbseg("doctor", env={"PYTHONPATH": without(hbseg, "isal", fault)})
    assert ended.code == 0
    assert lines(ended.out)["[fast]"].startswith("warn")
    assert "libz.so.1" in lines(ended.out)["[fast]"]
    ended = hbseg("doctor", env={"PYTHONPATH": without(hbseg, "onnxruntime", fault)})
    assert ended.code == 4
    assert lines(ended.out)["engine"].startswith("fail") and "libz.so.1" in ended.out


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_bundled_model_is_damaged(hbseg: Hbseg, tmp_path: Path, damage: str) -> None:
    """A file that was cut off or removed is named, and how to get it back."""
    shutil.copytree(ROOT / "humanbody_cli", tmp_path / "copy" / "humanbody_cli")
    model = tmp_path / "copy/humanbody_cli/embedded/models/nanodet_g_416_int8.onnx"
    if damage == "cut":
        os.truncate(model, 100_000)
    else:
        model.unlink()
    ended = hbseg("doctor", env={"PYTHONPATH": str(tmp_path / "copy")})
    assert ended.code == 4
    told = lines(ended.out)["engine"]
    assert told.startswith("fail") and str(model) in told and "reinstall hbseg" in told


def test_a_model_of_ones_own(hbseg: Hbseg, tmp_path: Path) -> None:
    """It is loaded and run once; text, a missing file and an unknown preset are told."""
    mean_model(tmp_path / "mine.onnx", ["n", 3, 64, 64], axis=1)
    (tmp_path / "text.onnx").write_text("no model")
    ended = hbseg("doctor", "--model", "mine.onnx")
    assert ended.code == 0, ended.out
    assert lines(ended.out)["model"].startswith("ok    model       mine.onnx: a small picture took")
    for arguments in (("text.onnx",), ("gone.onnx",), ("mine.onnx", "--preset", "nonsense")):
        ended = hbseg("doctor", "--model", *arguments)
        assert ended.code == 4
        assert lines(ended.out)["model"].startswith("fail")
        assert "Traceback" not in ended.err


def found(out: Path) -> list[Finding]:
    """What is found of an output folder."""
    return list(disk.findings(str(out)))


def test_a_folder_that_may_not_be_written(open_folder: Path) -> None:
    """OUT itself, a folder above it, or a folder in it."""
    locked = open_folder / "locked"
    (locked / "out" / ".hbseg").mkdir(parents=True)
    for place in (locked, locked / "out" / ".hbseg"):
        place.chmod(0o555)
    (locked / "out").chmod(0o777)
    with common_user():
        for out in (locked, locked / "new" / "deeper", locked / "out"):
            (finding,) = found(out)
            assert finding.level is Level.FAIL and "may not write" in finding.message, out


@pytest.mark.parametrize("out", ["file/out", "link", "file"])
def test_an_output_that_can_be_no_folder(hbseg: Hbseg, tmp_path: Path, out: str) -> None:
    """A file in its place or above it, or a link to nothing."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nothing")
    ended = hbseg("doctor", "-o", out)
    assert ended.code == 4
    assert lines(ended.out)["disk"].startswith("fail")
    assert (tmp_path / "file").read_bytes() == b""


def test_a_name_that_is_no_folders(hbseg: Hbseg) -> None:
    """-o '' and -o - are usage errors; a picture's name stands for the folder around it."""
    assert [hbseg("doctor", "-o", out).code for out in ("", "-")] == [2, 2]
    assert hbseg("doctor", "-o", "me.png").code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount")
def test_a_full_disk(hbseg: Hbseg, tmp_path: Path) -> None:
    """Nothing can be flushed there: exit code 4; where little is free, a warning."""
    (tmp_path / "small").mkdir()
    for size, code, level in (("64k", 4, "fail"), ("20m", 0, "warn")):
        script = (
            f"mount -t tmpfs -o size={size} tmpfs small || exit 99\n"
            f"{sys.executable} -m humanbody_cli doctor -o small; code=$?\n"
            '[ -z "$(ls -A small)" ] || exit 98\n'
            "exit $code"
        )
        ended = in_own_mounts(hbseg, script)
        assert ended.code == code
        assert lines(ended.out)["disk"].startswith(level)


def test_locks_without_effect(tmp_path: Path) -> None:
    """Two descriptors of one open file share a lock, as they do where locks are not kept."""
    with open(tmp_path / "file", "w") as file:
        other = os.dup(file.fileno())
        assert disk._locks(file.fileno(), other).level is Level.WARN
        os.close(other)


def test_a_terminal_without_unicode(hbseg: Hbseg) -> None:
    """A warning, and no traceback for what cannot be printed."""
    ended = hbseg("doctor", env={"PYTHONIOENCODING": "latin-1"})
    assert ended.code == 0
    assert lines(ended.out)["text"].startswith("warn")
    assert machine.text("utf-8", "utf-8").level is Level.OK


def test_the_extras_are_those_of_the_project() -> None:
    """Their names and libraries, as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, libraries in machine.EXTRAS.items():
        listed = project["optional-dependencies"][name]
        names = [re.split(r"[\[<>=!~ ]", one)[0] for one in listed]
        assert [one for one in names if one != project["name"]] == list(libraries)
    others = {"dev", "docs"}
    assert set(project["optional-dependencies"]) - others == set(machine.EXTRAS)
