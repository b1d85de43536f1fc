"""What a nightly run says with ``-q``: what is new, once."""

from __future__ import annotations

from pathlib import Path

from conftest import Hbseg


def test_a_quiet_run_names_a_new_reject(hbseg: Hbseg, photos: Path) -> None:
    """The first run with ``-q`` names the photo that it leaves out; the next one says nothing of
    it, and is silent."""
    (photos / "bad.jpg").write_text("no picture")
    first, again = (hbseg("segment", photos, "-o", "out", "-q") for _ in range(2))
    assert first.code == 3
    assert "bad.jpg" in first.err
    assert again.err == ""
