"""Listeners of a forward proxy for its clients, on TCP ports and unix sockets.

Owns the listeners and the number of open connections. Does not know how a client is served: `client_session` does.
"""

from __future__ import annotations

import asyncio
import socket

from konnectivity.errors import StartError
from konnectivity.forward.client_session import ClientSession, ProxyClient, SessionSettings
from konnectivity.forward.proxy_credentials import ProxyCredentials
from konnectivity.net.socket_listeners import Listener, listen_tcp, listen_unix
from konnectivity.net.tcp_keepalive import keep_alive
from konnectivity.runtime import logs, task_guard

log = logs.get(__name__)


class ClientListeners:
    """Listeners of one process, all for the same clients.

    Attributes:
        clients: number of open connections of clients.

    Args:
        settings: what all clients share.
        max_clients: connections above this number are closed at once.

    """

    def __init__(self, settings: SessionSettings, max_clients: int) -> None:
        self.clients = 0
        self._settings = settings
        self._max_clients = max_clients
        self._listeners: list[Listener] = []
        self._sessions: set[asyncio.Task[None]] = set()

    async def open(self, host: str, port: int, path: str, shared: bool = False) -> None:
        """Listen on a TCP port, a unix socket, or both.

        Args:
            host: address of the TCP port; empty: all addresses.
            port: TCP port; 0: none.
            path: of the unix socket; empty: none.
            shared: whether other processes of this user listen on the port, too.

        Raises:
            ListenError: the address or the path cannot be bound.

        """
        if port:
            self._listeners.append(await listen_tcp("clients", host, port, None, self._protocol, shared))
            log.info("Listening for clients", address=f"{host or '*'}:{port}")
        if path:
            self._listeners.append(await listen_unix("clients", path, True, self._protocol))
            log.info("Listening for clients", socket=path)

    def stop_listening(self) -> None:
        """Take no new clients."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def close(self) -> None:
        """Take no new clients, and end the sessions of those that are left."""
        self.stop_listening()
        for session in self._sessions:
            session.cancel()

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader()
        return asyncio.StreamReaderProtocol(reader, self._accepted)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.clients >= self._max_clients:
            self._settings.reached["forward_connections"] += 1
            writer.transport.abort()
            return
        sock = writer.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            keep_alive(sock, sock.family)
        self.clients += 1
        session = ClientSession(ProxyClient(reader, writer), self._settings)
        task = task_guard.start(self._settings.tasks, session.run, "forward", failed=writer.transport.abort)
        self._sessions.add(task)
        task.add_done_callback(lambda ended: self._left(ended, writer))

    def _left(self, task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        self._sessions.discard(task)
        self.clients -= 1
        if task.cancelled():  # perhaps before the session began
            writer.transport.abort()


def credentials_of(path: str) -> ProxyCredentials | None:
    """Return the users and passwords in a file; None without a file.

    Raises:
        StartError: the file cannot be used.

    """
    if not path:
        return None
    try:
        return ProxyCredentials(path)
    except ValueError as error:
        raise StartError(str(error)) from error
