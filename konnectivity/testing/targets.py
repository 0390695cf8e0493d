"""Small TCP servers to dial through a tunnel: each does one thing that a test or a benchmark needs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_CHUNK = 256 * 1024


@asynccontextmanager
async def listening(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Run a server for as long as the block; yields its "host:port"."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, 0)
    bound_host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"[{bound_host}]:{port}" if ":" in bound_host else f"{bound_host}:{port}"
    finally:
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say back what is said, until the other side ends."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read to the end, then answer with the count and checksum of all of it."""
    size, checksum = 0, hashlib.sha256()
    while data := await reader.read(_CHUNK):
        size += len(data)
        checksum.update(data)
    writer.write(f"{size} {checksum.hexdigest()}\n".encode())
    await writer.drain()


def source(size: int, greeting: bytes = b"") -> Handler:
    """Speak at once: `greeting`, then `size` bytes of a known pattern, then the end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        for piece in pattern(size):
            writer.write(piece)
            await writer.drain()

    return serve


def pattern(size: int) -> list[memoryview]:
    """`size` bytes that repeat with a period of 251 bytes, so that a lost, doubled or moved piece shows."""
    block = memoryview(bytes(range(251)) * (_CHUNK // 251))
    whole, rest = divmod(size, len(block))
    return [block] * whole + ([block[:rest]] if rest else [])


def pattern_digest(size: int) -> str:
    """What `digest` answers to `pattern(size)`."""
    checksum = hashlib.sha256()
    for piece in pattern(size):
        checksum.update(piece)
    return f"{size} {checksum.hexdigest()}"
