"""For comparison: plain httpx, a semaphore of the quota, tenacity. What one writes in an hour.

python benchmarks/baseline.py PHOTOS OUT URL KEY SECRET QPS
"""

from __future__ import annotations

import asyncio
import base64
import sys
from pathlib import Path

import httpx
from tenacity import retry, stop_after_attempt, wait_random_exponential


async def main(photos: Path, out: Path, url: str, key: str, secret: str, qps: int) -> None:
    gate = asyncio.Semaphore(qps)
    for kind in ("masks", "cutouts"):
        (out / kind).mkdir(parents=True)

    async with httpx.AsyncClient(timeout=60) as client:

        @retry(stop=stop_after_attempt(30), wait=wait_random_exponential(1, max=10))
        async def call(photo: Path) -> dict[str, str]:
            async with gate:
                response = await client.post(
                    f"{url}/humanbodypp/v2/segment",
                    data={"api_key": key, "api_secret": secret},
                    files={"image_file": photo.read_bytes()},
                )
            response.raise_for_status()
            fields: dict[str, str] = response.json()
            return fields

        async def one(photo: Path) -> None:
            answer = await call(photo)
            name = f"{photo.stem}.png"
            (out / "masks" / name).write_bytes(base64.b64decode(answer["result"]))
            (out / "cutouts" / name).write_bytes(base64.b64decode(answer["body_image"]))

        await asyncio.gather(*map(one, sorted(photos.iterdir())))


if __name__ == "__main__":
    photos, out, url, key, secret, qps = sys.argv[1:]
    asyncio.run(main(Path(photos), Path(out), url, key, secret, int(qps)))
