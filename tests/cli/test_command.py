"""The command as scripts use it: exit codes, streams, environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, Hbseg, files, photo
from fake_api import FakeApi
from fake_behaviour import Behaviour
from PIL import Image

SAMPLES = ROOT / "sample_images"


def test_a_run_writes_a_mask_and_a_cutout_for_every_photo(
    paid: Hbseg, photos: Path, api: FakeApi, tmp_path: Path
) -> None:
    """The tree is mirrored, extensions are replaced, and every photo cost one call."""
    ended = paid("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 100)
    assert ended.code == 0, ended.err
    names = {"a.png", "b.png", "c.png", "deeper/d.png"}
    assert set(files(tmp_path / "out")) == {f"{k}/{n}" for k in ("masks", "cutouts") for n in names}
    assert len(api.stats.calls) == 4
    assert "engine: API" in ended.err
    assert ended.out == ""


def test_the_embedded_engine_does_the_same_without_a_key(hbseg: Hbseg, tmp_path: Path) -> None:
    """With no key and no network the same command cuts people out; masks are 8-bit gray PNGs."""
    ended = hbseg("segment", SAMPLES, "-o", "out", "--json")
    assert ended.code == 0, ended.err
    assert len(ended.records) >= 5
    for record in ended.records:
        mask, cutout = (
            Image.open(tmp_path / record["mask"]),
            Image.open(tmp_path / record["cutout"]),
        )
        assert (mask.mode, cutout.mode) == ("L", "RGBA")
        assert mask.size == cutout.size == (record["width"], record["height"])
        alpha = cutout.getchannel("A")
        assert alpha.tobytes() == bytes(255 if v > 127 else 0 for v in mask.tobytes())
        assert 0.1 < record["coverage"] < 0.8
        assert record["engine"] == "local"
        assert record["attempts"] == 0


def test_every_record_has_the_promised_fields(paid: Hbseg, photos: Path, api: FakeApi) -> None:
    """Each line of ``--json`` is an object with at least the contract's fields."""
    promised = (
        "source status code message cutout mask width height attempts request_id image_id "
        "time_used elapsed engine sha256 coverage doubt"
    ).split()
    ended = paid("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 100, "--json")
    assert len(ended.records) == 4
    for record in ended.records:
        assert set(promised) <= set(record)
        assert record["request_id"] and record["image_id"] and len(record["sha256"]) == 64


def test_bad_photos_are_left_out_and_the_exit_code_says_so(
    paid: Hbseg, photos: Path, api: FakeApi, tmp_path: Path
) -> None:
    """Rejects cost no call, name the API's own error, stop nothing, and end in exit code 3."""
    (photos / "text.jpg").write_text("no picture")
    (photos / "empty.png").touch()
    photo(photos / "tiny.png", size=(47, 80))
    (photos / "large.jpg").write_bytes((photos / "a.jpg").read_bytes() + b"\0" * 2_200_000)
    (photos / "notes.txt").write_text("passed over")
    os.mkfifo(photos / "pipe.jpg")
    ended = paid("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 100, "--json")
    assert ended.code == 3
    codes = {Path(r["source"]).name: r["code"] for r in ended.records if r["status"] == "rejected"}
    assert codes == {
        "text.jpg": "IMAGE_ERROR_UNSUPPORTED_FORMAT",
        "empty.png": "IMAGE_ERROR_UNSUPPORTED_FORMAT",
        "pipe.jpg": "IMAGE_ERROR_UNSUPPORTED_FORMAT",
        "tiny.png": "INVALID_IMAGE_SIZE",
        "large.jpg": "IMAGE_FILE_TOO_LARGE",
    }
    assert sum(record["status"] == "done" for record in ended.records) == 4
    assert len(api.stats.calls) == 4
    assert "1 other file skipped" in ended.err
    assert "Traceback" not in ended.err


def test_the_call_limit_counts_every_attempt(paid: Hbseg, photos: Path) -> None:
    """``--max-calls 2`` makes two calls, retries included, exits 5 and leaves the rest pending."""
    with FakeApi.in_thread(Behaviour(script=("internal",))) as api:
        arguments = ("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 100)
        ended = paid(*arguments, "--max-calls", 2)
        assert len(api.stats.calls) == 2
        assert ended.code == 5, ended.err
        assert json.loads(paid("status", "out", "--json").out)["pending"] == 3
        assert paid(*arguments).code == 0
        assert len(api.stats.calls) == 5


def test_a_limit_that_is_just_enough_is_no_limit_reached(
    paid: Hbseg, photos: Path, api: FakeApi
) -> None:
    """Exit code 5 tells of photos left, not of a number."""
    ended = paid("segment", photos, "-o", "o", "--endpoint", api.url, "--qps", 99, "--max-calls", 4)
    assert ended.code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("segment", "-o", "out"), "nothing to do"),
        (("segment", "nowhere", "-o", "out"), "nowhere: there is no such file or folder"),
        (("segment", "photos"), "--output"),
        (("segment", "photos", "-o", "out", "--qps", "0"), "--qps"),
        (("segment", "photos", "-o", "out", "--qps", "many"), "--qps"),
        (("segment", "photos", "-o", "out", "--shard", "3/2"), "--shard"),
        (("segment", "photos", "-o", "out", "--endpoint", "ftp://x"), "--endpoint"),
        (("segment", "photos", "-o", "out", "--no-mask", "--no-cutout"), "nothing to make"),
        (("segment", "photos", "-o", "out", "--from-file", "gone"), "--from-file gone"),
        (("segment", "photos", "-o", "out", "--credentials", "gone"), "--credentials gone"),
        (("segment", "photos", "-o", "-"), "exactly one"),
        (("nonsense",), "nonsense"),
    ],
)
def test_usage_errors_exit_2_with_one_sentence(
    hbseg: Hbseg, photos: Path, arguments: tuple[str, ...], says: str
) -> None:
    """A wrong option is named, nothing is made, and there is no traceback."""
    ended = hbseg(*arguments)
    assert ended.code == 2
    assert says in ended.err
    assert "Traceback" not in ended.err


