"""The gate before every attempt: alone, paced, counted, stopped, and closed when a server fails."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest
import virtual_loop
from gating import Client, all_of
from virtual_loop import clock

from humanbody_cli.core.errors import CallLimitReached, FatalError, Interrupted, Stopped
from humanbody_cli.core.settings import MaxCalls, Period
from humanbody_cli.core.stop import Stop
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.layout import STATE
from humanbody_cli.storage.tables.calls import CallLimit, bounds

# The first call


def test_the_first_call_goes_alone() -> None:
    """Nothing else is sent before the first answer: a bad key costs one call."""

    async def work() -> list[float]:
        client = Client()
        await all_of(*(client.send(seconds=3) for _ in range(6)))
        return client.sent

    first, second, *_ = virtual_loop.run(work())
    assert second - first >= 3


def test_a_first_call_that_fails_leaves_the_next_alone() -> None:
    """Until an answer shows the server at work calls go one by one."""

    async def work() -> list[float]:
        client = Client()
        answers = iter([False, False, True] + [True] * 9)
        await all_of(*(client.send(seconds=2, sound=lambda: next(answers)) for _ in range(6)))
        return client.sent

    gaps = [b - a for a, b in itertools.pairwise(virtual_loop.run(work()))]
    assert gaps[0] >= 2
    assert gaps[1] >= 2
    assert gaps[2] >= 2
    assert gaps[3] < 0.2


def test_a_stop_with_the_first_answer_costs_one_call() -> None:
    """The flag that is set before the answer is left is seen by everyone who waited."""

    async def work() -> tuple[int, int]:
        client = Client()

        async def first() -> None:
            async with client.gate.attempt() as call:
                await asyncio.sleep(1)
                client.stop.set(FatalError("bad key"))
                client.gate.succeeded(call)

        await all_of(first(), *(client.send() for _ in range(30)))
        return client.gate.calls, client.gate.in_flight

    assert virtual_loop.run(work()) == (1, 0)


# Pace


def test_starts_keep_their_distance() -> None:
    """However many wait, they start one by one at the rate."""

    async def work() -> list[float]:
        client = Client(qps=10)
        await client.send(seconds=1)
        await all_of(*(client.send() for _ in range(40)))
        return client.sent[1:]

    gaps = [b - a for a, b in itertools.pairwise(virtual_loop.run(work()))]
    assert min(gaps) >= 1 / 10 - 0.006
    assert max(gaps) <= 0.11
    assert sum(gaps) / len(gaps) > 1 / 10


def test_a_pause_is_not_made_up_for() -> None:
    """After a time of nothing to do there is no burst: no credit is saved up."""

    async def work() -> list[float]:
        client = Client(qps=10)
        await client.send(seconds=1)
        await asyncio.sleep(100)
        await all_of(*(client.send() for _ in range(12)))
        return client.sent[1:]

    gaps = [b - a for a, b in itertools.pairwise(virtual_loop.run(work()))]
    assert min(gaps) >= 0.09


def test_capacity_covers_those_who_rest() -> None:
    """Photos that rest before a retry do not take the place of others."""

    async def work() -> tuple[int, int]:
        client = Client()
        before = client.gate.capacity()
        resting = [asyncio.ensure_future(client.gate.rest(5)) for _ in range(7)]
        await asyncio.sleep(1)
        during = client.gate.capacity()
        await all_of(*resting)
        assert client.gate.capacity() == before
        return before, during

    before, during = virtual_loop.run(work())
    assert during == before + 7


# The call limit


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_the_call_limit_is_exact(limit: int) -> None:
    """``--max-calls N`` makes N calls, lets them land, and then stops with its own reason."""

    async def work() -> Client:
        client = Client(max_calls=limit)
        landed = await all_of(*(client.send() for _ in range(20)))
        assert landed.count(True) == limit
        return client

    client = virtual_loop.run(work())
    assert len(client.sent) == client.gate.calls == limit
    assert isinstance(client.stop.reason, CallLimitReached)
    assert f"limit of {limit}" in str(client.stop.reason)


def test_a_limit_that_is_just_enough_stops_nothing() -> None:
    """With as many calls as photos the run ends by itself."""

    async def work() -> Client:
        client = Client(max_calls=5)
        await all_of(*(client.send() for _ in range(5)))
        return client

    assert virtual_loop.run(work()).stop.reason is None


def test_a_limit_of_none_sends_nothing() -> None:
    """``--max-calls 0`` makes no call at all."""

    async def work() -> Client:
        client = Client(max_calls=0)
        await all_of(*(client.send() for _ in range(3)))
        return client

    assert virtual_loop.run(work()).sent == []


# Stopping


def test_a_stop_before_the_wait() -> None:
    """Once the run is to end nothing enters."""

    async def work() -> Client:
        client = Client()
        client.stop.set(Interrupted(2))
        assert await client.send() is False
        return client

    client = virtual_loop.run(work())
    assert (client.sent, client.gate.calls, client.gate.in_flight) == ([], 0, 0)


def test_a_stop_during_the_wait() -> None:
    """Those who wait for their turn leave at once; the call under way lands."""

    async def work() -> tuple[list[object], float, Client]:
        client = Client(qps=1)
        began = clock()
        tasks = [asyncio.ensure_future(client.send(seconds=5)) for _ in range(9)]
        await asyncio.sleep(2)
        client.stop.set(Interrupted(2))
        await asyncio.sleep(0.5)
        assert sum(task.done() for task in tasks) == 8
        return await all_of(*tasks), clock() - began, client

    landed, seconds, client = virtual_loop.run(work())
    assert landed.count(True) == 1
    assert seconds == pytest.approx(5, abs=0.1)
    assert client.gate.in_flight == 0


def test_a_stop_during_the_pacing() -> None:
    """A call whose start was already handed out is not sent once the run is to end."""

    async def work() -> Client:
        client = Client(qps=0.2)
        await client.send(seconds=0.1)
        waiting = asyncio.ensure_future(client.send())
        await asyncio.sleep(1)
        client.stop.set(Interrupted(2))
        assert await waiting is False
        return client

    client = virtual_loop.run(work())
    assert len(client.sent) == client.gate.calls == 1


def test_the_first_reason_stays() -> None:
    """Later reasons do not replace the first; ``wait`` and ``sleep`` see it at once."""

    async def work() -> float:
        stop = Stop()
        stop.set(Interrupted(15))
        stop.set(FatalError("later"))
        assert stop.reason is not None
        assert stop.reason.exit_code == 143
        await stop.stopped()
        with pytest.raises(Stopped):
            await stop.sleep(60)
        with pytest.raises(Stopped):
            stop.check()
        return clock()

    assert virtual_loop.run(work()) == 1000


def test_a_sleep_ends_by_itself_or_by_a_stop() -> None:
    """Sleeping takes its time, none at all for nothing, and ends early with ``Stopped``."""

    async def work() -> None:
        stop, began = Stop(), clock()
        await stop.sleep(0)
        await stop.sleep(-1)
        assert clock() == began
        await stop.sleep(3)
        assert clock() - began == pytest.approx(3)
        asyncio.get_running_loop().call_later(2, stop.set, Interrupted(2))
        with pytest.raises(Stopped):
            await stop.sleep(60)
        assert clock() - began == pytest.approx(5)

    virtual_loop.run(work())


def test_a_cancelled_attempt_frees_its_place() -> None:
    """A task that is cancelled under way or in the queue leaves no place taken."""

    async def work() -> int:
        client = Client()
        tasks = [asyncio.ensure_future(client.send(seconds=50)) for _ in range(5)]
        await asyncio.sleep(1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert client.gate.in_flight == 0
        assert await client.send()
        return client.gate.calls

    assert virtual_loop.run(work()) == 2


def test_calls_of_the_next_period_are_waited_for(tmp_path: Path) -> None:
    """A run that waits makes its calls of an hour at once, and further ones in the next hour."""
    (tmp_path / STATE).mkdir()
    journal = Journal(str(tmp_path))
    most = MaxCalls(2, Period.HOUR, waits=True)

    async def work() -> Client:
        client = Client(limit=CallLimit(most, journal, now=clock))
        told: list[str] = []
        client.gate.tell = told.append
        landed = await all_of(*(client.send() for _ in range(5)))
        assert landed == [True] * 5
        assert len(told) == 2
        assert "waiting until" in told[0]
        return client

    sent = virtual_loop.run(work()).sent
    journal.close()
    hours = [bounds(Period.HOUR, when)[0] for when in sent]
    assert [hour - hours[0] for hour in hours] == [0, 0, 3600, 3600, 7200]
