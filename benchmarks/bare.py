"""The embedded engine's own functions, called bare: decode, find people, encode, write.

    python bare.py PHOTOS OUT THREADS

No walk, no journal, no lock, no fsync, no check of names: what is left is the work itself.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from humanbody_cli.core.settings import LocalSettings, Wanted
from humanbody_cli.discovery.sources import Rules
from humanbody_cli.embedded.engine import load_segmenter
from humanbody_cli.imaging.masks import Mask
from humanbody_cli.pipeline.engine import Segmentation
from humanbody_cli.pipeline.photo_steps import ClientSteps, Prepared


def main(photos: Path, out: Path, threads: int) -> None:
    """Do every photo of a folder on this many threads."""
    segmenter = load_segmenter(LocalSettings())
    steps = ClientSteps(Wanted(), Rules(fit=False, keep_pixels=True), "bare")
    for kind in ("masks", "cutouts"):
        (out / kind).mkdir(parents=True)

    def one(photo: Path) -> None:
        data = photo.read_bytes()
        prepared = Prepared.of(steps, steps.examine(data, len(data)))
        image, doubt = segmenter(prepared.upload.pixels())
        results = prepared.make(Segmentation(mask=Mask(image), doubt=doubt))
        assert results.mask is not None
        assert results.cutout is not None
        (out / "masks" / f"{photo.stem}.png").write_bytes(results.mask)
        (out / "cutouts" / f"{photo.stem}.png").write_bytes(results.cutout)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, sorted(photos.iterdir())))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
