"""The gate when a server is never reached, fails, or comes back."""

from __future__ import annotations

import asyncio
import itertools

import pytest
import virtual_loop
from gating import Client, all_of
from virtual_loop import clock

from humanbody_cli.api.circuit_breaker import EARNED, PROBE_PAUSES, START, STREAK, CircuitBreaker
from humanbody_cli.core.errors import CallLimitReached, FatalError

# A server that was never reached


@pytest.mark.parametrize(
    ("seconds", "tries", "ends"),
    [(0.0, 3, 4.0), (0.5, 3, 5.5), (1.0, 3, 7.0), (5.0, 2, 11.0), (10.0, 2, 21.0)],
)
def test_a_server_that_is_never_reached_is_given_up_soon(
    seconds: float, tries: int, ends: float
) -> None:
    """Three connections with pauses of 1 and 3 s; two where connecting is slow by itself."""

    async def work() -> tuple[Client, float]:
        client = Client()
        began = clock()
        while not await client.reach(seconds=seconds):
            assert len(client.sent) < 9
        return client, clock() - began

    client, took = virtual_loop.run(work())
    assert len(client.sent) == tries
    assert took == pytest.approx(ends, abs=0.2)
    assert client.gate.calls == 0


def test_those_who_reach_nobody_go_one_at_a_time() -> None:
    """However many photos wait, the tries are the run's and not each photo's."""

    async def work() -> Client:
        client = Client()

        async def photo() -> None:
            if await client.reach(seconds=0.1):
                client.stop.set(FatalError("given up"))

        await all_of(*(photo() for _ in range(30)))
        return client

    client = virtual_loop.run(work())
    assert len(client.sent) == 3
    assert client.gate.in_flight == 0


@pytest.mark.parametrize("answer", ["sound", "refused", "broken"])
def test_once_reached_a_server_is_not_given_up_soon(answer: str) -> None:
    """After anything came over a connection, the breaker alone decides."""

    async def work() -> Client:
        client = Client()
        async with client.gate.attempt() as call:
            if answer == "sound":
                client.gate.succeeded(call)
            elif answer == "refused":
                client.gate.was_refused(call)
            else:
                client.gate.failed(call, "the connection broke", answered=False)
        for _ in range(STREAK + len(PROBE_PAUSES) - 2):
            assert await client.reach() is False
        return client

    client = virtual_loop.run(work())
    assert not client.stop.is_set
    assert client.gate.calls == 1


def test_the_call_limit_counts_what_was_sent() -> None:
    """Connections that did not come about use up none of ``--max-calls``."""

    async def work() -> Client:
        client = Client(max_calls=2)
        await client.reach()
        await client.reach()
        assert await client.send()
        await client.reach()
        assert await client.send()
        assert not await client.send()
        return client

    client = virtual_loop.run(work())
    assert client.gate.calls == 2
    assert isinstance(client.stop.reason, CallLimitReached)


# A server that fails


def test_a_streak_of_failures_pauses_and_probes() -> None:
    """After a streak one call at a time probes the server, after ever longer pauses; then stop."""

    async def work() -> Client:
        client = Client(qps=2)
        await client.send()
        for _ in range(STREAK + len(PROBE_PAUSES)):
            assert not client.stop.is_set
            await client.send(sound=lambda: False)
        return client

    client = virtual_loop.run(work())
    gaps = [b - a for a, b in itertools.pairwise(client.sent)][-len(PROBE_PAUSES) :]
    assert gaps == pytest.approx([0.5 + pause for pause in PROBE_PAUSES], abs=0.1)
    assert isinstance(client.stop.reason, FatalError)
    assert client.stop.reason.exit_code == 4
    assert "the server broke off" in str(client.stop.reason)


def test_a_probe_that_succeeds_opens_up() -> None:
    """One good answer after a pause, and everyone goes on at the full rate."""

    async def work() -> Client:
        client = Client(qps=10)
        await client.send()
        for _ in range(STREAK + 2):
            await client.send(sound=lambda: False)
        await client.send()
        await all_of(*(client.send(seconds=1) for _ in range(10)))
        return client

    client = virtual_loop.run(work())
    assert client.stop.reason is None
    gaps = [b - a for a, b in itertools.pairwise(client.sent[-10:])]
    assert max(gaps) < 0.2


