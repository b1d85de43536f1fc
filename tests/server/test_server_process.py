"""The server as a process: bugs, signals, workers, and options that keep it from starting."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest
from server_fixture import (
    PORTRAIT,
    command,
    connect,
    is_in_flight,
    message,
    running,
    script,
    takes_calls,
)
from waiting import PATIENCE, until


def test_bug_is_an_internal_error() -> None:
    """The client gets INTERNAL_ERROR, the log the traceback, and the server lives on."""
    broken = (
        "import humanbody_cli.server.worker as worker\n"
        "def broken(image): raise RuntimeError('only the log may know')\n"
        "worker.load_segmenter = lambda settings: broken\n"
    )
    with running(script=script("workers=1", before=broken)) as server:
        for _ in range(2):
            answer = server.post(image=PORTRAIT)
            assert (answer.status_code, message(answer)) == (500, "INTERNAL_ERROR")
            assert "only" not in answer.text
            assert set(answer.json()) == {"error_message", "request_id", "time_used"}
        log = server.log.read_text()
    assert "RuntimeError: only the log may know" in log
    assert answer.json()["request_id"] in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_finishes_answers_in_flight(number: int) -> None:
    """A signal stops the server: new calls find nobody, the one in flight gets its answer."""
    with running("--latency", "1.5") as server, ThreadPoolExecutor(1) as pool:
        idle = connect(server)
        call = pool.submit(server.post, image=PORTRAIT)
        assert is_in_flight(server)
        server.process.send_signal(number)
        assert until(lambda: not takes_calls(server))
        assert call.result().status_code == 200
        assert server.process.wait(PATIENCE) == 0
        idle.close()


def test_interrupt_of_a_group_of_workers() -> None:
    """Ctrl-C reaches parent and workers alike, and still lets the answer in flight finish."""
    with (
        running("--workers", "2", "--latency", "1.5") as server,
        ThreadPoolExecutor(1) as pool,
    ):
        call = pool.submit(server.post, image=PORTRAIT)
        assert is_in_flight(server)
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        for pid in [str(server.process.pid), *children.read_text().split()]:
            os.kill(int(pid), signal.SIGINT)
        assert call.result().status_code == 200
        assert server.process.wait(PATIENCE) == 0


def test_second_signal_does_not_wait() -> None:
    """Who signals twice means it."""
    with running("--inject", "hang=1", "--latency", "20") as server, ThreadPoolExecutor(1) as pool:
        call = pool.submit(server.post, image=PORTRAIT)
        assert is_in_flight(server)
        server.process.send_signal(signal.SIGTERM)
        assert until(lambda: not takes_calls(server))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == 0  # the client alone would wait for 20 s
        assert isinstance(call.exception(), httpx.HTTPError)


def test_workers_share_quotas_and_figures(tmp_path: Path) -> None:
    """Two workers: a key's quota and the metrics hold for both; a lost worker is replaced."""
    keys = tmp_path / "keys"
    keys.write_text("key secret qps=5\n")
    with running("--workers", "2", "--keys", str(keys)) as server:
        server.key, server.secret = "key", "secret"
        began = time.monotonic()
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: server.form().status_code, range(20)))
        seconds = 1 + int(time.monotonic() - began)  # one, but on a machine that is very busy
        assert set(answers) == {400, 403}
        assert 5 <= answers.count(400) <= 5 * seconds
        refused = 'hbseg_requests_total{code="CONCURRENCY_LIMIT_EXCEEDED",status="403"}'
        assert until(lambda: server.metric(refused) == answers.count(403))
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        first, second = (int(pid) for pid in children.read_text().split())
        os.kill(first, signal.SIGKILL)
        assert until(
            lambda: (
                len(new := {int(p) for p in children.read_text().split()}) == 2 and first not in new
            ),
            seconds=10,
        )
        assert until(lambda: server.form().status_code == 400)  # the next second's quota
        assert server.stop() == 0
        assert not Path(f"/proc/{second}").exists()


