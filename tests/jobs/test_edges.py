"""What users meet at the edges: each of these once lost a photo, a call or the truth."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Hbseg, files, photo
from fake_api import FakeApi
from fake_behaviour import Behaviour
from PIL import Image
from waiting import PATIENCE, until


def _runs(paid: Hbseg, api: FakeApi, *arguments: object, code: int = 0, **options: Any) -> int:
    """``segment`` with these arguments into ``out``; how many calls it made."""
    before = len(api.stats.calls)
    where = ("-o", "out", "--endpoint", api.url, "--qps", 200)
    ended = paid("segment", *arguments, *where, **options)
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    return len(api.stats.calls) - before


def _older(path: Path) -> Path:
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return path


def test_a_new_photo_with_an_old_date_is_not_its_predecessor(
    paid: Hbseg, api: FakeApi, tmp_path: Path
) -> None:
    """Half copied (a reject), then whole with the date kept: it is sent, not taken for done."""
    source = photo(tmp_path / "photos/a.jpg", seed=1)
    assert _runs(paid, api, "photos") == 1
    whole = photo(tmp_path / "new.jpg", seed=2).read_bytes()
    source.write_bytes(whole[: len(whole) // 2])
    assert _runs(paid, api, "photos", code=3) == 0
    source.write_bytes(whole)
    _older(source)
    assert _runs(paid, api, "photos") == 1


def test_a_mask_of_earlier_bytes_does_not_stay(paid: Hbseg, api: FakeApi, tmp_path: Path) -> None:
    """Changed and run with ``--no-mask``: the old mask goes, and a new one is fetched on demand."""
    source = photo(tmp_path / "photos/a.jpg", seed=1)
    assert _runs(paid, api, "photos") == 1
    photo(source, seed=2)
    _older(source)
    assert _runs(paid, api, "photos", "--no-mask") == 1
    assert list(files(tmp_path / "out")) == ["cutouts/a.png"]
    assert _runs(paid, api, "photos") == 1
    assert len(files(tmp_path / "out")) == 2


def test_what_fit_has_paid_for_survives_a_run_without_it(
    paid: Hbseg, api: FakeApi, tmp_path: Path
) -> None:
    """Done with ``--fit``, rejected without, done again with it: one call."""
    photo(tmp_path / "photos/a.png", size=(40, 90))
    assert _runs(paid, api, "photos", "--fit") == 1
    assert _runs(paid, api, "photos", code=3) == 0
    assert _runs(paid, api, "photos", "--fit") == 0


def test_a_second_photo_from_stdin_is_another_photo(
    paid: Hbseg, api: FakeApi, tmp_path: Path
) -> None:
    """stdin has no name to be known by: its bytes decide."""
    one, two = (photo(tmp_path / f"{n}.jpg", seed=n).read_bytes() for n in (1, 2))
    assert [_runs(paid, api, "-", stdin=data) for data in (one, two, two)] == [1, 1, 0]


def test_output_and_input_may_be_one_folder(paid: Hbseg, api: FakeApi, photos: Path) -> None:
    """Photos beside their results are done; results are never taken for photos."""
    arguments = ("segment", photos, "-o", photos, "--endpoint", api.url, "--qps", 200)
    assert [paid(*arguments).code for _ in range(2)] == [0, 0]
    assert len(api.stats.calls) == 4


def test_photos_beside_an_older_output_are_found(paid: Hbseg, api: FakeApi, photos: Path) -> None:
    """A folder that once was an output may hold photos too: only its results are left out."""
    old = photos / "deeper"
    arguments = ("--endpoint", api.url, "--qps", 200)
    assert paid("segment", photos / "a.jpg", "-o", old, *arguments).code == 0
    assert _runs(paid, api, photos) == 4  # a, b, c and deeper/d, and no cutout of a


def test_a_paid_result_outlives_its_sources_folder(
    paid: Hbseg, api: FakeApi, tmp_path: Path
) -> None:
    """Another folder with the same inner names does not overwrite what was made of the first."""
    photo(tmp_path / "one/a.jpg", seed=1)
    assert _runs(paid, api, "one") == 1
    before = files(tmp_path / "out")
    shutil.rmtree(tmp_path / "one")
    photo(tmp_path / "two/a.jpg", seed=2, size=(120, 90))
    assert _runs(paid, api, "two") == 1
    after = files(tmp_path / "out")
    assert before.items() <= after.items()
    assert len(after) == 4


def test_stdin_and_a_photo_called_stdin(paid: Hbseg, api: FakeApi, tmp_path: Path) -> None:
    """Two photos that want one name get two."""
    data = photo(tmp_path / "photos/stdin.jpg", seed=1).read_bytes()
    photo(tmp_path / "photos/stdin.jpg", seed=2)
    assert _runs(paid, api, "-", "photos", stdin=data) == 2
    assert len(files(tmp_path / "out")) == 4


def test_files_named_one_by_one_follow_the_rule(paid: Hbseg, api: FakeApi, tmp_path: Path) -> None:
    """``b.jpg b.png`` are ``b.jpg.png`` and ``b.png.png``, named or found."""
    for index, name in enumerate(("b.jpg", "b.png")):
        photo(tmp_path / name, seed=index)
    assert _runs(paid, api, "b.jpg", "b.png") == 2
    assert {"cutouts/b.jpg.png", "cutouts/b.png.png"} <= set(files(tmp_path / "out"))


def test_plan_counts_what_a_run_pays(paid: Hbseg, hbseg: Hbseg, photos: Path, api: FakeApi) -> None:
    """After a rehearsal without a key, and for ``--force``, every photo is a call."""
    assert hbseg("segment", photos, "-o", "out").code == 0
    arguments = (photos, "-o", "out", "--endpoint", api.url, "--json")
    assert json.loads(paid("plan", *arguments).out)["calls"] == 4
    assert paid("segment", *arguments, "--qps", 200).code == 0
    assert json.loads(paid("plan", *arguments).out)["calls"] == 0
    assert json.loads(paid("plan", *arguments, "--force").out)["calls"] == 4


@pytest.mark.parametrize(
    "arguments",
    [("check", "photos", "--json"), ("status", "out", "--json"), ("segment", "photos", "--force")],
)
def test_a_full_stdout_is_said(hbseg: Hbseg, photos: Path, arguments: tuple[str, ...]) -> None:
    """Data that cannot be written: one sentence, exit 4, no traceback, and calls have landed."""
    assert hbseg("segment", photos, "-o", "out").code == 0
    if arguments[0] == "segment":
        arguments = (*arguments, "-o", "out", "--json")
    with (
        Path("/dev/full").open("wb") as full,
        hbseg.start(*arguments, stdout=full, stderr=subprocess.PIPE) as command,
    ):
        assert command.stderr is not None
        err = command.stderr.read().decode()
    assert command.returncode == 4, err
    assert "stdout cannot be written" in err and "Traceback" not in err


@pytest.mark.parametrize("closed", [1, 2])
def test_closed_streams_do_no_harm(
    paid: Hbseg, photos: Path, api: FakeApi, tmp_path: Path, closed: int
) -> None:
    """``>&-`` and ``2>&-``: the photos are done, and no file is written to as a stream."""
    command = paid.start(
        *("segment", photos, "-o", "out", "--endpoint", api.url, "--qps", 200, "--json"),
        preexec_fn=lambda: os.close(closed),
    )
    assert command.wait(timeout=30) == 0
    for data in files(tmp_path / "out").values():
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    assert len(files(tmp_path / "out")) == 8


def test_names_through_a_pipe_are_done_as_they_come(
    paid: Hbseg, photos: Path, tmp_path: Path
) -> None:
    """One name on an open pipe is done at once, and a signal ends the run though the pipe stays."""
    with FakeApi.in_thread(Behaviour()) as api:
        arguments = ("segment", "--from-file", "-", "-o", "out", "--endpoint", api.url)
        with paid.start(*arguments, stdin=subprocess.PIPE) as command:
            assert command.stdin is not None
            command.stdin.write(f"{photos}/a.jpg\n".encode())
            command.stdin.flush()
            assert until((tmp_path / "out/cutouts/a.png").exists)
            command.send_signal(signal.SIGTERM)
            assert command.wait(timeout=PATIENCE) == 143


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "foo://x"])
def test_a_proxy_that_cannot_be_used_is_named(paid: Hbseg, photos: Path, proxy: str) -> None:
    """An odd proxy variable: one sentence, exit 4."""
    variables = {"ALL_PROXY": proxy, "HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": ""}
    ended = paid("segment", photos, "-o", "out", "--endpoint", "http://127.0.0.1:9", env=variables)
    assert ended.code == 4, ended.err
    assert "proxy" in ended.err and "Traceback" not in ended.err


def test_one_photo_to_stdout_tells_the_same_exit_codes(
    paid: Hbseg, photos: Path, api: FakeApi
) -> None:
    """``-o -`` with no call allowed exits 5, and says which engine runs."""
    ended = paid(*("segment", photos / "a.jpg", "-o", "-", "--endpoint", api.url, "--max-calls", 0))
    assert ended.code == 5
    assert "engine: API" in ended.err


def test_an_address_that_is_none_is_this_photos_trouble(paid: Hbseg, api: FakeApi) -> None:
    """``http://[bad`` is rejected; nothing else is."""
    assert _runs(paid, api, "http://[bad", code=3) == 0


