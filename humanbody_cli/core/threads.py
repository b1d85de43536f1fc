"""Pools whose threads are all there before anything depends on them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from humanbody_cli.core.errors import FatalError, limits_told


def started(count: int, name: str) -> ThreadPoolExecutor:
    """A pool of ``count`` threads, all of them running.

    `ThreadPoolExecutor` starts its threads when work comes. Where the system then refuses one,
    ``submit`` raises although the work stands in the queue, and an answer that was paid for might
    be lost or taken twice. A pool whose threads all run never starts another.

    Raises:
        FatalError: the system starts no more threads.
    """
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    # Each thread waits for the others: one that is idle would be given the next one's work.
    met = threading.Barrier(count + 1)
    try:
        with limits_told():
            for _ in range(count):
                pool.submit(met.wait)
        met.wait()
    except FatalError:
        met.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    return pool