def test_without_the_extra_and_without_a_key_it_says_what_to_install(
    hbseg: Hbseg, photos: Path, tmp_path: Path
) -> None:
    """Where onnxruntime is not there: one sentence, exit 4."""
    (tmp_path / "block" / "onnxruntime").mkdir(parents=True)
    missing = "raise ModuleNotFoundError('blocked')"
    (tmp_path / "block" / "onnxruntime" / "__init__.py").write_text(missing)
    path = f"{tmp_path / 'block'}{os.pathsep}{ROOT}"
    ended = hbseg("segment", photos, "-o", "out", env={"PYTHONPATH": path})
    assert ended.code == 4
    assert "pip install 'hbseg[local]" in ended.err
    assert "Traceback" not in ended.err


def test_every_option_has_an_environment_variable(
    paid: Hbseg, photos: Path, api: FakeApi, tmp_path: Path
) -> None:
    """``HBSEG_<NAME>`` does what the option does."""
    ended = paid(
        "segment",
        photos,
        env={
            "HBSEG_OUTPUT": "elsewhere",
            "HBSEG_ENDPOINT": api.url,
            "HBSEG_QPS": "100",
            "HBSEG_NO_MASK": "1",
            "HBSEG_JSON": "1",
            "HBSEG_QUIET": "1",
        },
    )
    assert ended.code == 0
    assert ended.err == ""
    assert len(ended.records) == 4
    assert all(name.startswith("cutouts/") for name in files(tmp_path / "elsewhere"))


