"""Peer that speaks HTTP/2 by hand: it sends any frames, valid or not, and reads the answers.

The peer uses this project's HTTP/2, so that it is well-behaved until the test sends something else.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from konnectivity.client import tls_context
from konnectivity.grpc.framing import PREFIX
from konnectivity.http2 import Http2Connection, Settings, events, frames
from konnectivity.http2.settings import INITIAL_WINDOW_SIZE
from konnectivity.testing.deployment import Deployment

Event = TypeVar("Event")
PROXY = "/ProxyService/Proxy"
CONNECT = "/AgentService/Connect"


def request(path: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the headers of a gRPC call."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *more,
    ]


def agent(agent_id: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the headers of an agent's call."""
    return request(CONNECT, ("agentid", agent_id), *more)


def message(packet: bytes) -> bytes:
    """Return a packet as a gRPC message."""
    return PREFIX.pack(0, len(packet)) + packet


def zero_window() -> bytes:
    """Return the SETTINGS frame of a peer that accepts no data at all."""
    return frames.settings({INITIAL_WINDOW_SIZE: 0})


class HostilePeer:
    """Connection of a hostile peer. `said` and `heard` count bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.http2 = Http2Connection(True, Settings(enable_push=0))
        self.said = self.heard = 0
        self.unheard: list[events.Event] = []  # events that arrived and were not returned by `hear` yet

    async def say(self, raw: bytes = b"") -> None:
        """Send the pending output of our HTTP/2 half, then `raw`.

        Raises:
            ConnectionError: the other end has closed the connection.
        """
        data = b"".join(self.http2.take()) + raw
        self.said += len(data)
        try:
            self.writer.write(data)
        except RuntimeError as error:  # uvloop's way to say that the transport is closed
            raise ConnectionResetError("the other end hung up") from error
        await self.writer.drain()
        await asyncio.sleep(0)  # others of this process want their turn, however much the line takes

    async def call(self, headers: Sequence[tuple[str, str]]) -> int:
        """Open a stream."""
        stream_id = self.http2.open_stream(headers)
        await self.say()
        return stream_id

    async def send(self, stream_id: int, *packets: bytes) -> None:
        """Send packets in one DATA frame, whatever the window is."""
        await self.say(frames.frame(frames.DATA, 0, stream_id, b"".join(map(message, packets))))

    async def hear(self, kind: type[Event], timeout_s: float = 10.0) -> Event:
        """Return the next event of a kind and drop events of other kinds before it.

        Raises:
            ConnectionError: the connection ended before.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                while self.unheard:
                    event = self.unheard.pop(0)
                    if isinstance(event, kind):
                        return event
                data = await self.reader.read(64 * 1024)
                if not data:
                    raise ConnectionResetError("the other end hung up")
                self.understand(data)

    def understand(self, data: bytes) -> None:
        """Parse `data` and keep its events for `hear`."""
        self.heard += len(data)
        self.unheard += self.http2.receive(data)
        while self.http2.unread:
            self.unheard += self.http2.receive(b"")

    async def hung_up_on(self, timeout_s: float = 10.0) -> None:
        """Read until the other end has closed the connection."""
        with suppress(ConnectionError, ssl.SSLError):
            async with asyncio.timeout(timeout_s):
                while data := await self.reader.read(64 * 1024):
                    self.heard += len(data)

    def close(self) -> None:
        self.writer.transport.abort()


async def connected(deployment: Deployment, where: str) -> HostilePeer:
    """Connect a peer to `where`: "unix", "frontends" or "agents". The peer has sent nothing yet."""
    if where == "unix":
        return HostilePeer(*await asyncio.open_unix_connection(deployment.socket))
    files = (deployment.path("ca.crt"), deployment.path("client.crt"), deployment.path("client.key"))
    port = deployment.agent_port if where == "agents" else deployment.server_port
    context: Any = tls_context(*files, "grpc")
    return HostilePeer(*await asyncio.open_connection("127.0.0.1", port, ssl=context))


@asynccontextmanager
async def peer(deployment: Deployment, where: str = "unix", greeted: bool = True) -> AsyncIterator[HostilePeer]:
    """Connect a peer for the length of a block; with `greeted`, both ends have sent their SETTINGS."""
    found = await connected(deployment, where)
    try:
        if greeted:
            await found.say()
            await found.hear(events.SettingsChanged)
        yield found
    finally:
        found.close()
