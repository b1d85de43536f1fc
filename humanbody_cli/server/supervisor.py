"""Several processes behind one listening socket, and the one that looks after them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from types import FrameType
from typing import Any

from humanbody_cli.core.errors import FatalError, HbsegError, limits_told
from humanbody_cli.server.folders import temporary_folder

Work = Callable[[int, Callable[[], None]], None]

_fork = multiprocessing.get_context("fork")

_STOPPING = (signal.SIGTERM, signal.SIGINT)
"""The signals that stop the server."""


class Crew:
    """Starts ``count`` workers, puts a new one in a lost one's place, and stops all on a signal.

    The parent stays one thread and loads no model, so that forking is safe at any time.
    """

    def __init__(self, count: int, work: Work, grace: float) -> None:
        self._work = work
        self._grace = grace
        self._count = count
        self._stopping = False
        self._workers: dict[int, ForkProcess] = {}

    def run(self, ready: Callable[[], None]) -> None:
        """Returns once every worker has stopped in good order.

        Raises:
            FatalError: a worker could not start, or there is no place for the figures of several.
        """
        with temporary_folder("hbseg-metrics-") as folder:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
            for number in _STOPPING:
                signal.signal(number, self._stop)
            try:
                for index in range(self._count):
                    self._start(index)
                if not self._stopping:
                    ready()
                    self._watch()
            finally:
                self._end()

    def _start(self, index: int) -> None:
        """Start a worker and wait until it answers calls; none is started any more on the way out.

        Raises:
            FatalError: the worker cannot be started.
        """
        ours = self._fork(index)
        if ours is None:
            return
        try:
            failure = ours.recv()
        except EOFError:
            failure = "" if self._stopping else f"worker {index} died while it started"
        finally:
            ours.close()
        if failure:
            raise FatalError(failure)

    def _fork(self, index: int) -> Connection[Any, Any] | None:
        """Start a worker's process; the pipe that it tells its state through, ``None`` where the
        crew is stopping.

        Signals wait until the process is registered: one that came in between would reach every
        worker but this one.
        """
        theirs: Connection[Any, Any]
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        try:
            if self._stopping:
                return None
            ours, theirs = _fork.Pipe(duplex=False)
            process = _fork.Process(target=_child, args=(self._work, index, theirs))
            with theirs:
                process.start()
            self._workers[index] = process
            return ours
        except OSError as error:
            reason = error.strerror or error
            raise FatalError(
                f"worker {index} cannot be started: {reason}; give fewer --workers, or raise the "
                "limits on processes (ulimit -u, a container's pids limit) and memory"
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)

    def _watch(self) -> None:
        while not self._stopping:
            wait([process.sentinel for process in self._workers.values()], timeout=0.5)
            for index, process in list(self._workers.items()):
                if not process.is_alive() and not self._stopping:
                    self._bury(process)
                    time.sleep(0.5)  # a worker that dies at once must not become a fork bomb
                    self._start(index)

    def _bury(self, process: ForkProcess) -> None:
        # Not at the top: it looks for its folder when it is imported.
        from prometheus_client.multiprocess import mark_process_dead

        process.join()
        mark_process_dead(process.pid)  # type: ignore[no-untyped-call]

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        for process in self._workers.values():
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGTERM)

    def _end(self) -> None:
        if not self._stopping:  # a second signal would not let answers in flight finish
            self._stop(signal.SIGTERM, None)
        until = time.monotonic() + self._grace + 5
        for process in self._workers.values():
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


def _child(work: Work, index: int, pipe: Connection[Any, Any]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Blocked since before the fork: the parent's handler must not run here.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)

    def ready() -> None:
        pipe.send("")
        pipe.close()

    try:
        with limits_told():
            work(index, ready)
    except HbsegError as error:
        if not pipe.closed:
            pipe.send(str(error))
        sys.exit(error.exit_code)
