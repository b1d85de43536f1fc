"""Client connections: how long one may stay open without a request, and how many may be open.

uvicorn bounds the silence after an answer, but neither a first request that never comes nor headers
that trickle in; and an idle connection costs a file descriptor that another client needs.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from humanbody_cli.server.config import ServerTimeouts

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

_RESERVED_FILES = 128
"""Descriptors kept for the listening socket, downloads, the model and the log."""

_MOST_FILES = 1 << 16

_MOST_PIECES = 16 * 1024
"""Chunks, or reads from the socket, that a body may come in: 128 bytes each on average, a tenth of
a network packet."""


def raise_file_limit() -> int:
    """Lift the soft limit of open files to the hard one; the connections that leaves room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(16, (_MOST_FILES if soft == resource.RLIM_INFINITY else soft) - _RESERVED_FILES)


@dataclass
class OpenConnections:
    """The open connections of a worker, at most ``most``. ``waiting`` are those that wait for their
    client, the longest first: they are closed first where room is needed."""

    most: int
    timeouts: ServerTimeouts
    waiting: OrderedDict[ClientConnection, None] = field(default_factory=OrderedDict)

    def make_room(self, count: int) -> bool:
        """Close the connection that has waited longest for its client, if ``count`` are too many;
        whether there is room now."""
        if count <= self.most:
            return True
        if not self.waiting:
            return False
        self.waiting.popitem(last=False)[0].abort()
        return True


class _BoundedHttp(h11.Connection):
    """HTTP/1.1 with a limit on the pieces of a body: each costs some microseconds on the event
    loop, and 2 MB can be two million chunks of one byte."""

    _pieces = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """See `h11.Connection`.

        Raises:
            h11.RemoteProtocolError: also where a body has too many pieces.
        """
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = 0
        elif isinstance(event, h11.Data):
            self._pieces += 1
            if self._pieces > _MOST_PIECES:
                raise h11.RemoteProtocolError("a body in too many pieces")
        return event


class ClientConnection(H11Protocol):
    """One client's connection. It waits for its client until a request is complete, and is then at
    work until the answer is written."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        open_connections: OpenConnections,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self._open = open_connections
        self._deadline: asyncio.TimerHandle | None = None
        self._left: Callable[[], None] | None = None
        self.conn = _BoundedHttp(h11.SERVER)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        if not self._open.make_room(len(self.connections)):
            self.abort()
            return
        self._wait(self._open.timeouts.headers)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left, or the server has closed the connection."""
        self.at_work()
        if self._deadline is not None:
            self._deadline.cancel()
        if self._left is not None:
            self._left()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """An answer is written: the next request may come."""
        self._wait(self._open.timeouts.idle)
        super().on_response_complete()

    def _wait(self, seconds: float) -> None:
        self._open.waiting[self] = None
        if self._deadline is not None:
            self._deadline.cancel()
        # Bytes that trickle in do not move it: the request's headers must be complete by then.
        self._deadline = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.abort()

    def at_work(self) -> None:
        """The request is complete: from here on the client waits for the server."""
        self._open.waiting.pop(self, None)

    def gone(self) -> bool:
        """Whether the client has left."""
        return self.transport.is_closing()

    @contextmanager
    def told(self, left: Callable[[], None]) -> Iterator[None]:
        """Call ``left`` if the client leaves meanwhile."""
        self._left = left
        try:
            yield
        finally:
            self._left = None

    def abort(self) -> None:
        """Close at once; what is not yet written is dropped."""
        self.at_work()
        self.transport.abort()

    def close(self) -> None:
        """Close once what is written has been sent."""
        self.transport.close()

    def reset(self) -> None:
        """Close so that the client sees a reset connection (RST): lingering for 0 seconds."""
        connection: socket.socket | None = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()
