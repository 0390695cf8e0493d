"""Small TCP servers to dial through a tunnel, each with one behaviour that a test or a benchmark needs."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_CHUNK = 256 * 1024


@asynccontextmanager
async def listening(
    handler: Handler, host: str = "127.0.0.1", receive_buffer: int | None = None, segment: int | None = None
) -> AsyncIterator[str]:
    """Run a server for the length of the block and yield its "host:port".

    Args:
        handler: serves one connection.
        host: address to listen on.
        receive_buffer: bytes the kernel may take for a connection that is not read.
        segment: largest TCP segment; the sender's kernel buffers about 40 of them for a connection that is not read.
    """

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()  # cancelled: by the end of the block, below
        except RuntimeError:  # uvloop's way to say that the transport is closed
            pass
        finally:
            serving.discard(task)
            with suppress(RuntimeError):
                writer.close()

    server = await asyncio.start_server(serve, sock=_bound_socket(host, receive_buffer, segment), backlog=1024)
    bound_host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"[{bound_host}]:{port}" if ":" in bound_host else f"{bound_host}:{port}"
    finally:
        server.close()
        for task in serving.copy():
            task.cancel()
        while serving:
            await asyncio.sleep(0)


def _bound_socket(host: str, receive_buffer: int | None, segment: int | None) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if segment is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
    sock.bind((host, 0))
    return sock


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send every byte back until the other side ends."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read to the end, then answer with the number of bytes and their checksum."""
    size, checksum = 0, hashlib.sha256()
    while data := await reader.read(_CHUNK):
        size += len(data)
        checksum.update(data)
    writer.write(f"{size} {checksum.hexdigest()}\n".encode())
    await writer.drain()


async def sleeper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read nothing until the server ends."""
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.Event().wait()


def sleeper_after(size: int) -> Handler:
    """Read `size` bytes, then nothing more until the server ends."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = size
        while left > 0 and (data := await reader.read(_CHUNK)):
            left -= len(data)
        await sleeper(reader, writer)

    return serve


def source(size: int, greeting: bytes = b"") -> Handler:
    """Send `greeting` at once, then `size` bytes of a known pattern, then the end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        for piece in pattern(size):
            writer.write(piece)
            await writer.drain()

    return serve


def pattern(size: int) -> list[memoryview]:
    """Return `size` bytes that repeat with a period of 251 bytes, so that a lost, doubled or moved piece shows."""
    block = memoryview(bytes(range(251)) * (_CHUNK // 251))
    whole, rest = divmod(size, len(block))
    return [block] * whole + ([block[:rest]] if rest else [])


def pattern_digest(size: int) -> str:
    """Return the answer of `digest` to `pattern(size)`."""
    checksum = hashlib.sha256()
    for piece in pattern(size):
        checksum.update(piece)
    return f"{size} {checksum.hexdigest()}"
