"""Figures for Prometheus, and the folder in which several workers share them.

prometheus_client decides when it is imported whether its figures are shared, by
``PROMETHEUS_MULTIPROC_DIR``. So it is imported in this module only, and only in functions: the
parent of several workers calls `shared_by_workers` first.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from humanbody_cli.core.errors import FatalError

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a folder of its own, with a random name, is made in it
"""A file system in memory that Linux has, in containers with a read-only root too."""

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The figures of this process. They can be made once per process."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        self.requests = Counter("hbseg_requests_total", "Requests answered.", ("status", "code"))
        self.seconds = Histogram(
            "hbseg_request_seconds",
            "Seconds from a request's first byte to the last of its answer.",
            buckets=_BUCKETS,
        )
        self.photos = Histogram(
            "hbseg_photo_seconds",
            "Seconds that a photo spends in the engine, including its queue.",
            buckets=_BUCKETS,
        )
        self.received = Counter("hbseg_received_bytes_total", "Bytes of request bodies read.")
        self.sent = Counter("hbseg_sent_bytes_total", "Bytes of response bodies written.")
        self.queued = Gauge(
            "hbseg_queued_photos", "Photos waiting for the engine.", multiprocess_mode="livesum"
        )
        self.stuck = Gauge(
            "hbseg_stuck_photos",
            "Photos whose thread does not return.",
            multiprocess_mode="livesum",
        )
        self.held = Gauge(
            "hbseg_held_bytes",
            "Bytes of bodies and answers in memory.",
            multiprocess_mode="livesum",
        )

    def render(self) -> tuple[bytes, str]:
        """All figures, those of other workers included, in Prometheus' text format; its type."""
        from prometheus_client import (
            CONTENT_TYPE_LATEST,
            REGISTRY,
            CollectorRegistry,
            generate_latest,
        )
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = REGISTRY
        if _FOLDER in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST


@contextmanager
def shared_by_workers() -> Iterator[None]:
    """Workers that are started within write their figures into one folder, removed at the end.

    Raises:
        FatalError: there is no place for such a folder.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix="hbseg-metrics-", dir=_place())
    except OSError as error:
        raise no_temporary_folder(error) from None
    with made as folder:
        os.environ[_FOLDER] = folder
        yield


def forget_worker(pid: int | None) -> None:
    """Leave the gauges of a process that has ended out of the sums."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _place() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return _SHARED_MEMORY


def no_temporary_folder(error: OSError) -> FatalError:
    """The error on a machine where no temporary file can be made."""
    return FatalError(
        f"no temporary folder can be written ({error.strerror or error}); "
        "set TMPDIR to one that can"
    )
