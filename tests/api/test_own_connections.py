"""Our connections in httpcore's pool: long bodies in one part, ends, bounds, use for the next."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from odd_servers import CERTIFICATE

from humanbody_cli.api.transport import connection
from humanbody_cli.api.transport.connection import IN_ONE

BODY = bytes(range(256)) * 4096  # 1 MB
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
Answer = Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]


class Peer:
    """A server on a real socket; ``connections`` counts those that were made."""

    def __init__(self, answer: Answer) -> None:
        self.connections = 0
        self.answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        ends = (EOFError, ConnectionError)
        with contextlib.closing(writer), contextlib.suppress(*ends):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                await self.answer(writer, await reader.readexactly(int(length[1]) if length else 0))


@contextlib.asynccontextmanager
async def calling(
    answer: Answer, tls: ssl.SSLContext | None = None, trusted: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, str, Peer]]:
    """A client with our connections, and a server that answers so."""
    peer = Peer(answer)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls)
    url = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    client = httpx.AsyncClient(verify=trusted or False, timeout=30, trust_env=False)
    connection.use(client)
    try:
        async with client:
            yield client, url, peer
    finally:
        server.close()


async def post(client: httpx.AsyncClient, url: str, most: int = 1 << 21) -> tuple[bytes, int]:
    """The body of an answer, and in how many parts it came."""
    async with client.stream("POST", url, content=b"photo", extensions={IN_ONE: most}) as answer:
        parts = [part async for part in answer.aiter_raw()]
        assert (IN_ONE in answer.extensions) is (len(parts) == 1 and len(parts[0]) > 2)
        return b"".join(parts), len(parts)


async def in_pieces(writer: asyncio.StreamWriter, photo: bytes) -> None:
    """The head byte by byte, and a body in pieces whose ends are anywhere."""
    del photo
    for byte in OK % len(BODY):
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    for start in range(0, len(BODY), 99_991):
        writer.write(BODY[start : start + 99_991])
        await writer.drain()


async def at_once(writer: asyncio.StreamWriter, photo: bytes) -> None:
    """All of it in one write, behind the notice that it is coming."""
    del photo
    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" + OK % len(BODY) + BODY)


@pytest.mark.parametrize("answer", [in_pieces, at_once])
@pytest.mark.parametrize("encrypted", [False, True])
def test_a_long_body_comes_whole_and_in_one(
    answer: Answer, encrypted: bool, tmp_path: Path
) -> None:
    """However an answer arrives, plain or by TLS, every byte is there; the connection is used for
    the next one."""
    path = tmp_path / "certificate.pem"
    path.write_text(CERTIFICATE)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(path)
    theirs = ssl.create_default_context(cafile=str(path))
    theirs.check_hostname = False

    async def work() -> None:
        tls = (ours, theirs) if encrypted else (None, None)
        async with calling(answer, *tls) as (client, url, peer):
            for _ in range(3):
                assert await post(client, url) == (BODY, 1)
            assert peer.connections == 1

    asyncio.run(work())


async def chunked(writer: asyncio.StreamWriter, photo: bytes) -> None:
    """A body without a length."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head + b"5\r\n%s\r\n0\r\n\r\n" % photo)


def test_a_body_without_a_length_is_read_by_h11() -> None:
    """It is whole too, and the connection is kept."""

    async def work() -> None:
        async with calling(chunked) as (client, url, peer):
            for _ in range(2):
                async with client.stream("POST", url, content=b"photo") as answer:
                    assert await answer.aread() == b"photo"
            assert peer.connections == 1

    asyncio.run(work())


def test_a_body_longer_than_asked_for_is_not_received_in_one() -> None:
    """What a server announces beyond the bound is not given a buffer of its size."""

    async def work() -> None:
        async with calling(at_once) as (client, url, _):
            extensions = {IN_ONE: len(BODY) - 1}
            async with client.stream("POST", url, extensions=extensions) as answer:
                assert IN_ONE not in answer.extensions

    asyncio.run(work())


async def cut_short(writer: asyncio.StreamWriter, photo: bytes) -> None:
    """A connection that ends in the middle of the body."""
    del photo
    writer.write(OK % len(BODY) + BODY[:500_000])
    writer.write_eof()


async def reset(writer: asyncio.StreamWriter, photo: bytes) -> None:
    """One that breaks there."""
    del photo
    writer.write(OK % len(BODY) + BODY[:500_000])
    await writer.drain()
    writer.transport.abort()


async def silent(writer: asyncio.StreamWriter, photo: bytes) -> None:
    """One that brings no more."""
    del photo
    writer.write(OK % len(BODY) + BODY[:500_000])


@pytest.mark.parametrize(
    ("answer", "faults"),
    [
        (cut_short, (httpx.RemoteProtocolError,)),
        (reset, (httpx.RemoteProtocolError, httpx.ReadError)),  # as the system tells it
        (silent, (httpx.ReadTimeout,)),
    ],
)
def test_a_body_that_does_not_end_is_a_fault(
    answer: Answer, faults: tuple[type[Exception], ...]
) -> None:
    """A body is never handed on with bytes missing; each way to break has httpx's own fault."""

    async def work() -> None:
        async with calling(answer) as (client, url, _):
            client.timeout = httpx.Timeout(30, read=0.05)
            with pytest.raises(faults):
                await post(client, url)

    asyncio.run(work())


async def twice(writer: asyncio.StreamWriter, photo: bytes) -> None:
    """Two answers to one request."""
    del photo
    writer.write((OK % len(BODY) + BODY) * 2)


def test_an_answer_to_nothing_behind_a_long_body_ends_the_connection() -> None:
    """It would be the next photo's answer otherwise."""

    async def work() -> None:
        async with calling(twice) as (client, url, peer):
            for _ in range(2):
                assert await post(client, url) == (BODY, 1)
            assert peer.connections == 2

    asyncio.run(work())


def test_a_connection_is_its_call_s_until_that_is_closed() -> None:
    """A call whose body is complete and that is not closed yet shares its connection with none:
    closing it would end the other's."""

    async def work() -> None:
        async with calling(at_once) as (client, url, peer):
            extensions = {IN_ONE: 1 << 21}
            async with client.stream("POST", url, extensions=extensions) as answer:
                parts = answer.aiter_raw()
                assert await anext(parts) == BODY  # its end, which closes the call, is not read
                assert await post(client, url) == (BODY, 1)
                assert peer.connections == 2
            assert await post(client, url) == (BODY, 1)
            assert peer.connections == 2

    asyncio.run(work())
