"""The library on one photo, with the embedded engine: what it takes, gives and raises."""

from __future__ import annotations

import asyncio
import gc
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import GRACE, ROOT, Hbseg
from library_photos import grace, same
from PIL import Image
from process_state import no_thread_left

from humanbody_cli import (
    Api,
    FatalError,
    HbsegError,
    PhotoError,
    Segmenter,
    UsageError,
    segment,
    segment_async,
)
from humanbody_cli.jobs.python.background import Background

TURNED = ROOT / "sample_images" / "phone" / "held upright.jpg"


@pytest.fixture(scope="module")
def segmenter() -> Any:
    """One for the tests that need nothing special."""
    with Segmenter(threads=2) as opened:
        yield opened


def test_bytes_a_path_and_an_image_are_one_photo(segmenter: Segmenter) -> None:
    """Each gives the same mask and cutout, as images of the photo's size."""
    with Image.open(GRACE) as image:
        by_image = segmenter.segment(image)
    sources = (GRACE, str(GRACE), GRACE.read_bytes(), bytearray(GRACE.read_bytes()))
    assert all(same(segmenter.segment(source), by_image) for source in sources)
    assert (by_image.mask.mode, by_image.cutout.mode) == ("L", "RGBA")
    assert by_image.mask.size == by_image.cutout.size == grace().size
    assert 0.3 < by_image.coverage < 0.9 and by_image.doubt < 0.15 and by_image.code is None
    assert (by_image.engine, by_image.attempts, by_image.is_doubtful) == ("local", 0, False)


@pytest.mark.parametrize("edges", ["hard", "soft"])
def test_results_are_the_commands(hbseg: Hbseg, edges: Any) -> None:
    """Pixel by pixel, of a photo as it is and of one that is turned."""
    for number, source in enumerate((GRACE, TURNED)):
        out = f"out{number}"
        ended = hbseg("segment", source, "-o", out, "--fit", "--edges", edges)
        assert ended.code == 0, ended.err
        found = segment(source, edges=edges)
        name = source.with_suffix(".png").name
        with Image.open(hbseg.cwd / out / "masks" / name) as mask:
            assert mask.tobytes() == found.mask.tobytes()
        with Image.open(hbseg.cwd / out / "cutouts" / name) as cutout:
            assert cutout.convert("RGBA").tobytes() == found.cutout.tobytes()


def test_nobody(segmenter: Segmenter) -> None:
    """No error: a code, an empty mask, and a cutout without a pixel."""
    found = segmenter.segment(Image.new("RGB", (200, 200), "navy"))
    assert (found.code, found.coverage, found.is_doubtful) == ("NOBODY_FOUND", 0, False)
    assert found.mask.getbbox() is None and found.cutout.getbbox() is None


def test_composed(segmenter: Segmenter, tmp_path: Path) -> None:
    """Cropped to the person, in front of a colour or a picture."""
    found = segmenter.segment(GRACE)
    assert found.composed().size == found.cutout.size
    cropped = found.composed(crop=True, margin=0)
    assert cropped.mode == "RGBA" and cropped.height < found.cutout.height
    assert found.composed(background="red").getpixel((0, 0)) == (255, 0, 0)
    assert found.composed(background=(0, 9, 0)).getpixel((0, 0)) == (0, 9, 0)
    Image.new("RGB", (9, 9), "blue").save(tmp_path / "wall.png")
    for wall in (tmp_path / "wall.png", Image.new("P", (5, 5)), str(tmp_path / "wall.png")):
        assert found.composed(background=wall).mode == "RGB"
    for wrong in ("no colour", (1, 2), (300, 0, 0), 7):
        with pytest.raises(UsageError, match="background"):
            found.composed(background=wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="margin must be a number from 0 to 10"):
        found.composed(crop=True, margin=-1)


def released() -> memoryview:
    """A view of memory that was given back."""
    with memoryview(b"photo") as view:
        return view


