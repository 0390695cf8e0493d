"""Network of the peer servers: the addresses behind their names, and connections to them.

Owns no connection. Does not know which servers are connected.
"""

from __future__ import annotations

import asyncio
import socket
from typing import NamedTuple

from konnectivity import tls
from konnectivity.grpc import http2_client
from konnectivity.grpc.transport import Channel, Destination
from konnectivity.grpc.transport_options import TransportOptions

RESOLVE_TIMEOUT_S = 5.0


class PeerAddress(NamedTuple):
    """Address of a peer server: the name or path that was configured, and the IP address behind the name."""

    host: str
    port: int
    ip: str


class PeerNetwork:
    """Resolver and connector of peer servers.

    Args:
        client_tls: shows this server's certificate, and checks those of the peer servers; None: all hosts are paths of
            unix sockets, without TLS.

    """

    def __init__(self, client_tls: tls.ClientTls | None) -> None:
        self._tls = client_tls

    async def resolve(self, host: str, port: int) -> list[PeerAddress]:
        """Return the addresses of a host, which may be the path of a unix socket.

        Raises:
            OSError: the name cannot be resolved now.
            ValueError: no resolver takes the name.

        """
        if host.startswith("/"):
            return [PeerAddress(host, port, host)]
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [PeerAddress(host, port, str(sockaddr[0])) for *_, sockaddr in found]

    async def connect(self, address: PeerAddress) -> Channel:
        """Return a new connection to a peer server. The caller limits the time.

        Raises:
            OSError: there is no connection.
            TlsError: the files of the certificate or of the CA cannot be used.

        """
        host, port, ip = address
        if host.startswith("/"):
            destination = Destination(host, "worker", connect_timeout_s=None, handshake_timeout_s=None)
            return await http2_client.connect(destination, None, TransportOptions())
        destination = Destination((ip, port), host, connect_timeout_s=None, handshake_timeout_s=None)
        return await http2_client.connect(destination, self._tls, TransportOptions())