@pytest.mark.parametrize("options", [("-o", ""), ("-o", "out", "--shard", "²/3")])
def test_more_wrong_options(hbseg: Hbseg, photos: Path, options: tuple[str, ...]) -> None:
    """Named, exit 2, no traceback."""
    ended = hbseg("segment", photos, *options)
    assert ended.code == 2
    assert "Traceback" not in ended.err


def test_a_wrong_input_leaves_nothing_behind(hbseg: Hbseg, tmp_path: Path) -> None:
    """A run that could not begin makes no output folder."""
    assert hbseg("segment", "nowhere", "-o", "new").code == 2
    assert not (tmp_path / "new").exists()


def test_copies_of_a_refused_photo_whose_name_is_no_text(paid: Hbseg, tmp_path: Path) -> None:
    """What an error says of a file need not be text; both copies fail for one call."""
    data = photo(tmp_path / "a.jpg").read_bytes()
    folder = os.fsencode(tmp_path / "photos")
    os.mkdir(folder)
    for name in (b"a\xff.jpg", b"b\xff.jpg"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)
    with FakeApi.in_thread(Behaviour(always="IMAGE_ERROR_UNSUPPORTED_FORMAT: image_file")) as api:
        assert _runs(paid, api, "photos", code=3) == 1


@pytest.mark.parametrize("misleading", [False, True])
def test_a_path_through_a_link_and_back_is_looked_at_where_it_leads(
    paid: Hbseg, api: FakeApi, tmp_path: Path, misleading: bool
) -> None:
    """``link/../photos`` is beside the link's target, whatever lies beside the link: what is done
    is passed by, and a photo that changed is done again."""
    target = photo(tmp_path / "real" / "photos" / "a.jpg", seed=1)
    (tmp_path / "real" / "deep").mkdir()
    (tmp_path / "link").symlink_to("real/deep")
    if misleading:
        shutil.copytree(tmp_path / "real" / "photos", tmp_path / "photos")
    arguments = ("segment", "link/../photos", "-o", "out", "--endpoint", api.url, "--json")
    assert paid(*arguments).records[0]["status"] == "done"
    assert paid(*arguments).records[0]["skipped"]
    photo(target, seed=2)
    again = paid(*arguments)
    assert "skipped" not in again.records[0]
    assert len(api.stats.calls) == 2
