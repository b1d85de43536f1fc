"""Feeds a watched folder in every way at once while the watcher is killed, and checks what it did.

``PYTHONPATH=tests python tests/support/watch_harness.py --files 500 --kills 8 --seed 1`` runs it
alone; `test_watch.py` has the test.

A file arrives by a slow copy in place, by a copy under a name such as ``x.jpg.part`` that is then
renamed, by a move from elsewhere, or in a new subfolder. Some are replaced or renamed later. In the
end the folder is compared with the output, and the fake API's calls with the bytes that were ever
whole in the folder: any other call was for a half copy.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from conftest import photo
from fake_api import FakeApi
from fake_behaviour import Behaviour
from waiting import COMMAND_PATH

from humanbody_cli.imaging import proof
from humanbody_cli.storage.journal import Journal

CONCURRENCY = 8
"""Calls in flight at most: a kill may cost each of them once more. See `crash_harness`."""


@dataclass(frozen=True)
class Plan:
    """What is done; the seed decides how."""

    seed: int
    files: int = 500
    kills: int = 8
    settle: float = 0.5
    polls: bool = False
    writers: int = 4
    stall: float = 0.9
    """Seconds for which a slow copy stands still at most: longer than ``settle``."""


@dataclass
class Report:
    """What happened. ``problems`` is empty where every promise held."""

    plan: Plan
    calls: int = 0
    repeated: int = 0
    unanswered: int = 0
    seconds: float = 0.0
    ways: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(
            [
                f"seed {self.plan.seed}: {self.plan.files} files, {self.plan.kills} kills, "
                f"{dict(sorted(self.ways.items()))}",
                f"{self.calls} calls, {self.repeated} repeated; {self.unanswered} were unanswered "
                f"at the kills; {self.seconds:.0f} s",
                *(f"PROBLEM {problem}" for problem in self.problems),
            ]
        )


class Harness:
    """One test."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.plan = plan
        self.report = Report(plan)
        self._folder = folder
        self._inbox, self._out, self._away = (folder / name for name in ("in", "out", "away"))
        for path in (self._inbox, self._away):
            path.mkdir()
        self._whole: set[str] = set()  # digests of all bytes that were ever whole in the inbox
        self._guard = threading.Lock()

    def run(self) -> Report:
        """Feed and kill, then wait until all is done, and compare."""
        started = time.monotonic()
        with FakeApi.in_thread(Behaviour(latency=(0.02, 0.08), seed=self.plan.seed)) as api:
            writers = [
                threading.Thread(target=self._feed, args=(number,))
                for number in range(self.plan.writers)
            ]
            process = self._start(api)
            for writer in writers:
                writer.start()
            dice = random.Random(self.plan.seed)
            for kill in range(self.plan.kills):
                share = (kill + 1) / (self.plan.kills + 1)
                self._wait_for_calls(api, round(share * 0.8 * self.plan.files))
                time.sleep(dice.uniform(0, 0.1))
                self._kill(process, api)
                process = self._start(api)
            for writer in writers:
                writer.join()
            self._wait_until_done()
            process.send_signal(signal.SIGTERM)
            if (code := process.wait(60)) != 143:
                self.report.problems.append(f"the watcher ended with {code}: {self._said()}")
            self._compare(api)
        self.report.seconds = time.monotonic() - started
        return self.report

    # -- the watcher -----------------------------------------------------------------------------

    def _start(self, api: FakeApi) -> subprocess.Popen[bytes]:
        keys = {"HBSEG_API_KEY": "key", "HBSEG_API_SECRET": "secret"}
        paths = {"PYTHONPATH": COMMAND_PATH, "XDG_STATE_HOME": str(self._folder / "state")}
        command = [sys.executable, "-m", "humanbody_cli", "watch", str(self._inbox)]
        command += ["-o", str(self._out), "--engine", "api", "--endpoint", api.url, "--qps", "200"]
        command += [
            "--concurrency",
            str(CONCURRENCY),
            "--settle",
            str(self.plan.settle),
            "--no-sync",
        ]
        command += ["--poll"] if self.plan.polls else []
        with (self._folder / "stderr.txt").open("ab") as stderr:
            return subprocess.Popen(
                command,
                env={**os.environ, **keys, **paths},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )

    def _said(self) -> str:
        return (self._folder / "stderr.txt").read_text()[-2000:]

    def _wait_for_calls(self, api: FakeApi, calls: int) -> None:
        end = time.monotonic() + 60
        while len(api.stats.calls) < calls and time.monotonic() < end:
            time.sleep(0.005)

    def _kill(self, process: subprocess.Popen[bytes], api: FakeApi) -> None:
        """Kill it; calls that were unanswered, or whose answer was on its way, may be repeated."""
        self.report.unanswered += api.stats.in_flight
        process.kill()
        if process.wait() != -signal.SIGKILL:
            self.report.problems.append(f"the watcher ended by itself: {self._said()}")

    def _wait_until_done(self) -> None:
        """Until the journal says of every file that it is done as it is now."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with contextlib.suppress(Exception):
                if not self._undone():
                    return
            time.sleep(0.3)
        self.report.problems.append(f"not done in time: {self._undone()[:5]}; {self._said()}")

    def _undone(self) -> list[str]:
        journal = Journal(str(self._out), read_only=True)
        try:
            rows = {one.source: one for one in journal.outcomes("done", absolute=True)}
        finally:
            journal.close()
        return [
            str(path)
            for path in self._files()
            if str(path) not in rows or rows[str(path)].sha256 != _digest(path.read_bytes())
        ]

    def _files(self) -> list[Path]:
        return [path for path in sorted(self._inbox.rglob("*.jpg")) if path.is_file()]

    # -- what arrives ----------------------------------------------------------------------------

    def _feed(self, writer: int) -> None:
        dice = random.Random(f"{self.plan.seed} {writer}")
        mine: list[Path] = []
        for index in range(writer, self.plan.files, self.plan.writers):
            path = (
                self._inbox / dice.choice((".", "a", "b/c", f"new{index // 25}")) / f"{index}.jpg"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            way = dice.choices(("slowly", "part", "moved", "at once"), (4, 2, 3, 3))[0]
            self._arrive(path, self._bytes(index), way, dice)
            mine.append(path)
            if dice.random() < 0.1:
                self._arrive(mine[-1], self._bytes(index + 10_000), "replaced", dice)
            if dice.random() < 0.1:
                old = mine.pop(dice.randrange(len(mine)))
                new = old.with_name(f"renamed-{old.name}")
                old.rename(new)
                self.report.ways["renamed"] += 1

    def _bytes(self, seed: int) -> bytes:
        path = photo(self._away / f"{seed}.jpg", seed=seed)
        data = path.read_bytes()
        path.unlink()
        note = f"photo {seed}".encode()  # a comment: no two files are the same
        data = data[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + data[2:]
        with self._guard:
            self._whole.add(_digest(data))
            self.report.ways["files"] += 1
        return data

    def _arrive(self, path: Path, data: bytes, way: str, dice: random.Random) -> None:
        with self._guard:
            self.report.ways[way] += 1
        if way in ("moved", "replaced"):
            away = self._away / f"{threading.get_ident()}.jpg"
            away.write_bytes(data)
            away.rename(path)
        elif way == "at once":
            path.write_bytes(data)
        else:
            place = path.with_name(f"{path.name}.part") if way == "part" else path
            with place.open("wb") as file:
                for cut in range(0, len(data), len(data) // 3 + 1):
                    file.write(data[cut : cut + len(data) // 3 + 1])
                    file.flush()
                    time.sleep(dice.choice((0.0, 0.02, 0.05, dice.uniform(0, self.plan.stall))))
            place.rename(path)

    # -- what came of it -------------------------------------------------------------------------

    def _compare(self, api: FakeApi) -> None:
        calls = Counter(call.upload for call in api.stats.calls)
        self.report.calls = sum(calls.values())
        self.report.repeated = self.report.calls - len(calls)
        problems = self.report.problems
        if halves := calls.keys() - self._whole:
            problems.append(f"{len(halves)} calls for bytes that were never a whole file")
        if self.report.repeated > self.plan.kills * CONCURRENCY:
            problems.append(f"{self.report.repeated} calls more than once")
        journal = Journal(str(self._out), read_only=True)
        try:
            rows = {one.source: one for one in journal.outcomes(absolute=True)}
        finally:
            journal.close()
        for path in self._files():
            row, digest = rows.get(str(path)), _digest(path.read_bytes())
            for made in (row.mask, row.cutout) if row else ():
                inside = proof.peek(str(made))
                if inside is None or inside.sha256 != digest:
                    problems.append(f"{made} is not of {path}")
        # A file that was renamed while it was in flight may have left a row under its old name.
        names = {str(path) for path in self._files()}
        waiting = [
            source for source, row in rows.items() if row.status.value != "done" and source in names
        ]
        if waiting:
            problems.append(f"{len(waiting)} rows are not done, such as {waiting[0]}")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description="Kills the watcher while files arrive.")
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--poll", action="store_true")
    options = parser.parse_args()
    plan = Plan(options.seed, options.files, options.kills, polls=options.poll)
    with tempfile.TemporaryDirectory() as folder:
        report = Harness(Path(folder), plan).run()
    print(report)  # noqa: T201 - the program's output
    sys.exit(bool(report.problems))


if __name__ == "__main__":
    main()
