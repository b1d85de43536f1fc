"""The Nth call to the disk fails, for every N: the promises hold, and the next run completes."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import pytest
from conftest import files, photo, run_settings
from failing_disk import FailingDisk
from fake_api import FakeApi
from PIL import Image

from humanbody_cli.jobs import segment

TIDYING = {"unlink", "truncate"}
"""Calls after which nothing is missing: what they leave goes with a later run."""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_every_call_to_the_disk_may_fail(
    tmp_path: Path, number: int, api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 4, nothing undecodable at a final name, and the next run pays only for what was lost."""
    photos = tmp_path / "photos"
    photo(photos / "a.jpg", seed=1)
    photo(photos / "deeper" / "b.jpg", seed=2)
    expected: dict[str, bytes] | None = None
    for n in range(1, 200):
        out = tmp_path / f"out{n}"
        disk = FailingDisk(n, number)
        before = len(api.stats.calls)
        code = segment.segment(run_settings(photos, out, api.url), disk)
        for name, data in files(out).items():
            if not name.endswith(".tmp"):  # a disk that refuses to remove one keeps it
                Image.open(io.BytesIO(data)).load()
        if disk.left > 0:
            assert code == 0
            break
        if set(disk.failed) <= TIDYING:
            assert code == 0
        else:
            assert code == 4
            assert "cannot write" in capsys.readouterr().err
        assert segment.segment(run_settings(photos, out, api.url)) == 0
        assert len(api.stats.calls) - before <= 4
        expected = expected or files(out)
        assert files(out) == expected
        assert not list(out.rglob("*.tmp"))
        assert not list((out / ".hbseg" / "answers").iterdir())
    else:
        raise AssertionError("the run never succeeded")
    assert n > 20
