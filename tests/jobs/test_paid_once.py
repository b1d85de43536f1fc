"""Nothing is paid for twice: copies, options that need no call, refusals that stand."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Hbseg, files, photo, run_settings
from fake_api import FakeApi
from fake_behaviour import Behaviour

from humanbody_cli.discovery import sources
from humanbody_cli.discovery.single import single
from humanbody_cli.jobs import segment
from humanbody_cli.pipeline import photo_steps

REFUSED = "IMAGE_ERROR_UNSUPPORTED_FORMAT: image_file"


def _copies(folder: Path, count: int) -> None:
    first = photo(folder / "0.jpg", seed=1)
    for index in range(1, count):
        shutil.copy(first, folder / f"{index}.jpg")


def _arguments(api: FakeApi, *options: object) -> tuple[object, ...]:
    return ("photos", "-o", "out", "--endpoint", api.url, "--qps", 400, *options)


def test_copies_of_a_refused_photo_cost_one_call(paid: Hbseg, tmp_path: Path) -> None:
    """Forty copies, of which the first is refused for good: one call, and forty records of it."""
    _copies(tmp_path / "photos", 40)
    with FakeApi.in_thread(Behaviour(always=REFUSED, latency=0.02)) as api:
        ended = paid("segment", *_arguments(api, "--json"))
        assert (ended.code, len(api.stats.calls)) == (3, 1)
        assert {record["status"] for record in ended.records} == {"failed"}
        assert len(ended.records) == 40


def test_copies_of_a_photo_that_fails_for_now_cost_its_attempts_once(
    paid: Hbseg, tmp_path: Path
) -> None:
    """The tries that one copy has used up are not used up once more by each other one."""
    _copies(tmp_path / "photos", 12)
    with FakeApi.in_thread(Behaviour(always="INTERNAL_ERROR")) as api:
        assert paid("segment", *_arguments(api, "--retries", 1)).code == 3
        assert len(api.stats.calls) == 2
        api.reset(Behaviour())
        assert paid("segment", *_arguments(api)).code == 0
        assert len(api.stats.calls) == 1


def test_copies_after_a_rehearsal_cost_one_call(paid: Hbseg, hbseg: Hbseg, tmp_path: Path) -> None:
    """Many copies done by the embedded engine do not hide the one that the API was paid for."""
    _copies(tmp_path / "photos", 30)
    assert hbseg("segment", "photos", "-o", "out").code == 0
    with FakeApi.in_thread(Behaviour(latency=0.05)) as api:
        assert json.loads(paid("plan", *_arguments(api, "--json")).out)["calls"] == 1
        assert paid("segment", *_arguments(api)).code == 0
        assert len(api.stats.calls) == 1


def test_a_neighbour_that_is_gone_takes_no_result_along(paid: Hbseg, tmp_path: Path) -> None:
    """``a.jpg`` beside ``a.png`` goes: the other one takes its short name, without a call."""
    photo(tmp_path / "photos/a.jpg", seed=1)
    gone = photo(tmp_path / "photos/a.png", seed=2)
    with FakeApi.in_thread(Behaviour()) as api:
        assert paid("segment", *_arguments(api)).code == 0
        gone.unlink()
        assert paid("segment", *_arguments(api)).code == 0
        assert len(api.stats.calls) == 2
    assert {"cutouts/a.png", "masks/a.png"} <= set(files(tmp_path / "out"))


@pytest.mark.parametrize("option", [("--edges", "soft"), ("--metadata", "keep"), ("--no-mask",)])
def test_a_refusal_stands_whatever_is_made_of_the_answer(
    paid: Hbseg, tmp_path: Path, option: tuple[str, ...]
) -> None:
    """A photo that the API refused for good is not sent again because only the cutout is to look
    different."""
    photo(tmp_path / "photos/a.jpg")
    with FakeApi.in_thread(Behaviour(always=REFUSED)) as api:
        assert paid("segment", *_arguments(api)).code == 3
        assert json.loads(paid("plan", *_arguments(api, "--json", *option)).out)["calls"] == 0
        assert paid("segment", *_arguments(api, *option)).code == 3
        assert len(api.stats.calls) == 1


def test_a_refusal_stands_for_its_bytes_whatever_file_they_are_in(
    paid: Hbseg, tmp_path: Path
) -> None:
    """A refused photo with a new time, and one whose bytes are in another file now, while other
    bytes have its name: none is sent again, and the message does not grow."""
    first = photo(tmp_path / "photos/a.jpg", seed=1)
    other = photo(tmp_path / "photos/b.jpg", seed=2)
    with FakeApi.in_thread(Behaviour(always=REFUSED)) as api:
        told = paid("segment", *_arguments(api, "--concurrency", 1, "--json")).records
        for path in (first, other):
            os.utime(path, (1, 1))
        again = paid("segment", *_arguments(api, "--json")).records
        assert {one["message"] for one in again} == {one["message"] for one in told}
        assert len(api.stats.calls) == 2
        first.rename(tmp_path / "photos/z.jpg")
        photo(first, seed=3)
        assert json.loads(paid("plan", *_arguments(api, "--json")).out)["calls"] == 1
        assert paid("segment", *_arguments(api)).code == 3
        assert len(api.stats.calls) == 3
        assert paid("segment", *_arguments(api, "--retry-failed")).code == 3
        assert len(api.stats.calls) == 6


def test_masks_that_change_places_serve_a_wish_for_cutouts(paid: Hbseg, tmp_path: Path) -> None:
    """Two photos without cutouts change names: the cutouts now wanted are composed of their masks,
    as they would be had the photos stayed, and whichever of them comes first."""
    one, other = (photo(tmp_path / f"photos/{name}.jpg", seed=ord(name)) for name in "ab")
    with FakeApi.in_thread(Behaviour()) as api:
        assert paid("segment", *_arguments(api, "--no-cutout")).code == 0
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second)
        other.write_bytes(first)
        for path in (one, other):
            os.utime(path, (1, 1))
        assert json.loads(paid("plan", *_arguments(api, "--json")).out)["calls"] == 0
        assert paid("segment", *_arguments(api)).code == 0
        assert len(api.stats.calls) == 2
    assert len(files(tmp_path / "out")) == 4


HIDING = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
from humanbody_cli.cli.main import main
main()
"""


