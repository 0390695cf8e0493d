"""Calls that a DATA byte, a CONNECT dial and a gRPC dial pass through, in a server and an agent that share a process.

    python -m tests.tools.trace_path

Both programs run on loopback sockets with mutual TLS between them, as they do apart. Calls of product functions are
recorded by `sys.setprofile`; comprehensions and the resumption of a coroutine do not count. Timers of the programs add
calls now and then, so each path is walked several times and the shortest chain is kept.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import uvloop

from konnectivity import wire
from konnectivity.grpc import metadata
from konnectivity.grpc.framing import PREFIX
from konnectivity.http2 import Http2Connection, Settings, frames
from konnectivity.runtime.options import load
from konnectivity.testing.deployment import Deployment
from konnectivity_agent.agent_app import ProxyAgent
from konnectivity_agent.agent_options import AgentOptions
from konnectivity_server.server_app import ProxyServer
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.tenants.one_tenant import OneTenant

ROOT = Path(__file__).parents[2]
FOLDERS = tuple(str(ROOT / folder) + "/" for folder in ("konnectivity", "server", "agent"))
WALKS = 10
WAIT_S = 20.0
_NOT_COUNTED = ("<listcomp>", "<genexpr>", "<setcomp>", "<dictcomp>", "<module>")
_AGENT_BEGINS = ("Http2Transport.get_buffer", "Http2Transport.buffer_updated")


@dataclass
class CallChain:
    """Product calls in their order, as (file, function)."""

    calls: list[tuple[str, str]] = field(default_factory=list)

    @property
    def files(self) -> int:
        """Number of different files."""
        return len({file for file, _ in self.calls})

    def split(self) -> tuple[CallChain, CallChain]:
        """Return the calls of the server and those of the agent, of a byte on its way from a client to a target."""
        where = next(at for at, (_, function) in enumerate(self.calls) if function in _AGENT_BEGINS)
        return CallChain(self.calls[:where]), CallChain(self.calls[where:])

    def __str__(self) -> str:
        return f"{len(self.calls)} calls in {self.files} files"


@dataclass
class Traces:
    """Shortest chain of each path."""

    server_hop: CallChain
    agent_hop: CallChain
    dial: CallChain
    grpc_dial: CallChain


@contextmanager
def recording() -> Iterator[CallChain]:
    """Record the product calls made inside the block."""
    path = CallChain()
    seen: set[FrameType] = set()  # a coroutine's frame is called whenever the coroutine is resumed

    def called(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or code.co_name in _NOT_COUNTED or frame in seen:
            return
        if code.co_filename.startswith(FOLDERS):
            if code.co_flags & inspect.CO_COROUTINE:
                seen.add(frame)
            path.calls.append((str(Path(code.co_filename).relative_to(ROOT)), code.co_qualname))

    sys.setprofile(called)
    try:
        yield path
    finally:
        sys.setprofile(None)


async def shortest(walk: Callable[[], Awaitable[CallChain]]) -> CallChain:
    """Walk a path several times and return the shortest chain."""
    return min([await walk() for _ in range(WALKS)], key=lambda path: len(path.calls))


class Client:
    """Client of the frontend, and the target that it reaches: both are plain sockets."""

    def __init__(self, frontend: str, target: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._frontend = frontend
        self._target = target

    async def dial(self) -> tuple[CallChain, socket.socket, socket.socket]:
        """Open a connection with CONNECT; return its chain, the client's socket and the target's."""
        host, port = self._target.getsockname()
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        await self._loop.sock_connect(client, self._frontend)
        await asyncio.sleep(0.05)  # the server has accepted
        with recording() as path:
            await self._loop.sock_sendall(client, f"CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = await self._loop.sock_recv(client, 1000)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        target, _ = await self._loop.sock_accept(self._target)
        return path, client, target

    async def dial_once(self) -> CallChain:
        """Open a connection, close it, and return the chain of the dial."""
        path, client, target = await self.dial()
        client.close()
        target.close()
        await asyncio.sleep(0.05)
        return path

    async def grpc_dial_once(self) -> CallChain:
        """Open a connection by gRPC as kube-apiserver does, on a new socket and in the reference protocol; close it."""
        host, port = self._target.getsockname()
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        await self._loop.sock_connect(client, self._frontend)
        request = dial_request(f"{host}:{port}")
        await asyncio.sleep(0.05)  # the server has accepted
        received = bytearray()
        with recording() as path:
            await self._loop.sock_sendall(client, request)
            while not has_data(received):
                received += await self._loop.sock_recv(client, 1000)
        target, _ = await self._loop.sock_accept(self._target)
        client.close()
        target.close()
        await asyncio.sleep(0.05)
        return path

    async def byte(self, client: socket.socket, target: socket.socket) -> CallChain:
        """Send one byte from the client to the target and return its chain."""
        await asyncio.sleep(0.05)
        with recording() as path:
            await self._loop.sock_sendall(client, b"x")
            received = await self._loop.sock_recv(target, 10)
        assert received == b"x"
        return path


def dial_request(address: str) -> bytes:
    """Return the bytes of a gRPC client that opens a tunnel and asks for one connection."""
    http2 = Http2Connection(True, Settings())
    stream_id = http2.open_stream(metadata.request("/ProxyService/Proxy", "localhost", False, {}, None))
    packet = wire.dial_req(address, 1)
    http2.send_data(http2.streams[stream_id], PREFIX.pack(0, len(packet)) + packet)
    return b"".join(http2.take())


def has_data(received: bytearray) -> bool:
    """Return whether the frames received so far include DATA, which has the answer to the dial."""
    at = 0
    while at + frames.HEADER_SIZE <= len(received):
        high, low, kind, _, _ = frames.HEADER.unpack_from(received, at)
        if kind == frames.DATA:
            return True
        at += frames.HEADER_SIZE + (high << 8 | low)
    return False


async def traces(directory: Path) -> Traces:
    """Run a server and an agent with their files in `directory`, and walk all paths."""
    deployment = Deployment(directory)
    server_options = load(ServerOptions, "proxy-server", "", deployment.server_arguments())
    agent_options = load(AgentOptions, "proxy-agent", "", deployment.agent_arguments())
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as tasks:
        server = ProxyServer(server_options, "server", tasks)
        await server.start()
        assert isinstance(server.tenancy, OneTenant)
        agent = tasks.create_task(_agent(agent_options))
        try:
            while not server.tenancy.tenant.view.registry.all():
                await asyncio.sleep(0.05)
            client = Client(deployment.socket, listener)
            dial = await shortest(client.dial_once)
            grpc_dial = await shortest(client.grpc_dial_once)
            _, near, far = await client.dial()
            byte = await shortest(lambda: client.byte(near, far))
            near.close()
            far.close()
        finally:
            agent.cancel()
            await asyncio.gather(agent, return_exceptions=True)
            await server.stop()
            listener.close()
    return Traces(*byte.split(), dial, grpc_dial)


async def _agent(options: AgentOptions) -> None:
    async with asyncio.TaskGroup() as tasks:
        await ProxyAgent(options, "agent", {}, tasks).run()


def run() -> Traces:
    """Return the shortest chains of all paths."""
    with tempfile.TemporaryDirectory(prefix="konnectivity-trace-") as directory:
        return uvloop.run(traces(Path(directory)))


def main() -> None:
    """Print every chain, and the number of its calls and files."""
    found = run()
    for title, path in (
        ("DATA byte, server hop: client's socket to the agent's stream", found.server_hop),
        ("DATA byte, agent hop: the server's stream to the target's socket", found.agent_hop),
        ("CONNECT dial: request to response, server and agent", found.dial),
        ("gRPC dial, a tunnel for it: request to response, server and agent", found.grpc_dial),
    ):
        print(f"{title}: {path}")
        for file, function in path.calls:
            print(f"    {file:<58} {function}")


if __name__ == "__main__":
    main()
