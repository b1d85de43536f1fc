"""Memory for answers: bounded together, and never a circle of waiting."""

from __future__ import annotations

import asyncio
import random

import pytest
import virtual_loop

from humanbody_cli.api.answer_budget import BUDGET, Budget
from humanbody_cli.api.transport.http import longest_answer

STEP = 10


async def receive(budget: Budget, size: int, log: list[int], *, pause: float = 0.1) -> None:
    """An answer of ``size`` bytes that comes in steps, and is then understood for a while."""
    with budget.room() as room:
        for _ in range(size // STEP):
            await asyncio.sleep(pause)
            await room.grow(STEP)
            log.append(budget.held)
        room.received()
        await asyncio.sleep(pause)


def test_answers_within_the_budget_wait_for_nothing() -> None:
    """Ordinary answers take the time that their bytes take."""

    async def work() -> float:
        budget = Budget(1000)
        log: list[int] = []
        await asyncio.gather(*(receive(budget, 100, log) for _ in range(10)))
        assert (max(log), budget.held) == (1000, 0)
        return virtual_loop.clock()

    assert virtual_loop.run(work()) == pytest.approx(1000 + 11 * 0.1)


@pytest.mark.parametrize("seed", range(20))
def test_answers_beyond_the_budget_all_end(seed: int) -> None:
    """However they grow, all end, and memory never exceeds the budget and one answer."""
    dice = random.Random(seed)
    sizes = [STEP * dice.randint(1, 40) for _ in range(60)]

    async def work() -> None:
        budget = Budget(500)
        log: list[int] = []
        answers = [receive(budget, size, log, pause=dice.random()) for size in sizes]
        await asyncio.gather(*answers)
        assert max(log) <= 500 + max(sizes)
        assert budget.held == 0

    virtual_loop.run(work())


def test_an_answer_larger_than_the_budget_is_received() -> None:
    """The oldest goes on whatever it needs."""

    async def work() -> None:
        budget = Budget(50)
        log: list[int] = []
        await asyncio.gather(*(receive(budget, 200, log) for _ in range(3)))
        assert max(log) <= 50 + 200

    virtual_loop.run(work())


def test_a_cancelled_answer_gives_its_room_back() -> None:
    """Those who waited for it go on."""

    async def work() -> None:
        budget = Budget(100)
        log: list[int] = []
        holding = asyncio.ensure_future(receive(budget, 100, log, pause=0.01))
        stuck = asyncio.ensure_future(receive(budget, 10_000, log))
        await asyncio.sleep(5)
        waiting = asyncio.ensure_future(receive(budget, 100, log))
        await asyncio.sleep(5)
        assert holding.done() and not stuck.done() and not waiting.done()
        waiting.cancel()
        await asyncio.sleep(1)
        stuck.cancel()
        await asyncio.gather(stuck, waiting, return_exceptions=True)
        assert budget.held == 0
        await receive(budget, 100, log)

    virtual_loop.run(work())


def test_the_budget_does_not_hold_ordinary_photos_up() -> None:
    """Some fifty answers of 4 MB, as photos of 3 megapixels have, fit while they are received."""
    assert BUDGET >= 50 * 4 * 2**20
    assert longest_answer((4096, 4096)) <= BUDGET
