"""`hbseg serve` beside `rembg s` with its lightest model: the same photos. ``make bench-server``

For 1, 8 and 64 clients, each on a connection of its own: answers per second, and the 99th
percentile of a call's time. The servers run one after the other, in pairs.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import re
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import ROOT
from peers import REMBG, prepare_rembg
from rows import Row, median_ratio, report

CLIENTS = (1, 8, 64)
REPEAT = 0.1
"""Seconds until a refused call is made again; they count as part of its time."""
SUFFIXES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class Target:
    """A running server: where a photo is posted, under which name, with which other fields."""

    name: str
    process: subprocess.Popen[str]
    port: int
    path: str
    part: str
    fields: tuple[tuple[str, str], ...]

    def request(self, photo: bytes) -> tuple[bytes, str]:
        """A multipart body and its content type."""
        mark = secrets.token_hex(8)
        head = "".join(
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in self.fields
        )
        head += (
            f'--{mark}\r\nContent-Disposition: form-data; name="{self.part}"; filename="a"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = head.encode() + photo + f"\r\n--{mark}--\r\n".encode()
        return body, f"multipart/form-data; boundary={mark}"


@dataclass(frozen=True)
class Figures:
    """What was measured: answers per second, the 99th percentile of a call in milliseconds, and
    the peak megabytes of the processes."""

    per_second: float
    p99: float
    peak_memory: float


@contextlib.contextmanager
def hbseg() -> Iterator[Target]:
    """Our own server, as it comes."""
    command = [sys.executable, "-m", "humanbody_cli", "serve", "--port", "0", "--queue", "64"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    try:
        said = process.stdout.readline() + process.stdout.readline()
        words = dict(word.split("=", 1) for word in said.split())
        port = int(words.pop("endpoint").rpartition(":")[2])
        fields = tuple(words.items())
        yield Target("hbseg serve", process, port, "/humanbodypp/v2/segment", "image_file", fields)
    finally:
        stop(process)


@contextlib.contextmanager
def rembg() -> Iterator[Target]:
    """rembg's server with u2netp, its lightest model; cutouts as PNG."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [str(REMBG), "s", "--host", "127.0.0.1", "--port", str(port), "--no-ui"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for_port(process, port)
        fields = (("model", "u2netp"),)
        yield Target("rembg s (u2netp)", process, port, "/api/remove", "file", fields)
    finally:
        stop(process)


def wait_for_port(process: subprocess.Popen[str], port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise RuntimeError("rembg s did not start")


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def post(target: Target, connection: http.client.HTTPConnection, photo: bytes) -> bool:
    """One call, repeated where a server that is full refuses it, as its clients do."""
    body, kind = target.request(photo)
    while True:
        connection.request("POST", target.path, body, {"Content-Type": kind})
        response = connection.getresponse()
        answer = response.read()
        if response.status != 403 or b"CONCURRENCY_LIMIT_EXCEEDED" not in answer:
            return len(answer) > 1000 and response.status == 200
        time.sleep(REPEAT)


def measure(target: Target, photos: list[bytes], calls: int, clients: int) -> Figures:
    """``calls`` calls from this many clients, each on a connection of its own."""
    numbers = itertools.count()
    times: list[float] = []
    failures: list[int] = []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=300)
        while (number := next(numbers)) < calls:
            started = time.perf_counter()
            if post(target, connection, photos[number % len(photos)]):
                times.append((time.perf_counter() - started) * 1000)
            else:
                failures.append(number)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    if failures:
        raise SystemExit(f"{target.name}: {len(failures)} of {calls} calls failed")
    p99 = statistics.quantiles(times, n=100)[98]
    return Figures(calls / elapsed, p99, peak_memory(target.process.pid))


def peak_memory(pid: int) -> float:
    """Peak megabytes (VmHWM) of a process and its children, added up."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(found[1] if found else 0) / 1024 + sum(peak_memory(int(child)) for child in children)


def warm(target: Target, photos: list[bytes]) -> None:
    """Each photo once: the models are loaded, and every answer is as it should be."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=300)
    for photo in photos:
        if not post(target, connection, photo):
            raise SystemExit(f"{target.name} does not answer as it should")
    connection.close()


def all_figures(photos: list[bytes], calls: int, rounds: int) -> list[dict[int, list[Figures]]]:
    """For hbseg and for rembg: by number of clients, the figures of each round."""
    found: list[dict[int, list[Figures]]] = [{number: [] for number in CLIENTS} for _ in range(2)]
    for number in range(rounds):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for which in order:
            with (hbseg, rembg)[which]() as target:
                print(f"{target.name}, round {number + 1} ...", file=sys.stderr, flush=True)
                warm(target, photos)
                for clients, figures in found[which].items():
                    figures.append(measure(target, photos, max(calls, clients * 2), clients))
    return found


def rows_of(ours: dict[int, list[Figures]], theirs: dict[int, list[Figures]]) -> list[Row]:
    """Answers per second and p99 at each number of clients."""
    rows = []
    for clients in CLIENTS:
        name = f"hbseg serve, {clients} client{'s' if clients > 1 else ''}"
        rate = [[one.per_second for one in side[clients]] for side in (ours, theirs)]
        slow = [[one.p99 for one in side[clients]] for side in (ours, theirs)]
        detail = f"{statistics.median(rate[0]):.1f}/s, {ours[clients][-1].peak_memory:.0f} MB"
        rows.append(Row(name, "rembg s", "answers/s", median_ratio(*rate), 8, detail=detail))
        told = f"{statistics.median(slow[0]):.0f} ms"
        rows.append(Row(name, "rembg s", "p99", median_ratio(*slow), 1, True, told))
    return rows


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, default=ROOT / "sample_images")
    parser.add_argument("--calls", type=int, default=80, help="in each round, at least")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    found = sorted(p for p in options.photos.rglob("*") if p.suffix.lower() in SUFFIXES)
    photos = [path.read_bytes() for path in found]
    with tempfile.TemporaryDirectory(prefix="bench-server-") as folder:
        prepare_rembg(Path(folder))
        return report(rows_of(*all_figures(photos, options.calls, options.rounds)), options.json)


if __name__ == "__main__":
    sys.exit(main())
