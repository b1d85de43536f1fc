"""The embedded engine: an ONNX model on the CPU, in threads beside the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from humanbody_cli.core.errors import engine_not_loaded, no_engine
from humanbody_cli.core.settings import LOCAL_ENGINE, LocalSettings
from humanbody_cli.imaging.masks import Mask
from humanbody_cli.imaging.uploads import Upload
from humanbody_cli.pipeline.engine import AnswerSlot, Ask, Segmentation

if TYPE_CHECKING:
    from humanbody_cli.embedded.segmenters import MaskMaker


_ARENA_MAX = -8
"""``M_ARENA_MAX`` of glibc's ``mallopt``."""


def share_heap() -> None:
    """Have all threads of the process take memory from one heap, where the C library is glibc.

    It gives each thread a heap of its own, and what a photo leaves free in one is of no use to a
    photo in another: two threads then need up to a third more, in the same time
    (`benchmarks/bench_parts.py`).
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def load_segmenter(settings: LocalSettings) -> MaskMaker:
    """The bundled models, or a model of the user's own.

    Raises:
        UsageError: an unknown preset or bad figures.
        FatalError: the extra is not installed or cannot be loaded, or the model cannot be used.
    """
    try:
        from humanbody_cli.embedded import segmenters
    except ModuleNotFoundError:
        raise no_engine() from None
    except ImportError as error:
        raise engine_not_loaded(error) from error
    return segmenters.segmenter(settings)


class LocalEngine:
    """Runs a segmenter in a pool of threads, its own or the caller's ``pool``.

    The same pixels always give the same mask, in whichever thread.
    """

    durable = False

    def __init__(
        self,
        segmenter: MaskMaker,
        *,
        threads: int,
        name: str = LOCAL_ENGINE,
        pool: ThreadPoolExecutor | None = None,
    ) -> None:
        self.name = name
        self._segmenter = segmenter
        self._threads = threads
        self._pool = pool or ThreadPoolExecutor(threads, thread_name_prefix="segment")

    def capacity(self) -> int:
        """One photo per thread, and two more that are being published or wait for their turn."""
        return self._threads + 2

    async def segment(
        self, upload: Upload, ask: Ask, spooled: AnswerSlot | None = None
    ) -> Segmentation:
        """Find the people in one photo; the cutout is left to be composed from its own pixels."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._segment, upload)

    def _segment(self, upload: Upload) -> Segmentation:
        started = time.monotonic()
        image, doubt = self._segmenter(upload.pixels())
        mask = Mask(image)
        elapsed = round((time.monotonic() - started) * 1000)
        return Segmentation(mask=mask, time_used=elapsed, doubt=doubt)

    async def aclose(self) -> None:
        """Stop the threads once they are idle."""
        self._pool.shutdown(wait=False)
