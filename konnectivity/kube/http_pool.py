"""Pool of HTTP/1.1 connections to one server: idle ones are used again, and few are open at a time.

Owns all connections it opened. Knows neither addresses nor what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from konnectivity.kube.http_connection import Head, Header, HttpConnection

MAX_CONNECTIONS = 100
MAX_IDLE = 10
IDLE_S = 30.0  # kube-apiserver closes idle connections after 90 s

_IDEMPOTENT = ("GET", "PUT", "DELETE")  # RFC 9110 section 9.2.2: what may be sent again

Connect = Callable[[], Awaitable[HttpConnection]]
_Request = tuple[str, str, Sequence[Header], bytes]


class HttpAnswer:
    """Answer whose head has arrived. Its user reads it to the end, or closes it.

    Attributes:
        head: status and headers.

    """

    def __init__(self, head: Head, connection: HttpConnection, on_end: Callable[[HttpConnection], None]) -> None:
        self.head = head
        self._connection: HttpConnection | None = connection
        self._on_end = on_end

    async def receive(self) -> bytes:
        """Return the next piece of the body; empty at its end. Errors: `HttpConnection.exchange`."""
        data = b"" if self._connection is None else await self._connection.receive()
        if not data:
            self.close()
        return data

    async def read(self, limit: int) -> bytes:
        """Return the whole body.

        Raises:
            ValueError: the body is larger than `limit` bytes.

        """
        body = bytearray()
        try:
            while data := await self.receive():
                body += data
                if len(body) > limit:
                    raise ValueError(f"body is larger than {limit} bytes")
        finally:
            self.close()
        return bytes(body)

    def close(self) -> None:
        """Give the connection back; one whose body was not read to the end is closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._on_end(connection)


class HttpPool:
    """Connections to one server.

    Args:
        connect: opens a connection.
        max_connections: open at a time; further requests wait.

    """

    def __init__(self, connect: Connect, max_connections: int = MAX_CONNECTIONS) -> None:
        self._connect = connect
        self._slots = asyncio.Semaphore(max_connections)
        self._idle: list[tuple[HttpConnection, float]] = []  # connections with their idle start, oldest first
        self._closed = False

    async def send(self, method: str, target: str, headers: Sequence[Header], body: bytes = b"") -> HttpAnswer:
        """Send a request and return the answer, of which the head has arrived. Errors: `HttpConnection.exchange`.

        An idempotent request is sent again, on a new connection, if the idle one that it was sent on breaks.
        """
        await self._slots.acquire()
        request = method, target, headers, body
        try:
            idle = self._take_idle()
            if idle is not None:
                try:
                    return await self._exchange(idle, request)
                except ConnectionError:  # the server may have ended it in this moment (RFC 9112 section 9.3.1)
                    if method not in _IDEMPOTENT:
                        raise
            return await self._exchange(await self._connect(), request)
        except BaseException:
            self._slots.release()
            raise

    def retire(self) -> None:
        """Close idle connections now, and those in use after their exchange."""
        self._closed = True
        for connection, _ in self._idle:
            connection.close()

    async def close(self) -> None:
        """Close all connections that are not in use, and wait for their end."""
        self.retire()
        for connection, _ in self._idle:
            await connection.wait_closed()
        self._idle.clear()

    async def _exchange(self, connection: HttpConnection, request: _Request) -> HttpAnswer:
        try:
            head = await connection.exchange(*request)
        except BaseException:
            connection.abort()
            raise
        return HttpAnswer(head, connection, self._give_back)

    def _take_idle(self) -> HttpConnection | None:
        now, kept = asyncio.get_running_loop().time(), []
        for connection, since in self._idle:
            if connection.reusable and now - since < IDLE_S:
                kept.append((connection, since))
            else:
                connection.close()
        self._idle = kept
        return kept.pop()[0] if kept else None

    def _give_back(self, connection: HttpConnection) -> None:
        self._slots.release()
        if not connection.reusable:
            connection.abort()
        elif self._closed or len(self._idle) >= MAX_IDLE:
            connection.close()
        else:
            self._idle.append((connection, asyncio.get_running_loop().time()))
