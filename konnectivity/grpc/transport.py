"""Interface of a gRPC implementation: `connect` and `serve`, and what they return.

Two implementations have it: `http2_client` with `http2_server` (native), and `grpcio_transport`. Which of them
a program uses is chosen in `implementations`. Nothing here knows HTTP/2 or asyncio transports.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from konnectivity.grpc.message_stream import MessageStream, Service, StreamReceiver
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.net.socket_listeners import SourceLimits
from konnectivity.net.unix_socket import BoundPath
from konnectivity.tls import ClientTls, ServerTls

Address = tuple[str, int] | str  # host and port, or the path of a unix socket
CONNECT_TIMEOUT_S = 5.0
HANDSHAKE_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Destination:
    """Server that a client connects to.

    Attributes:
        address: host or IP address and port, or the path of a unix socket.
        name: host name in the server's certificate and in requests; empty: that of the address.
        open_socket: opens the TCP connection, for example through a forward proxy; None: it is opened directly.
        connect_timeout_s: seconds for the TCP connection; None: the caller limits them.
        handshake_timeout_s: seconds for the TLS handshake; None: the caller limits them.

    """

    address: Address
    name: str = ""
    open_socket: Callable[[], Awaitable[socket.socket]] | None = None
    connect_timeout_s: float | None = CONNECT_TIMEOUT_S
    handshake_timeout_s: float | None = HANDSHAKE_TIMEOUT_S

    @property
    def authority(self) -> str:
        """Host name in the server's certificate and in requests."""
        return self.name or (self.address[0] if isinstance(self.address, tuple) else "localhost")


class Channel(Protocol):
    """Connection of a client. A lost connection is not made again; the owner makes another."""

    def open_stream(
        self, path: str, metadata: Mapping[str, str], receiver: StreamReceiver, timeout_s: float | None = None
    ) -> MessageStream:
        """Start a call, which ends after `timeout_s` seconds if that is given.

        Raises:
            RpcError: the connection takes no new call.

        """

    @property
    def unsent(self) -> int:
        """Return the number of bytes that wait for the socket, or for window of the peer."""

    def close(self, reason: str = "") -> None:
        """End the open calls with UNAVAILABLE, and close the connection."""


class GrpcServer(Protocol):
    """Listener of a server, and the connections that it has accepted.

    Attributes:
        port: TCP port in use; 0: none, or it is not known.
        path: path of the unix socket; None: TCP.

    """

    port: int
    path: BoundPath | None

    @property
    def unsent(self) -> int:
        """Return the number of bytes that wait for the sockets of all connections, or for window of their peers."""

    def stop_listening(self) -> None:
        """Accept no new connections, if the implementation can; the open ones continue."""

    async def close(self, reason: str) -> None:
        """Close the listener, and end the open calls with UNAVAILABLE."""


class Connect(Protocol):
    """Function that opens a client's connection."""

    async def __call__(
        self,
        destination: Destination,
        client_tls: ClientTls | None,
        options: TransportOptions,
        tasks: asyncio.TaskGroup,
        on_closed: Callable[[], object] | None = None,
    ) -> Channel:
        """Open a connection.

        Args:
            destination: server to connect to.
            client_tls: certificates; None: cleartext.
            options: settings of this end; grpcio knows `keepalive_time_s` only.
            tasks: group that owns the tasks of the connection; native connections need none.
            on_closed: called once, when the connection is gone.

        Raises:
            OSError, RpcError, TimeoutError, TlsError: the connection could not be made.

        """


class Serve(Protocol):
    """Function that opens a server's listener."""

    async def __call__(
        self,
        what: str,
        services: Mapping[str, Service],
        address: Address,
        server_tls: ServerTls | None,
        options: TransportOptions,
        sources: SourceLimits | None = None,
        replace: bool = True,
    ) -> GrpcServer:
        """Listen on TCP (empty host: all interfaces) or on a unix socket of mode 0770.

        Args:
            what: name of the listener, for errors.
            services: handler of the calls, by path.
            address: host and port, or the path of a unix socket.
            server_tls: certificates; None: cleartext.
            options: settings of each connection; grpcio knows `keepalive_time_s` only.
            sources: limits per source address of a TCP listener; grpcio knows none.
            replace: whether a unix socket that no server needs is replaced.

        Raises:
            ListenError, TlsError: the listener cannot be opened, and the reason.

        """
