"""Bridge to code that wants a connected socket: a TCP socket of this process whose bytes go through the tunnel.

Owns the inner end of each socket; the caller owns the outer end. The pair is on loopback rather than a pair of unix
sockets, so that a connection that breaks is a reset and does not look like an end.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from konnectivity.client.byte_pump import BytePump, Streams, reset
from konnectivity.client.client_tunnel import DIAL_TIMEOUT_S, ClientTunnel
from konnectivity.errors import DialError, DialFailure
from konnectivity.runtime import task_guard

FLUSH_S = 5.0  # seconds for the last bytes after the block, before the connection is cut
_PAIR_S = 5.0  # seconds for a connection within this process


@asynccontextmanager
async def bridged_socket(
    tunnel: ClientTunnel, address: str, timeout_s: float = DIAL_TIMEOUT_S
) -> AsyncIterator[socket.socket]:
    """Dial "host:port" and use a blocking socket for it during the block, which closes the socket.

    A block that ends has FLUSH_S to send its last bytes; a block that raises cuts the connection.

    Args:
        tunnel: the way to the destination.
        address: of the destination.
        timeout_s: longest time that the dial takes, in seconds.

    Raises:
        DialError: the dial failed.

    """
    failure: Exception | None = None  # raised behind the task group, which would wrap it
    async with asyncio.TaskGroup() as tasks:
        bridge = SocketBridge(tunnel, tasks)
        flush_s = 0.0
        try:
            with await bridge.connect(address, timeout_s) as outer:
                yield outer
            flush_s = FLUSH_S
        except Exception as error:
            failure = error
        finally:
            await bridge.close(flush_s)
    if failure is not None:
        raise failure


class SocketBridge:
    """Bridge of any number of connections through one tunnel.

    Args:
        tunnel: the way to destinations.
        tasks: owns the tasks that pass bytes on.

    """

    def __init__(self, tunnel: ClientTunnel, tasks: asyncio.TaskGroup) -> None:
        self._tunnel = tunnel
        self._tasks = tasks
        self._pumps: set[asyncio.Task[None]] = set()
        self._closed = False

    async def connect(self, address: str, timeout_s: float) -> socket.socket:
        """Dial "host:port" and return a blocking socket for it.

        Raises:
            DialError: the dial failed, or the bridge was closed.

        """
        target = await self._tunnel.dial(address, timeout_s)
        try:
            streams, outer = await _streams_and_socket()
        except BaseException:
            reset(target[1])
            raise
        pump = BytePump(streams, target)
        if self._closed:
            pump.abort()
            outer.close()
            raise DialError(DialFailure.TUNNEL_LOST, "the tunnel was closed")
        self._start(pump)
        return outer

    async def close(self, flush_s: float) -> None:
        """Wait until every connection has ended, for at most `flush_s` seconds, cut the others and accept no more."""
        self._closed = True
        if self._pumps:
            _, late = await asyncio.wait(self._pumps, timeout=flush_s)
            for pump in late:
                pump.cancel()

    def _start(self, pump: BytePump) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            self._pumps.discard(task)
            if task.cancelled():  # perhaps before the pump ran
                pump.abort()

        task = task_guard.start(self._tasks, pump.run, "bridge")
        self._pumps.add(task)
        task.add_done_callback(ended)


async def _streams_and_socket() -> tuple[Streams, socket.socket]:
    """Return the inner end of a connection as reader and writer, and the outer end as a blocking socket."""
    inner, outer = await _connected_pair()
    try:
        streams = await asyncio.open_connection(sock=inner)
        outer.setblocking(True)
    except BaseException:
        inner.close()
        outer.close()
        raise
    return streams, outer


async def _connected_pair() -> tuple[socket.socket, socket.socket]:
    """Return two sockets that are connected with each other, and with no other process."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        listener.setblocking(False)
        outer = socket.socket()
        outer.setblocking(False)
        try:
            async with asyncio.timeout(_PAIR_S):
                await loop.sock_connect(outer, listener.getsockname())
                while True:
                    inner, peer = await loop.sock_accept(listener)
                    if peer == outer.getsockname():
                        inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        outer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        return inner, outer
                    inner.close()  # another process was faster
        except BaseException:
            outer.close()
            raise