@pytest.mark.parametrize(
    "under_way",
    [16, 30, 60],
)
def test_a_break_of_all_connections_does_not_end_the_run(under_way: int) -> None:
    """Many calls that fail together, as when a proxy restarts, are one fault: the run goes on. A
    call that had to wait once more because of it is counted once."""

    async def work() -> tuple[list[object], Client]:
        client = Client(qps=under_way)
        await all_of(*(client.send(seconds=1) for _ in range(under_way)))
        broken = clock() + 1.2

        def sound() -> bool:
            return not broken < clock() < broken + 0.6

        photos = [client.photo(sound, seconds=1) for _ in range(2 * under_way)]
        return await all_of(*photos), client

    done, client = virtual_loop.run(work())
    assert client.stop.reason is None
    assert all(done)
    assert client.gate.calls == len(client.sent)


def test_a_volley_of_refusals_does_not_end_the_run() -> None:
    """Thirty calls refused together, as when --qps is far too high, are one lesson, not a fault."""

    async def work() -> Client:
        client = Client(qps=30)
        await all_of(*(client.send(seconds=2) for _ in range(30)))

        async def refused() -> None:
            async with client.gate.attempt() as call:
                await asyncio.sleep(2)
                client.gate.was_refused(call)

        await asyncio.gather(*(refused() for _ in range(30)), return_exceptions=True)
        return client

    client = virtual_loop.run(work())
    assert client.stop.reason is None


@pytest.mark.parametrize("qps", [5, 20])
def test_an_outage_of_some_seconds_is_waited_for(qps: int) -> None:
    """A server that is gone for ten seconds is probed until it is back."""

    async def work() -> tuple[Client, float]:
        client = Client(qps=qps)
        await client.send()
        gone = clock() + 2

        def sound() -> bool:
            return not gone < clock() < gone + 10

        await all_of(*(client.photo(sound) for _ in range(8 * qps)))
        return client, gone

    client, gone = virtual_loop.run(work())
    assert client.stop.reason is None
    during = [start for start in client.sent if gone + 3 < start < gone + 10]
    assert len(during) <= 4  # probes only


def test_probes_go_one_at_a_time() -> None:
    """While the server is probed no second call is under way."""

    async def work() -> list[float]:
        client = Client(qps=20)
        await client.send()
        await all_of(*(client.photo(lambda: False, seconds=0.4) for _ in range(40)))
        return client.sent

    sent = virtual_loop.run(work())
    gaps = [b - a for a, b in itertools.pairwise(sent)]
    first_pause = next(n for n, gap in enumerate(gaps) if gap > 0.9)
    assert all(gap > 0.9 for gap in gaps[first_pause:])
    assert len(gaps[first_pause:]) == len(PROBE_PAUSES)


def test_faults_at_a_steady_rate_are_ridden_out() -> None:
    """One fault in five is no broken server: every photo is done, nothing stops."""

    async def work() -> tuple[list[object], Client]:
        client = Client(qps=20)
        faults = itertools.cycle([True, True, False, True, True])
        return await all_of(*(client.photo(lambda: next(faults)) for _ in range(200))), client

    done, client = virtual_loop.run(work())
    assert all(done)
    assert client.stop.reason is None


def test_retries_have_a_budget_that_successes_earn() -> None:
    """One failure in four lasts for ever; one in two uses the budget up and opens the breaker."""
    steady = CircuitBreaker()
    for _ in range(2000):
        assert steady.failure() == 0.0
        for _ in range(3):
            steady.success()
    worse = CircuitBreaker()
    pauses = []
    for _ in range(200):
        pauses.append(worse.failure())
        worse.success()
    assert pauses.index(PROBE_PAUSES[0]) == pytest.approx(START / (1 - EARNED), abs=2)
