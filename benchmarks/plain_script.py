"""For comparison: what one writes in ten minutes. Nothing is checked, kept or waited for.

``python benchmarks/plain_script.py httpx|aiohttp PHOTOS OUT URL IN_FLIGHT``
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

FIELDS = {"api_key": "key", "api_secret": "secret", "return_grayscale": "1"}
Post = Callable[[bytes], Awaitable[bytes]]


async def with_httpx(url: str, in_flight: int, work: Callable[[Post], Awaitable[None]]) -> None:
    import httpx

    limits = httpx.Limits(max_connections=in_flight)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:

        async def post(photo: bytes) -> bytes:
            response = await client.post(url, data=FIELDS, files={"image_file": photo})
            response.raise_for_status()
            return response.content

        await work(post)


async def with_aiohttp(url: str, in_flight: int, work: Callable[[Post], Awaitable[None]]) -> None:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def post(photo: bytes) -> bytes:
            form = aiohttp.FormData(FIELDS)
            form.add_field("image_file", photo, filename="photo.jpg")
            async with session.post(url, data=form) as response:
                response.raise_for_status()
                return await response.read()

        await work(post)


async def main(client: str, photos: Path, out: Path, url: str, in_flight: int) -> None:
    gate = asyncio.Semaphore(in_flight)
    for kind in ("masks", "cutouts"):
        (out / kind).mkdir(parents=True)

    async def one(post: Post, photo: Path) -> None:
        async with gate:
            answer = json.loads(await post(photo.read_bytes()))
        name = f"{photo.stem}.png"
        (out / "masks" / name).write_bytes(base64.b64decode(answer["result"]))
        (out / "cutouts" / name).write_bytes(base64.b64decode(answer["body_image"]))

    async def work(post: Post) -> None:
        await asyncio.gather(*(one(post, photo) for photo in sorted(photos.iterdir())))

    run = {"httpx": with_httpx, "aiohttp": with_aiohttp}[client]
    await run(f"{url}/humanbodypp/v2/segment", in_flight, work)


if __name__ == "__main__":
    client, photos, out, url, in_flight = sys.argv[1:]
    asyncio.run(main(client, Path(photos), Path(out), url, int(in_flight)))