def _without(hbseg: Hbseg, names: tuple[str, ...], *arguments: object) -> tuple[int, str]:
    """The command in a Python in which these packages are not installed."""
    script = hbseg.cwd / "hiding.py"
    script.write_text(HIDING.format(names=names))
    ended = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        cwd=hbseg.cwd,
        env=hbseg.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("command", ["segment", "plan"])
def test_what_a_run_needs_is_looked_for_before_its_first_call(
    paid: Hbseg, photos: Path, command: str
) -> None:
    """Soft edges without numpy: exit 2 and what to install, before a call; a plan says the same."""
    with FakeApi.in_thread(Behaviour()) as api:
        arguments = (command, *_arguments(api, "--edges", "soft"))
        code, err = _without(paid, ("numpy",), *arguments)
        assert (code, len(api.stats.calls)) == (2, 0)
    assert "numpy" in err and "Traceback" not in err


@pytest.mark.parametrize("command", ["segment", "plan"])
def test_a_plan_knows_that_no_engine_is_installed(hbseg: Hbseg, photos: Path, command: str) -> None:
    """Without a key and without the embedded engine neither command begins: exit 4, and how to
    get one."""
    code, err = _without(hbseg, ("onnxruntime",), command, "photos", "-o", "out")
    assert code == 4
    assert "onnxruntime" in err or "[local]" in err
    assert "done" not in err


# -- a plan's calls are the run's calls ----------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_a_plans_calls_are_the_runs_calls(paid: Hbseg, tmp_path: Path, seed: int) -> None:
    """Whatever state an output folder is in, a plan foretells how many calls the run makes."""
    import random

    choose = random.Random(seed)
    script = tuple(choose.choice(("ok", "ok", "ok", REFUSED)) for _ in range(40))
    with FakeApi.in_thread(Behaviour(script=script)) as api:
        for step in range(4):
            for _ in range(3):
                name = f"photos/{choose.choice('abcd')}/{choose.choice('xyz')}.jpg"
                photo(tmp_path / name, seed=choose.randint(0, 9))
            loses_journal = choose.random() < 0.3 and step > 0
            if loses_journal:
                for path in (tmp_path / "out/.hbseg").glob("journal*"):
                    path.unlink()
            if choose.random() < 0.3:
                (tmp_path / "photos/bad.jpg").write_bytes(b"no picture")
            kind = choose.choice(("masks", "cutouts"))
            made_before = sorted((tmp_path / "out" / kind).rglob("*.png"))
            # Not both: which of two copies comes first then decides whether a call is made.
            for lost in made_before[: choose.randint(0, 1) * (not loses_journal)]:
                lost.unlink()
            options = choose.choice(
                ((), ("--edges", "soft"), ("--no-mask",), ("--retry-failed",), ("--fit",))
            )
            planned = json.loads(paid("plan", *_arguments(api, "--json", *options)).out)["calls"]
            before = len(api.stats.calls)
            most = choose.randint(0, 4) if choose.random() < 0.3 else None
            limit = () if most is None else ("--max-calls", most)
            ended = paid("segment", *_arguments(api, *options, *limit))
            made = len(api.stats.calls) - before
            assert made == planned or (ended.code == 5 and made == most < planned), ended.err


