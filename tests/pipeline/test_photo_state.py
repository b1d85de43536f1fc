"""What a photo holds while it is under way."""

from __future__ import annotations

import asyncio

from humanbody_cli.core.photo import Due, Photo
from humanbody_cli.pipeline.photo_state import PhotoState


def state() -> PhotoState:
    photo = Photo("a.jpg", "/a.jpg", "a.png", 1, 1)
    return PhotoState(Due(photo, None), 0.0)


def test_a_photo_waits_until_another_one_has_dropped_its_pixels() -> None:
    """With room for one photo's pixels, the second has its turn once the first has yielded, the
    third once the second has ended in whatever way; yielding twice makes no room for two."""

    async def scenario() -> None:
        turn = asyncio.Semaphore(1)
        one, two, three = state(), state(), state()
        await one.take_turn(turn)
        waiting = [asyncio.ensure_future(other.take_turn(turn)) for other in (two, three)]
        await asyncio.sleep(0)
        assert not waiting[0].done()
        one.yield_turn()
        one.release()
        await waiting[0]
        await asyncio.sleep(0)
        assert not waiting[1].done()
        two.release()
        await waiting[1]

    asyncio.run(scenario())
