"""What stands at a name is another photo's until it proves otherwise: addresses, a lost journal."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from conftest import Hbseg, files, photo
from fake_api import FakeApi
from fake_behaviour import Behaviour
from PIL import Image

SMALL, LARGE = (96, 80), (120, 90)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@contextmanager
def _website(folder: Path) -> Iterator[str]:
    """The files of a folder, each by an address."""
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_photo_by_its_address_is_not_its_predecessor(
    paid: Hbseg, api: FakeApi, tmp_path: Path
) -> None:
    """An address has no time: where no row tells what its results are of, another photo of the same
    size behind it is sent; the same photo is not."""
    source = photo(tmp_path / "site/a.jpg", seed=1)
    with _website(tmp_path / "site") as site:
        arguments = ("segment", f"{site}/a.jpg", "-o", "out", "--endpoint", api.url)
        for seed, calls in ((1, 1), (1, 1), (2, 2)):
            photo(source, seed=seed)
            assert paid(*arguments).code == 0
            assert len(api.stats.calls) == calls
            with sqlite3.connect(tmp_path / "out/.hbseg/journal.sqlite3") as db:
                db.execute("DELETE FROM photos")
            db.close()


def test_an_older_photo_is_not_its_predecessor_after_a_damaged_journal(
    paid: Hbseg, api: FakeApi, tmp_path: Path
) -> None:
    """The journal was damaged and set aside: a photo that ``cp -p`` put in another's place, older
    than the results there, is sent, and the untouched one is not."""
    photo(tmp_path / "photos/untouched.jpg", seed=1)
    replaced = photo(tmp_path / "photos/replaced.jpg", seed=2)
    arguments = ("segment", "photos", "-o", "out", "--endpoint", api.url)
    assert paid(*arguments).code == 0
    before = files(tmp_path / "out")
    photo(replaced, seed=3)
    os.utime(replaced, (1_000_000_000, 1_000_000_000))
    for path in (tmp_path / "out/.hbseg").glob("journal*"):
        path.write_bytes(b"damaged" * 4096)
    ended = paid(*arguments)
    assert ended.code == 0, ended.err
    assert len(api.stats.calls) == 3
    after = files(tmp_path / "out")
    assert after["cutouts/untouched.png"] == before["cutouts/untouched.png"]


@pytest.mark.parametrize("listed", [False, True])
def test_a_name_is_not_freed_while_its_photo_is_in_flight(
    paid: Hbseg, tmp_path: Path, listed: bool
) -> None:
    """A photo of a folder below, met first by its own name and again in the walk while its call is
    under way: no other photo takes its place, and each has its own picture."""
    photo(tmp_path / "photos/sub/x.jpg", seed=1, size=SMALL)
    photo(tmp_path / "photos/x.jpg", seed=2, size=LARGE)
    with FakeApi.in_thread(Behaviour(latency=0.4)) as api:
        where = ("-o", "out", "--endpoint", api.url, "--json")
        names = ("photos/sub/x.jpg", "photos")
        for _ in range(2):
            if listed:
                words = "\n".join(names).encode()
                ended = paid("segment", "--from-file", "-", *where, stdin=words)
            else:
                ended = paid("segment", *names, *where)
            assert ended.code == 0, ended.err
            sizes = {}
            for record in ended.records:
                with Image.open(tmp_path / record["cutout"]) as image:
                    sizes[record["source"]] = image.size
            assert sizes == {"photos/sub/x.jpg": SMALL, "photos/x.jpg": LARGE}
            assert len(files(tmp_path / "out")) == 4
        assert len(api.stats.calls) == 2
