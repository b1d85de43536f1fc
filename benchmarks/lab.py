"""What the benchmarks share: photos, the fake API as a process, and the command as a process.

The command under test runs as its users run it, in a process of its own; what it cost is the
kernel's own account of that process.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests")]

from fake_answers import Answers, Style, cut_images  # noqa: E402 - the tests are no package
from fake_behaviour import Behaviour, Stats  # noqa: E402

__all__ = [
    "KEY",
    "ROOT",
    "SECRET",
    "Api",
    "Behaviour",
    "Run",
    "Stats",
    "Style",
    "add_comment",
    "cut_images",
    "fake_api",
    "hiding",
    "make_photos",
    "outputs",
    "run",
    "segment",
    "table",
    "wrong_outputs",
]

KEY, SECRET = "benchmark-key", "benchmark-secret"


@dataclass(frozen=True)
class Run:
    """One finished process. Times are ``time.monotonic()``, memory in KiB."""

    exit_code: int
    started: float
    ended: float
    cpu: float
    peak_rss: int
    stderr: str

    @property
    def wall(self) -> float:
        return self.ended - self.started


# Starts the command from a process that is itself small, for the kernel begins a process' peak
# memory with that of the one that started it: Pillow's pixels in here would count as the command's.
_LAUNCHER = """
import json, os, sys, time
started = time.monotonic()
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
ended = time.monotonic()
figures = {
    "exit_code": os.waitstatus_to_exitcode(status),
    "started": started,
    "ended": ended,
    "cpu": usage.ru_utime + usage.ru_stime,
    "peak_rss": usage.ru_maxrss,
}
with open(sys.argv[1], "w") as file:
    json.dump(figures, file)
"""


def run(
    command: Sequence[str], state: Path, *, limit: float = 900, paths: Sequence[Path] = ()
) -> Run:
    """Run a command to its end. ``state`` takes the place of the user's own state folder, so that
    one measurement's quota is not shared with another's; modules are first looked for in ``paths``.
    """
    environment = {
        **os.environ,
        "HBSEG_CONFIG": os.devnull,
        "HBSEG_API_KEY": KEY,
        "HBSEG_API_SECRET": SECRET,
        "PYTHONPATH": os.pathsep.join(map(str, (*paths, ROOT))),
        "XDG_STATE_HOME": str(state),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed command has its bytecode
    with tempfile.NamedTemporaryFile("r") as figures, tempfile.TemporaryFile() as stderr:
        launcher = [sys.executable, "-S", "-c", _LAUNCHER, figures.name]
        process = subprocess.Popen(
            [*launcher, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            process.wait(limit)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        stderr.seek(0)
        return Run(**json.load(figures), stderr=stderr.read().decode(errors="replace"))


FAST = ("deflate", "isal", "pybase64")
"""Modules that only the extra `fast` brings. numpy, in it too, is part of others."""

_HIDING = """
import sys

class Hidden:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"{{name}} is hidden", name=name)

sys.meta_path.insert(0, Hidden)
"""


def hiding(folder: Path, names: Sequence[str] = FAST) -> Path:
    """A folder that, in front of a command's paths, hides modules from it."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_HIDING.format(names=tuple(names)))
    return folder


def segment(folder: Path, out: Path, *options: str) -> list[str]:
    """The command under test."""
    command = [sys.executable, "-m", "humanbody_cli", "segment", str(folder), "-o", str(out)]
    return [*command, *options]


@dataclass(frozen=True)
class Api:
    """The fake API in another process."""

    url: str

    def stats(self) -> Stats:
        with urllib.request.urlopen(f"{self.url}/stats") as answer:
            return Stats.from_json(json.load(answer))

    def reset(self, behaviour: Behaviour) -> None:
        """Forget all calls and behave so from now on."""
        body = json.dumps(asdict(behaviour)).encode()
        with urllib.request.urlopen(f"{self.url}/reset", data=body) as answer:
            answer.read()


@contextlib.contextmanager
def fake_api() -> Iterator[Api]:
    """Start the fake API."""
    command = [sys.executable, str(ROOT / "tests" / "support" / "fake_api.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Api(process.stdout.readline().strip())
        finally:
            process.terminate()


def jpeg(size: tuple[int, int], *, wanted: int = 0, seed: int = 0) -> bytes:
    """A noisy JPEG; with ``wanted``, of about so many bytes."""
    coarse = Image.frombytes("RGB", (16, 16), random.Random(seed).randbytes(16 * 16 * 3))
    image = coarse.resize(size, Image.Resampling.BICUBIC)
    if wanted:
        noise = Image.frombytes("RGB", size, random.Random(seed).randbytes(size[0] * size[1] * 3))
        image = Image.blend(image, noise, 0.25)
    for quality in range(95, 5, -5):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        if not wanted or file.tell() <= wanted * 1.03:
            break
    return file.getvalue()


def make_photos(
    folder: Path, count: int, *, size: tuple[int, int] = (160, 120), wanted: int = 0
) -> list[Path]:
    """Photos that all differ: equal ones would be sent only once.

    A few pictures, each with a comment of its own in the file: drawing thousands would take longer
    than the measurement, and the bytes that travel are as many and as distinct.
    """
    pictures = [jpeg(size, wanted=wanted, seed=seed) for seed in range(8)]
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        path = folder / f"{number:06}.jpg"
        path.write_bytes(add_comment(pictures[number % 8], number))
        paths.append(path)
    return paths


def add_comment(picture: bytes, number: int) -> bytes:
    """The same JPEG with a number in it."""
    comment = f"photo {number:08}".encode()
    return picture[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + picture[2:]


def wrong_outputs(photos: Sequence[Path], out: Path, style: Style) -> list[str]:
    """What is wrong with these photos' outputs: not there, undecodable, or another photo's."""
    answers = Answers(style)
    known: dict[bytes, tuple[bytes, bytes]] = {}
    faults = []
    for photo in photos:
        images = answers.images(photo.read_bytes())
        for kind, expected in (("masks", images.result), ("cutouts", images.body_image)):
            path = out / kind / f"{photo.stem}.png"
            try:
                with Image.open(path) as image:
                    seen = (image.size, _opacity(image))
            except (OSError, SyntaxError) as error:
                faults.append(f"{kind}/{path.name}: {error}")
                continue
            if expected not in known:
                with Image.open(io.BytesIO(expected)) as image:
                    known[expected] = (image.size, _opacity(image))
            if seen != known[expected]:
                faults.append(f"{kind}/{path.name}: not this photo's")
    return faults


def _opacity(image: Image.Image) -> bytes:
    """The mask of either output; decoding it decodes the whole file."""
    return image.getchannel("A").tobytes() if image.mode == "RGBA" else image.tobytes()


def outputs(out: Path) -> tuple[int, int]:
    """Masks and cutouts under their final names."""
    masks, cutouts = (sum(1 for _ in (out / kind).rglob("*.png")) for kind in ("masks", "cutouts"))
    return masks, cutouts


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool) -> str:
    """Text in columns, or a Markdown table."""
    if markdown:
        lines = [head, ["---"] * len(head), *rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    )
