"""The parts that are built in an unusual way, each beside the usual one. ``make bench-parts``

A part stays only while this shows that it pays. Times are the best of several runs: CPU time where
one thread works, wall time for calls and for the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import sys
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from bench_embedded import make_photos as make_large
from lab import ROOT, run, table
from PIL import Image

from humanbody_cli.api import responses
from humanbody_cli.api.answer_budget import Budget
from humanbody_cli.api.requests import Multipart
from humanbody_cli.api.transport import http
from humanbody_cli.core.paths import to_bytes
from humanbody_cli.core.photo import Siblings, key_of
from humanbody_cli.core.settings import Timeouts
from humanbody_cli.imaging import cutouts, png_check, png_writer
from humanbody_cli.imaging.cutouts import hard_cutout
from humanbody_cli.pipeline.earlier import stat_check
from humanbody_cli.storage.answer_spool import AnswerSpool
from humanbody_cli.storage.names import plain_names

HEAD = ("part", "ours ms", "the usual way", "its ms", "ours is faster by")
SAMPLE = ROOT / "sample_images" / "portraits" / "grace_hopper.jpg"
SIZE = (3000, 4000)
"""12 megapixels, as a phone makes them."""

IN_FLIGHT = 100
LATENCY = 0.3  # seconds that the server takes for each call
CALLS = 600

DONE = 10_000
"""Photos of a folder that a second run looks at."""

Row = tuple[str, ...]


def best(function: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Milliseconds of the quickest of five runs."""
    times = []
    for _ in range(5):
        started = clock()
        function()
        times.append(clock() - started)
    return 1000 * min(times)


def row(part: str, ours: float, *others: tuple[str, float]) -> list[Row]:
    """One line for each other way."""
    return [
        (part, f"{ours:.1f}", name, f"{other:.1f}", f"{other / ours:.1f} x")
        for name, other in others
    ]


def pictures() -> tuple[Image.Image, Image.Image]:
    """A mask and the cutout of an enlarged portrait, with a sensor's noise."""
    with Image.open(SAMPLE) as opened:
        photo = opened.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 3, (SIZE[1], SIZE[0], 1))
    photo = Image.fromarray(np.clip(np.asarray(photo) + noise, 0, 255).astype(np.uint8))
    mask = Image.radial_gradient("L").point(lambda value: min(255, 510 - 3 * value)).resize(SIZE)
    return mask, hard_cutout(photo, mask).image()


def answer_rows(body: bytes) -> list[Row]:
    """Base64 lifted out of an answer before JSON sees it, and an answer spooled before that."""
    lifted = best(partial(responses._lift_images, body))
    rows = row(
        f"base64 lifted out of an answer of {len(body) / 1e6:.1f} MB, then JSON",
        lifted + best(partial(json.loads, responses._lift_images(body)[0])),
        ("json.loads", best(partial(json.loads, body))),
    )
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        answer = AnswerSpool(folder).of("0" * 64)
        answer.reserve(len(body) + 1000)

        def keep() -> None:
            answer.keep(body)
            answer.discard()

        spooled = best(keep, time.perf_counter)
    parsed = best(partial(parse, body))
    return rows + row(
        "an answer spooled before it is parsed", spooled, ("parsing and checking it", parsed)
    )


def parse(body: bytes) -> None:
    """What follows for an answer: parse it and check its cutout."""
    answer = responses.parse(200, body)
    assert isinstance(answer, responses.Success)
    png_check.verify(answer.body_image or b"")


def cutout_rows(photo: Image.Image, mask: Image.Image) -> list[Row]:
    """A hard cutout whose pixels are numbers of 32 bits, and by Pillow; strips of other heights."""
    ours = best(hard_cutout(photo, mask).png)
    with mock.patch.object(cutouts, "is_installed", return_value=False):
        pillow = best(hard_cutout(photo, mask).png)
    with mock.patch.object(png_writer, "STRIP", 128):
        high = best(hard_cutout(photo, mask).png)
    return row("cutout composed and written", ours, ("by Pillow", pillow), ("128 rows", high))


WITHOUT_SHARING = """
import runpy
from humanbody_cli.embedded import engine

engine.share_heap = lambda: None
runpy.run_module("humanbody_cli", run_name="__main__")
"""


def heap_rows() -> list[Row]:
    """Peak memory (MiB) of the embedded engine where its threads share a heap, and where not."""
    peaks = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_large(folder / "photos", 18)
        for start in (["-m", "humanbody_cli"], ["-c", WITHOUT_SHARING]):
            options = [str(folder / "photos"), "-o", str(folder / start[0]), "--engine", "local"]
            command = [sys.executable, *start, "segment", *options]
            peaks.append(run(command, folder / "state").peak_rss / 1024)
    return row("MiB at most, threads with one heap", peaks[0], ("a heap for each", peaks[1]))


def check_rows(data: bytes) -> list[Row]:
    """The structural check of a cutout."""
    decode = best(lambda: Image.open(io.BytesIO(data)).load())
    small = saved(Image.open(io.BytesIO(data)).resize((1200, 900)))
    at_once = best(partial(png_check.verify, small))
    with mock.patch.object(png_check, "libdeflate", None):
        checked, in_steps = (best(partial(png_check.verify, each)) for each in (data, small))
    return [
        *row("PNG checked by its structure", checked, ("decoded by Pillow", decode)),
        *row("PNG of 1 megapixel inflated at once by libdeflate", at_once, ("in steps", in_steps)),
    ]


