"""The report on 20,000 photos: time to write it, first paint, and the browser's memory.

The journal holds 20,000 done photos, written through its own interface. Each has a photo, a cutout
and a mask of its own on the disk: links to those of a few pictures, so that each gets thumbnails
of its own. How fast these are made is measured on the first photos; those of the others are
copies, put where the report looks for them.

The page is opened in Chromium from the disk and scrolled through from top to end as a person does
who looks for something: a window at a time, so that all are seen within ``--seconds``. At every
tenth window (``--every``) it waits until all pictures are there; those flown past are not loaded,
so ``--every 1`` is what loads all of them. Memory is the sum of the proportional set sizes (PSS)
of all of the browser's processes, less that of the same browser with a blank page. Another browser
on the machine shares pages with it and falsifies that.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lab import ROOT, table
from PIL import Image, ImageDraw

# lab.py makes the helpers of the tests known.
# isort: split
from browser import Browser, Tab, chromium
from reporting import PAINTED

from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.core.photo import Finished, Photo
from humanbody_cli.jobs.report.rows import Rows
from humanbody_cli.jobs.report.thumbnails import Thumbnails
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.tables.runs import RunCounts, RunEnd

SIZE = (400, 300)
KINDS = 8
SAMPLE = 60 * KINDS
MOST_PAINT = 2.0
MOST_MEMORY = 600


def pictures(seed: int) -> tuple[bytes, bytes, bytes]:
    """The bytes of a photo, its cutout and its mask."""
    shades = [Image.linear_gradient("L").rotate(90 * n).resize(SIZE) for n in (0, 1, seed % 4)]
    photo = Image.merge("RGB", shades)
    draw = ImageDraw.Draw(photo)
    mask = Image.new("L", SIZE)
    box = (60 + 12 * seed, 30, 220 + 12 * seed, 290)
    draw.ellipse(box, fill=(230, 190, 30 * seed))
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    cutout = photo.copy()
    cutout.putalpha(mask)
    saved = []
    for image, kind in ((photo, "JPEG"), (cutout, "PNG"), (mask, "PNG")):
        buffer = io.BytesIO()
        image.save(buffer, kind, quality=80)
        saved.append(buffer.getvalue())
    return saved[0], saved[1], saved[2]


def build(folder: Path, photos: int) -> None:
    """An output folder of done photos."""
    out = folder / "out"
    kinds = [pictures(seed) for seed in range(KINDS)]
    for part in ("photos", "out/cutouts", "out/masks", "out/.hbseg"):
        (folder / part).mkdir(parents=True)
        for block in range(-(-photos // 1000)):
            if part != "out/.hbseg":
                (folder / part / f"{block:03}").mkdir()
    for index, (_, cutout, mask) in enumerate(kinds):
        (folder / f"{index}.cutout").write_bytes(cutout)
        (folder / f"{index}.mask").write_bytes(mask)
    journal = Journal(str(out))
    journal.begin_run("local")
    with journal.exclusive(), journal.transaction():
        for number in range(photos):
            one(folder, journal, number, kinds[number % KINDS][0])
    journal.end_run(RunCounts(done=photos), (), RunEnd(0, "finished", None, 1.0))
    journal.close()


def one(folder: Path, journal: Journal, number: int, data: bytes) -> None:
    """A done photo: three files and a row."""
    name = f"{number // 1000:03}/photo {number:05}.jpg"
    path = folder / "photos" / name
    data += number.to_bytes(4, "big")  # behind the end of the JPEG: bytes of its own
    path.write_bytes(data)
    for kind in ("cutout", "mask"):
        source = folder / f"{number % KINDS}.{kind}"
        os.link(source, folder / "out" / f"{kind}s" / f"{name}.png")
    outcome = Outcome(
        source=str(path),
        status=Status.DONE,
        width=SIZE[0],
        height=SIZE[1],
        elapsed=40 + number % 90,
        engine="local",
        sha256=hashlib.sha256(data).hexdigest(),
        coverage=0.0 if number % 500 == 0 else 0.3,
        doubt=number * 7919 % 1000 / 3000,
    )
    photo = Photo(str(path), str(path), f"{name}.png", len(data), 1)
    finished = Finished(photo, outcome, "bench", "version=1", mask_size=1, cutout_size=1)
    journal.finish(finished)


class Copied(Thumbnails):
    """Thumbnails of which only the first ``SAMPLE`` are made; the others are copies of them."""

    rate = 0.0

    def make(self) -> Iterator[tuple[str, bool]]:
        """See `Thumbnails`."""
        wanted = self._wanted
        self._wanted = dict(list(wanted.items())[:SAMPLE])
        made = list(self._wanted)
        started = time.monotonic()
        yield from super().make()
        self.rate = SAMPLE / (time.monotonic() - started)
        for part in "0123456789abcdef":
            self._mark(os.path.join(self.folder, part))
        for number, name in enumerate(list(wanted)[SAMPLE:]):
            model = made[number % SAMPLE]
            shutil.copyfile(self._path(model), self._path(name))

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name[0], f"{name}-7.webp")


def make_thumbnails(out: Path) -> float:
    """Put the thumbnails where the report finds them; how many a second are made."""
    journal = Journal(str(out), read_only=True)
    thumbnails = Copied(str(out / "report-files"), journal.root)
    rows = Rows(journal.root, thumbnails, journal.finish_times())
    for outcome in journal.outcomes(absolute=True):
        rows.add(outcome)
    for _ in thumbnails.make():
        pass
    journal.close()
    return thumbnails.rate


def write(folder: Path) -> float:
    """Seconds of ``hbseg report``."""
    started = time.monotonic()
    command = [sys.executable, "-m", "humanbody_cli", "report", str(folder / "out")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def memory(browser: Browser) -> float:
    """MB of all processes of the browser, shared pages counted once."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    waiting, total = [browser.process.pid], 0
    while waiting:
        number = waiting.pop()
        waiting += children.get(number, [])
        try:
            text = Path(f"/proc/{number}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in text.splitlines() if "Pss:" in line)
    return total * 1024 / 1e6


def first_paint(tab: Tab, page: Path) -> tuple[float, float]:
    """Seconds from the call until the first paint, and until the first pictures are decoded."""
    tab.open(page)
    painted = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    tab.until(painted)
    tab.until(PAINTED)
    return float(tab.js(painted)) / 1000, float(tab.js("performance.now()")) / 1000


def scroll(browser: Browser, tab: Tab, seconds: float, every: int) -> tuple[float, float, int]:
    """Scroll to the end; the most memory on the way, the longest frame in ms, the most cards."""
    height, window = tab.js("[document.documentElement.scrollHeight, innerHeight]")
    tab.js(
        "window.slowest = 0; let last = performance.now();"
        "(function frame(now) { slowest = Math.max(slowest, now - last); last = now;"
        "requestAnimationFrame(frame); })(last)"
    )
    peak, cards, steps = 0.0, 0, int(height / window) + 1
    started = time.monotonic()
    for step in range(steps):
        wait = max(8.0, 1000 * (started + step * seconds / steps - time.monotonic()))
        tab.js(
            f"scrollTo(0, {step * window}); "
            f"new Promise((done) => requestAnimationFrame(() => setTimeout(done, {wait})))"
        )
        if step % every == 0:
            tab.until(PAINTED)
        if step % 100 == 0 or step == steps - 1:
            peak = max(peak, memory(browser))
            cards = max(cards, int(tab.js("document.querySelectorAll('.card').length")))
    return peak, float(tab.js("slowest")), cards


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=90, help="of scrolling through them all")
    parser.add_argument("--every", type=int, default=10, help="wait for the pictures of each Nth")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-report-"))
    try:
        print("building the output folder ...", file=sys.stderr, flush=True)
        build(folder, options.photos)
        rate = make_thumbnails(folder / "out")
        wrote, again = write(folder), write(folder)
        page = folder / "out" / "report.html"
        with chromium() as browser:
            tab = browser.tab()
            blank = memory(browser)
            tab.call("Network.disable")  # it keeps what it has told of each request
            paint, pictured = first_paint(tab, page)
            opened = memory(browser) - blank
            peak, slowest, cards = scroll(browser, tab, options.seconds, options.every)
            heap = tab.js("performance.memory.usedJSHeapSize") / 1e6
    finally:
        shutil.rmtree(folder)
    used = peak - blank
    checks = (
        ("first paint, s", f"{paint:.2f}", f"<= {MOST_PAINT:g}", paint <= MOST_PAINT),
        ("memory while scrolling, MB", f"{used:.0f}", f"<= {MOST_MEMORY}", used <= MOST_MEMORY),
    )
    print(
        f"{options.photos:,} photos: thumbnails of {rate:.0f} photos/s; page written in "
        f"{wrote:.1f} s once they are there, again in {again:.1f} s"
    )
    print(
        f"first pictures after {pictured:.2f} s; memory once open {opened:.0f} MB over a blank "
        f"page's {blank:.0f} MB"
    )
    print(f"at most {cards} cards in the page, slowest frame {slowest:.0f} ms, heap {heap:.0f} MB")
    rows = [[name, seen, limit, "ok" if good else "MISSED"] for name, seen, limit, good in checks]
    print(table(("figure", "reached", "required", "result"), rows, markdown=options.markdown))
    return 0 if all(good for *_, good in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
