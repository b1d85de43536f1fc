"""A folder through the library: each photo's outcome, bounded work, and a clean end."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextlib import aclosing
from pathlib import Path

import pytest
from conftest import photo
from fake_api import FakeApi
from fake_behaviour import Behaviour
from library_photos import account
from process_state import no_thread_left
from waiting import until

from humanbody_cli import AccountError, FolderPhoto, Segmenter, UsageError


@pytest.fixture
def folder(photos: Path) -> Path:
    """Four photos, one that is none, one that is too small to be taken, and other files."""
    (photos / "bad.jpg").write_bytes(b"no photo")
    (photos / "notes.txt").write_text("not a photo")
    (photos / ".hidden.jpg").write_bytes(b"hidden")
    (photos / "gone.jpg").symlink_to("nowhere")
    return photos


def told(photos: list[FolderPhoto], folder: Path) -> dict[str, str]:
    """Each photo's path below the folder, with its name and its error's code."""
    return {
        str(Path(one.path).relative_to(folder)): f"{one.name} {one.error.code if one.error else ''}"
        for one in photos
        if (one.result is None) != (one.error is None)
    }


EXPECTED = {
    "a.jpg": "a.png ",
    "b.jpg": "b.png ",
    "c.png": "c.png ",
    "deeper/d.jpg": "deeper/d.png ",
    "bad.jpg": "bad.png IMAGE_ERROR_UNSUPPORTED_FORMAT",
    "gone.jpg": "gone.png UNREADABLE",
}


def test_each_photo_ends_in_its_own_way(folder: Path) -> None:
    """By ``for`` and by ``async for``: its path, its name, its result or its error."""
    with no_thread_left(), Segmenter() as segmenter:
        assert told(list(segmenter.segment_folder(folder)), folder) == EXPECTED

        async def main() -> list[FolderPhoto]:
            return [one async for one in segmenter.segment_folder_async(str(folder))]

        found = asyncio.run(main())
    assert told(found, folder) == EXPECTED
    error = next(one.error for one in found if one.name == "bad.png")
    assert str(error).startswith(f"{folder}/bad.jpg: not a picture")


def test_an_empty_folder(tmp_path: Path) -> None:
    """It has no photos; a file or a missing folder is an error at once."""
    with Segmenter() as segmenter:
        assert list(segmenter.segment_folder(tmp_path)) == []
        for wrong in (tmp_path / "no", photo(tmp_path / "a.jpg"), "-", "http://example.com"):
            with pytest.raises(UsageError, match="there is no such folder"):
                segmenter.segment_folder(wrong)
            with pytest.raises(UsageError, match="there is no such folder"):
                segmenter.segment_folder_async(wrong)


def test_a_folder_with_an_odd_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder named ``-`` is that folder, and not standard input."""
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "-" / "a.jpg")
    with Segmenter() as segmenter:
        assert [one.name for one in segmenter.segment_folder("-")] == ["a.png"]


def test_a_wrong_key_ends_the_iteration(photos: Path) -> None:
    """It is raised where the next photo is awaited, after one call."""
    with FakeApi.in_thread(Behaviour(keys=(("other", "pair"),))) as api:

        async def main() -> None:
            async with Segmenter(api=account(api)) as segmenter:
                with pytest.raises(AccountError):
                    async for _ in segmenter.segment_folder_async(photos):
                        pass

        asyncio.run(main())
        assert len(api.stats.calls) == 1


def many(folder: Path, count: int = 120) -> Path:
    for number in range(count):
        photo(folder / f"{number:03}.jpg", seed=number)
    return folder


def test_a_slow_taker_holds_up_the_work(tmp_path: Path, api: FakeApi) -> None:
    """Photos that nobody takes are not sent: what is under way, and held, is bounded."""
    folder = many(tmp_path / "many")
    with Segmenter(api=account(api, concurrency=4), threads=2) as segmenter:
        photos = segmenter.segment_folder(folder)
        next(photos)
        assert until(lambda: len(api.stats.calls) >= 10)
        calls = -1
        while calls != (calls := len(api.stats.calls)):
            threading.Event().wait(0.3)
        assert calls <= 30
        assert len(list(photos)) == 119
    assert api.stats.accepted == 120


def test_other_photos_are_done_meanwhile(tmp_path: Path) -> None:
    """A folder whose results wait to be taken keeps no other photo of the Segmenter waiting."""
    folder = many(tmp_path / "many", 12)
    with Segmenter(threads=1) as segmenter:
        photos = segmenter.segment_folder(folder)
        found = [segmenter.segment(one.path) for one in photos]
    assert len(found) == 12


@pytest.mark.parametrize("how", ["break", "close", "leave", "cancel"])
def test_an_early_end(tmp_path: Path, how: str) -> None:
    """However the iteration ends, no further photo is begun, and no task or thread is left."""
    folder = many(tmp_path / "many")

    async def work(segmenter: Segmenter) -> None:
        photos = segmenter.segment_folder_async(folder)
        if how == "close":
            async with aclosing(photos):
                await anext(photos)
        elif how == "break":
            async for _ in photos:
                break
        else:
            await anext(photos)
        if how == "cancel":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await anext(photos)

    async def main(api: FakeApi) -> None:
        # One connection, which is there when the end comes: CPython may drop a socket without
        # closing it where its happy eyeballs are cancelled.
        async with Segmenter(api=account(api, concurrency=1)) as segmenter:
            task = asyncio.ensure_future(work(segmenter))
            await asyncio.wait({task})
            assert task.cancelled() == (how == "cancel")
            gc.collect()
            if how != "leave":
                await asyncio.sleep(0)
                while segmenter._session.parts.pool._work_queue.qsize():
                    await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with FakeApi.in_thread(Behaviour(latency=0.01)) as api, no_thread_left():
        asyncio.run(main(api))
        assert api.stats.accepted < 60


def test_a_generator_that_outlives_its_segmenter(folder: Path) -> None:
    """It says that the Segmenter was closed, and can be closed and dropped without a word."""
    with Segmenter() as segmenter:
        photos, other = segmenter.segment_folder(folder), segmenter.segment_folder(folder)
        assert next(photos).name and next(other).name
    with pytest.raises(UsageError, match="this Segmenter was closed"):
        next(photos)
    other.close()