def test_a_plan_uses_answers_that_lie_ready(paid: Hbseg, tmp_path: Path) -> None:
    """An answer is kept under what was sent: a photo that was turned upright is found too."""
    from making import jpeg

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(jpeg(orientation=6))
    with FakeApi.in_thread(Behaviour()) as api:
        killed = [sys.executable, str(ROOT / "tests" / "support" / "dying_run.py")]
        for number in range(1, 40):
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
            subprocess.run(
                [*killed, str(number), "segment", *map(str, _arguments(api))],
                cwd=tmp_path,
                env=paid.environment(),
                capture_output=True,
                check=False,
            )
            answers = list((tmp_path / "out/.hbseg/answers").glob("*"))
            if any(path.stat().st_size > 1000 for path in answers):
                break
        else:
            raise AssertionError("no kill left an answer")
        assert json.loads(paid("plan", *_arguments(api, "--json")).out)["calls"] == 0
        before = len(api.stats.calls)
        assert paid("segment", *_arguments(api)).code == 0
        assert len(api.stats.calls) == before


def test_a_photo_of_a_time_beyond_the_journals_is_done(
    paid: Hbseg, api: FakeApi, tmp_path: Path
) -> None:
    """A time stamp beyond the journal's 64 bits is no reason to fail after paying, or to pay
    again."""
    source = photo(tmp_path / "photos/a.jpg")
    try:
        os.utime(source, (2**34, 2**34))
        assert os.stat(source).st_mtime_ns > 2**63
    except (OSError, AssertionError):
        pytest.skip("this file system has no such times")
    for _ in range(2):
        ended = paid("segment", *_arguments(api))
        assert ended.code == 0, ended.err
    assert len(api.stats.calls) == 1


def test_a_rejection_is_looked_at_again_when_the_rules_change(hbseg: Hbseg, tmp_path: Path) -> None:
    """A reject that another version, or one with other readers, has put down is looked at anew."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"no picture")
    assert hbseg("segment", "photos", "-o", "out").code == 3
    assert "rejected before" in hbseg("segment", "photos", "-o", "out").err
    photo(tmp_path / "a.jpg")
    with sqlite3.connect(tmp_path / "out/.hbseg/journal.sqlite3") as db:
        db.execute("UPDATE photos SET checked = replace(checked, 'readers=', 'readers=none,')")
    db.close()
    assert "rejected before" not in hbseg("segment", "photos", "-o", "out").err


def test_an_answer_outlives_a_failure_that_is_not_its_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paid answer whose results could not be made for want of memory waits for the next run."""
    photo(tmp_path / "photos/a.jpg")
    with FakeApi.in_thread(Behaviour()) as api:
        settings = run_settings(tmp_path / "photos", tmp_path / "out", api.url)
        with monkeypatch.context() as patch:
            patch.setattr(photo_steps, "_with_metadata", _no_memory)
            assert segment.segment(settings) == 3
        assert segment.segment(settings) == 0
        assert len(api.stats.calls) == 1
    assert not list((tmp_path / "out/.hbseg/answers").glob("*"))


def _no_memory(*_: object) -> bytes:
    raise MemoryError


def test_what_was_read_is_the_photo_whatever_size_was_announced() -> None:
    """Files of some file systems hold less than they announce: their bytes count."""
    path = "/sys/kernel/mm/transparent_hugepage/enabled"
    if not os.path.exists(path):
        pytest.skip("needs sysfs")
    assert os.stat(path).st_size > len(Path(path).read_bytes())
    data, size = sources.read(single(path), 1 << 20)
    assert size == len(data) > 0


def test_a_damaged_cutout_is_one_photos_trouble(paid: Hbseg, photos: Path) -> None:
    """recompose goes on past a cutout that does not decode, and says which photo it is."""
    with FakeApi.in_thread(Behaviour()) as api:
        assert paid("segment", *_arguments(api, "--no-mask")).code == 0
    cutout = paid.cwd / "out/cutouts/a.png"
    data = bytearray(cutout.read_bytes())
    data[-40:-20] = bytes(20)
    cutout.write_bytes(data)
    ended = paid("recompose", "out", "--json")
    assert ended.code == 3
    assert "Traceback" not in ended.err
    assert [record["status"] for record in ended.records].count("done") == 3
