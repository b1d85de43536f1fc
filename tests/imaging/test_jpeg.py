"""Scans of a JPEG, counted without decoding: never fewer than libjpeg would go through."""

from __future__ import annotations

import itertools
import time

import pytest
from checking import Check
from jpegs import EOI, progressive, segment
from making import exif, jpeg, noise, quarters, saved, stored
from PIL import Image

from humanbody_cli.core.errors import PhotoError
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.imaging import pictures
from humanbody_cli.imaging.decoding import MAX_SCANS, has_too_many_scans


def count(data: bytes) -> int:
    """The scans that are seen."""
    return next(most for most in itertools.count() if not has_too_many_scans(data, most))


@pytest.mark.parametrize("kind", ["baseline", "progressive", "gray", "restarts", "repeated"])
def test_scans_are_counted(kind: str) -> None:
    """One scan of a baseline JPEG, 10 and 6 of libjpeg's progressive ones."""
    data, expected = {
        "baseline": (jpeg(), 1),
        "progressive": (jpeg(progressive=True), 10),
        "gray": (jpeg(quarters().convert("L"), progressive=True), 6),
        "restarts": (jpeg(noise((200, 200)), restart_marker_blocks=1), 1),
        "repeated": (progressive(37) + EOI, 37),
    }[kind]
    assert count(data) == expected


SOS = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
HIDDEN = SOS * (MAX_SCANS + 1)


WHERE = {
    "in a comment": (jpeg()[:2] + segment(0xFE, HIDDEN) + jpeg()[2:], False),
    "in a thumbnail": (jpeg()[:2] + segment(0xE1, b"Exif\0\0" + HIDDEN) + jpeg()[2:], False),
    "behind the end": (jpeg() + HIDDEN, False),
    "behind a comment": (jpeg()[:-2] + segment(0xFE, b"") + HIDDEN + EOI, True),
    "behind junk": (jpeg()[:-2] + b"junk" + HIDDEN + EOI, True),
    "behind fill bytes": (jpeg()[:-2] + (b"\xff" * 9 + SOS[1:]) * 101 + EOI, True),
    "behind restart markers": (jpeg()[:-2] + (b"\xff\xd3\xff\x00" + SOS) * 101 + EOI, True),
    "behind a lone length": (jpeg()[:-2] + b"\xff\xfe\0\0" + HIDDEN + EOI, True),
    "behind markers without a length": (
        jpeg()[:-2] + b"\xff\x01\xff\x02\xff\xd8" + HIDDEN + EOI,
        True,
    ),
    "without an end": (jpeg()[:-2] + HIDDEN, True),
    "behind a second frame": (jpeg()[:-2] + jpeg()[2:-2] + HIDDEN + EOI, True),
    "100": (progressive(MAX_SCANS) + EOI, False),
    "101": (progressive(MAX_SCANS + 1) + EOI, True),
    "segments without end": (jpeg()[:2] + segment(0xFE, b"") * 20_000 + HIDDEN + EOI, True),
}


@pytest.mark.parametrize(("data", "too_many"), WHERE.values(), ids=WHERE)
def test_scans_are_found_wherever_libjpeg_finds_them(data: bytes, too_many: bool) -> None:
    """Not inside segments, nor behind the picture's end; but past anything else."""
    assert has_too_many_scans(data) is too_many


def test_a_multi_picture_jpeg_counts_its_first_picture() -> None:
    """Only the first picture of an MPO is decoded; its further ones may have any number."""
    image = stored(quarters(), 6)
    parts = [noise((40, 40), seed) for seed in range(14)]
    data = saved(image, "MPO", save_all=True, append_images=parts, exif=exif(6), progressive=True)
    assert data.count(b"\xff\xda") > MAX_SCANS
    assert not has_too_many_scans(data)
    assert pictures.read_header(data).pixels().size == (96, 64)


@pytest.mark.parametrize("rules", [Rules(), Rules(fit=True), Rules(keep_pixels=True)])
def test_a_bomb_of_scans_is_rejected_before_it_is_decoded(checked: Check, rules: Rules) -> None:
    """Thousands of scans over 16 million pixels: rejected by its structure, no decoder called."""
    image = Image.new("RGB", (4096, 4096), (90, 90, 90))
    bomb = progressive(3000, image) + EOI
    assert len(bomb) < 300_000

    began = time.process_time()
    assert checked(bomb, rules) == "IMAGE_ERROR_UNSUPPORTED_FORMAT"
    assert time.process_time() - began < 3  # decoding it is half a minute's work
    with pytest.raises(PhotoError, match="more than 100 scans"):
        pictures.read_header(bomb)


@pytest.mark.parametrize(
    "data",
    [b"\xff" * 2_000_000 + HIDDEN, b"\xff\xd8" + b"\xff\x00" * 1_000_000 + HIDDEN],
    ids=["fill", "stuffed"],
)
def test_the_look_for_scans_never_goes_back(data: bytes) -> None:
    """Two megabytes of what a careless pattern would try again from each byte on: hours."""
    assert has_too_many_scans(data)
