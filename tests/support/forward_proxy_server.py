"""Forward proxy that answers CONNECT, relays bytes and records its requests. It can refuse, and delay its answers.

Listens on loopback, in a thread of its own. Names are looked up only in a table that the test gives.
"""

from __future__ import annotations

import asyncio
import threading
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

import uvloop

_CHUNK = 256 * 1024
_START_TIMEOUT_S = 10.0


class ForwardProxy:
    """Forward proxy that runs for the length of the block.

    Args:
        names: address of each host; a host that is not in the table is refused with 502.
        credentials: "user:password" that the proxy requires; empty: none.

    Attributes:
        requests: head of every request, whatever the answer.
        targets: "host:port" of every connection that the proxy opened.
        refusal: answer to every request, for example "403 Forbidden"; empty: requests are served.
        delay_s: seconds before every answer.
    """

    def __init__(self, names: Mapping[str, str], credentials: str = "") -> None:
        self.port = 0
        self.requests: list[str] = []
        self.targets: list[str] = []
        self.refusal = ""
        self.delay_s = 0.0
        self._names = names
        self._authorization = f"Basic {b64encode(credentials.encode()).decode()}" if credentials else ""
        self._connections: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_START_TIMEOUT_S):
            raise RuntimeError("the forward proxy does not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_TIMEOUT_S)

    @property
    def url(self) -> str:
        """Return the URL of the proxy, without credentials."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Close every open connection."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        for task in self._connections:
            task.cancel()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        self._cancel()
        while self._connections:
            await asyncio.sleep(0.001)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            writer.transport.abort()  # cancelled: by the end of the block
        finally:
            self._connections.discard(task)
            with suppress(RuntimeError):  # uvloop's way to say that the transport is closed
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.requests.append(head)
        await asyncio.sleep(self.delay_s)
        target = head.split(" ")[1]
        status = self._status(head, target)
        if status.startswith("200"):
            host, _, port = target.rpartition(":")
            far_reader, far_writer = await asyncio.open_connection(self._names[host], int(port))
            self.targets.append(target)
            try:
                writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
                await _relay((reader, writer), (far_reader, far_writer))
            finally:
                far_writer.transport.abort()
        else:
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n".encode())
            await writer.drain()

    def _status(self, head: str, target: str) -> str:
        if self.refusal:
            return self.refusal
        if self._authorization and f"\r\nProxy-Authorization: {self._authorization}\r\n" not in head:
            return "407 Proxy Authentication Required"
        return "200" if target.rpartition(":")[0] in self._names else "502 Bad Gateway"


async def _relay(*sides: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    (near_reader, near_writer), (far_reader, far_writer) = sides
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_copy(near_reader, far_writer))
        tasks.create_task(_copy(far_reader, near_writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, RuntimeError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
