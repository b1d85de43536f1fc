"""Which segmenter the settings ask for: the bundled models, or a model of the user's own."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from again import Again
from conftest import Hbseg, photo
from models import mean_model
from PIL import Image

from humanbody_cli.core.settings import LocalSettings, People
from humanbody_cli.embedded import segmenters
from humanbody_cli.pipeline.fingerprint import BUNDLED

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "sample_images" / "portraits" / "astronaut.png"


@pytest.fixture(scope="module")
def panorama() -> Image.Image:
    """The astronaut, small, in a wide white picture."""
    canvas = Image.new("RGB", (1600, 400), "white")
    canvas.paste(Image.open(SAMPLE).convert("RGB").resize((300, 300)), (1100, 100))
    return canvas


def test_a_fingerprint_names_the_bundled_files() -> None:
    """Another model file cannot be bundled without earlier results being made again."""
    digests = [
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (segmenters.SEGMENTATION, segmenters.DETECTOR)
    ]
    assert BUNDLED.split("-")[1:] == [digest[:8] for digest in digests]


def test_each_bundled_model_has_its_licence_and_its_digest_beside_it() -> None:
    """The page beside the models names each file with its SHA-256, and each licence is there."""
    page = (segmenters.MODELS / "README.md").read_text()
    for path in segmenters.MODELS.glob("*.onnx"):
        assert f"## {path.name}" in page
        assert hashlib.sha256(path.read_bytes()).hexdigest() in page
    licences = {path.name for path in segmenters.MODELS.glob("LICENSE.*")}
    assert len(licences) == 3
    assert all(f"`{name}`" in page for name in licences)
    assert "Copyright 2020-2021 RangiLyu" in (segmenters.MODELS / "LICENSE.nanodet.txt").read_text()


def test_a_users_model_gets_the_crop_around_people(tmp_path: Path, panorama: Image.Image) -> None:
    """A model that answers with brightness: with crops, the white beside the person is left out."""
    model = mean_model(tmp_path / "m.onnx", ["n", 3, "h", "w"], 1)
    settings = LocalSettings(model=model, preset="selfie")
    whole, _ = segmenters.segmenter(settings)(panorama)
    crops, doubt = segmenters.segmenter(replace(settings, crops=True))(panorama)
    assert np.asarray(whole)[:, :600].min() == 255
    assert not np.asarray(crops)[:, :600].any()
    assert np.asarray(crops)[100:400, 1100:1400].any()
    assert doubt is None


def test_crops_without_people_leave_an_empty_mask(tmp_path: Path) -> None:
    """Where the detector finds nobody, a model of the user's own is not asked."""
    model = mean_model(tmp_path / "m.onnx", ["n", 3, "h", "w"], 1)
    segment = segmenters.segmenter(LocalSettings(model=model, preset="selfie", crops=True))
    mask, _ = segment(Image.new("RGB", (200, 100), "white"))
    assert mask.getextrema() == (0, 0)


def test_threads_and_sessions_give_the_same_mask(panorama: Image.Image) -> None:
    """Four threads of one segmenter, and another segmenter: the same bytes and the same doubt."""
    one, other = (segmenters.segmenter(LocalSettings()) for _ in range(2))
    with ThreadPoolExecutor(4) as pool:
        results = [*pool.map(one, [panorama] * 4), other(panorama)]
    assert len({(mask.tobytes(), doubt) for mask, doubt in results}) == 1


def test_who_is_meant_is_part_of_the_result(hbseg: Hbseg, tmp_path: Path) -> None:
    """``--people main`` after ``all``: the photo is done again, and then stands."""
    photo(tmp_path / "photos/a.jpg", seed=1)

    skipped = Again(hbseg)
    assert [skipped(), skipped("--people", "all")] == [False, True]
    main = ("--people", People.MAIN.value)
    assert [skipped(*main), skipped(*main)] == [False, True]


def test_crops_are_part_of_a_users_models_result(hbseg: Hbseg, tmp_path: Path) -> None:
    """``--crops on`` is another result than the whole photo; ``off`` is the default."""
    model = mean_model(tmp_path / "mine.onnx", [1, 3, "h", "w"], 1)
    photo(tmp_path / "photos/a.jpg", seed=1)

    skipped = Again(hbseg, "--model", model)
    assert [skipped(), skipped("--crops", "off")] == [False, True]
    assert [skipped("--crops", "on"), skipped("--crops", "on")] == [False, True]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--crops", "on"), "--crops can be used only with a model of your own"),
        (("--people", "main", "--model", "mine.onnx"), "add --crops on, or drop --people"),
        (("--people", "main", "--engine", "api"), "add --engine local, or drop --people"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    hbseg: Hbseg, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    """One sentence says which option has no effect there and what to do; the exit code is 2."""
    mean_model(tmp_path / "mine.onnx", [1, 3, 32, 32], 1)
    photo(tmp_path / "photos/a.jpg", seed=1)
    ended = hbseg("segment", "photos", "-o", "out", *options)
    assert ended.code == 2
    assert said in ended.err
    assert "Traceback" not in ended.err
