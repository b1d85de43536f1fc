"""A plan's figures are the run's, whatever state an output folder is in."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from calling import Called
from conftest import KEY, SECRET, Ended, run_settings
from fake_answers import Answers, Images, Style
from fake_api import FakeApi
from fake_behaviour import Behaviour
from making import jpeg
from PIL import Image

from humanbody_cli.api import responses
from humanbody_cli.core.errors import PhotoError
from humanbody_cli.discovery.single import single
from humanbody_cli.discovery.sources import Rules, examine, sha256_of
from humanbody_cli.imaging import uploads
from humanbody_cli.pipeline.fingerprint import fingerprint_of
from humanbody_cli.storage.answer_spool import AnswerSpool

SEEDS = 6
STEPS = 6
REFUSED = "IMAGE_ERROR_UNSUPPORTED_FORMAT: image_file"
SCRIPT = (*("ok",) * 8, REFUSED, "INTERNAL_ERROR", "garbage", "missing")
NAMES = ("a.jpg", "a.png", "b.jpg", "B.jpg", "sub/a.jpg", "sub/b.jpg")
OPTIONS: tuple[tuple[str, ...], ...] = (
    *((), (), (), ("--edges", "soft"), ("--no-mask",), ("--no-cutout",), ("--fit",)),
    *(("--metadata", "keep"), ("--retry-failed",), ("--force",)),
    *(("--no-mask", "--edges", "soft"), ("--retry-failed", "--fit"), ("--max-calls", "1")),
)


def _contents() -> list[bytes]:
    """Photos: plain ones, two that are one upload once turned upright, one with transparency, two
    that only ``--fit`` takes; and one that is none."""
    plain = [_saved(Image.effect_noise((64 + number, 56), 60)) for number in range(5)]
    turned = jpeg(orientation=6)
    clear = Image.new("RGBA", (70, 60), (200, 90, 30, 128))
    small = [_saved(Image.effect_noise((40, 48 + number), 60)) for number in range(2)]
    return [*plain, turned, turned + b"\0", _saved(clear), *small, b"no picture at all"]


def _saved(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.convert("RGBA" if image.mode == "RGBA" else "RGB").save(file, "PNG")
    return file.getvalue()


@dataclass
class World:
    """Photos and an output folder, to which happens what happens to them."""

    folder: Path
    api: FakeApi
    seed: int
    history: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._contents = _contents()
        self._answers = Answers(Style())
        self._photos, self._out = self.folder / "photos", self.folder / "out"
        self._fingerprint = fingerprint_of(run_settings(self._photos, self._out, self.api.url))
        (self.folder / "key").write_text(f"api_key={KEY}\napi_secret={SECRET}\n")
        (self.folder / "key").chmod(0o600)
        self._photos.mkdir()
        for _ in range(5):
            self._write()

    # -- what happens ----------------------------------------------------------------------------

    def change(self) -> None:
        """A few of the things that happen between two runs."""
        kinds: tuple[Callable[[], None], ...] = (
            *(self._write, self._write, self._copy, self._rename, self._swap, self._touch),
            *(self._remove, self._lose_result, self._damage_result, self._lose_journal),
            *(self._keep_answer, self._keep_answer, self._keep_answer),
        )
        for _ in range(self._random.randint(1, 4)):
            kind = self._random.choice(kinds)
            with contextlib.suppress(FileNotFoundError, IndexError):
                kind()
                self.history.append(kind.__name__)

    def _somewhere(self) -> Path:
        path = self._photos / self._random.choice(NAMES)
        path.parent.mkdir(exist_ok=True)
        return path

    def _pick(self, folder: Path) -> Path:
        return self._random.choice(sorted(path for path in folder.rglob("*.*") if path.is_file()))

    def _write(self) -> None:
        self._somewhere().write_bytes(self._random.choice(self._contents))

    def _copy(self) -> None:
        with contextlib.suppress(shutil.SameFileError):
            shutil.copy(self._pick(self._photos), self._somewhere())

    def _rename(self) -> None:
        self._pick(self._photos).replace(self._somewhere())

    def _swap(self) -> None:
        one, other = self._pick(self._photos), self._pick(self._photos)
        spare = self.folder / "spare"
        for old, new in ((one, spare), (other, one), (spare, other)):
            if old.exists():
                old.rename(new)

    def _touch(self) -> None:
        os.utime(self._pick(self._photos), ns=(1, self._random.randint(1, 10**18)))

    def _remove(self) -> None:
        self._pick(self._photos).unlink()

    def _lose_result(self) -> None:
        self._pick(self._out / self._random.choice(("masks", "cutouts"))).unlink()

    def _damage_result(self) -> None:
        path = self._pick(self._out / self._random.choice(("masks", "cutouts")))
        path.write_bytes(path.read_bytes()[: self._random.choice((0, 60))])

    def _lose_journal(self) -> None:
        for path in (self._out / ".hbseg").glob("journal*"):
            path.unlink()

    def _keep_answer(self) -> None:
        """An answer is left that came just before the end of a killed run: mostly to a photo that
        is not done yet."""
        path = self._somewhere() if self._random.random() < 0.6 else self._pick(self._photos)
        if not path.exists() or self._random.random() < 0.5:
            size = (60 + self._random.randint(0, 99), 52 + self._random.randint(0, 99))
            path.write_bytes(_saved(Image.effect_noise(size, 60)))
        try:
            picture = examine(single(str(path)), Rules(fit=True))
        except PhotoError:
            return
        upload = uploads.prepare(picture, fit=self._random.random() < 0.5)
        body = self._damaged(self._answers.images(upload.data))
        self._out.mkdir(exist_ok=True)
        name = self._fingerprint.answer_name(sha256_of(upload.picture))
        AnswerSpool(str(self._out), forget=True).of(name).keep(body)

    def _damaged(self, images: Images) -> bytes:
        """The body of an answer: whole, without one of the images, or cut short."""
        mask, cutout = images.result, images.body_image
        parts = self._random.choice(((mask, cutout), (mask, cutout), (mask, None), (None, cutout)))
        body = responses.success_body(responses.Success("request", "image", 7, *parts))
        return body if self._random.random() < 0.7 else body[: self._random.randint(0, len(body))]

    # -- what has to hold ------------------------------------------------------------------------

    def step(self) -> None:
        """A plan, then the run."""
        options = self._random.choice(OPTIONS)
        self.history.append(f"run {options}")
        before = self._tree()
        planned = json.loads(self._called("plan", *options).out)
        assert self._tree() == before, "a plan writes nothing"
        calls = len(self.api.stats.calls)
        ended = self._called("segment", *options, "--retries", "0")
        sent = len(self.api.stats.calls) - calls
        told = (f"seed {self.seed}", self.history, planned, ended.err)
        if ended.code == 5:
            assert sent == 1 < planned["calls"], told
        else:
            figures = _figures(ended, sent)
            assert ended.code in {0, 3}, told
            assert figures == {name: planned[name] for name in figures}, told

    def _called(self, command: str, *options: str) -> Ended:
        where = ("photos", "-o", "out", "--endpoint", self.api.url, "--qps", "2000")
        key = ("--credentials", "key", "--engine", "api")
        return Called(self.folder)(command, *where, *key, *options, "--json")

    def _tree(self) -> dict[Path, bytes]:
        """Every file but the two that SQLite reads a journal through."""
        files = (path for path in self._out.rglob("*") if path.is_file())
        return {path: path.read_bytes() for path in files if "sqlite3-" not in path.name}


def _figures(ended: Ended, calls: int) -> dict[str, Any]:
    """A run's records as a plan counts them. Where a copy shares a failure of this very run, which
    nobody could foretell, calls and settled photos are what can be compared."""
    passed = [record for record in ended.records if record.get("skipped")]
    records = [record for record in ended.records if not record.get("skipped")]
    settled = Counter(record["status"] for record in passed)
    sent = {record["sha256"] for record in records if record["attempts"]}
    not_sent = [one for one in records if one["status"] == "failed" and not one["attempts"]]
    if any(record["sha256"] in sent for record in not_sent):
        return {"calls": calls, "settled": settled}
    left_out = [*not_sent, *(one for one in records if one["status"] == "rejected")]
    photos = len(records) - len(left_out)
    return {
        "calls": calls,
        "photos": photos,
        "copies": photos - calls,
        "rejected": Counter(record["code"] for record in left_out),
        "settled": settled,
    }


@contextlib.contextmanager
def _world(folder: Path, seed: int) -> Iterator[World]:
    choose = random.Random(seed)
    script = tuple(choose.choice(SCRIPT) for _ in range(200))
    with FakeApi.in_thread(Behaviour(script=script)) as api:
        yield World(folder, api, seed)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_plans_figures_are_the_runs(tmp_path: Path, seed: int) -> None:
    """Calls, copies, rejects and settled photos of a plan are those of the run that follows; the
    plan itself changes no file of the output folder."""
    with _world(tmp_path, seed) as world:
        for _ in range(STEPS):
            world.step()
            world.change()
