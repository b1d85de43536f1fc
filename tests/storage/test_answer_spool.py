"""An answer that was paid for is kept until it is published: a failing disk does not cost it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ended, Hbseg, files, photo, run_settings
from fake_api import FakeApi
from fake_behaviour import Behaviour

from humanbody_cli.jobs import segment
from humanbody_cli.storage.answer_spool import FOLDER, AnswerSpool, KeptAnswers
from humanbody_cli.storage.disk import RealDisk

PHOTOS = 4  # as many as the fixture makes


class NoRename(RealDisk):
    """A disk that takes bytes and then fails: nothing comes to its final name."""

    def rename(self, old: str, new: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def paid_for(tmp_path: Path, photos: Path, api: FakeApi) -> Callable[[], Path]:
    """Makes runs that pay and cannot publish, until every photo was paid for; the answers' folder.

    A run ends at the first failure, so that it takes some.
    """
    settings = run_settings(photos, tmp_path / "out", api.url, concurrency=PHOTOS)

    def pay() -> Path:
        kept = tmp_path / "out" / ".hbseg" / FOLDER
        while not kept.exists() or len(spool_files(tmp_path / "out")) < PHOTOS:
            before = len(api.stats.calls)
            assert segment.segment(settings, NoRename()) == 4
            assert before < len(api.stats.calls) <= PHOTOS
        assert files(tmp_path / "out") == {}
        return kept

    return pay


def run_again(paid: Hbseg, api: FakeApi, *more: str) -> tuple[Ended, int]:
    """A run to the end, and the calls that it made."""
    before = len(api.stats.calls)
    ended = paid(
        *("segment", "photos", "-o", "out", "--engine", "api", "--endpoint", api.url),
        *("--qps", "500", "--json", *more),
    )
    return ended, len(api.stats.calls) - before


def test_what_could_not_be_published_is_not_paid_for_again(
    paid: Hbseg, api: FakeApi, paid_for: Callable[[], Path]
) -> None:
    """The next run makes everything of the answers kept, as a run without the fault would have;
    the records tell of the one call that each photo cost, and nothing stays behind."""
    kept = paid_for()
    ended, calls = run_again(paid, api)
    assert (ended.code, calls) == (0, 0)
    assert [(one["status"], one["attempts"]) for one in ended.records] == [("done", 1)] * PHOTOS
    assert all(one["request_id"] for one in ended.records)
    assert list(kept.iterdir()) == []
    whole = paid(*("segment", "photos", "-o", "whole", "--engine", "api", "--endpoint", api.url))
    assert whole.code == 0
    assert files(paid.cwd / "out") == files(paid.cwd / "whole")


@pytest.mark.parametrize("length", [0, 100, -1])
def test_an_answer_cut_short_is_asked_for_again(
    paid: Hbseg, api: FakeApi, paid_for: Callable[[], Path], length: int
) -> None:
    """A kill may cut the file anywhere: what does not prove whole is no answer."""
    first = paid_for() / "0"
    first.write_bytes(first.read_bytes()[:length])
    ended, calls = run_again(paid, api)
    assert (ended.code, calls) == (0, 1)
    assert [one["status"] for one in ended.records] == ["done"] * PHOTOS


def test_a_plan_counts_the_answers_that_lie_ready(
    paid: Hbseg, api: FakeApi, paid_for: Callable[[], Path]
) -> None:
    """They cost no call, but with ``--force``."""
    kept = paid_for()
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    arguments = ("plan", "photos", "-o", "out", "--endpoint", api.url, "--json")
    assert json.loads(paid(*arguments).out)["calls"] == 0
    assert json.loads(paid(*arguments, "--force").out)["calls"] == PHOTOS
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before


@pytest.mark.parametrize("lacks", ["result", "body_image", "end", "name"])
def test_a_plan_counts_a_call_for_an_answer_that_will_not_do(
    paid: Hbseg, api: FakeApi, paid_for: Callable[[], Path], lacks: str
) -> None:
    """An answer without the mask or the cutout, cut short, or to something else: the plan says one
    call and leaves the answer where it is, and the run makes that call."""
    kept = paid_for()
    _spoil(kept / "0", lacks)
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    arguments = ("plan", "photos", "-o", "out", "--endpoint", api.url, "--json")
    assert json.loads(paid(*arguments).out)["calls"] == 1
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
    ended, calls = run_again(paid, api)
    assert (ended.code, calls) == (0, 1)


def _spoil(path: Path, lacks: str) -> None:
    name, _, body = path.read_bytes().partition(b"\n")
    if lacks in {"result", "body_image"}:
        fields = json.loads(body)
        del fields[lacks]
        body = json.dumps(fields).encode()
    elif lacks == "name":
        name = name[::-1]
    else:
        body = body[:-9]
    path.write_bytes(name + b"\n" + body)


def test_force_pays_anew(paid: Hbseg, api: FakeApi, paid_for: Callable[[], Path]) -> None:
    """``--force`` asks for fresh results: an earlier answer is none."""
    paid_for()
    ended, calls = run_again(paid, api, "--force")
    assert (ended.code, calls) == (0, PHOTOS)


def test_force_leaves_other_photos_answers(
    paid: Hbseg, api: FakeApi, photos: Path, paid_for: Callable[[], Path]
) -> None:
    """What ``--force`` redoes is one photo; the answers to the others still wait for them."""
    paid_for()
    other = photo(paid.cwd / "other" / "x.jpg", seed=50)
    ended = paid(
        *("segment", other, "-o", "out", "--engine", "api", "--endpoint", api.url, "--force")
    )
    assert ended.code == 0, ended.err
    assert run_again(paid, api)[1] == 0


def test_an_answer_belongs_to_the_bytes_that_were_sent(
    paid: Hbseg, api: FakeApi, photos: Path, paid_for: Callable[[], Path]
) -> None:
    """A photo that changed is sent; where ``--fit`` changes nothing, the upload is the same."""
    paid_for()
    (photos / "a.jpg").write_bytes((photos / "b.jpg").read_bytes() + b"changed")
    assert run_again(paid, api, "--fit")[1] == 1


def test_a_rejection_leaves_the_answer(
    paid: Hbseg, api: FakeApi, paid_for: Callable[[], Path]
) -> None:
    """Something stands at the output's name: once it is moved away, nothing is paid again."""
    paid_for()
    folder = paid.cwd / "out" / "cutouts" / "a.png"
    folder.mkdir(parents=True)
    ended, calls = run_again(paid, api)
    assert (ended.code, calls) == (3, 0)
    folder.rmdir()
    ended, calls = run_again(paid, api)
    assert (ended.code, calls) == (0, 0)