def test_orphaned_workers_stop(tmp_path: Path) -> None:
    """Workers whose parent was killed do not stay."""
    with running("--workers", "2") as server:
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        pids = children.read_text().split()
        server.process.kill()
        server.process.wait()
        assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_a_parent_that_ignores_its_children_does_not_matter() -> None:
    """SIGCHLD ignored is handed on to the command: a lost worker is replaced all the same, and a
    signal stops all."""
    ignore = partial(signal.signal, signal.SIGCHLD, signal.SIG_IGN)
    with running("--workers", "2", preexec_fn=ignore) as server:
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        first, second = children.read_text().split()
        os.kill(int(first), signal.SIGKILL)
        assert until(
            lambda: len(now := children.read_text().split()) == 2 and first not in now, seconds=10
        )
        assert server.stop() == 0
        assert not Path(f"/proc/{second}").exists()


def _children(pid: int) -> list[int]:
    """The processes that a process has started, none where it has ended."""
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except FileNotFoundError:
        return []


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("delay", [0.0, 0.15])
def test_stop_while_workers_start(workers: int, delay: float) -> None:
    """A signal that meets the server between two workers' starts, or in the midst of one, ends it
    within a few seconds and in good order, and no worker stays."""
    with subprocess.Popen(
        command("--workers", "4"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert until(lambda: len(_children(process.pid)) >= workers)
            time.sleep(delay)
            left = _children(process.pid)
            process.terminate()
            _, said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "Traceback" not in said
    assert not any(Path(f"/proc/{pid}").exists() for pid in left)


@pytest.mark.parametrize("delay", [0.0, 0.3, 0.6, 0.8])
def test_stop_while_a_lost_worker_is_replaced(delay: float) -> None:
    """The same from the loss of a worker until the new one answers calls."""
    with running("--workers", "2") as server:
        os.kill(_children(server.process.pid)[0], signal.SIGKILL)
        time.sleep(delay)
        server.process.terminate()
        assert server.process.wait(20) == 0


def test_a_worker_that_cannot_be_started_is_one_sentence() -> None:
    """Where no further process is allowed the server says which limit to raise, and exits 4."""
    refuse = (
        "import os\n"
        "def refused(): raise BlockingIOError(11, 'Resource temporarily unavailable')\n"
        "os.fork = refused\n"
    )
    ended = subprocess.run(
        [
            *(sys.executable, "-c", f"{refuse}from humanbody_cli.cli import main; main.main()"),
            *("serve", "--port", "0", "--workers", "2"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 4
    assert re.fullmatch(r"hbseg: worker 0 cannot be started: .*ulimit -u.*\n", ended.stderr)


READ_ONLY = """
for place in / $(cut -d ' ' -f 2 /proc/mounts); do
    mount -o remount,bind,ro "$place" 2>/dev/null
done
if [ "$1" = --memory ]; then mount -t tmpfs none "$2" || exit; shift 2; fi
exec "$@"
"""


def read_only(*arguments: str) -> list[str]:
    """A command in a mount namespace of its own, in which nothing can be written, but for a file
    system in memory at a place given by ``--memory``."""
    own = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    probe = [*own, "sh", "-c", READ_ONLY, "sh", "sh", "-c", "! touch /tmp/hbseg-probe 2>/dev/null"]
    if not shutil.which("unshare") or subprocess.run(probe, check=False).returncode:
        pytest.skip("needs a mount namespace: root, or user namespaces that are allowed")
    return [*own, "sh", "-c", READ_ONLY, "sh", *arguments]


def test_one_process_serves_from_a_read_only_root() -> None:
    """No folder can be written, not even a temporary one: quotas hold, figures are told."""
    with (
        running(arguments=read_only(*command("--qps", "1"))) as server,
        ThreadPoolExecutor(8) as pool,
    ):
        assert server.post(image=PORTRAIT).status_code == 200
        answers = [message(one) for one in pool.map(lambda _: server.form(), range(8))]
        assert "CONCURRENCY_LIMIT_EXCEEDED" in answers
        assert server.metric('hbseg_requests_total{code="ok",status="200"}') == 1
        assert server.stop() == 0


def test_several_serve_from_a_read_only_root_with_shared_memory() -> None:
    """A container with a read-only root has /dev/shm, where the figures of several workers go."""
    arguments = read_only("--memory", "/dev/shm", *command("--workers", "2"))
    with running(arguments=arguments) as server:
        assert server.form().status_code == 400
        figure = 'hbseg_requests_total{code="MISSING_ARGUMENTS",status="400"}'
        assert until(lambda: server.metric(figure) == 1)
        assert server.stop() == 0


def test_several_without_any_place_for_a_file_say_what_to_do() -> None:
    """One sentence and exit code 4 where not even that is there."""
    ended = subprocess.run(
        read_only(*command("--workers", "2")),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 4
    assert re.fullmatch(r"hbseg: no temporary folder .*set TMPDIR.*\n", ended.stderr)
    assert ended.stdout == ""


def test_port_in_use() -> None:
    """A taken port is one sentence and exit code 4."""
    with running() as server:
        code, said = run("--port", str(server.port))
        assert code == 4
        assert re.fullmatch(r"hbseg: cannot listen on 127.0.0.1 port \d+: .*--port.*\n", said)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--host", "0.0.0.0"], "--keys"),
        (["--host", "::"], "--keys"),
        (["--host", "no.such.host.invalid"], "not an address of this machine"),
        (["--keys", "/nowhere"], "cannot read the keys file /nowhere"),
        (["--inject", "INTERNAL_EROR=0.1"], "did you mean INTERNAL_ERROR?"),
        (["--inject", "nonsense=0.1"], "choose from "),
        (["--inject", "reset"], "rate from 0 to 1"),
        (["--inject", "reset=0.6,hang=0.6"], "1.2"),
        (["--inject", "reset=0.1,RESET=0.1"], "twice"),
        (["--latency", "soon"], "--latency"),
        (["--latency", "2-1"], "--latency"),
        (["--qps", "0"], "--qps"),
        (["--qps", "nan"], "--qps"),
        (["--cors-origin", "*"], "give --keys FILE, or name the origins"),
        (["--cors-origin", "https://example.org/"], "without a path"),
        (["--cors-origin", "example.org"], "with its scheme"),
        (["--cors-origin", "null"], "is not an origin"),
        (["--allow-host", "http://a.example"], "--allow-host 'http://a.example'"),
        (["--keys", "x", "--allow-host", "a.example"], "leave it out"),
    ],
)
def test_wrong_options(options: list[str], expected: str) -> None:
    """What makes no sense is refused before anything starts: one sentence, exit code 2."""
    code, said = run(*options)
    assert code == 2
    assert said.startswith("hbseg: ")
    assert said.count("\n") == 1
    assert expected in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no key"),
        ("alone\n", "line 1: a key needs its secret"),
        ("a topsecret\na topsecret\n", "line 2"),
        ("a topsecret forbidden\n", "'forbidden' is none of ok, denied-by-client"),
        ("a topsecret qps=0\n", "'qps=0'"),
        ("a topsecret balance=-1\n", "'balance=-1'"),
    ],
)
def test_wrong_keys_files(tmp_path: Path, text: str, expected: str) -> None:
    """A keys file's mistake is named with its line and without its secrets."""
    path = tmp_path / "keys"
    path.write_text(text)
    code, said = run("--keys", str(path))
    assert code == 2
    assert expected in said
    assert "topsecret" not in said


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_readable_keys_file_is_warned_of(tmp_path: Path, mode: int) -> None:
    """A keys file that its group or everyone can read works, with a warning."""
    path = tmp_path / "keys"
    path.write_text("key secret\n")
    path.chmod(mode)
    with running("--keys", str(path), "--host", "0.0.0.0") as server:
        assert "chmod 600" in server.log.read_text()
        assert "secret" not in server.log.read_text()


def run(*options: str) -> tuple[int, str]:
    """A server that does not start: its exit code and what it said on stderr."""
    done = subprocess.run(
        [*command(), *options], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr
