"""The library over the API, on a fake of it on a real socket: what is called, and what never is."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import KEY, SECRET, Hbseg, photo
from fake_api import FakeApi
from fake_behaviour import Behaviour
from library_photos import account
from PIL import Image
from process_state import changes, no_thread_left, state

from humanbody_cli import (
    AccountError,
    Api,
    CallLimitReached,
    FatalError,
    PhotoError,
    Segmenter,
    segment,
    segment_async,
)


@pytest.fixture
def me(tmp_path: Path) -> Path:
    """A photo."""
    return photo(tmp_path / "me.jpg")


def test_a_photo_is_sent_once(api: FakeApi, me: Path) -> None:
    """As it is, byte for byte, by the blocking function and by the awaited one."""
    for found in (
        segment(me, api=account(api)),
        asyncio.run(segment_async(me.read_bytes(), api=account(api))),
    ):
        assert (found.engine, found.attempts, found.code) == ("api", 1, None)
        assert found.mask.size == found.cutout.size == (96, 80)
    assert len(api.stats.calls) == api.stats.accepted == 2
    assert set(api.stats.uploads.values()) == {2}


def test_results_are_the_commands(api: FakeApi, me: Path, run: Any, tmp_path: Path) -> None:
    """The mask that the API sent, and a cutout of the same pixels wherever it is opaque."""
    run(me)
    found = segment(me, api=account(api))
    with Image.open(tmp_path / "out/masks/me.png") as mask:
        assert mask.tobytes() == found.mask.tobytes()
    opaque = found.mask.point([0] * 128 + [255] * 128)
    assert found.cutout.getchannel("A").tobytes() == opaque.tobytes()


def test_no_key_is_found_by_itself(api: FakeApi, me: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says, nothing is sent without an ``Api``."""
    for name, value in (("API_KEY", KEY), ("API_SECRET", SECRET), ("ENDPOINT", api.url)):
        monkeypatch.setenv(f"HBSEG_{name}", value)
    monkeypatch.setenv("HBSEG_ENGINE", "api")
    assert segment(me).engine == "local"
    assert api.stats.calls == []


def test_images_are_encoded_and_large_ones_shrunk(api: FakeApi) -> None:
    """Of an image in memory a PNG is sent where that is small enough, else a JPEG; the results have
    its size."""
    noisy = Image.effect_noise((1500, 1300), 90).convert("RGB")
    images = (Image.new("P", (90, 70), 3), Image.new("CMYK", (5000, 60)), noisy)
    with Segmenter(api=account(api)) as segmenter:
        for image in images:
            assert segmenter.segment(image).mask.size == image.size
    assert api.stats.accepted == 3


def test_a_wrong_key_costs_one_call(me: Path) -> None:
    """All photos end with the same error, those that come later too; the secret is not in it."""
    with FakeApi.in_thread(Behaviour(keys=(("other", "pair"),))) as api:

        async def main() -> list[BaseException | Any]:
            async with Segmenter(api=account(api)) as segmenter:
                photos = (segmenter.segment_async(me) for _ in range(20))
                found = await asyncio.gather(*photos, return_exceptions=True)
                with pytest.raises(AccountError):
                    await segmenter.segment_async(me)
                return found

        errors = asyncio.run(main())
        assert len(api.stats.calls) == 1
    assert all(isinstance(error, AccountError) for error in errors)
    assert len({id(error) for error in errors}) == 20
    assert "check api_key and api_secret" in str(errors[0]) and SECRET not in repr(errors)
    assert SECRET not in repr(account(api)) and KEY not in repr(account(api))


def test_calls_are_limited(api: FakeApi, me: Path) -> None:
    """``max_calls`` holds for one Segmenter, whatever is asked of it."""
    with Segmenter(api=account(api, max_calls=2)) as segmenter:
        assert [segmenter.segment(me).code for _ in range(2)] == [None, None]
        for _ in range(2):
            with pytest.raises(CallLimitReached, match="open another Segmenter to continue"):
                segmenter.segment(me)
    with pytest.raises(CallLimitReached):
        segment(me, api=account(api, max_calls=0))
    assert len(api.stats.calls) == 2


def test_failures_are_repeated(me: Path) -> None:
    """As the command repeats them; what stays is this photo's error, with its attempts."""
    script = ("INTERNAL_ERROR", "ok", "INTERNAL_ERROR", "INTERNAL_ERROR", "INVALID_IMAGE_SIZE")
    with (
        FakeApi.in_thread(Behaviour(script=script)) as api,
        Segmenter(api=account(api, retries=1)) as segmenter,
    ):
        assert segmenter.segment(me).attempts == 2
        with pytest.raises(PhotoError, match=r"me\.jpg: ") as raised:
            segmenter.segment(me)
        assert (raised.value.attempts, raised.value.transient) == (2, True)
        with pytest.raises(PhotoError) as raised:
            segmenter.segment(me)
        assert (raised.value.code, raised.value.rejected) == ("INVALID_IMAGE_SIZE", False)


def test_nobody_answers(me: Path) -> None:
    """A server that cannot be reached is a FatalError that names it, and no thread is left."""
    with no_thread_left(), pytest.raises(FatalError, match=r"127\.0\.0\.1:1.*check endpoint"):
        segment(me, api=Api(KEY, SECRET, "http://127.0.0.1:1", qps=300, retries=0))


def test_the_quota_is_kept(api: FakeApi, me: Path) -> None:
    """The photos of one Segmenter share it: calls start evenly spaced, also of a burst."""

    async def main() -> None:
        async with Segmenter(api=account(api, qps=20)) as segmenter:
            await asyncio.gather(*(segmenter.segment_async(me) for _ in range(15)))

    asyncio.run(main())
    arrived = [call.arrived for call in api.stats.calls]
    assert arrived[-1] - arrived[0] > 14 / 20 * 0.9


def test_a_cancelled_call_ends_its_connection(me: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call in flight is given up at once, and nothing of the process has changed."""
    monkeypatch.setenv("HOME", str(me.parent))  # a real one has too many files to be compared
    with FakeApi.in_thread(Behaviour(always="hang")) as api:
        before = state()

        async def main() -> None:
            async with Segmenter(api=account(api)) as segmenter:
                task = asyncio.ensure_future(segmenter.segment_async(me))
                while not api.stats.calls:
                    await asyncio.sleep(0.01)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                while api.stats.calls[0].ended is None:
                    await asyncio.sleep(0.01)

        asyncio.run(main())
        assert changes(before) == []


LIMITED = """
import resource, sys
from humanbody_cli import Api, segment
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (200, most))
assert segment(sys.argv[1], api=Api("key", "secret", sys.argv[2], qps=300)).attempts == 1
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (200, most)
"""


def test_the_limit_on_open_files_is_left_alone(api: FakeApi, me: Path, hbseg: Hbseg) -> None:
    """It is the program's, and the library does not raise it."""
    command = [sys.executable, "-c", LIMITED, str(me), api.url]
    subprocess.run(command, env=hbseg.environment(), check=True, timeout=60)
