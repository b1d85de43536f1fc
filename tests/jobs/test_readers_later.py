"""A photo that was rejected for want of its reader is done once the reader is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Hbseg, photo
from PIL import Image

WITHOUT_HEIF = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "pillow_heif":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
from humanbody_cli.cli.main import main
main()
"""


@pytest.mark.parametrize("option", [(), ("--retry-failed",)])
def test_a_heic_is_looked_at_again_once_its_reader_is_installed(
    hbseg: Hbseg, tmp_path: Path, option: tuple[str, ...]
) -> None:
    """Rejected where pillow-heif is not installed; the same command does it where it is."""
    heif = pytest.importorskip("pillow_heif")
    heic = photo(tmp_path / "a.jpg").rename(tmp_path / "a.source")
    (tmp_path / "photos").mkdir()
    with Image.open(heic) as image:
        heif.from_pillow(image).save(tmp_path / "photos/a.heic")
    arguments = ("segment", "photos", "-o", "out", "--fit", "--engine", "local")
    without = subprocess.run(
        [sys.executable, "-c", WITHOUT_HEIF, *arguments],
        cwd=tmp_path,
        env=hbseg.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert without.returncode == 3
    assert "HEIC" in without.stderr
    ended = hbseg(*arguments, *option)
    assert ended.code == 0, ended.err
    assert (tmp_path / "out/cutouts/a.png").exists()


def _heic(path: Path) -> Path:
    heif = pytest.importorskip("pillow_heif")
    source = photo(path.with_suffix(".jpg"))
    with Image.open(source) as image:
        heif.from_pillow(image).save(path)
    source.unlink()
    return path


def test_who_uses_fit_is_not_told_to_and_can_install_what_is_named(
    hbseg: Hbseg, tmp_path: Path
) -> None:
    """Without its reader a HEIC under ``--fit`` is told how to install it, and nothing of
    ``--fit``."""
    path = _heic(tmp_path / "a.heic")
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_HEIF, "check", str(path), "--fit"],
        cwd=tmp_path,
        env=hbseg.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 3
    assert "pip install 'hbseg[fit]" in ended.stderr
    assert "--fit" not in ended.stderr


def test_a_damaged_heic_is_called_damaged(hbseg: Hbseg, tmp_path: Path) -> None:
    """Its reader is there: nobody is told to install it."""
    path = _heic(tmp_path / "a.heic")
    data = path.read_bytes()
    path.write_bytes(data[:40] + bytes(len(data) - 40))
    ended = hbseg("check", path, "--fit")
    assert ended.code == 3
    assert "damaged" in ended.err
    assert "install" not in ended.err and "--fit" not in ended.err