def writer_rows(image: Image.Image, kind: str) -> list[Row]:
    """The PNG writer with isal beside zlib and Pillow, with the files' sizes."""
    data = png_writer.encode(image)

    def sized(name: str, other: Callable[[], bytes]) -> tuple[str, float]:
        return f"{name}: {len(other()) / len(data):.2f} x the size", best(other)

    def without_isal() -> bytes:
        with mock.patch.dict(sys.modules, {"isal": None}):
            return png_writer.encode(image)

    return row(
        f"{kind} written with isal",
        best(partial(png_writer.encode, image)),
        sized("zlib, without isal", without_isal),
        sized("zlib, run lengths", partial(deflated, image, zlib.Z_RLE)),
        sized("zlib, matches", partial(deflated, image, zlib.Z_DEFAULT_STRATEGY)),
        sized("Pillow, level 1", partial(saved, image, compress_level=1)),
    )


def deflated(image: Image.Image, strategy: int) -> bytes:
    """The pixels of a PNG as zlib's level 1 deflates them by a strategy."""
    deflater = zlib.compressobj(1, zlib.DEFLATED, 15, 9, strategy)
    parts = png_writer._filtered(image.size, image.mode, lambda area: image.crop(area).tobytes())
    return b"".join((*map(deflater.compress, parts), deflater.flush()))


def saved(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def rerun_rows() -> list[Row]:
    """Photos of a folder looked at together, as by a second run, and one by one."""
    with tempfile.TemporaryDirectory() as folder:
        place = os.path.join(folder, "home", "me", "photos", "2026", "11", "26", "")
        os.makedirs(place)
        names = [f"{number:06}.jpg" for number in range(DONE)]
        for name in names:
            Path(place, name).touch()
        paths = [os.fsencode(place + name) for name in names]
        rows = row(
            f"{DONE:,} files looked at by their names in an open folder",
            best(partial(stat_check._states, paths)),
            ("by path", best(lambda: [(s.st_size, s.st_mtime_ns) for s in map(os.stat, paths)])),
        )
    photos = Siblings(place, place, "", names, plain_names)
    return rows + row(
        f"keys and output names of {DONE:,} siblings",
        best(lambda: (photos.keys(), photos.names())),
        ("of each photo", best(lambda: [(key_of(one), to_bytes(one.name)) for one in photos])),
    )


def client_rows() -> list[Row]:
    """Calls over several small clients and over one with as many connections."""
    several = asyncio.run(calls())
    with mock.patch.object(http, "_CONNECTIONS", IN_FLIGHT):
        one = asyncio.run(calls())
    with mock.patch.object(http, "_CONNECTIONS", 16):
        sixteen = asyncio.run(calls())
    rows = row(
        f"a call, {IN_FLIGHT} in flight, over clients of {http._CONNECTIONS} connections",
        several / CALLS,
        ("of 16", sixteen / CALLS),
        ("over one client", one / CALLS),
    )
    size = 1_000_000
    ours = asyncio.run(calls(size))
    with mock.patch.object(http.connection, "use"):
        httpcores = asyncio.run(calls(size))
    return rows + row(
        f"a call answered with {size / 1e6:.0f} MB over our own connections",
        ours / CALLS,
        ("httpcore's", httpcores / CALLS),
    )


async def calls(size: int = 2) -> float:
    """CPU milliseconds of all calls, each answered with ``size`` bytes; the server's are the same
    either way."""
    async with server(size) as url:
        client, budget = http.Http(url, Timeouts()), Budget()
        turns = asyncio.Semaphore(IN_FLIGHT)

        async def call() -> None:
            async with turns:
                with budget.room() as room:
                    await client.post(Multipart(b"photo", "text/plain"), size, room)

        started = time.process_time()
        await asyncio.gather(*(call() for _ in range(CALLS)))
        took = time.process_time() - started
        await client.aclose()
        return 1000 * took


@contextlib.asynccontextmanager
async def server(size: int) -> AsyncIterator[str]:
    """Answers every call with ``size`` bytes after `LATENCY` seconds."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"
    content = head.encode() + bytes(size)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError)
        with contextlib.suppress(*ends):
            while await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(len(b"photo"))
                await asyncio.sleep(LATENCY)
                writer.write(content)
        writer.close()

    running = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}/"
    finally:
        running.close()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    options = parser.parse_args()
    mask, cutout = pictures()
    images = png_writer.encode(mask), saved(cutout)
    body = responses.success_body(responses.Success("request", "image", 7, *images))
    rows = [
        *answer_rows(body),
        *check_rows(images[1]),
        *writer_rows(mask, "mask"),
        *writer_rows(cutout, "cutout"),
        *rerun_rows(),
        *cutout_rows(cutout.convert("RGB"), mask),
        *heap_rows(),
        *client_rows(),
    ]
    print(table(HEAD, rows, markdown=options.markdown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
