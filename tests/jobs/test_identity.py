"""Never another photo's picture, whatever the inputs, the options and the moment of a kill."""

from __future__ import annotations

from pathlib import Path

import pytest
from identity_harness import story


@pytest.mark.parametrize("seed", range(1, 4))
def test_each_result_is_of_its_own_photo_with_the_options_asked_for(
    tmp_path: Path, seed: int
) -> None:
    """Random trees with links, nested and repeated inputs, lists and pipes, kills at every step,
    options changed between runs: each mask and cutout is made of its own photo as asked, no photo
    is without a row, and the same command again makes no call and changes no file."""
    assert story(tmp_path, seed, steps=3) == []
