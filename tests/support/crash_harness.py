"""Kills the command again and again, and holds what is left against what was promised.

``python tests/support/crash_harness.py --kills 50 --seed 1`` runs it alone; `test_crash.py`
is the test.

The fake API counts the calls. A call is in flight at a kill while the fake has not answered it, and
while its answer is on its way: among the last that were sent before the kill, as many as may be in
flight at once, and neither kept nor published by the client. No client can do better than to
repeat those, for between the fake's last byte and the client's first look at it lie two sockets and
the turn of an event loop. No span of time is allowed for: until an answer is kept, its call has no
successor, so that no more than these can be on their way, however slow the machine is.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fake_api import FakeApi
from fake_behaviour import Behaviour, Call
from PIL import Image
from waiting import COMMAND_PATH

TREES = ("masks", "cutouts")


@dataclass(frozen=True)
class Plan:
    """What is done. The seed decides every moment."""

    seed: int
    kills: int = 50
    photos: int = 800
    concurrency: int = 8
    latency: tuple[float, float] = (0.02, 0.06)
    options: tuple[str, ...] = ()
    """Of the command; each of the folders in ``trees`` gets a file for each photo."""

    @property
    def trees(self) -> tuple[str, ...]:
        return tuple(tree for tree in TREES if f"--no-{tree[:-1]}" not in self.options)


@dataclass(frozen=True)
class Kill:
    """One kill: the calls that it may cost once more, as places in the fake's list."""

    unanswered: frozenset[int]
    on_their_way: frozenset[int]

    @property
    def in_flight(self) -> frozenset[int]:
        return self.unanswered | self.on_their_way


@dataclass
class Report:
    """What happened. ``problems`` is empty where every promise held."""

    plan: Plan
    kills: list[Kill] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    calls: int = 0
    seconds: float = 0.0

    @property
    def unanswered(self) -> int:
        return sum(len(kill.unanswered) for kill in self.kills)

    @property
    def on_their_way(self) -> int:
        return sum(len(kill.on_their_way) for kill in self.kills)

    def __str__(self) -> str:
        lines = [
            f"seed {self.plan.seed}: {len(self.kills)} kills, {self.plan.photos} photos, "
            f"{self.calls} calls, {self.seconds:.0f} s",
            f"in flight at the kills: {self.unanswered} unanswered, "
            f"{self.on_their_way} answers on their way",
            *(f"PROBLEM {problem}" for problem in self.problems),
        ]
        return "\n".join(lines)


