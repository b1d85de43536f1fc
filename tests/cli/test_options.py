"""Options that contradict each other, or whose value cannot be used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, Hbseg, files
from fake_api import FakeApi

BUNDLED = ROOT / "humanbody_cli/embedded/models/selfie_segmentation.onnx"


def _refused(hbseg: Hbseg, *arguments: object) -> str:
    ended = hbseg(*arguments)
    assert ended.code == 2, ended.err
    assert "Traceback" not in ended.err
    return " ".join(ended.err.split())


def test_a_model_of_ones_own_is_used_though_a_key_is_set(
    paid: Hbseg, photos: Path, api: FakeApi, tmp_path: Path
) -> None:
    """``--model`` under ``--engine auto``: no photo is sent, ``plan`` says so before, and what an
    API run has paid for in the same folder stays."""
    model = shutil.copy(BUNDLED, tmp_path / "mine.onnx")
    where = (photos, "--endpoint", api.url, "--qps", 200)
    fed = ("--model", model, "--preset", "selfie")
    planned = json.loads(paid("plan", *where, "-o", "out", *fed, "--json").out)
    assert planned["calls"] == 0
    ended = paid("segment", *where, "-o", "out", *fed, "--json")
    assert ended.code == 0, ended.err
    assert {record["engine"] for record in ended.records} == {"local:mine.onnx"}
    assert "engine: model mine.onnx on this machine\n" in ended.err
    assert not api.stats.calls
    assert paid("segment", *where, "-o", "paid").code == 0
    before = files(tmp_path / "paid")
    assert paid("segment", *where, "-o", "paid", *fed).code == 0
    assert files(tmp_path / "paid") == before
    assert len(api.stats.calls) == 4


@pytest.mark.parametrize("command", ["segment", "plan"])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--model", BUNDLED, "--engine", "api"), "--engine api does not use --model"),
        (("--preset", "u2net"), "--preset can be used only with a model"),
        (("--mean", "0.5"), "--mean can be used only with a model"),
        (("--std", "0.5"), "--std can be used only with a model"),
        (("--side", 320, "--std", "1"), "--std and --side can be used only with a model"),
        (("--model", "gone.onnx"), "--model gone.onnx: cannot be read: No such file"),
        (("--model", ""), "--model : cannot be read"),
        (("--model", "photos"), "--model photos: this is not a file"),
    ],
)
def test_what_no_engine_would_use_is_refused(
    paid: Hbseg,
    photos: Path,
    api: FakeApi,
    tmp_path: Path,
    command: str,
    options: tuple[object, ...],
    says: str,
) -> None:
    """Exit 2 with one sentence, before a call, a folder or a count."""
    said = _refused(paid, command, photos, "-o", "out", "--endpoint", api.url, *options)
    assert says in said
    assert not api.stats.calls
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("recompose", "out", "--crop", "--margin"),
        ("segment", "photos", "-o", "out", "--lock-wait"),
        ("segment", "photos", "-o", "out", "--grace"),
        ("segment", "photos", "-o", "out", "--timeout"),
        ("serve", "--port", "0", "--fetch-timeout"),
        ("serve", "--port", "0", "--qps"),
    ],
)
def test_numbers_are_finite(
    hbseg: Hbseg, photos: Path, arguments: tuple[str, ...], value: str
) -> None:
    """Every option that takes a number refuses what compares with none, and what has no end."""
    assert arguments[-1] in _refused(hbseg, *arguments, value)


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ("²", "not a size such as"),
        ("٣", "not a size such as"),
        ("10x", "not a size such as"),
        ("x10", "not a size such as"),
        ("10x20x30", "not a size such as"),
        ("1_0", "not a size such as"),
        ("9" * 5000, "not a size such as"),
        ("1000000", "1 to 16384 pixels"),
        ("0", "1 to 16384 pixels"),
        ("10x0", "1 to 16384 pixels"),
    ],
)
def test_sizes_that_are_none(hbseg: Hbseg, size: str, says: str) -> None:
    """A size that cannot be read is told from one that is too large or too small."""
    assert says in _refused(hbseg, "recompose", "out", "--size", size)


def test_a_part_of_very_many_digits(hbseg: Hbseg, photos: Path) -> None:
    """Python reads no number of so many digits."""
    assert "--shard" in _refused(hbseg, "check", photos, "--shard", f"1/{'9' * 5000}")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("check", "--from-file", "gone"),
            "--from-file gone: there is no such file; check the path",
        ),
        (("check", "photos", "-0"), "-0 is only for names from a list; give --from-file"),
        (
            ("segment", "photos", "-o", "out", "--credentials", "gone"),
            "--credentials gone: cannot be read: No such file or directory; check the path",
        ),
        (
            ("serve", "--keys", "gone"),
            "cannot read the keys file gone: No such file or directory; check --keys",
        ),
        (
            ("recompose", "out", "--background", "nocolor"),
            "--background 'nocolor' is neither a colour (white, #1e90ff) nor a picture that can "
            "be read: there is no such file",
        ),
        (
            ("recompose", "out", "--background", "photos"),
            "nor a picture that can be read: Is a directory",
        ),
    ],
)
def test_a_refusal_says_what_to_do(
    hbseg: Hbseg, photos: Path, arguments: tuple[str, ...], says: str
) -> None:
    """The option, what is wrong with it and what to do, and no number of an error."""
    said = _refused(hbseg, *arguments)
    assert says in said
    assert "Errno" not in said


def test_a_fault_is_listed_once(hbseg: Hbseg) -> None:
    """What ``--inject`` knows, each under its own name."""
    said = _refused(hbseg, "serve", "--inject", "zzzz=1")
    known = said.split("choose from ")[1].split(", ")
    assert len(known) == len(set(known)) > 10
    assert "Request Entity Too Large" in known
