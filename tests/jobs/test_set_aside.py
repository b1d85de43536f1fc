"""Results that were set aside stay until a run that wants them has had them."""

from __future__ import annotations

from pathlib import Path

from conftest import Hbseg, photo
from fake_api import FakeApi
from fake_behaviour import Behaviour


def test_masks_of_swapped_photos_outlive_a_run_without_masks(paid: Hbseg, tmp_path: Path) -> None:
    """Two photos change places, and a run makes cutouts alone: their masks, which were paid for,
    still serve the next run."""
    one, other = (photo(tmp_path / f"photos/{n}.jpg", seed=n) for n in (1, 2))
    with FakeApi.in_thread(Behaviour()) as api:
        arguments = ("segment", "photos", "-o", "out", "--endpoint", api.url, "--qps", "100")
        assert paid(*arguments).code == 0
        one.rename(tmp_path / "x")
        other.rename(one)
        (tmp_path / "x").rename(other)
        assert paid(*arguments, "--no-mask").code == 0
        assert paid(*arguments).code == 0
        assert len(api.stats.calls) == 2
    assert not (tmp_path / "out/.hbseg/replaced").exists()