WRONG: list[tuple[Callable[[], object], type[HbsegError], str]] = [
    (lambda: segment("gone.jpg"), PhotoError, "gone.jpg: there is no such file; check the path"),
    (lambda: segment("/"), PhotoError, "/: not a regular file"),
    (lambda: segment("a\0b"), PhotoError, "there is no such file; check the path"),
    (lambda: segment(b""), PhotoError, "photo of 0 bytes: the file is empty"),
    (lambda: segment(b"GIF89a"), PhotoError, "photo of 6 bytes: "),
    (lambda: segment(Image.new("RGB", (0, 5))), PhotoError, "0 x 5 pixels: it has no pixels"),
    (lambda: segment(Image.new("L", (9, 9)), fit=False), PhotoError, "use fit=True to have it"),
    (lambda: segment("https://example.com/a.jpg"), UsageError, "is an address; fetch the photo"),
    (lambda: segment(released()), UsageError, "the memoryview of this photo was released"),
    (lambda: segment(7), UsageError, "bytes, a path or a PIL image, not int"),  # type: ignore[arg-type]
    (lambda: Segmenter(edge="soft"), UsageError, "no option 'edge'; the options are api, edges"),  # type: ignore[call-arg]
    (lambda: Segmenter(edges="round"), UsageError, "edges must be hard or soft, not 'round'"),  # type: ignore[arg-type]
    (lambda: Segmenter(fit="no"), UsageError, "fit must be True or False, not 'no'"),  # type: ignore[arg-type]
    (lambda: Segmenter(model=7), UsageError, "model must be the path of an ONNX file, not int"),  # type: ignore[arg-type]
    (lambda: Segmenter(people="me"), UsageError, "people must be all or main, not 'me'"),  # type: ignore[arg-type]
    (lambda: Segmenter(threads=0), UsageError, "threads must be a whole number of at least 1"),
    (lambda: Segmenter(crops=True), UsageError, "crops can be used only with a model of your own"),
    (lambda: Segmenter(model="gone.onnx"), UsageError, "model gone.onnx: cannot be read"),
    (lambda: segment(GRACE, model=GRACE), FatalError, "is not a model that can be run"),
    (lambda: segment(GRACE, model=GRACE, preset="x"), UsageError, "preset 'x' is unknown"),
    (lambda: segment(GRACE, model=GRACE, mean=(1, 2)), UsageError, "mean must be three numbers"),
    (lambda: Segmenter(model=GRACE, mean=["a"]), UsageError, "mean must be numbers such as"),  # type: ignore[list-item]
    (lambda: Segmenter(model=GRACE, people="main"), UsageError, "add crops=True, or drop people"),
    (lambda: Segmenter(api=Api("k", "s"), people="main"), UsageError, "leave out api, or drop"),
    (lambda: Segmenter(api=Api("k", "s"), model=GRACE), UsageError, "leave out api or model"),
    (lambda: Segmenter(api="key"), UsageError, "api must be an Api"),  # type: ignore[arg-type]
    (lambda: Api("", "s"), UsageError, "Api: the key is not ASCII text"),
    (lambda: Api("k", "s", endpoint="ftp:x"), UsageError, "endpoint 'ftp:x' is not an address"),
    (lambda: Api("k", "s", qps=0), UsageError, "qps must be a number above 0 and at most 10000"),
    (lambda: Api("k", "s", retries=-1), UsageError, "retries must be a whole number"),
    (lambda: Api("k", "s", timeout=float("nan")), UsageError, "timeout must be a number above 0"),
    (lambda: Api("k", "s", max_calls=True), UsageError, "max_calls must be a whole number"),
    (lambda: Segmenter().segment_folder("gone"), UsageError, "gone: there is no such folder"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_each_error_is_a_sentence_of_the_library(number: int) -> None:
    """It names the argument or the photo, and no option of the command; no thread is left."""
    call, kind, words = WRONG[number]
    with no_thread_left(), pytest.raises(kind) as raised:
        call()
    text = str(raised.value)
    assert words in text and "--" not in text and "HBSEG" not in text and "\n" not in text


def test_results_and_errors_cross_processes(segmenter: Segmenter) -> None:
    """Both can be pickled, as pools of processes need it."""
    found = segmenter.segment(GRACE)
    assert same(pickle.loads(pickle.dumps(found)), found)
    with pytest.raises(PhotoError) as raised:
        segmenter.segment("gone.jpg")
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), vars(again)) == (str(raised.value), vars(raised.value))


def test_inside_a_running_loop(segmenter: Segmenter) -> None:
    """The blocking function works there, and awaited ones share the engine."""

    async def main() -> None:
        blocking = segment(GRACE)
        awaited = await asyncio.gather(*(segmenter.segment_async(GRACE) for _ in range(6)))
        assert all(same(found, blocking) for found in (*awaited, await segment_async(GRACE)))

    asyncio.run(main())


