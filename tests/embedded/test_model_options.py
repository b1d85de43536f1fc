"""How a model is fed is part of its results: each option that changes it has photos done again."""

from __future__ import annotations

from pathlib import Path

import pytest
from again import Again
from conftest import Hbseg, photo
from models import mean_model


@pytest.mark.parametrize(
    "other",
    [
        ("--preset", "modnet"),
        ("--preset", "u2net", "--mean", "0.1,0.1,0.1"),
        ("--preset", "u2net", "--std", "0.4,0.4,0.4"),
        ("--preset", "u2net", "--side", 64),
    ],
    ids=["preset", "mean", "std", "side"],
)
def test_another_way_to_feed_a_model_is_another_result(
    hbseg: Hbseg, tmp_path: Path, other: tuple[object, ...]
) -> None:
    """The same model under one other option: the photo is done again, and then stands."""
    model = mean_model(tmp_path / "mine.onnx", [1, 3, "h", "w"], 1)
    photo(tmp_path / "photos/a.jpg", seed=1)

    skipped = Again(hbseg, "--model", model)
    first = ("--preset", "u2net")
    assert [skipped(*first), skipped(*first)] == [False, True]
    assert [skipped(*other), skipped(*other)] == [False, True]


def test_another_model_under_the_same_name_is_another_result(hbseg: Hbseg, tmp_path: Path) -> None:
    """The model's file is replaced by another one: the photo is done again."""
    arguments = ("segment", "photos", "-o", "out", "--engine", "local", "--model", "mine.onnx")
    photo(tmp_path / "photos/a.jpg", seed=1)
    skipped = []
    for shape in ([1, 3, 32, 32], [1, 3, 32, 32], [1, 3, 64, 64]):
        mean_model(tmp_path / "mine.onnx", shape, 1)
        ended = hbseg(*arguments, "--json")
        assert ended.code == 0, ended.err
        skipped.append(bool(ended.records[0].get("skipped")))
    assert skipped == [False, True, False]
