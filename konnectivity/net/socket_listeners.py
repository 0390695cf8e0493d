"""Listeners on TCP ports and unix sockets, and the error when one cannot be opened.

`tcp_binding` opens TCP sockets, `source_limit` accepts their connections within limits; `unix_socket` owns the path of
a unix socket. Does not know the protocol of a connection.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from konnectivity.net import source_limit, tcp_binding
from konnectivity.net.error_texts import words_of
from konnectivity.net.source_limit import TLS_HANDSHAKE_TIMEOUT_S, SourceLimits
from konnectivity.net.unix_socket import UnixSocket, bind_unix

__all__ = [
    "TLS_HANDSHAKE_TIMEOUT_S",
    "ListenError",
    "Listener",
    "SourceLimits",
    "TcpListener",
    "UnixListener",
    "admit_tcp",
    "listen_tcp",
    "listen_unix",
    "open_unix",
    "serve_unix",
]

BACKLOG = 4096


class ListenError(Exception):
    """Failure to open a listener; `str()` gives its name, its address and the reason."""


class Listener(Protocol):
    """Open listener. `close` ends it; accepted connections stay open."""

    def close(self) -> None: ...


class TcpListener:
    """Listener on one or more TCP sockets whose connections the event loop accepts."""

    def __init__(self, sockets: list[socket.socket], servers: list[asyncio.Server]) -> None:
        self.sockets = sockets
        self._servers = servers

    def close(self) -> None:
        for each in self._servers:
            each.close()


class UnixListener:
    """Listener on a unix socket whose path is removed with it."""

    def __init__(self, bound: UnixSocket, server: asyncio.Server) -> None:
        self.path = bound
        self._server = server

    def close(self) -> None:
        self.path.remove()
        self._server.close()


async def listen_tcp(
    what: str,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    factory: Callable[[], asyncio.BaseProtocol],
    shared: bool = False,
    handshake_timeout_s: float = TLS_HANDSHAKE_TIMEOUT_S,
) -> TcpListener:
    """Listen on a TCP port.

    Args:
        what: name of the listener, for errors.
        host: name or address; empty, `0.0.0.0` or `::`: all interfaces, IPv4 and IPv6.
        port: port number; 0: any free port.
        context: TLS, or None.
        factory: makes the protocol of a connection.
        shared: whether other processes of this user may listen on the port, too.
        handshake_timeout_s: maximum seconds of a TLS handshake.

    Raises:
        ListenError: the address cannot be bound.

    """
    loop = asyncio.get_running_loop()
    sockets = _bound(what, host, port, shared)
    timeout = handshake_timeout_s if context is not None else None
    servers = [
        await loop.create_server(factory, sock=each, ssl=context, backlog=BACKLOG, ssl_handshake_timeout=timeout)
        for each in sockets
    ]
    return TcpListener(sockets, servers)


async def admit_tcp(
    what: str,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    factory: Callable[[], asyncio.BaseProtocol],
    limits: SourceLimits,
) -> Listener:
    """Listen as `listen_tcp` does, within `limits`. Failed TLS handshakes are counted and logged."""
    return source_limit.SourceLimitedListener(what, _bound(what, host, port, limits.shared), context, factory, limits)


async def listen_unix(what: str, path: str, replace: bool, factory: Callable[[], asyncio.BaseProtocol]) -> UnixListener:
    """Listen on a unix socket of mode 0770.

    Args:
        what: name of the listener, for errors.
        path: path of the socket.
        replace: whether a socket without a server, or of a draining one, is replaced.
        factory: makes the protocol of a connection.

    Raises:
        ListenError: the path cannot be bound.

    """
    bound = await open_unix(what, path, replace)
    return UnixListener(bound, await serve_unix(bound.socket, factory))


async def open_unix(what: str, path: str, replace: bool) -> UnixSocket:
    """Return a listening unix socket whose connections nobody accepts yet; arguments and errors as `listen_unix`."""
    try:
        return await bind_unix(path, replace, BACKLOG)
    except OSError as error:
        raise ListenError(f"cannot listen on unix socket {path!r} for {what}: {words_of(error)}") from error


async def serve_unix(sock: socket.socket, factory: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
    """Accept the connections of a listening unix socket."""
    return await asyncio.get_running_loop().create_unix_server(factory, sock=sock, backlog=BACKLOG)


def _bound(what: str, host: str, port: int, shared: bool) -> list[socket.socket]:
    try:
        return tcp_binding.bound(host, port, BACKLOG, shared)
    except OSError as error:
        raise ListenError(f"cannot listen on {host or '*'}:{port} for {what}: {words_of(error)}") from error
