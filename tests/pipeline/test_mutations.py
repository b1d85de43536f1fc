"""No file, however damaged, ends in anything but a result or this photo's rejection."""

from __future__ import annotations

import math
import os
import random
import warnings
from pathlib import Path

import pytest
from mutations import corpus, mutated
from PIL import Image

from humanbody_cli.core.errors import PhotoError
from humanbody_cli.core.settings import Edges, Metadata, Wanted
from humanbody_cli.discovery import sources
from humanbody_cli.discovery.single import single
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.imaging import pictures, uploads
from humanbody_cli.imaging.masks import Mask
from humanbody_cli.imaging.pictures import read_header
from humanbody_cli.pipeline.engine import Segmentation
from humanbody_cli.pipeline.photo_steps import ClientSteps

ROUNDS = int(os.environ.get("MUTATIONS", "5"))
"""Mutations of each file for each way through; more are a matter of time only."""

FILES = corpus()
WAYS = [
    (fit, keep_pixels, edges)
    for fit in (False, True)
    for keep_pixels in (False, True)
    for edges in (Edges.HARD, Edges.SOFT)
]


MOST_PIXELS = 300_000
"""A damaged header may claim any size. To be quick, none beyond this one is decoded here with
``--fit``, which has no limit of 4096 pixels a side."""


@pytest.fixture(autouse=True)
def _pillow() -> None:
    pictures.configure_pillow()


def outcome(path: Path, fit: bool, keep_pixels: bool, edges: Edges) -> str:
    """What one file comes to: ``done``, or the code of its rejection or failure."""
    try:
        if fit and math.prod(read_header(path.read_bytes(), fit=True).size) > MOST_PIXELS:
            return "too large"
        picture = sources.examine(single(str(path)), Rules(fit=fit, keep_pixels=keep_pixels))
        upload = uploads.prepare(picture, fit=fit)
        picture.forget_pixels()
        upload.pixels()
        mask = Mask(Image.radial_gradient("L").resize(upload.size))
        wanted = Wanted(edges=edges, fit=fit, metadata=Metadata.KEEP)
        made = ClientSteps(wanted, Rules(), "local").make(picture, upload, Segmentation(mask))
        assert made.cutout is not None and made.mask is not None
    except PhotoError as error:
        return error.code if error.message and "\n" not in error.message else "no sentence"
    return "done"


@pytest.mark.parametrize("name", FILES)
def test_a_sound_file_of_every_kind_is_done_with_fit(tmp_path: Path, name: str) -> None:
    """What the mutations start from is read, prepared and composed."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(FILES[name])
    assert outcome(path, True, False, Edges.SOFT) == "done"


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_ends_in_a_result_or_a_rejection(tmp_path: Path, name: str) -> None:
    """Bits flipped, bytes cut, moved and repeated, headers and chunks edited: whatever the file has
    become, with --fit or without, it is done or it is this photo's error."""
    rng = random.Random(name)
    path = tmp_path / "photo.jpg"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pillow-heif's, of damaged files
        for way in WAYS:
            for number in range(ROUNDS):
                data = mutated(FILES[name], rng)
                path.write_bytes(data)
                try:
                    assert outcome(path, *way) != "no sentence"
                except Exception as error:
                    found = Path(os.environ.get("TMPDIR", "/tmp")) / f"mutation-{name}-{number}"
                    found.write_bytes(data)
                    raise AssertionError(f"{found} {way}: {error!r}") from error
