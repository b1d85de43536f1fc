"""`hbseg serve` beside `rembg s` with its lightest model: the same photos, one machine, one run.

    python benchmarks/bench_server.py [--rembg PATH] [--photos FOLDER] [--calls N] [--json]

For each server: answers per second with 8 clients, the median and the 99th percentile of a call's
time, and the peak memory of its processes. rembg's weights, u2netp.onnx, are taken from where rembg
looks for them ($U2NET_HOME first); if they are missing, that half is skipped and the output says
so. The output names the file by its SHA-256: a file with the same graph and other values is as fast
and as large as the published one, but its cutouts are meaningless, and the output says so too.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

CLIENTS = 8
ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = {".jpg", ".jpeg", ".png"}
# The u2netp.onnx of rembg's own releases.
PUBLISHED = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"


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
    """What was measured. Times in milliseconds, memory in megabytes."""

    name: str
    calls: int
    failed: int
    per_second: float
    p50: float
    p99: float
    peak_memory: float


@contextlib.contextmanager
def hbseg() -> Iterator[Target]:
    """Our own server, as it comes."""
    command = [sys.executable, "-m", "humanbody_cli", "serve", "--port", "0"]
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
def rembg(executable: str) -> Iterator[Target]:
    """rembg's server with u2netp, its lightest model; cutouts as PNG."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [executable, "s", "--host", "127.0.0.1", "--port", str(port), "--no-ui"],
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
    body, kind = target.request(photo)
    connection.request("POST", target.path, body, {"Content-Type": kind})
    response = connection.getresponse()
    return len(response.read()) > 1000 and response.status == 200


def run(target: Target, photos: list[bytes], calls: int) -> Figures:
    """``calls`` calls from ``CLIENTS`` clients, each on a connection of its own."""
    warm = http.client.HTTPConnection("127.0.0.1", target.port, timeout=300)
    for photo in photos:
        if not post(target, warm, photo):
            raise RuntimeError(f"{target.name} does not answer as it should")
    warm.close()
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

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    return Figures(
        name=target.name,
        calls=calls,
        failed=len(failures),
        per_second=round(len(times) / elapsed, 2),
        p50=round(statistics.median(times), 1),
        p99=round(statistics.quantiles(times, n=100)[98], 1),
        peak_memory=round(peak_memory(target.process.pid), 1),
    )


def peak_memory(pid: int) -> float:
    """Peak megabytes (VmHWM) of a process and its children, added up."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(found[1] if found else 0) / 1024 + sum(peak_memory(int(child)) for child in children)


@dataclass(frozen=True)
class Weights:
    """The file of weights that rembg loads."""

    file: str
    sha256: str
    published: bool

    def __str__(self) -> str:
        kind = "the published file" if self.published else "a stand-in, not the published file"
        return f"{self.file}, sha256 {self.sha256[:12]} ({kind})"


def find_weights() -> Weights | None:
    """What rembg will load, looked for where it looks: by model, then in its old flat folder."""
    given, data = os.environ.get("U2NET_HOME"), os.environ.get("XDG_DATA_HOME")
    home = os.environ.get("REMBG_HOME", f"{data}/rembg" if data else "~/.rembg")
    flat = f"{data or '~'}/.u2net"
    for place in (f"{given or home}/models/u2netp", given or flat):
        path = Path(place).expanduser() / "u2netp.onnx"
        if path.exists():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            return Weights(path.name, digest, digest == PUBLISHED)
    return None


def why_no_rembg(executable: str | None, weights: Weights | None) -> str | None:
    """Why rembg cannot be measured, if so."""
    if executable is None:
        return "rembg is not installed (pip install 'rembg[cpu,cli]', --rembg PATH)"
    if weights is None:
        return "its weights (u2netp.onnx) are not here and are not downloaded; see $U2NET_HOME"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rembg", default=shutil.which("rembg"), help="the rembg command")
    parser.add_argument("--photos", type=Path, default=ROOT / "sample_images")
    parser.add_argument("--calls", type=int, default=160)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = sorted(p for p in options.photos.rglob("*") if p.suffix.lower() in SUFFIXES)
    photos = [path.read_bytes() for path in found]
    with hbseg() as target:
        results = [run(target, photos, options.calls)]
    weights = find_weights()
    missing = why_no_rembg(options.rembg, weights)
    if missing is None:
        with rembg(options.rembg) as target:
            results.append(run(target, photos, options.calls))
    if options.json:
        used = asdict(weights) if weights and missing is None else None
        answer = {"results": [asdict(each) for each in results], "rembg": missing, "weights": used}
        print(json.dumps(answer))
        return
    print(f"{len(photos)} photos, {options.calls} calls, {CLIENTS} clients, {os.cpu_count()} cores")
    for each in results:
        print(
            f"{each.name:18} {each.per_second:7.2f} answers/s   p50 {each.p50:8.1f} ms   "
            f"p99 {each.p99:8.1f} ms   peak {each.peak_memory:7.1f} MB   {each.failed} failed"
        )
    if missing:
        print(f"rembg s (u2netp)   not measured: {missing}")
    else:
        print(f"rembg's weights: {weights}")


if __name__ == "__main__":
    main()