def test_from_several_threads_and_loops(segmenter: Segmenter) -> None:
    """One Segmenter serves them at a time, an image whose file is not read yet included."""
    image = Image.open(GRACE)
    expected = segmenter.segment(GRACE)

    def work(number: int) -> bool:
        if number % 2:
            return same(segmenter.segment(image), expected)
        return same(asyncio.run(segmenter.segment_async(image)), expected)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def test_closed(tmp_path: Path) -> None:
    """To close twice does nothing, no thread is left, and work is refused from then on."""
    with no_thread_left():
        one = Segmenter()
        assert one.segment(GRACE).code is None
        one.close()
        one.close()
    with pytest.raises(UsageError, match="this Segmenter was closed; open another"):
        one.segment(GRACE)
    with pytest.raises(UsageError, match="closed"):
        list(one.segment_folder(tmp_path))
    Segmenter().close()


def test_dropped_without_being_closed() -> None:
    """Its threads end, in a program that goes on as in one that ends."""
    one = Segmenter(threads=1)
    one.segment(GRACE)
    background = one._background
    assert background is not None
    del one
    background.join()
    script = (
        "import sys\nfrom humanbody_cli import Segmenter\n"
        "one = Segmenter()\none.segment(sys.argv[1])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", script, str(GRACE)],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_a_forked_process_is_told(segmenter: Segmenter) -> None:
    """It has no such thread: an error in place of waiting for ever."""
    segmenter.segment(GRACE)
    script = (
        "import os, sys\nfrom humanbody_cli import Segmenter, UsageError\n"
        "one = Segmenter()\none.segment(sys.argv[1])\n"
        "if (child := os.fork()):\n"
        "    one.close()\n    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "try: one.segment(sys.argv[1])\n"
        "except UsageError as error: one.close(); os._exit(0 if 'forked' in str(error) else 1)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(GRACE)], cwd=ROOT, check=True, timeout=60)


def test_cancelled(segmenter: Segmenter) -> None:
    """A cancelled task ends at once, leaves no thread of its own, and the Segmenter goes on."""

    async def main() -> None:
        for call in (segmenter.segment_async, segment_async):
            task = asyncio.ensure_future(call(GRACE))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    before = set(threading.enumerate())
    asyncio.run(main())
    assert set(threading.enumerate()) <= before
    assert segmenter.segment(GRACE).code is None


def test_closed_while_at_work() -> None:
    """Who waits for a photo then is told so; to them it does not look like a cancellation."""
    with no_thread_left(), ThreadPoolExecutor(4) as pool:
        one = Segmenter(threads=1)
        one.segment(GRACE)
        waiting = [pool.submit(one.segment, GRACE) for _ in range(4)]
        asyncio.run(one.aclose())
        errors = [future.exception() for future in waiting]
    assert all(
        isinstance(error, UsageError) and "closed" in str(error) for error in errors if error
    )


def test_an_error_after_its_caller_has_left_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """As with a photo that is cancelled just before its Segmenter is closed: asyncio would log an
    exception that was never retrieved."""
    begun = threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise UsageError("too late") from None

    async def last() -> None:
        """Nothing is to be closed."""

    background = Background(last)
    future = background.start(work)
    assert begun.wait(60)
    future.cancel()
    background.end()
    background.join()
    del future
    gc.collect()
    assert caplog.records == []


LEFT_OPEN = """
import atexit, threading

def tell() -> None:
    print([one.name for one in threading.enumerate() if one.name.startswith("hbseg")])

atexit.register(tell)  # called after those of the library

import asyncio, sys
from humanbody_cli import Segmenter

segmenter = Segmenter(threads=1)

async def main() -> None:
    asyncio.ensure_future(segmenter.segment_async(sys.argv[1]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

asyncio.run(main())
"""


def test_a_segmenter_that_is_left_open_ends_before_the_interpreter() -> None:
    """Its thread may be amid onnxruntime's code, loading a model: to be stopped there aborts the
    process."""
    script = [sys.executable, "-X", "dev", "-c", LEFT_OPEN, str(GRACE)]
    ended = subprocess.run(script, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[]\n", "")