def test_another_engines_result_leaves_the_answer(
    paid: Hbseg, hbseg: Hbseg, api: FakeApi, paid_for: Callable[[], Path]
) -> None:
    """A run without the key in between does not throw away what the API was paid for."""
    paid_for()
    ended = hbseg("segment", "photos", "-o", "out", "--engine", "local")
    assert ended.code == 0, ended.err
    assert run_again(paid, api)[1] == 0


def test_copies_share_an_answer_that_could_not_be_published(
    paid: Hbseg, api: FakeApi, photos: Path, paid_for: Callable[[], Path]
) -> None:
    """Two photos of the same bytes take the one answer, one after the other."""
    (photos / "copy.jpg").write_bytes((photos / "a.jpg").read_bytes())
    paid_for()
    ended, calls = run_again(paid, api)
    assert (ended.code, calls) == (0, 0)
    assert len(files(paid.cwd / "out")) == 2 * (PHOTOS + 1)


@pytest.mark.parametrize("name", ["@eaDir", "notes.txt", "7"])
def test_a_strange_entry_among_the_answers_is_left_alone(
    paid: Hbseg, api: FakeApi, paid_for: Callable[[], Path], name: str
) -> None:
    """A folder that some disks put everywhere, somebody's notes: no answer is lost for them."""
    strange = paid_for() / name
    if name == "notes.txt":
        strange.write_text("not ours\n")
    else:
        strange.mkdir()
    assert run_again(paid, api)[1] == 0
    assert strange.exists()


def test_nothing_is_kept_of_a_run_that_publishes(paid: Hbseg, api: FakeApi, photos: Path) -> None:
    """Answers are kept for as long as they are needed."""
    ended, calls = run_again(paid, api)
    assert (ended.code, calls) == (0, PHOTOS)
    assert list((paid.cwd / "out" / ".hbseg" / FOLDER).iterdir()) == []