def test_one_photo_goes_through_a_pipe(paid: Hbseg, photos: Path, api: FakeApi) -> None:
    """``- -o -`` reads stdin and writes the cutout, and nothing else, to stdout."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with paid.start("segment", "-", "-o", "-", "--endpoint", api.url, **pipes) as command:
        out, err = command.communicate((photos / "a.jpg").read_bytes(), timeout=30)
    assert command.returncode == 0, err
    assert out.startswith(b"\x89PNG")


def test_a_closed_pipe_ends_the_run(paid: Hbseg, tmp_path: Path) -> None:
    """``--json | head -1`` stops the run: no traceback, no further photos, nothing half written."""
    for index in range(40):
        photo(tmp_path / "photos" / f"{index}.jpg", seed=index)
    with FakeApi.in_thread(Behaviour(latency=0.05)) as api:
        arguments = ("segment", "photos", "-o", "out", "--endpoint", api.url, "--json")
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with paid.start(*arguments, "--qps", 20, **pipes) as command:
            assert command.stdout is not None and command.stderr is not None
            command.stdout.readline()
            command.stdout.close()
            err = command.stderr.read().decode()
            assert command.wait(timeout=30) == 4
        assert len(api.stats.calls) < 40
    assert "Traceback" not in err and "Exception ignored" not in err
    assert "has closed it" in err


def test_check_makes_no_call_and_no_output(paid: Hbseg, photos: Path, tmp_path: Path) -> None:
    """``check`` tells which photos would be rejected, by exit code and by line."""
    assert paid("check", photos).code == 0
    (photos / "bad.jpg").write_text("no picture")
    ended = paid("check", photos, "--json")
    assert ended.code == 3
    assert {Path(r["source"]).name for r in ended.records if r["status"] == "rejected"} == {
        "bad.jpg"
    }
    assert "4 accepted, 1 rejected" in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["check", "plan"])
def test_one_mistyped_path_is_named_and_nothing_is_counted(
    paid: Hbseg, photos: Path, command: str
) -> None:
    """``check`` and ``plan`` with a path that is not there: exit 2, the path, and no counts."""
    more = ("-o", "out") if command == "plan" else ()
    ended = paid(command, photos, "photoz", *more)
    assert ended.code == 2
    assert ended.err == "hbseg: photoz: there is no such file or folder; check the path\n"
    assert ended.out == ""


def test_a_list_that_breaks_off_is_told_after_what_it_named(hbseg: Hbseg, photos: Path) -> None:
    """What came through a pipe before it could not be read any further is checked; then exit 2."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with hbseg.start("check", "--from-file", "-", "--json", **pipes) as command:
        assert command.stdin is not None and command.stdout is not None
        command.stdin.write(b"photos/a.jpg\n")
        command.stdin.flush()
        assert json.loads(command.stdout.readline())["source"] == "photos/a.jpg"
        command.stdin.write(b"photos/b.jpg\nphotos/c.png\0photos/a.jpg\n")
        _, err = command.communicate(timeout=30)
    assert command.returncode == 2
    assert re.fullmatch(r"[12] accepted, 0 rejected\nhbseg: --from-file: .* -0 too\n", err.decode())


