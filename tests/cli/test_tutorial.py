"""docs/tutorial.md, every block in its order, in one shell.

A key's dots are replaced by a key, and the API by a fake of it; the installation and the cron line
are tested elsewhere.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from conftest import KEY, ROOT, SECRET, Hbseg
from fake_api import FakeApi
from PIL import Image
from shell import GRACE, Shell, timeless

from humanbody_cli.core.api_spec import DEFAULT_ENDPOINT

PAGE = (ROOT / "docs" / "tutorial.md").read_text()
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def photos_of_a_user(folder: Path) -> None:
    """The photos that the page tells of: one that is accepted, and two that are not."""
    shutil.rmtree(folder)
    folder.mkdir()
    shutil.copy(GRACE, folder)
    with Image.open(GRACE) as photo:
        photo.resize((4300, 5040)).save(folder / "large.jpg", quality=60)
        photo.save(folder / "scan.tiff")


def test_the_tutorial(hbseg: Hbseg, tmp_path: Path, api: FakeApi) -> None:
    """Each command ends well and prints what the page says."""
    shell = Shell(tmp_path, hbseg.environment(HBSEG_ENDPOINT=api.url))
    shutil.copytree(ROOT / "sample_images", tmp_path / "sample_images")
    photos_of_a_user(tmp_path / "photos")
    for language, block in FENCED:
        if block.startswith("$ "):
            printed = shell.transcript(block).replace(api.url, DEFAULT_ENDPOINT)
            assert printed == timeless(block)
        elif block.startswith("export "):
            assert block == "export HBSEG_API_KEY=... HBSEG_API_SECRET=...\n"
            shell.environment |= {"HBSEG_API_KEY": KEY, "HBSEG_API_SECRET": SECRET}
        elif language == "" and not block.startswith("pipx "):
            shell.run(block)
    assert (tmp_path / "out/report.html").exists()
    with Image.open(tmp_path / "shop/large.jpg") as picture:
        assert picture.size == (800, 800)
    # Three photos to "paid" by two runs, and three to "found".
    assert len(api.stats.calls) == 6