def test_an_answer_that_nobody_asks_for_is_let_go(tmp_path: Path) -> None:
    """Once no photo of the output folder waits for one; until then it stays, however old: a clock
    that is far ahead costs nothing."""
    spool = AnswerSpool(str(tmp_path))
    for name in ("01d", "a5", "e3"):
        spool.of(name).keep(name.encode())
    for path in spool_files(tmp_path):
        os.utime(path, (0, 0))
    spool = AnswerSpool(str(tmp_path))
    spool.of("a5").drop()
    spool.close(lambda: False)
    assert KeptAnswers(str(tmp_path)).names == {"01d", "e3"}
    assert len(spool_files(tmp_path)) == 2
    AnswerSpool(str(tmp_path)).close(lambda: True)
    assert spool_files(tmp_path) == []


def spool_files(root: Path) -> list[Path]:
    return sorted((root / ".hbseg" / FOLDER).iterdir())


def test_an_answer_is_never_another_photos(tmp_path: Path) -> None:
    """Two photos may have one upload: each answer has one owner at a time, and a file that was
    used again meanwhile holds no answer of the first."""
    AnswerSpool(str(tmp_path)).of("abc").keep(b"answer of abc")
    spool = AnswerSpool(str(tmp_path))
    one, two = spool.of("abc"), spool.of("abc")
    assert (one.is_there, two.is_there) == (True, False)
    one.release()
    one, two = two, spool.of("abc")
    assert (one.is_there, two.is_there) == (False, True)
    path = spool_files(tmp_path)[0]
    path.write_bytes(b"def\nanswer of def")
    assert two.body() == b""


def test_two_answers_to_one_upload_are_both_let_go(tmp_path: Path) -> None:
    """Two photos that differ in their Exif alone are one upload once they are turned upright."""
    spool = AnswerSpool(str(tmp_path))
    one, two = spool.of("abc"), spool.of("abc")
    for spooled in (one, two):
        spooled.reserve(1000)
        spooled.keep(b"answer")
    one.drop()
    assert two.body() == b"answer"
    two.drop()
    spool.close()
    assert spool_files(tmp_path) == []


def test_fresh_results_let_the_earlier_answer_go(tmp_path: Path) -> None:
    """With ``--force`` it answers nothing, stays until there is a better one, and then goes."""
    AnswerSpool(str(tmp_path)).of("abc").keep(b"earlier")
    spool = AnswerSpool(str(tmp_path), forget=True)
    spooled = spool.of("abc")
    spooled.reserve(1000)
    spooled.release()
    assert KeptAnswers(str(tmp_path)).names == {"abc"}
    spooled = spool.of("abc")
    spooled.keep(b"fresh")
    spooled.release()
    copy = spool.of("abc")
    assert copy.body() == b"fresh", "a copy in the same run takes it"
    copy.drop()
    spool.close()
    assert spool_files(tmp_path) == []


@pytest.mark.parametrize("kind", ["notimage", "missing", "garbage"])
def test_an_answer_that_is_none_is_not_kept(paid: Hbseg, photos: Path, kind: str) -> None:
    """It is paid for, and worth nothing: after the run the folder is empty."""
    with FakeApi.in_thread(Behaviour(always=kind)) as api:
        ended, calls = run_again(paid, api, "--retries", "1")
    assert (ended.code, calls) == (3, 2 * PHOTOS)
    assert spool_files(paid.cwd / "out") == []


def test_an_answer_whose_photo_is_done_already_goes(
    paid: Hbseg, api: FakeApi, paid_for: Callable[[], Path]
) -> None:
    """A kill between the row and the answer's removal leaves one: the next run that meets all
    photos as done removes it, and so does a run that had one to do. While one waits they stay."""
    kept = paid_for()
    answers = {path.name: path.read_bytes() for path in kept.iterdir()}
    assert run_again(paid, api)[0].code == 0

    def put_back() -> None:
        for name, content in answers.items():
            (kept / name).write_bytes(content)

    put_back()
    assert run_again(paid, api)[1] == 0
    assert list(kept.iterdir()) == []
    put_back()
    photo(paid.cwd / "photos" / "new.jpg", seed=77)
    assert run_again(paid, api)[1] == 1
    assert list(kept.iterdir()) == []
    put_back()
    path = paid.cwd / "out" / "cutouts" / "other.png"
    path.mkdir()
    other = photo(paid.cwd / "photos" / "other.jpg", seed=78)
    assert run_again(paid, api)[0].code == 3
    assert len(list(kept.iterdir())) == PHOTOS
    other.touch()
    path.rmdir()
    assert run_again(paid, api)[0].code == 0
    assert list(kept.iterdir()) == []
