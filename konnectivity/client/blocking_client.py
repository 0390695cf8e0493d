"""Client for code without an event loop: blocking sockets to "host:port" through a proxy server.

    with BlockingTunnel("unix:/run/konnectivity.sock") as tunnel, tunnel.dial("10.0.0.7:80") as sock:
        sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")

Owns one thread with an event loop, and the tunnel in it. Sockets that are open when the tunnel closes are reset.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from types import TracebackType
from typing import Self

from konnectivity.client import DIAL_TIMEOUT_S, Mode, connect
from konnectivity.client.socket_bridge import SocketBridge

_START_S = 10.0  # seconds for the thread to begin
_END_S = 10.0  # seconds for the thread to end
_FLUSH_S = 1.0  # seconds for connections that the caller has closed


class BlockingTunnel:
    """Tunnel for code without an event loop. Its methods may be called from any thread.

    Args:
        address, mode, tls, server_name: as for `konnectivity.client.connect`.

    """

    def __init__(
        self, address: str, mode: Mode = "http-connect", tls: ssl.SSLContext | None = None, server_name: str | None = None
    ) -> None:
        self._arguments = address, mode, tls, server_name
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._bridge: SocketBridge | None = None
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        """Start the thread.

        Raises:
            ValueError: the address, the mode or the context is malformed.

        """
        self._thread = threading.Thread(target=self._run, name="konnectivity client", daemon=True)
        self._thread.start()
        if not self._started.wait(_START_S):
            raise TimeoutError("the thread of the tunnel did not begin")
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Close the tunnel, and end the thread."""
        if self._loop is not None and self._end is not None:
            self._loop.call_soon_threadsafe(self._end.set)
        if self._thread is not None:
            self._thread.join(_END_S)

    def dial(self, address: str, timeout_s: float = DIAL_TIMEOUT_S) -> socket.socket:
        """Connect to "host:port" and return a blocking socket, which the caller closes.

        Args:
            address: "host:port" or "[v6]:port"; the agent resolves the host.
            timeout_s: longest time that the dial takes, in seconds.

        Raises:
            DialError: with the failure's kind and text.
            RuntimeError: the tunnel is not open.

        """
        if self._bridge is None or self._loop is None:
            raise RuntimeError("the tunnel is not open: use it in a with block")
        return asyncio.run_coroutine_threadsafe(self._bridge.connect(address, timeout_s), self._loop).result()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
            self._started.set()

    async def _serve(self) -> None:
        address, mode, tls, server_name = self._arguments
        async with connect(address, mode, tls, server_name) as tunnel, asyncio.TaskGroup() as tasks:
            self._bridge = SocketBridge(tunnel, tasks)
            self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
            self._started.set()
            await self._end.wait()
            bridge, self._bridge = self._bridge, None
            await bridge.close(_FLUSH_S)
