"""Output folders for reports, made through the journal: photos of any name and outcome."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from browser import Browser, Tab
from calling import Called
from conftest import ROOT
from PIL import Image, ImageDraw

from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.core.photo import Finished, Photo
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.tables.runs import RunCounts, RunEnd

SIZE = (240, 160)
PAINTED = (
    "(all => all.length > 0 && all.every((one) => one.dataset.state === 'shown'))"
    "([...document.querySelectorAll('.card canvas')])"
)
"""In a page: whether the thumbnails of all photos in sight are there."""


@dataclass
class Folder:
    """An output folder ``out`` beside a folder ``photos``."""

    root: Path
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        (self.root / "out/.hbseg").mkdir(parents=True)
        self.journal = Journal(str(self.root / "out"))
        self.journal.begin_run("local")

    def add(self, name: str, *, doubt: float = 0.02, coverage: float = 0.4, **more: Any) -> Path:
        """A done photo below ``photos`` with a cutout and a mask; its path."""
        path = self.root / "photos" / name
        picture = Image.new("RGB", SIZE, (200, 60, 40))
        mask = Image.new("L", SIZE)
        if coverage:
            for image, colour in ((picture, (20, 70, 200)), (mask, 255)):
                draw: Any = ImageDraw.Draw(image)
                draw.ellipse((60, 10, 180, 150), fill=colour)
        cutout = picture.convert("RGBA")
        cutout.putalpha(mask)
        _save(picture, path, "JPEG", comment=os.fsencode(name))
        _save(cutout, self.root / "out/cutouts" / f"{name}.png", "PNG")
        _save(mask, self.root / "out/masks" / f"{name}.png", "PNG")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        figures: dict[str, Any] = {
            "width": SIZE[0],
            "height": SIZE[1],
            "elapsed": 120,
            "engine": "local",
        }
        outcome = Outcome(
            str(path), Status.DONE, doubt=doubt, coverage=coverage, sha256=sha256, **figures, **more
        )
        self.finish(outcome, name, size=1)
        return path

    def leave_out(self, name: str, status: Status, code: str, message: str) -> None:
        """A photo without results, and without a file."""
        source = str(self.root / "photos" / name)
        self.finish(Outcome(source, status, code=code, message=message), name, size=None)

    def add_address(self, url: str) -> None:
        """A done photo from an address, whose results are gone."""
        photo = Photo(url, url, "address.png", -1, -1)
        outcome = Outcome(url, Status.DONE, coverage=0.3, doubt=0.0, sha256="0" * 64)
        self.journal.finish(Finished(photo, outcome, "shape", "version=1", mask_size=1))

    def finish(self, outcome: Outcome, name: str, size: int | None) -> None:
        """Write a row; ``size`` says that there are results."""
        photo = Photo(outcome.source, outcome.source, f"{name}.png", 1, 1)
        finished = Finished(photo, outcome, "shape", "version=1", mask_size=size, cutout_size=size)
        self.journal.finish(finished)

    def close(self) -> Path:
        """End the run; the output folder."""
        self.journal.end_run(RunCounts(done=1), (), RunEnd(0, "finished", None, 1.0))
        self.journal.close()
        return self.root / "out"


def _save(image: Image.Image, path: Path, kind: str, **how: Any) -> None:
    os.makedirs(path.parent, exist_ok=True)
    image.save(path, kind, **how)


def report(folder: Folder, *arguments: str) -> Path:
    """Close the journal and write the report; the page."""
    folder.close()
    ended = Called(folder.root)("report", folder.root / "out", *arguments)
    assert ended.code == 0, ended.err
    return folder.root / ended.out.rstrip("\n")


def seen(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder: its inode and time of change."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and ".hbseg/" not in str(path)
    }


def thumbnails(folder: Path) -> set[str]:
    """The thumbnails of a report in a folder."""
    return {path.stem for path in folder.rglob("report-files/*/*.webp")}


def strips(page: Path) -> set[str]:
    """The files of thumbnails that a page shows, by their names."""
    return {f"{row['strip']}-{row['panes']}" for row in rows_of(page) if row["panes"]}


def data_of(page: Path) -> dict[str, Any]:
    """The data in a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found is not None
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def rows_of(page: Path) -> list[dict[str, Any]]:
    """The photos of a page, by the names of the columns, each with the name of its group."""
    data = data_of(page)
    rows = [dict(zip(data["columns"], row, strict=True)) for row in data["photos"]]
    return [{**row, "group": data["groups"][row["group"]]} for row in rows]


def page_files() -> Path:
    """The folder of the page's own HTML, CSS and JavaScript."""
    return ROOT / "humanbody_cli/jobs/report/page"


def opened(browser: Browser, page: Path, **how: Any) -> Iterator[Tab]:
    """A report, opened; at the end its script must have reported nothing."""
    tab = browser.tab(**how)
    tab.open(page)
    tab.until("document.querySelector('.card')")
    yield tab
    assert tab.complaints() == []
    tab.close()


def names(tab: Tab) -> list[str]:
    """The names on the cards, in the order in which a person reads them."""
    return list(
        tab.js(
            "[...document.querySelectorAll('.card')]"
            ".sort((a, b) => a.dataset.position - b.dataset.position)"
            ".map((one) => one.querySelector('.name > bdi:last-child').textContent)"
        )
    )
