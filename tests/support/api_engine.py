"""An engine of the API with a clock of its own, and the answers it is given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import httpx
from making import jpeg, png, quarters
from PIL import Image

from humanbody_cli.api.adaptive_rate import RateController
from humanbody_cli.api.engine import ApiEngine
from humanbody_cli.api.gate import Gate
from humanbody_cli.api.responses import Success, error_body, success_body
from humanbody_cli.api.slots import OwnSlots
from humanbody_cli.core.api_spec import SEGMENT_PATH
from humanbody_cli.core.errors import (
    HbsegError,
)
from humanbody_cli.core.settings import ApiSettings, Credentials, MaxCalls
from humanbody_cli.core.stop import Stop
from humanbody_cli.imaging import uploads
from humanbody_cli.imaging.pictures import read_header
from humanbody_cli.pipeline.engine import Ask, Segmentation
from humanbody_cli.storage.tables.calls import CallLimit

T = TypeVar("T")
HOST = "https://api.example.com"
URL = HOST + SEGMENT_PATH
PHOTO = uploads.prepare(read_header(jpeg(quarters())), fit=False)
SIZE = PHOTO.size
MASK = png(Image.linear_gradient("L").resize(SIZE))
CUTOUT = png(quarters().convert("RGBA"))
SOUND = success_body(Success("1470378968,c6f50ec6", "7OO7N1dYiJjszvV38oKVpw==", 573, MASK, CUTOUT))
RETRIES = 2


class Hours:
    """A clock of its own that runs only while something sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class QuickStop(Stop):
    """A stop flag whose sleeps take no time but the clock's."""

    def __init__(self, clock: Hours) -> None:
        super().__init__()
        self.clock = clock
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.check()
        await asyncio.sleep(0)
        if seconds > 0:
            self.slept.append(seconds)
            self.clock.now += seconds
        self.check()


class Api:
    """An engine with its gate, its clock and the calls that were made."""

    def __init__(
        self, *, max_calls: int | None = None, retries: int = RETRIES, endpoint: str = HOST
    ) -> None:
        self.clock = Hours()
        self.stop = QuickStop(self.clock)
        self.gate = Gate(
            *(RateController(100, None), OwnSlots(), self.stop),
            limit=CallLimit(None if max_calls is None else MaxCalls(max_calls)),
            clock=self.clock,
        )
        settings = ApiSettings(
            credentials=Credentials("key" * 9, "SECRET" * 5), endpoint=endpoint, retries=retries
        )
        self.engine = ApiEngine(settings, self.gate, self.stop)

    async def segment(self, ask: Ask = Ask()) -> Segmentation:  # noqa: B008 - frozen
        """The one photo of these tests, sent."""
        return await self.engine.segment(PHOTO, ask)


def with_api(work: Callable[[Api], Coroutine[Any, Any, T]], **how: Any) -> T:
    """Run ``work`` with an engine of its own."""

    async def whole() -> T:
        api = Api(**how)
        try:
            return await work(api)
        finally:
            await api.engine.aclose()

    return asyncio.run(whole())


def outcome(ask: Ask = Ask(), **how: Any) -> tuple[Segmentation | HbsegError, Api]:  # noqa: B008 - frozen
    """What became of the photo, and the engine afterwards."""

    async def work(api: Api) -> tuple[Segmentation | HbsegError, Api]:
        try:
            return await api.segment(ask), api
        except HbsegError as error:
            return error, api

    return with_api(work, **how)


def page(status: int, body: bytes) -> httpx.Response:
    """An answer of these bytes."""
    return httpx.Response(status, content=body)


def refusal(status: int, message: str, **ids: Any) -> httpx.Response:
    """An error as the API words it."""
    return page(status, error_body(message, **ids))


# Answers that lie


def body(**fields: Any) -> bytes:
    """A success with some fields other than they should be; ``None`` leaves one out."""
    whole = {**json.loads(SOUND), **fields}
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


def encoded(data: bytes) -> str:
    """Bytes as base64 text."""
    import base64

    return base64.b64encode(data).decode()
