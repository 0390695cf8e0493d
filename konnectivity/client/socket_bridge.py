"""Bridge to code that wants a connected socket: a TCP socket of this process whose bytes go through the tunnel.

Owns the inner end of each socket; the caller owns the outer end. The pair is on loopback rather than a pair of unix
sockets, so that a connection that breaks is a reset and does not look like an end.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from konnectivity.client.byte_pump import BytePump, reset
from konnectivity.client.client_tunnel import DIAL_TIMEOUT_S, ClientTunnel
from konnectivity.runtime import task_guard

FLUSH_S = 5.0  # seconds for the last bytes after the block, before the connection is cut
_PAIR_S = 5.0  # seconds for a connection within this process


@asynccontextmanager
async def bridged_socket(
    tunnel: ClientTunnel, address: str, timeout_s: float = DIAL_TIMEOUT_S
) -> AsyncIterator[socket.socket]:
    """Dial "host:port" and use a socket for it during the block; the socket is closed behind the block.

    Args:
        tunnel: the way to the destination.
        address: of the destination.
        timeout_s: longest time that the dial takes, in seconds.

    Raises:
        DialError: the dial failed.

    """
    async with asyncio.TaskGroup() as tasks:
        bridge = SocketBridge(tunnel, tasks)
        outer = await bridge.connect(address, timeout_s)
        try:
            yield outer
        finally:
            outer.close()
            await bridge.close(FLUSH_S)


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

    async def connect(self, address: str, timeout_s: float) -> socket.socket:
        """Dial "host:port" and return a blocking socket for it.

        Raises:
            DialError: the dial failed.

        """
        target = await self._tunnel.dial(address, timeout_s)
        try:
            inner, outer = await _connected_pair()
        except BaseException:
            reset(target[1])
            raise
        streams = await asyncio.open_connection(sock=inner)
        pump = task_guard.start(self._tasks, BytePump(self._tasks, streams, target).run, "bridge")
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)
        outer.setblocking(True)
        return outer

    async def close(self, flush_s: float) -> None:
        """Wait until every connection has ended, for at most `flush_s` seconds, and cut those that have not."""
        if self._pumps:
            _, late = await asyncio.wait(self._pumps, timeout=flush_s)
            for pump in late:
                pump.cancel()


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