def test_one_photo_through_a_pipe_does_not_wait_for_a_third(hbseg: Hbseg, photos: Path) -> None:
    """``-o -`` refuses the second name at once, however long the list goes on."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with hbseg.start("segment", "--from-file", "-", "-o", "-", **pipes) as command:
        assert command.stdin is not None and command.stderr is not None
        command.stdin.write(b"photos/a.jpg\nphotos/b.jpg\n")
        command.stdin.flush()
        assert command.wait(timeout=30) == 2
        assert b"exactly one photo" in command.stderr.read()


def test_one_photo_that_cannot_be_read_has_a_photos_exit_code(hbseg: Hbseg, tmp_path: Path) -> None:
    """``-o -`` with a photo that is there and cannot be read: exit 3, as for any bad photo."""
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    ended = hbseg("segment", "gone.jpg", "-o", "-")
    assert ended.code == 3
    assert "gone.jpg: UNREADABLE: cannot be read" in ended.err


def test_plan_foretells_the_calls(paid: Hbseg, photos: Path, api: FakeApi, tmp_path: Path) -> None:
    """What ``plan`` counts is what the run then does; the plan itself leaves no trace."""
    (photos / "copy.jpg").write_bytes((photos / "a.jpg").read_bytes())
    arguments = (photos, "-o", "out", "--endpoint", api.url, "--qps", 50)
    planned = json.loads(paid("plan", *arguments, "--json").out)
    assert (planned["calls"], planned["copies"]) == (4, 1)
    assert not (tmp_path / "out").exists()
    paid("segment", *arguments)
    assert len(api.stats.calls) == 4
    assert json.loads(paid("plan", *arguments, "--json").out)["calls"] == 0


def test_status_counts_and_lists(paid: Hbseg, photos: Path, api: FakeApi) -> None:
    """``status`` tells counts to a person, everything to a program, failures to the next run."""
    (photos / "bad.jpg").write_text("no picture")
    paid("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 100)
    assert re.search(r"done +4\nrejected +1\n", paid("status", "out").out)
    told = json.loads(paid("status", "out", "--json").out)
    assert (told["done"], told["rejected"], told["calls"], len(told["photos"])) == (4, 1, 4, 5)
    assert paid("status", "out", "--failed").out == f"{photos}/bad.jpg\n"
    assert paid("status", "out", "--failed", "-0").out == f"{photos}/bad.jpg\0"
    assert paid("status", "nowhere").code == 2


def test_failed_photos_have_records_too(paid: Hbseg, photos: Path, api: FakeApi) -> None:
    """``status --failed --json`` prints one record a line, of photos that were left out alone."""
    for name in ("bad.jpg", "worse.jpg"):
        (photos / name).write_text("no picture")
    paid("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 100)
    ended = paid("status", "out", "--failed", "--json")
    assert ended.code == 0, ended.err
    assert [Path(record["source"]).name for record in ended.records] == ["bad.jpg", "worse.jpg"]
    assert {record["status"] for record in ended.records} == {"rejected"}
    assert {record["code"] for record in ended.records} == {"IMAGE_ERROR_UNSUPPORTED_FORMAT"}
    for options in (("--failed", "--json", "-0"), ("-0",)):
        ended = paid("status", "out", *options)
        assert (ended.code, ended.out) == (2, "")
        assert "-0" in ended.err


def test_two_folders_of_the_same_inner_names_do_not_meet(
    paid: Hbseg, api: FakeApi, tmp_path: Path
) -> None:
    """Names that differ in extension, in case or in folder: eight photos, eight cutouts."""
    names = ("a.jpg", "a.png", "A.jpg", "a.JPG", "b/a.jpg")
    sources = [tmp_path / "one" / name for name in names]
    sources += [tmp_path / "two" / name for name in names[:3]]
    for index, path in enumerate(sources):
        photo(path.with_suffix(".jpg") if path.suffix == ".JPG" else path, seed=index)
    photo(tmp_path / "upper.jpg", seed=77).rename(tmp_path / "one" / "a.JPG")
    photo(tmp_path / "one" / "a.jpg", seed=99)
    ended = paid("segment", "one", "two", "-o", "out", "--endpoint", api.url, "--qps", 100)
    assert ended.code == 0, ended.err
    cutouts = [name for name in files(tmp_path / "out") if name.startswith("cutouts/")]
    assert len(cutouts) == len({name.casefold() for name in cutouts}) == 8
    assert "cutouts/one/a.png.png" in cutouts and "cutouts/one/b/a.png" in cutouts


def test_names_that_are_no_text_survive(paid: Hbseg, api: FakeApi, tmp_path: Path) -> None:
    """Spaces, newlines and bytes that are not UTF-8: each gets its cutout and its record."""
    folder = tmp_path / "photos"
    names = [
        b"with space.jpg",
        b"new\nline.jpg",
        b"caf\xe9.jpg",
        b"-dash.jpg",
        b"x" * 251 + b".jpg",
    ]
    for index, name in enumerate(names):
        made = photo(tmp_path / "made.jpg", seed=index)
        folder.mkdir(exist_ok=True)
        os.rename(made, os.path.join(os.fsencode(folder), name))
    ended = paid("segment", folder, "-o", "out", "--endpoint", api.url, "--qps", 100, "--json")
    assert ended.code == 0, ended.err
    assert len(ended.records) == 5
    written = set(os.listdir(os.fsencode(tmp_path / "out" / "cutouts")))
    assert written == {name.replace(b".jpg", b".png") for name in names}
    assert paid("report", "out").code == 0
