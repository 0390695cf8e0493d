"""Client for code without an event loop: blocking sockets to "host:port" through a proxy server.

    with BlockingTunnel("unix:/run/konnectivity.sock") as tunnel, tunnel.dial("10.0.0.7:80") as sock:
        sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")

Owns one thread with an event loop, and the tunnel in it. Closed sockets have _FLUSH_S to send their last bytes when the
tunnel closes; sockets that are still open are reset then.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Self

from konnectivity.client import DIAL_TIMEOUT_S, Mode, connect
from konnectivity.client.socket_bridge import SocketBridge
from konnectivity.errors import DialError, DialFailure

_START_S = 10.0  # seconds for the thread to begin
_END_S = 10.0  # seconds for the thread to end
_FLUSH_S = 1.0  # seconds for connections that the caller has closed


class BlockingTunnel:
    """Tunnel for code without an event loop, for one `with` block. Any thread may call `dial`.

    Args:
        address: "unix:/path", "/path" or "host:port".
        mode: protocol of the frontend, "grpc" or "http-connect".
        tls: client context for TCP (`tls_context` makes one); not for unix sockets.
        server_name: name that the server's certificate must carry, if it is not the host.
        token: shown to the server, whose policy on frontends may name it.

    """

    def __init__(
        self,
        address: str,
        mode: Mode = "http-connect",
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        token: str | None = None,
    ) -> None:
        self._arguments = address, mode, tls, server_name, token
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._lock = threading.Lock()  # of the three below: a dial reaches a loop that still runs, or none
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()
        self._ended = False
        self._bridge: SocketBridge | None = None  # of the thread

    def __enter__(self) -> Self:
        """Start the thread.

        Raises:
            ValueError: the address, the mode or the context is malformed.
            RuntimeError: the tunnel was opened before.
            TimeoutError: the thread did not begin.

        """
        if self._thread is not None:
            raise RuntimeError("a BlockingTunnel opens once: make another one")
        self._thread = threading.Thread(target=self._run, name="konnectivity client", daemon=True)
        self._thread.start()
        if not self._started.wait(_START_S):
            self._stop()
            raise TimeoutError(f"the thread of the tunnel did not begin within {_START_S:g} s")
        if self._failure is not None:
            self._thread.join(_END_S)
            raise self._failure
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the tunnel, and wait until the thread has ended, for at most _END_S seconds."""
        self._stop()
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
            ValueError: the address is not a string, or the timeout not a number of seconds.

        """
        with self._lock:
            if self._loop is None or self._ended:
                raise RuntimeError("the tunnel is not open: use it in a with block")
            dialing = asyncio.run_coroutine_threadsafe(self._dial(address, timeout_s), self._loop)
        try:
            return dialing.result()
        except CancelledError:
            raise DialError(DialFailure.TUNNEL_LOST, "the tunnel was closed") from None
        except BaseException:
            dialing.cancel()
            raise

    async def _dial(self, address: str, timeout_s: float) -> socket.socket:
        assert self._bridge is not None, "the bridge is there before the loop is"
        return await self._bridge.connect(address, timeout_s)

    def _stop(self) -> None:
        with self._lock:
            self._ended = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._end.set)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        async with connect(*self._arguments) as tunnel, asyncio.TaskGroup() as tasks:
            bridge = self._bridge = SocketBridge(tunnel, tasks)
            with self._lock:
                if self._ended:
                    return
                self._loop = asyncio.get_running_loop()
            self._started.set()
            try:
                await self._end.wait()
            finally:
                with self._lock:
                    self._loop = None
            await bridge.close(_FLUSH_S)
