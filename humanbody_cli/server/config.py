"""What the server was told, as frozen objects. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from humanbody_cli.core.settings import LocalSettings
from humanbody_cli.server.faults import Mood


@dataclass(frozen=True)
class Patience:
    """How long the server waits for whom, in seconds.

    ``headers`` and ``idle`` bound a connection without a request, ``body`` an upload, ``slow`` one
    whose memory others need, ``answer`` a client that reads slowly, ``linger`` what a refused
    client still sends, ``fetch`` the download of an ``image_url``, ``grace`` the answers in flight
    at shutdown. Of a photo, ``queue`` bounds the wait for its turn, ``decode`` the processor's time
    for its decoding, ``photo`` all its work by the clock: an ordinary one takes one or two seconds.
    """

    headers: float = 10.0
    idle: float = 30.0
    body: float = 30.0
    slow: float = 3.0
    answer: float = 60.0
    linger: float = 5.0
    fetch: float = 10.0
    queue: float = 30.0
    decode: float = 5.0
    photo: float = 30.0
    grace: float = 30.0


@dataclass(frozen=True)
class Capacity:
    """How much the server holds at once, a worker.

    ``queue`` photos wait for the engine, ``held_bytes`` of bodies and answers lie in memory,
    ``connections`` are open, ``fetches`` of ``image_url`` run.
    """

    queue: int = 32
    held_bytes: int = 256 * 1024 * 1024
    connections: int = 4096
    fetches: int = 32


@dataclass(frozen=True)
class ServeSettings:
    """One server, whole. ``qps`` is each key's quota where the keys file names none; ``None`` is no
    quota."""

    host: str = "127.0.0.1"
    port: int = 8000
    keys: Path | None = None
    qps: float | None = None
    workers: int = 1
    allow_private_urls: bool = False
    mood: Mood = field(default_factory=Mood)
    patience: Patience = field(default_factory=Patience)
    capacity: Capacity = field(default_factory=Capacity)
    local: LocalSettings = field(default_factory=LocalSettings)
