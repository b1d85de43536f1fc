"""Random trees, inputs, options and kills: whose picture is at each name afterwards?

``python tests/support/identity_harness.py --seeds 50`` runs it alone; `test_identity.py`
is the test.

Every content of a photo has a size of its own, and the fake API answers in that size: so a mask or
cutout tells by its size which bytes it was made of. Two fakes with different colours tell which
server a cutout came from, and a gray mask's steps tell soft edges from hard ones.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dying_run import DIED
from fake_answers import Style
from fake_api import FakeApi
from fake_behaviour import Behaviour
from finding import unclaimed_in, where
from identity_choices import CONTENTS, FOLDERS, INPUTS, NAMES, OPTIONS, Invocation, content_of
from PIL import Image
from waiting import COMMAND_PATH

SUPPORT = Path(__file__).resolve().parent
ROOT = SUPPORT.parents[1]


@dataclass
class World:
    """A folder of photos that changes, and an output folder that has to follow it."""

    folder: Path
    seed: int
    problems: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._contents = [content_of(number) for number in range(CONTENTS)]
        self._sizes = {data: Image.open(io.BytesIO(data)).size for data in self._contents}
        self.photos = self.folder / "photos"
        self.out = self.folder / "out"
        for name in ("photos/sub", "other", "real/deep"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "link").symlink_to("real/deep")
        for _ in range(8):
            self._write()
        (self.folder / "real/a.jpg").write_bytes(self._contents[0])

    # -- the photos ------------------------------------------------------------------------------

    def _somewhere(self) -> Path:
        top = self.photos if self._random.random() < 0.85 else self.folder / "other"
        return top / self._random.choice(FOLDERS) / self._random.choice(NAMES)

    def _files(self) -> list[Path]:
        tops = (self.photos, self.folder / "other")
        return sorted(path for top in tops for path in top.rglob("*") if path.is_file())

    def change(self) -> None:
        """Do something to the photos that users do."""
        kinds: list[Callable[[], None]] = [
            *(self._write, self._write, self._remove, self._rename, self._swap, self._copy),
            *(self._touch, self._spoil, self._link_file, self._link_folder, self._lose_journal),
        ]
        for _ in range(self._random.randint(1, 3)):
            kind = self._random.choice(kinds)
            with contextlib.suppress(OSError):  # a link in the way, a folder that is none
                kind()
                self.history.append(kind.__name__)

    def _write(self) -> None:
        path = self._somewhere()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._random.choice(self._contents))
        if self._random.random() < 0.4:  # cp -p, rsync -t: older than what was there
            os.utime(path, (1_000_000_000, 1_000_000_000 + self._random.randint(0, 3)))

    def _pick(self) -> Path:
        files = self._files()
        return self._random.choice(files) if files else self._somewhere()

    def _remove(self) -> None:
        self._pick().unlink()

    def _rename(self) -> None:
        target = self._somewhere()
        target.parent.mkdir(parents=True, exist_ok=True)
        self._pick().replace(target)

    def _swap(self) -> None:
        one, other, spare = self._pick(), self._pick(), self.folder / "spare"
        one.rename(spare)
        other.rename(one)
        spare.rename(other)

    def _copy(self) -> None:
        target = self._somewhere()
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(self._pick(), target)

    def _touch(self) -> None:
        os.utime(self._pick())

    def _spoil(self) -> None:
        self._pick().write_bytes(b"no picture at all")

    def _link_file(self) -> None:
        target = self._somewhere()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(self._pick())

    def _link_folder(self) -> None:
        (self.photos / self._random.choice(("sub", "A", "x")) / "linked").symlink_to(
            self.folder / "other"
        )

    def _lose_journal(self) -> None:
        if self._random.random() < 0.3:
            for path in (self.out / ".hbseg").glob("journal*"):
                path.unlink()

    # -- the command -----------------------------------------------------------------------------

    def invocation(self, servers: int) -> Invocation:
        """A command line of the kinds that users write."""
        options = self._random.choice(OPTIONS)
        server = self._random.choice((0, 0, 0, *range(1, servers)))
        if self._random.random() < 0.3:
            return self._listed(options, server)
        inputs = tuple(
            name for name in self._random.choice(INPUTS) if (self.folder / name).exists()
        )
        return Invocation(inputs or ("photos",), options, server)

    def _listed(self, options: tuple[str, ...], server: int) -> Invocation:
        names = [*sorted(self.photos.rglob("*")), self.photos]
        self._random.shuffle(names)
        lines = [os.path.relpath(name, self.folder) for name in names]
        lines += self._random.sample(lines, min(2, len(lines)))
        text = b"\0".join(map(os.fsencode, lines))
        if self._random.random() < 0.5:
            (self.folder / "list").write_bytes(text)
            return Invocation(("--from-file", "list", "-0"), options, server)
        return Invocation(("--from-file", "-", "-0"), options, server, text)

    def run(self, invocation: Invocation, apis: list[FakeApi], dies: int = 0) -> int:
        """The command in a process; its exit code. ``dies``: at this call to the disk."""
        program = [str(SUPPORT / "dying_run.py"), str(dies)] if dies else ["-m", "humanbody_cli"]
        ended = subprocess.run(
            [
                *(sys.executable, *program, "segment", *invocation.inputs, "-o", "out"),
                *("--endpoint", apis[invocation.server].url, "--qps", "500"),
                *invocation.options,
            ],
            cwd=self.folder,
            env={
                **{key: value for key, value in os.environ.items() if not key.startswith("HBSEG_")},
                "HBSEG_API_KEY": "key",
                "HBSEG_API_SECRET": "secret",
                "PYTHONPATH": COMMAND_PATH,
                "XDG_STATE_HOME": str(self.folder / "state"),
            },
            input=invocation.stdin,
            capture_output=True,
            timeout=120,
            check=False,
        )
        self.history.append(f"{invocation} dies={dies} -> {ended.returncode}")
        expected = (0, 3, DIED) if dies else (0, 3)
        if ended.returncode not in expected or b"Traceback" in ended.stderr:
            self._problem(f"exit {ended.returncode}: {ended.stderr.decode()[-1500:]}")
        return ended.returncode

    def _problem(self, text: str) -> None:
        self.problems.append(f"seed {self.seed}: {text}\n  " + "\n  ".join(self.history[-12:]))

    # -- what has to hold ------------------------------------------------------------------------

    def check(self, invocation: Invocation) -> None:
        """Every result is of its own photo with the options asked for, and no photo is lost."""
        records = {where(self.folder / record["source"]): record for record in self._records()}
        owners: dict[str, str] = {}
        for source in self._covered(invocation):
            record = records.get(source)
            if record is None:
                self._problem(f"{source} has no row")
            elif self._is_picture(source):
                self._check_done(source, record, invocation, owners)
            elif record["code"] == "UNREADABLE":
                continue  # nobody knows what it is now: what was made of it stays
            elif record["status"] != "rejected" or record["cutout"] or record["mask"]:
                self._problem(f"{source} is no picture: {record}")

    def _records(self) -> list[dict[str, Any]]:
        ended = subprocess.run(
            [sys.executable, "-m", "humanbody_cli", "status", str(self.out), "--json"],
            env={**os.environ, "PYTHONPATH": COMMAND_PATH},
            capture_output=True,
            check=True,
        )
        photos: list[dict[str, Any]] = json.loads(ended.stdout)["photos"]
        return photos

    def _covered(self, invocation: Invocation) -> list[str]:
        """The photos that this command line leads to, as absolute paths with links unresolved."""
        if "--from-file" in invocation.inputs:
            tops = [str(self.photos)]
        else:
            tops = [where(self.folder / name) for name in invocation.inputs]
        found: set[str] = set()
        for top in tops:
            if os.path.isfile(top):
                found.add(top)
            for folder, _, names in os.walk(top, followlinks=True):
                found |= {os.path.join(folder, name) for name in names}
        return sorted(found)

    def _leaves_photos_out(self, invocation: Invocation) -> bool:
        """Whether there may be photos that a command line does not lead to, with a row or without:
        what was set aside may be theirs."""
        known = {where(self.folder / record["source"]) for record in self._records()}
        return bool(known.difference(self._covered(invocation))) or unclaimed_in(self.out) > 0

    def _is_picture(self, source: str) -> bool:
        try:
            return Path(source).read_bytes() in self._sizes
        except OSError:
            return False

    def _check_done(
        self, source: str, record: dict[str, Any], invocation: Invocation, owners: dict[str, str]
    ) -> None:
        if record["status"] != "done":
            self._problem(f"{source} is {record}")
            return
        size = self._sizes[Path(source).read_bytes()]
        for kind in ("mask", "cutout"):
            path = record[kind]
            if path is None:
                if f"--no-{kind}" not in invocation.options:
                    self._problem(f"{source} has no {kind}")
                continue
            if owners.setdefault(path, source) != source:
                self._problem(f"{path} belongs to {source} and {owners[path]}")
            try:
                with Image.open(self.folder / path) as image:
                    image.load()
            except OSError as error:
                self._problem(f"{path}: {error}")
                continue
            if image.size != size:
                self._problem(f"{path} has {image.size}, {source} has {size}: another's picture")
            if kind == "cutout" and "--no-cutout" not in invocation.options:
                self._check_cutout(path, image, invocation)

    def _check_cutout(self, path: str, image: Image.Image, invocation: Invocation) -> None:
        steps = sum(image.getchannel("A").histogram()[1:255])
        if (steps > 0) is not invocation.is_soft:
            self._problem(f"{path} has {steps} half clear pixels")

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Every published file: bytes and time."""
        return {
            str(path): (path.read_bytes(), path.stat().st_mtime_ns)
            for kind in ("masks", "cutouts")
            for path in sorted((self.out / kind).rglob("*"))
            if path.is_file()
        }

    def check_rerun(self, invocation: Invocation, apis: list[FakeApi]) -> None:
        """The same command again makes no call and changes no file."""
        before, calls = self.files(), _calls(apis)
        self.run(invocation, apis)
        after = self.files()
        if _calls(apis) != calls:
            self._problem(f"a second run made {_calls(apis) - calls} calls")
        if after != before:
            changed = [name for name in {*before, *after} if before.get(name) != after.get(name)]
            self._problem(f"a second run changed {sorted(changed)[:4]}")
        litter = [str(path) for path in self.out.rglob("*.tmp")]
        if not any(one["status"] == "pending" or one["transient"] for one in self._records()):
            litter += [str(path) for path in (self.out / ".hbseg" / "answers").glob("*")]
        if not self._leaves_photos_out(invocation):
            replaced = (self.out / ".hbseg" / "replaced").glob("*")
            litter += [str(path) for path in replaced if not invocation.is_unwanted(path.name)]
        if litter:
            self._problem(f"left behind: {litter[:4]}")


