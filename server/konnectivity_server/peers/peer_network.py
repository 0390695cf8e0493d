"""Network of the peer servers: the addresses behind their names, and connections to them.

Made once per process; all its tenants resolve names and connect through it. Owns no connection. Does not know which
servers are connected.
"""

from __future__ import annotations

import asyncio
import socket

from konnectivity import tls
from konnectivity.grpc import http2_client
from konnectivity.grpc.transport import Channel, Destination
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity_server.peers.address_book import AddressBook, PeerAddress

RESOLVE_TIMEOUT_S = 5.0
KEPT_S = 4.0  # for which the addresses of a name, or its error, are those for every tenant


class PeerNetwork:
    """Resolver and connector of peer servers.

    Attributes:
        book: what the tenants of the process know about addresses.

    Args:
        client_tls: shows this server's certificate, and checks those of the peer servers; None: all hosts are paths of
            unix sockets, without TLS.

    """

    def __init__(self, client_tls: tls.ClientTls | None) -> None:
        self._tls = client_tls
        self._clock = asyncio.get_running_loop().time
        self.book = AddressBook(self._clock)
        self._turns: dict[tuple[str, int], asyncio.Lock] = {}
        self._found: dict[tuple[str, int], tuple[float, list[PeerAddress] | Exception]] = {}

    async def run(self) -> None:
        """Look after the files of the certificate until cancelled."""
        if self._tls is not None:
            await self._tls.run()

    async def resolve(self, host: str, port: int) -> list[PeerAddress]:
        """Return the addresses of a host, which may be the path of a unix socket.

        Raises:
            OSError: the name cannot be resolved now.
            ValueError: no resolver takes the name.

        """
        if host.startswith("/"):
            return [PeerAddress(host, port, host)]
        async with self._turns.setdefault((host, port), asyncio.Lock()):
            known = self._found.get((host, port))
            if known is None or self._clock() - known[0] >= KEPT_S:
                known = self._found[host, port] = self._clock(), await _addresses(host, port)
        found = known[1]
        if isinstance(found, Exception):
            raise found.with_traceback(None)  # it is raised many times, and keeps what it passed through
        return found

    async def connect(self, address: PeerAddress, options: TransportOptions) -> Channel:
        """Return a new connection to a peer server. The caller limits the time.

        Raises:
            OSError: there is no connection.
            TlsError: the files of the certificate or of the CA cannot be used.

        """
        host, port, ip = address
        if host.startswith("/"):
            destination = Destination(host, "worker", connect_timeout_s=None, handshake_timeout_s=None)
            return await http2_client.connect(destination, None, options)
        destination = Destination((ip, port), host, connect_timeout_s=None, handshake_timeout_s=None)
        return await http2_client.connect(destination, self._tls, options)


async def _addresses(host: str, port: int) -> list[PeerAddress] | Exception:
    """Return the addresses of a name, or why there are none."""
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        return error
    return [PeerAddress(host, port, str(sockaddr[0])) for *_, sockaddr in found]
