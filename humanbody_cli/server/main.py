"""What comes before the first call: keys, the listening socket, the log, the workers."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import sys
import time
from collections.abc import Callable
from functools import partial

from humanbody_cli.core.errors import FatalError, UsageError
from humanbody_cli.server.auth import Key, make_key, read_keys, readable_by_others
from humanbody_cli.server.config import ServeSettings
from humanbody_cli.server.rate_limit import Meters
from humanbody_cli.server.supervisor import Crew

log = logging.getLogger("humanbody_cli.server")


def serve(settings: ServeSettings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``announce`` gets the lines for stdout.

    The first line is the key pair, where one was made; the last is ``endpoint=http://...``. They
    are said once calls can be answered.

    Raises:
        UsageError: the settings contradict each other, or the keys file cannot be used.
        FatalError: the address is taken, or the engine is not there.
    """
    _set_up_log()
    keys = _keys(settings)
    listener = _listen(settings)

    def ready() -> None:
        if settings.keys is None:
            announce(f"api_key={keys[0].api_key} api_secret={keys[0].api_secret}")
        announce(f"endpoint={_endpoint(listener)}")

    meters = Meters([(key.qps, key.balance) for key in keys])
    with contextlib.closing(meters), listener:
        work = partial(_work, settings, keys, meters, listener)
        if settings.workers == 1:
            work(0, ready)
        else:
            Crew(settings.workers, work, settings.patience.grace).run(ready)


def _work(
    settings: ServeSettings,
    keys: tuple[Key, ...],
    meters: Meters,
    listener: socket.socket,
    *place: object,
) -> None:
    # Imported in the worker: the parent of several has to stay free of threads to fork safely, and
    # the metrics look for their folder when they are imported.
    from humanbody_cli.server.worker import Worker

    number, ready = place
    assert isinstance(number, int)
    assert callable(ready)
    Worker(settings, keys, meters, number).run(listener, ready)


def _keys(settings: ServeSettings) -> tuple[Key, ...]:
    if settings.keys is not None:
        keys = read_keys(settings.keys, settings.qps)
        if readable_by_others(settings.keys):
            log.warning("every user of this machine can read %s: chmod 600 it", settings.keys)
        return keys
    if not all(ipaddress.ip_address(each).is_loopback for _, each in _resolve(settings.host)):
        raise UsageError(
            f"--host {settings.host} can be reached from other machines: give --keys FILE, or "
            "listen on 127.0.0.1"
        )
    return (make_key(settings.qps),)


def _resolve(host: str) -> list[tuple[int, str]]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host {host!r} is not an address of this machine: {error}") from None
    return [(family, str(address[0]).partition("%")[0]) for family, *_, address in found]


def _listen(settings: ServeSettings) -> socket.socket:
    family, address = _resolve(settings.host)[0]
    # By name: asyncio sets TCP_NODELAY only on sockets that say they are TCP, and without it every
    # answer on a kept-alive connection waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, settings.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise FatalError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; choose "
            "another --port (0 picks a free one)"
        ) from None
    listener.setblocking(False)
    return listener


def _endpoint(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _set_up_log() -> None:
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
    # They only repeat what the lines of our own log say: broken requests, clients that left.
    for name in ("uvicorn", "python_multipart"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
