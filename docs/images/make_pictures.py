"""The pictures of the documentation, made by hbseg from ``sample_images``. ``make pictures``

``before-after.webp``: each row one photo, its mask, its cutout on a checkerboard, and its cutout on
a colour, all of the same part of it (``SHOWN``).
``report.webp``: the page that ``hbseg report`` writes of all sample photographs, in Chromium; it is
left as it is where no Chromium is installed.

The photograph is in the public domain; ``sample_images/README.md`` names its source.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path += [str(ROOT / "tests" / "support")]

from browser import CHROMIUM, chromium  # noqa: E402 - found through the path above

PHOTOS = ROOT / "sample_images"
SHOWN = {
    "portraits/astronaut.png": (75, 2, 347, 342),
}
"""Photo -> the part of it that is shown: left, upper, right, lower, in pixels."""

BACKGROUND, FRAME = "#2a9d8f", "#8b949e80"
TILE, GAP, RADIUS, SQUARE = (400, 500), 20, 18, 20
"""In pixels; the picture is shown at half its size, so that it is sharp on dense screens."""

MOST_BYTES = 300_000


def hbseg(*arguments: object) -> None:
    """Run the command with the embedded engine."""
    command = [sys.executable, "-m", "humanbody_cli", *map(str, arguments)]
    subprocess.run(command, cwd=ROOT, check=True)


def checkerboard(size: tuple[int, int]) -> Image.Image:
    """What image editors show behind transparent pixels."""
    board = Image.new("RGBA", size, "#ffffff")
    draw = ImageDraw.Draw(board)
    for x in range(0, size[0], SQUARE):
        for y in range(0, size[1], SQUARE):
            if (x + y) // SQUARE % 2:
                draw.rectangle((x, y, x + SQUARE - 1, y + SQUARE - 1), fill="#dfe3e8")
    return board


def tile(path: Path, shown: tuple[int, int, int, int]) -> Image.Image:
    """The shown part of a picture, on a checkerboard, with round corners."""
    with Image.open(path) as opened:
        part = opened.convert("RGBA").crop(shown).resize(TILE, Image.Resampling.LANCZOS)
    made = checkerboard(TILE)
    made.alpha_composite(part)
    corners = Image.new("L", (TILE[0] * 4, TILE[1] * 4))
    draw = ImageDraw.Draw(corners)
    draw.rounded_rectangle((0, 0, corners.width - 1, corners.height - 1), RADIUS * 4, fill=255)
    made.putalpha(corners.resize(TILE, Image.Resampling.LANCZOS))
    frame = Image.new("RGBA", TILE)
    # A white mask would have no edge on a white page.
    box = (1, 1, TILE[0] - 2, TILE[1] - 2)
    ImageDraw.Draw(frame).rounded_rectangle(box, RADIUS, outline=FRAME, width=2)
    made.alpha_composite(frame)
    return made


def before_after(out: Path) -> Image.Image:
    """A row for each of the `SHOWN`; between the tiles the picture is transparent."""
    columns = ("masks", "cutouts", "recomposed")
    width = (TILE[0] + GAP) * (1 + len(columns)) - GAP
    made = Image.new("RGBA", (width, (TILE[1] + GAP) * len(SHOWN) - GAP))
    for row, (name, shown) in enumerate(SHOWN.items()):
        result = Path(name).with_suffix(".png")
        paths = [PHOTOS / name, *(out / column / result for column in columns)]
        for column, path in enumerate(paths):
            place = (column * (TILE[0] + GAP), row * (TILE[1] + GAP))
            made.paste(tile(path, shown), place)
    return made


def screenshot(page: Path) -> Image.Image:
    """The page in a window of 1200 x 860 pixels."""
    with chromium() as browser:
        tab = browser.tab(width=1200, height=860)
        tab.open(page)
        tab.until("[...document.images].every((one) => one.complete)")
        # The temporary folder's name would mean nothing to a reader.
        tab.js("document.querySelector('h1').textContent = 'Results in out'")
        return Image.open(io.BytesIO(tab.screenshot()))


def save(picture: Image.Image, name: str) -> None:
    """Write it beside this script.

    Raises:
        SystemExit: it is too large for a page.
    """
    path = HERE / name
    picture.save(path, quality=82, method=6)
    if path.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{name} has {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}")
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


def main() -> None:
    """Make all pictures."""
    with tempfile.TemporaryDirectory() as temporary:
        soft, hard = Path(temporary) / "soft", Path(temporary) / "hard"
        look = ("--edges", "soft", "--background", BACKGROUND)
        hbseg("segment", PHOTOS, "-o", soft, "--engine", "local", *look)
        save(before_after(soft), "before-after.webp")
        if CHROMIUM is not None:
            hbseg("segment", PHOTOS, "-o", hard, "--engine", "local")
            hbseg("report", hard)
            save(screenshot(hard / "report.html"), "report.webp")


if __name__ == "__main__":
    main()