class Harness:
    """One test: photos, a fake API, a command that is killed and resumed."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        self.report = Report(plan)
        self._random = random.Random(plan.seed)
        self._names = make_photos(folder / "photos", plan.photos)
        self._seen: dict[Path, tuple[int, int, int]] = {}

    def run(self) -> Report:
        """Kill, resume, compare."""
        started = time.monotonic()
        behaviour = Behaviour(latency=self.plan.latency, seed=self.plan.seed)
        with FakeApi.in_thread(behaviour) as api:
            out = self.folder / "out"
            for _ in range(self.plan.kills):
                self._killed_run(api, out)
                self._check_files(out)
            self._whole_run(api, out)
            self._check_calls(api.stats.calls)
            self._whole_run(api, out, calls=0)
            self._check_leftovers(out)
            self.report.calls = len(api.stats.calls)
            whole = self.folder / "uninterrupted"
            self._whole_run(api, whole, calls=self.plan.photos)
            self._compare(out, whole)
        self.report.seconds = time.monotonic() - started
        return self.report

    def _start(self, api: FakeApi, out: Path) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "HBSEG_API_KEY": "key",
            "HBSEG_API_SECRET": "secret",
            "PYTHONPATH": COMMAND_PATH,
            "XDG_STATE_HOME": str(self.folder / "state"),
        }
        command = [sys.executable, "-m", "humanbody_cli", "segment", str(self.folder / "photos")]
        command += ["-o", str(out), "--engine", "api", "--endpoint", api.url]
        command += ["--qps", "400", "--concurrency", str(self.plan.concurrency), *self.plan.options]
        log = self.folder / "stderr.txt"
        with log.open("wb") as stderr:
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )

    def _killed_run(self, api: FakeApi, out: Path) -> None:
        """Start, kill at a random moment, and count what was in flight."""
        before = len(api.stats.calls)
        with self._start(api, out) as process:
            self._wait_for_moment(api, process, before)
            process.kill()
            if process.wait() != -signal.SIGKILL:
                self.report.problems.append(
                    f"a run ended with {process.returncode}: {self._said()}"
                )
            at = time.monotonic()  # from here on it sends nothing and keeps nothing
        self._settle(api)
        calls = dict(enumerate(api.stats.calls[before:], before))
        answered = {
            place: call.answered
            for place, call in calls.items()
            if call.answered is not None and call.answered <= at
        }
        unanswered = frozenset(calls.keys() - answered.keys())
        late = sorted(answered, key=answered.__getitem__)[-self.plan.concurrency :]
        kept = self._kept(out)
        on_their_way = frozenset(
            place for place in late if not self._is_safe(out, calls[place], kept)
        )
        kill = Kill(unanswered, on_their_way)
        self.report.kills.append(kill)
        if len(kill.in_flight) > self.plan.concurrency:
            self.report.problems.append(f"{len(kill.in_flight)} calls in flight at once")

    def _wait_for_moment(self, api: FakeApi, process: subprocess.Popen[bytes], before: int) -> None:
        """One moment in four is anywhere from the very start; the others come with the calls, so
        that most kills hit a run at work on any machine."""
        if self._random.random() < 0.25:
            time.sleep(self._random.uniform(0, 0.6))
            return
        target = before + self._random.randint(1, 14)
        while len(api.stats.calls) < target and process.poll() is None:
            time.sleep(0.001)
        time.sleep(self._random.uniform(0, 0.08))

    def _settle(self, api: FakeApi) -> None:
        """Wait until the fake has noticed that the client is gone: requests that were on their way
        are then counted with this kill."""
        end = time.monotonic() + 5
        while api.connections and time.monotonic() < end:
            time.sleep(0.001)

    def _kept(self, out: Path) -> set[bytes]:
        """The uploads (the fake's ``image_id``) whose answers are kept as they came. A file's own
        name is the client's affair; an answer cut short by the kill is none."""
        found = set()
        for path in (out / ".hbseg" / "answers").glob("*"):
            with contextlib.suppress(ValueError):
                answer = json.loads(path.read_bytes().partition(b"\n")[2])
                found.add(base64.b64decode(answer["image_id"]))
        return found

    def _is_safe(self, out: Path, call: Call, kept: set[bytes]) -> bool:
        """Whether an answer reached the client's disk: kept as it came, or published."""
        if bytes.fromhex(call.upload)[:16] in kept:
            return True
        name = self._names[call.upload]
        return all((out / tree / name).exists() for tree in self.plan.trees)

    def _check_files(self, out: Path) -> None:
        """Every file at a final name is whole, whenever the kill came."""
        for tree in self.plan.trees:
            for path in (out / tree).rglob("*"):
                status = path.stat()
                mark = (status.st_ino, status.st_mtime_ns, status.st_size)
                if path.is_dir() or path.name.startswith(".") or self._seen.get(path) == mark:
                    continue
                self._seen[path] = mark
                try:
                    with Image.open(path) as image:
                        image.load()
                except (OSError, SyntaxError) as error:
                    self.report.problems.append(f"{path} does not decode: {error}")

    def _check_leftovers(self, out: Path) -> None:
        """Nothing half written, kept or set aside stays behind runs that ended."""
        left = [*out.rglob("*.tmp"), *(out / ".hbseg" / "answers").iterdir()]
        self.report.problems += [f"{path} was left behind" for path in left]

    def _whole_run(self, api: FakeApi, out: Path, calls: int | None = None) -> None:
        before = len(api.stats.calls)
        with self._start(api, out) as process:
            code = process.wait(60)
        made = len(api.stats.calls) - before
        if code:
            self.report.problems.append(f"a run to the end has exit code {code}: {self._said()}")
        if calls is not None and made != calls:
            self.report.problems.append(f"{made} calls in a run that needs {calls}")

    def _said(self) -> str:
        return (self.folder / "stderr.txt").read_text(errors="replace")[-500:]

    def _check_calls(self, calls: list[Call]) -> None:
        """No call beyond those in flight at the kills, in all and photo by photo."""
        problems = self.report.problems
        counts = Counter(call.upload for call in calls)
        if len(counts) != self.plan.photos:
            problems.append(f"{len(counts)} of {self.plan.photos} photos were sent")
        allowed = self.plan.photos + self.report.unanswered + self.report.on_their_way
        if len(calls) > allowed:
            problems.append(f"{len(calls)} calls, at most {allowed} are allowed")
        in_flight = frozenset[int]().union(*(kill.in_flight for kill in self.report.kills))
        last: dict[str, int] = {}
        for place, call in enumerate(calls):
            paid = last.get(call.upload)
            last[call.upload] = place
            if paid is not None and paid not in in_flight:
                problems.append(f"{self._names[call.upload]} was paid for twice without a kill")

    def _compare(self, out: Path, whole: Path) -> None:
        """The same files with the same bytes."""
        found, expected = (
            {
                str(path.relative_to(root)): path.read_bytes()
                for tree in self.plan.trees
                for path in (root / tree).rglob("*")
                if path.is_file()
            }
            for root in (out, whole)
        )
        if len(expected) != len(self.plan.trees) * self.plan.photos:
            self.report.problems.append(f"the uninterrupted run made {len(expected)} files")
        for name in sorted(found.keys() | expected.keys()):
            if found.get(name) != expected.get(name):
                self.report.problems.append(f"{name} differs from the uninterrupted run's")


def make_photos(folder: Path, count: int) -> dict[str, str]:
    """Distinct small photos in a few folders: sha256 of each -> its output's name."""
    file = io.BytesIO()
    Image.effect_noise((64, 48), 40).convert("RGB").save(file, "JPEG")
    picture = file.getvalue()
    names = {}
    for number in range(count):
        comment = f"photo {number:06}".encode()
        marker = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        data = picture[:2] + marker + picture[2:]
        path = folder / f"{number % 3}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        name = path.relative_to(folder).with_suffix(".png")
        names[hashlib.sha256(data).hexdigest()] = str(name)
    return names


def main() -> int:
    import tempfile

    parser = argparse.ArgumentParser(description="Kill the command at random moments.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--photos", type=int, default=800)
    parser.add_argument("options", nargs="*", help="of the command, behind --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        plan = Plan(options.seed, options.kills, options.photos, options=tuple(options.options))
        report = Harness(Path(folder), plan).run()
    print(report)  # noqa: T201 - for whoever started this process
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
