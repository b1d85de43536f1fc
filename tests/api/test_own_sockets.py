"""Our sockets for httpcore: all that has arrived in one read, bounds, time limits, faults."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import httpcore
import httpx
import pytest

from humanbody_cli.api.transport import connection, streams

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
MANY = 64 << 20
"""Bytes: more than the system's buffers on both sides hold."""


@contextlib.asynccontextmanager
async def connected(peer: Peer) -> AsyncIterator[httpcore.AsyncNetworkStream]:
    """A stream to a server on a real socket."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await peer(reader, writer)
        await ended.wait()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    stream = await streams.Sockets().connect_tcp(host, port, timeout=30)
    try:
        yield stream
    finally:
        await stream.aclose()
        ended.set()
        server.close()
        await asyncio.sleep(0)


async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that neither reads nor writes."""
    writer.transport.pause_reading()  # type: ignore[attr-defined] # it is one that reads


def test_every_new_client_uses_them() -> None:
    """httpx and httpcore have the places where ours are put in: a version that moves them would
    bring anyio's back unnoticed."""
    client = httpx.AsyncClient()
    connection.use(client)
    pool = client._transport._pool  # type: ignore[attr-defined] # the place that is used
    made = pool.create_connection(httpcore.Origin(b"http", b"example.com", 80))
    assert isinstance(made, connection.Connection)


def test_a_read_hands_on_all_that_has_arrived() -> None:
    """A read is not cut at the number of bytes that httpcore asks for."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(200_000))
        await writer.drain()

    async def read() -> None:
        async with connected(peer) as stream:
            received = [await stream.read(1, timeout=30)]
            while sum(map(len, received)) < 200_000:
                received.append(await stream.read(1, timeout=30))
        assert max(map(len, received)) > 1

    asyncio.run(read())


def test_what_nobody_reads_stays_with_the_server() -> None:
    """While no read is under way, a connection takes a bounded number of bytes into memory, and
    the rest once it is read."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(MANY))
        await writer.drain()
        writer.write_eof()

    async def read() -> None:
        async with connected(peer) as stream:
            assert isinstance(stream, streams.Stream)
            received = stream._received
            while received.unread < streams._MOST_UNREAD:
                await asyncio.sleep(0)
            for _ in range(1000):
                await asyncio.sleep(0)
            assert received.unread < 2 * streams._MOST_UNREAD
            total = 0
            while part := await stream.read(1, timeout=30):
                total += len(part)
            assert total == MANY

    asyncio.run(read())


def test_a_server_that_sends_nothing_is_given_up() -> None:
    """A read ends at its time limit."""

    async def read() -> None:
        async with connected(nothing) as stream:
            with pytest.raises(httpcore.ReadTimeout):
                await stream.read(1, timeout=0.01)

    asyncio.run(read())


def test_a_server_that_takes_nothing_is_given_up() -> None:
    """A write ends at its time limit."""

    async def write() -> None:
        async with connected(nothing) as stream:
            with pytest.raises(httpcore.WriteTimeout):
                await stream.write(bytes(MANY), timeout=0.01)

    asyncio.run(write())


def test_a_reset_is_a_fault_and_an_end_is_not() -> None:
    """A reset connection raises what httpcore expects in a read and a write; one that was ended
    in order reads as empty, and is known to be closed while it is idle."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write_eof()

    async def use() -> None:
        async with connected(reset) as stream:
            with pytest.raises(httpcore.ReadError):
                await stream.read(1, timeout=30)
            with pytest.raises(httpcore.WriteError):
                await stream.write(b"x", timeout=30)
        async with connected(end) as stream:
            assert await stream.read(1, timeout=30) == b""
            assert stream.get_extra_info("is_readable")
        async with connected(nothing) as stream:
            assert not stream.get_extra_info("is_readable")

    asyncio.run(use())


def test_no_connection_is_the_fault_of_one_that_was_never_made() -> None:
    """Where nothing listens nothing was sent, and the fault says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(httpcore.ConnectError):
        asyncio.run(streams.Sockets().connect_tcp("127.0.0.1", port, timeout=30))


async def answers_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that answers each request with its own body, two times at once."""
    with contextlib.closing(writer), contextlib.suppress(EOFError, ConnectionError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            writer.write(answer * 2)


@pytest.mark.parametrize("by", ["direct", "proxy"])
def test_an_answer_to_nothing_is_not_taken_for_the_next_one(by: str) -> None:
    """What a server or proxy sends behind an answer would be the next photo's answer otherwise."""

    async def post() -> list[bytes]:
        server = await asyncio.start_server(answers_twice, "127.0.0.1", 0)
        url = "http://{}:{}".format(*server.sockets[0].getsockname())
        async with httpx.AsyncClient(proxy=url if by == "proxy" else None) as client:
            connection.use(client)
            photos = [b"one", b"two", b"three"]
            answers = [await client.post(url, content=photo) for photo in photos]
        server.close()
        return [answer.content for answer in answers]

    assert asyncio.run(post()) == [b"one", b"two", b"three"]
