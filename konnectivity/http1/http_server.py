"""HTTP/1.1 server of health and admin ports: exact paths, small responses, keep-alive.

Owns the listeners. Each has its own limit of connections and its own scheduler, so that one port cannot delay another,
nor the tunnels by more than its share of the event loop. Does not know the paths.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from konnectivity.http1.connection_limit import MAX_CONNECTIONS, ConnectionLimit
from konnectivity.http1.handlers import Routes
from konnectivity.http1.request_scheduler import RequestScheduler
from konnectivity.net.socket_listeners import Listener, ListenError, listen_tcp, listen_unix
from konnectivity.runtime import logs

if TYPE_CHECKING:
    from konnectivity.http1.http1_protocol import HttpTimeouts

log = logs.get(__name__)


class HttpServer:
    """Listeners with their routes and open connections.

    Args:
        connections: maximum concurrent connections of each listener.
        reached: counts connections that were closed for others.
        timeouts: deadlines of each connection.
        late: whether the protocol is loaded with the first connection: it takes 1 MiB, and file descriptors.

    """

    def __init__(
        self,
        connections: int = MAX_CONNECTIONS,
        reached: Counter[str] | None = None,
        timeouts: HttpTimeouts | None = None,
        late: bool = False,
    ) -> None:
        self.reached: Counter[str] = Counter() if reached is None else reached
        self._most = connections
        self._timeouts = timeouts
        self._late = late
        self._listeners: list[Listener] = []
        self._connections: list[ConnectionLimit] = []
        self._on_close: list[Callable[[], object]] = []

    async def listen(self, what: str, host: str, port: int, routes: Routes) -> None:
        """Serve `routes` on a TCP port (0: do nothing). A failure to bind is logged, and the program runs on."""
        if not port:
            return
        try:
            listener = await listen_tcp(what, host, port, None, self._protocol(routes))
        except ListenError as error:
            log.error("Listener failed, going on without it", reason=str(error))
            return
        self._listeners.append(listener)
        log.info("Listening", purpose=what, address=f"{host or '*'}:{port}")

    async def listen_unix(self, what: str, path: str, routes: Routes) -> None:
        """Serve `routes` on a unix socket."""
        self._listeners.append(await listen_unix(what, path, True, self._protocol(routes)))

    def on_close(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the server closes."""
        self._on_close.append(callback)

    def close(self) -> None:
        """Close the listeners, and each connection after its pending output."""
        for callback in self._on_close:
            callback()
        for listener in self._listeners:
            listener.close()
        for connections in self._connections:
            for connection in connections:
                connection.close()

    def _protocol(self, routes: Routes) -> Callable[[], asyncio.BaseProtocol]:
        connections, scheduler = ConnectionLimit(self._most, self.reached), RequestScheduler()
        self._connections.append(connections)
        if not self._late:
            _load()

        timeouts = self._timeouts

        def make() -> asyncio.BaseProtocol:
            loaded = _load()
            made: asyncio.BaseProtocol = loaded.HttpProtocol(
                routes, connections, scheduler, timeouts or loaded.HttpTimeouts()
            )
            return made

        return make


def _load() -> ModuleType:
    from konnectivity.http1 import http1_protocol

    return http1_protocol
