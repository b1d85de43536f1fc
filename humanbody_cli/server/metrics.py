"""Figures for Prometheus. With several workers each writes its own into one folder, and whoever is
asked adds them up."""

from __future__ import annotations

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

requests = Counter("hbseg_requests_total", "Requests answered.", ("status", "code"))
seconds = Histogram(
    "hbseg_request_seconds",
    "Seconds from a request's first byte to the last of its answer.",
    buckets=_BUCKETS,
)
photos = Histogram(
    "hbseg_photo_seconds",
    "Seconds that a photo spends in the engine, including its queue.",
    buckets=_BUCKETS,
)
received = Counter("hbseg_received_bytes_total", "Bytes of request bodies read.")
sent = Counter("hbseg_sent_bytes_total", "Bytes of response bodies written.")
queued = Gauge("hbseg_queued_photos", "Photos waiting for the engine.", multiprocess_mode="livesum")
stuck = Gauge(
    "hbseg_stuck_photos", "Photos whose thread does not return.", multiprocess_mode="livesum"
)
held = Gauge(
    "hbseg_held_bytes", "Bytes of bodies and answers in memory.", multiprocess_mode="livesum"
)


def render() -> bytes:
    """All figures in Prometheus' text format."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
