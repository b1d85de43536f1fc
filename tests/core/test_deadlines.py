"""A time limit that ends what it bounds and never swallows a cancellation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest
import virtual_loop
from virtual_loop import clock

from humanbody_cli.api.answer_budget import Budget
from humanbody_cli.api.requests import Multipart
from humanbody_cli.api.transport.http import Http
from humanbody_cli.core.settings import Timeouts
from humanbody_cli.core.stop import within


def test_a_result_in_time_is_returned() -> None:
    """And an exception is raised as it is."""

    async def work() -> None:
        assert await within(5, asyncio.sleep(1, "done")) == "done"

        async def fails() -> None:
            await asyncio.sleep(1)
            raise KeyError("x")

        with pytest.raises(KeyError):
            await within(5, fails())
        assert clock() == 1002

    virtual_loop.run(work())


def test_what_is_late_has_ended_before_the_limit_is_told() -> None:
    """Clean-up included, however long it takes."""

    async def work() -> None:
        steps = []

        async def late() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(1)
                steps.append("closed")

        with pytest.raises(asyncio.TimeoutError):
            await within(5, late())
        assert (steps, clock()) == (["closed"], 1006)

    virtual_loop.run(work())


def test_a_result_that_comes_at_the_last_moment_is_kept() -> None:
    """What was paid for is not thrown away for being late by its clean-up."""

    async def work() -> None:
        async def stubborn() -> str:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return "paid"
            return "never"

        assert await within(5, stubborn()) == "paid"

    virtual_loop.run(work())


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("fails", [False, True])
def test_a_cancellation_at_any_moment_is_not_lost(turns: int, fails: bool) -> None:
    """Cancelled in each turn of the loop around the work's end, the caller sees the cancellation
    unless it had returned before."""

    async def work() -> None:
        coming: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def one() -> str:
            return await coming

        async def caller() -> str:
            with contextlib.suppress(KeyError):
                await within(5, one())
            await asyncio.sleep(60)
            return "the cancellation was lost"

        task = asyncio.ensure_future(caller())
        await asyncio.sleep(1)
        if fails:
            coming.set_exception(KeyError("x"))
        else:
            coming.set_result("done")
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtual_loop.run(work())


class Body(httpx.AsyncByteStream):
    """A body that is here at once."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"{}"


@pytest.mark.parametrize("turns", range(8))
def test_a_cancelled_call_is_cancelled(turns: int) -> None:
    """The end of the grace after a signal ends a call whose answer comes in the same moment."""

    async def work() -> None:
        arrived = asyncio.Event()

        async def answer(_: httpx.Request) -> httpx.Response:
            await arrived.wait()
            return httpx.Response(200, stream=Body())

        http = Http("http://api.example.com", Timeouts())
        http._clients[0].http = httpx.AsyncClient(transport=httpx.MockTransport(answer))

        async def caller() -> str:
            with Budget().room() as room:
                await http.post(Multipart(b"x", "text/plain"), 99, room)
            await asyncio.sleep(60)
            return "the cancellation was lost"

        task = asyncio.ensure_future(caller())
        await asyncio.sleep(1)
        arrived.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await http.aclose()

    virtual_loop.run(work())
