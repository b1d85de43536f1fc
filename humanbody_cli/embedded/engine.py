"""The embedded engine: a small real model on the CPU, off the event loop, on every core."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from humanbody_cli.core.errors import engine_not_loaded, no_engine
from humanbody_cli.core.settings import LocalSettings
from humanbody_cli.imaging.masks import Mask
from humanbody_cli.imaging.uploads import Upload
from humanbody_cli.pipeline.engine import Ask, Segmentation, SpooledAnswer

Segmenter = Callable[[Image.Image], tuple[Image.Image, float | None]]
"""Upright RGB pixels -> mask (L, same size) and doubt. Runs in any thread."""


def load_segmenter(settings: LocalSettings) -> Segmenter:
    """The bundled model with its recipe, or a model of the user's own.

    Raises:
        FatalError: the extra is not installed or cannot be loaded, or the model cannot be used.
    """
    try:
        from humanbody_cli.embedded import onnx_model
    except ModuleNotFoundError:
        raise no_engine() from None
    except ImportError as error:
        raise engine_not_loaded(error) from error
    return onnx_model.segmenter(settings)


class LocalEngine:
    """Runs a segmenter on a pool of one thread a core.

    The same pixels always give the same mask, whichever thread they meet.
    """

    name = "local"
    durable = False

    def __init__(self, segmenter: Segmenter, *, threads: int, name: str = "local") -> None:
        self.name = name
        self._segmenter = segmenter
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="look")

    def capacity(self) -> int:
        """One photo a core, and one being read meanwhile."""
        return self._threads + 1

    async def segment(
        self, upload: Upload, ask: Ask, spooled: SpooledAnswer | None = None
    ) -> Segmentation:
        """Find the people. The cutout is left to be composed from the photo's own pixels."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._look, upload)

    def _look(self, upload: Upload) -> Segmentation:
        started = time.monotonic()
        image, doubt = self._segmenter(upload.pixels())
        mask = Mask(image)
        elapsed = round((time.monotonic() - started) * 1000)
        return Segmentation(mask=mask, time_used=elapsed, doubt=doubt)

    async def aclose(self) -> None:
        """Stop the threads once they are idle."""
        self._pool.shutdown(wait=False)
