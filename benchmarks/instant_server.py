"""A server that answers every request with the same bytes, for ``bench_api.py``; prints its URL.

``python benchmarks/instant_server.py ANSWER LATENCY``, with a file that holds the whole answer,
head included, and seconds.

It must not be what limits a client: of an upload only the length is looked at, and an answer is one
write of bytes that are there already.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from pathlib import Path

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_BUFFER = 1 << 20  # bytes: an upload is received in few reads


class Connection(asyncio.BufferedProtocol):
    """One keep-alive connection. Requests come one after the other, none is pipelined."""

    def __init__(self, answer: bytes, latency: float) -> None:
        self._answer = answer
        self._latency = latency
        self._buffer = bytearray(_BUFFER)
        self._head = 0  # bytes of the request's head received so far
        self._left = 0  # bytes of the request still to come, once its head is complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        connection: socket.socket = transport.get_extra_info("socket")
        # Room for a whole answer: one write is then one system call.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)[self._head :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._left:
            self._left -= nbytes
        else:
            self._head += nbytes
            end = self._buffer.find(b"\r\n\r\n", 0, self._head)
            length = _LENGTH.search(self._buffer, 0, end) if end >= 0 else None
            if length is None:
                return
            self._left = end + 4 + int(length[1]) - self._head
            self._head = 0
        if not self._left:
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._send)
            else:
                self._send()

    def _send(self) -> None:
        self._transport.write(self._answer)


async def main(answer: Path, latency: float) -> None:
    content = answer.read_bytes()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(content, latency), "127.0.0.1", 0, backlog=1024
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2])))
