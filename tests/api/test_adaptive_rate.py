"""The quota learnt, in virtual time, against servers that count calls as the API does."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest
import virtual_loop
from hypothesis import given
from hypothesis import strategies as st
from virtual_loop import clock

from humanbody_cli.api.adaptive_rate import AUTO_CEILING, EDGE, FLOOR, Call, Fate, RateController
from humanbody_cli.api.gate import Gate
from humanbody_cli.api.slots import OwnSlots
from humanbody_cli.core.errors import Interrupted, Stopped
from humanbody_cli.core.stop import Stop


@dataclass
class Server:
    """Lets ``per_second`` calls through in any second, and ``at_once`` at a time.

    Calls arrive up to ``jitter`` seconds after they were sent; answers take about ``latency``.
    """

    per_second: int | None = None
    at_once: int | None = None
    latency: float = 0.5
    jitter: float = 0.02
    starts: list[float] = field(default_factory=list)
    done: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(1)
        self._recent: deque[float] = deque()
        self._at_work = 0

    async def call(self) -> bool:
        """One call; whether it was let through."""
        self.starts.append(clock())
        await asyncio.sleep(self._random.uniform(0, self.jitter))
        while self._recent and self._recent[0] <= clock() - 1:
            self._recent.popleft()
        if self._is_full():
            self.refusals.append(clock())
            await asyncio.sleep(0.02)
            return False
        self._recent.append(clock())
        self._at_work += 1
        await asyncio.sleep(self.latency * self._random.uniform(0.8, 1.2))
        self._at_work -= 1
        self.done.append(clock())
        return True

    def _is_full(self) -> bool:
        full = self.per_second is not None and len(self._recent) >= self.per_second
        return full or (self.at_once is not None and self._at_work >= self.at_once)


@dataclass
class Run:
    """A run of so many seconds against a server, as the engine does it."""

    server: Server
    qps: float | None
    seconds: float = 25
    concurrency: int | None = None

    async def whole(self) -> Run:
        """Photos until the time is over; then what is under way lands."""
        self.stop = Stop()
        self.gate = Gate(
            RateController(self.qps, self.concurrency), OwnSlots(), self.stop, clock=clock
        )
        self.began, self._random = clock(), random.Random(2)
        active: set[asyncio.Task[None]] = set()
        while clock() < self.began + self.seconds and not self.stop.is_set:
            while len(active) < self.gate.capacity():
                active.add(asyncio.ensure_future(self._photo()))
            _, active = await asyncio.wait(
                active, timeout=0.25, return_when=asyncio.FIRST_COMPLETED
            )
        self.reason = self.stop.reason
        self.cap = self.gate.cap()
        self.stop.set(Interrupted(2))
        await asyncio.wait(active)
        return self

    async def _photo(self) -> None:
        with contextlib.suppress(Stopped):
            for attempt in range(6):
                if await self._attempt():
                    return
                await self.gate.rest(self._random.uniform(0, min(20, 0.5 * 2**attempt)))

    async def _attempt(self) -> bool:
        async with self.gate.attempt() as call:
            let_through = await self.server.call()
            if let_through:
                self.gate.succeeded(call)
            else:
                self.gate.was_refused(call)
            return let_through

    def rate(self, after: float = 0) -> float:
        """Photos done a second, from so many seconds after the beginning."""
        times = [time - self.began for time in self.server.done]
        return sum(after <= time < self.seconds for time in times) / (self.seconds - after)

    def refused(self, after: float = 0) -> int:
        """Refusals from so many seconds after the beginning."""
        return sum(time - self.began >= after for time in self.server.refusals)


def ran(server: Server, qps: float | None, **how: Any) -> Run:
    """A run, whole, in virtual time."""
    return virtual_loop.run(Run(server, qps, **how).whole())


@pytest.mark.parametrize("latency", [0.05, 0.3, 0.573, 2.5])
@pytest.mark.parametrize("quota", [3, 20])
def test_a_known_quota_is_filled_and_not_fought(quota: int, latency: float) -> None:
    """Told the true quota a run fills 95 % of it and is refused next to never."""
    run = ran(Server(quota, latency=latency), quota)
    assert run.rate(after=5) > 0.95 * quota - 0.1
    assert run.refused() <= 3
    assert run.reason is None


def test_a_high_quota_is_filled() -> None:
    """100 calls a second at half a second of latency go out as well as three."""
    run = ran(Server(100, latency=0.5), 100, seconds=12)
    assert run.rate(after=3) > 95
    assert run.refused() <= 3


def test_a_quota_is_never_exceeded() -> None:
    """Without jitter on the way no second ever sees more starts than the quota."""
    run = ran(Server(20, jitter=0), 20)
    assert run.refused() == 0
    starts = run.server.starts
    assert all(later - start >= 1 for start, later in zip(starts, starts[20:], strict=False))


def test_starts_are_evenly_spaced() -> None:
    """Calls are spaced by 1 / rate and never sent in bursts."""
    run = ran(Server(20, jitter=0), 20)
    gaps = [b - a for a, b in itertools.pairwise(run.server.starts[5:])]
    assert min(gaps) >= 1 / 20 - 0.006
    assert sum(gaps) / len(gaps) == pytest.approx(1 / (EDGE * 20), rel=0.01)


@pytest.mark.parametrize(("told", "quota"), [(50, 10), (10, 3), (100, 10), (20, 19)])
def test_a_quota_that_was_told_wrong_is_learnt(told: int, quota: int) -> None:
    """Told far more than is allowed a run soon fills what there is, at few refusals."""
    run = ran(Server(quota), told)
    assert run.rate(after=8) > 0.88 * quota
    assert run.gate.controller.estimated_quota() == pytest.approx(quota, rel=0.12)
    assert run.refused() < 24
    assert run.refused(after=10) < 8
    assert run.reason is None


@pytest.mark.parametrize("quota", [3, 20, 60])
def test_an_unknown_quota_is_found(quota: int) -> None:
    """``--qps auto`` doubles until it is refused and then fills what it found."""
    run = ran(Server(quota), None)
    assert run.rate(after=10) > 0.85 * quota
    assert run.refused() < 25
    assert run.gate.controller.estimated_quota() == pytest.approx(quota, rel=0.12)


@pytest.mark.parametrize("told", [50, None])
def test_a_limit_of_calls_under_way_is_learnt(told: int | None) -> None:
    """Where the server counts calls under way the cap is learnt, and filled."""
    run = ran(Server(None, at_once=8, latency=0.573), told)
    assert run.rate(after=8) > 0.8 * 8 / 0.573
    assert run.refused(after=10) < 15
    assert run.cap <= 16


def test_a_quota_that_shrinks_is_followed() -> None:
    """Where another program begins to use half the quota, the run makes room for it."""
    server = Server(20)

    async def shrunk() -> Run:
        run = Run(server, 20, seconds=40)
        asyncio.get_running_loop().call_later(10, setattr, server, "per_second", 10)
        return await run.whole()

    run = virtual_loop.run(shrunk())
    assert run.rate(after=16) > 8.5
    assert run.refused(after=16) < 20
    assert run.reason is None


def test_a_quota_that_grows_back_is_filled_again() -> None:
    """What was given up for a while is taken back, slowly."""
    server = Server(5)

    async def grown() -> Run:
        run = Run(server, 20, seconds=90)
        asyncio.get_running_loop().call_later(8, setattr, server, "per_second", 20)
        return await run.whole()

    run = virtual_loop.run(grown())
    assert run.rate(after=70) > 17


def test_a_users_concurrency_caps_the_calls_under_way() -> None:
    """``--concurrency 4`` is never exceeded, whatever the quota."""
    server = Server(50, at_once=4, latency=0.5)
    run = ran(server, 50, concurrency=4)
    assert run.refused() == 0
    assert run.rate(after=5) == pytest.approx(4 / 0.51, rel=0.08)


def test_far_too_many_calls_do_not_end_the_run() -> None:
    """Told 500 where 3 are allowed, a volley of refusals is not mistaken for a dead server."""
    assert ran(Server(3), 500).reason is None


# The controller alone


def test_the_beginning() -> None:
    """A known quota is begun just below; an unknown one at two calls a second."""
    assert RateController(20, None).rate == pytest.approx(19.64)
    assert RateController(None, None).rate == 2
    assert RateController(20, None).estimated_quota() == pytest.approx(20)
    assert RateController(20, 5).cap(0) == 5
    assert RateController(3, None).cap(0) == 3


def test_the_cap_follows_littles_law() -> None:
    """Half as many again as rate times latency may be under way."""
    controller = RateController(20, None)
    for n in range(40):
        controller.accepted(controller.started(n / 20, 1), n / 20 + 2.0)
    assert controller.cap(100) == pytest.approx(20 * 2.0 * 1.5, rel=0.05)


def test_instant_answers_bound_the_cap() -> None:
    """Where answers are instant no more than 16 are worth having under way."""
    controller = RateController(400, None)
    for n in range(40):
        controller.accepted(controller.started(n / 400, 1), n / 400 + 0.05)
    assert controller.cap(1) == 16


def test_hung_calls_do_not_hold_the_run_up() -> None:
    """A call that hangs keeps its own slot only: the cap grows by it until it ends."""
    controller = RateController(20, None)
    for n in range(40):
        controller.accepted(controller.started(n / 20, 1), n / 20 + 0.5)
    before = controller.cap(2.0)
    hung = [controller.started(2.0, 1) for _ in range(5)]
    assert controller.cap(2.5) == before
    assert controller.cap(20.0) == before + 5
    controller.lost(hung[0])
    assert controller.cap(20.0) == before + 4


def test_a_lost_call_says_nothing() -> None:
    """A call without an answer changes neither rate nor cap."""
    controller = RateController(20, None)
    rate, cap = controller.rate, controller.cap(0)
    call = controller.started(0, 1)
    controller.lost(call)
    assert (controller.rate, controller.cap(1), call.fate) == (rate, cap, Fate.LOST)


def test_one_volley_of_refusals_slows_once() -> None:
    """All refusals of one second are one lesson."""
    controller = RateController(50, None)
    calls = [controller.started(n / 50, n + 1) for n in range(50)]
    for call in calls[:10]:
        controller.accepted(call, call.start + 0.1)
    controller.refused(calls[10], 0.3)
    rate = controller.rate
    assert rate < 0.75 * 50
    for call in calls[11:]:
        controller.refused(call, 0.9)
    assert controller.rate == rate


@given(
    st.one_of(st.none(), st.floats(0.2, 200)),
    st.lists(st.tuples(st.sampled_from("alr"), st.floats(0, 2)), max_size=200),
)
def test_the_rate_stays_within_reason(qps: float | None, events: list[tuple[str, float]]) -> None:
    """Whatever happens the rate stays above the floor and below what the user said."""
    controller, now = RateController(qps, None), 0.0
    for kind, wait in events:
        call: Call = controller.started(now, 1)
        now += wait
        if kind == "a":
            controller.accepted(call, now)
        elif kind == "l":
            controller.lost(call)
        else:
            controller.refused(call, now)
        assert FLOOR <= controller.rate <= (EDGE * qps if qps else AUTO_CEILING) + 1e-9
        assert 1 <= controller.cap(now) <= 256


def test_the_cap_costs_the_same_after_many_calls() -> None:
    """The cap is asked for at every step of every call: a long run must not make it dear."""
    import time

    def cost(calls: int) -> float:
        controller = RateController(100, None)
        for n in range(calls):
            controller.accepted(controller.started(n / 100, 1), n / 100 + 0.5)
        began = time.process_time()
        for _ in range(100):
            controller.cap(calls / 100)
        return time.process_time() - began

    assert min(cost(8000) for _ in range(3)) < 5 * min(cost(100) for _ in range(3)) + 0.001
