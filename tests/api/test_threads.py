"""Threads are there before anything is paid for, or the run does not begin."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import respx
from api_engine import PHOTO, SOUND, Api

from humanbody_cli.api import engine as api_module
from humanbody_cli.core.errors import FatalError
from humanbody_cli.core.stop import started_pool
from humanbody_cli.pipeline.engine import Ask, Segmentation


def _running() -> int:
    """How many threads of a pool made here run: another test's may be ending meanwhile."""
    return sum(thread.name.startswith("pool-here") for thread in threading.enumerate())


def test_all_threads_of_a_pool_run_at_once() -> None:
    """None is left to be started later."""
    pool = started_pool(5, "pool-here")
    try:
        assert _running() == 5
        assert pool.submit(lambda: "work").result(5) == "work"
        assert _running() == 5
    finally:
        pool.shutdown()
    assert _running() == 0


@pytest.mark.parametrize("allowed", [0, 1])
def test_threads_that_cannot_be_started_end_the_run(
    monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    """One sentence that names the limits; those that did start do not stay."""
    left = [allowed]
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(FatalError, match=r"ulimit -v.*ulimit -u") as caught:
        started_pool(2, "pool-here")
    assert caught.value.exit_code == 4
    for thread in threading.enumerate():
        if thread.name.startswith("pool-here"):
            thread.join(5)
    assert _running() == 0


@pytest.mark.parametrize("failing", ["start", "submit"])
def test_an_answer_is_taken_where_no_thread_is_left(
    route: respx.Route, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """It was paid for: no thread is needed any more, and without the pool it is read at once."""
    monkeypatch.setattr(api_module, "_SMALL", 0)
    route.mock(return_value=httpx.Response(200, content=SOUND))

    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    async def work() -> Segmentation:
        api = Api()
        if failing == "start":
            monkeypatch.setattr(threading.Thread, "start", refused)
        else:
            monkeypatch.setattr(ThreadPoolExecutor, "submit", refused)
        try:
            return await api.engine.segment(PHOTO, Ask())
        finally:
            monkeypatch.undo()
            await api.engine.aclose()

    found = asyncio.run(work())
    assert found.attempts == 1
    assert route.call_count == 1
