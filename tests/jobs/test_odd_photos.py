"""Photos whose decoders fail in odd ways: they are left out, and the others are done."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Hbseg, photo
from fake_api import FakeApi
from making import exif, jpeg, noise, saved
from mutations import heic

SIZE = (96, 80)


def _empty_avif() -> bytes:
    """An AVIF whose picture is said to lie nowhere."""
    data = saved(noise(SIZE), "AVIF", quality=60)
    return data.replace(b"iloc", b"free")


def _broken_avif() -> bytes:
    """An AVIF of which the pixels are gone."""
    data = saved(noise(SIZE), "AVIF", quality=60)
    pixels = data.rindex(b"mdat") + 4
    return data[:pixels] + b"\xff" * (len(data) - pixels)


def _one_table() -> bytes:
    """A JPEG on its side whose only quantisation table has the number 1."""
    table = [3 + index // 4 for index in range(64)]
    data = bytearray(jpeg(noise(SIZE), exif=exif(6), qtables=[table]))
    at = 2
    while data[at + 1] != 0xDA:
        if data[at + 1] == 0xDB:
            data[at + 4] = 1
        elif data[at + 1] == 0xC0:
            for component in range(data[at + 9]):
                data[at + 12 + 3 * component] = 1
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return bytes(data)


def _huge_heic() -> bytes:
    """A HEIC of ordinary size, cropped from a coded picture that is said to be larger than any."""
    data = heic(noise((97, 81)))
    assert b"clap" in data
    width = data.index(b"ispe") + 8
    return data[:width] + struct.pack(">I", 1 << 30) + data[width + 4 :]


ODD = {
    "empty.avif": (_empty_avif, False, False),
    "avif-called.jpg": (_empty_avif, False, False),
    "empty-fit.avif": (_empty_avif, True, False),
    "broken.avif": (_broken_avif, True, False),
    "huge.heic": (_huge_heic, True, False),
    "tiny.jpg": (lambda: jpeg(noise((7, 5))), True, True),
    "turned.jpg": (_one_table, False, True),
}
"""File's name -> its bytes, whether ``--fit`` is given, whether it is a photo after all."""


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_passed_and_the_good_one_is_done(
    paid: Hbseg, api: FakeApi, tmp_path: Path, name: str
) -> None:
    """Whatever its decoder raises, it is that file's rejection, or it is done; in a second run
    too."""
    made, fit, is_sound = ODD[name]
    if name.endswith("heic"):
        pytest.importorskip("pillow_heif")
    photo(tmp_path / "photos/z.jpg")
    (tmp_path / "photos" / name).write_bytes(made())
    arguments = ("photos", "-o", "out", "--endpoint", api.url, *(["--fit"] * fit))
    for _ in range(2):
        ended = paid("segment", *arguments)
        assert ended.code == (0 if is_sound else 3), ended.err
        assert "Traceback" not in ended.err
        assert (tmp_path / "out/cutouts/z.png").exists()
    assert len(api.stats.calls) == 1 + is_sound


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, whose files may have any time."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


@pytest.mark.parametrize("seconds", [2**34, -(2**34)], ids=["2514", "1425"])
def test_a_photo_of_another_age_is_done(
    paid: Hbseg, api: FakeApi, memory: Path, seconds: int
) -> None:
    """A time stamp beyond the journal's 64 bits of nanoseconds: one call, and none in a further
    run."""
    source = photo(memory / "photos/a.jpg")
    os.utime(source, (seconds, seconds))
    if source.stat().st_mtime != seconds:
        pytest.skip("this file system has no such time")
    for _ in range(2):
        ended = paid("segment", memory / "photos", "-o", "out", "--endpoint", api.url)
        assert ended.code == 0, ended.err
    assert len(api.stats.calls) == 1