def _calls(apis: list[FakeApi]) -> int:
    return sum(len(api.stats.calls) for api in apis)


def story(folder: Path, seed: int, *, steps: int = 5) -> list[str]:
    """One world for a while; what went wrong."""
    world = World(folder, seed)
    choose = random.Random(seed + 1)
    with (
        FakeApi.in_thread(Behaviour()) as one,
        FakeApi.in_thread(Behaviour(style=Style(true_colours=True))) as other,
    ):
        apis = [one, other]
        for _ in range(steps):
            invocation = world.invocation(len(apis))
            while choose.random() < 0.5:
                world.run(invocation, apis, dies=choose.randint(1, 60))
                if choose.random() < 0.5:
                    world.change()
                    invocation = world.invocation(len(apis))
            world.run(invocation, apis)
            world.check(invocation)
            world.check_rerun(invocation, apis)
            if world.problems:
                break
            world.change()
    return world.problems


def main() -> int:
    import tempfile

    parser = argparse.ArgumentParser(description="Whose picture is at each name?")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    bad = 0
    for seed in range(options.first, options.first + options.seeds):
        with tempfile.TemporaryDirectory(prefix="identity-") as folder:
            problems = story(Path(folder), seed, steps=options.steps)
        bad += bool(problems)
        print(f"seed {seed}: {problems[0] if problems else 'held'}", flush=True)  # noqa: T201 - for whoever started this process
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
