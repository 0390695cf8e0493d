"""Network of the peer servers: the addresses behind their names, and connections to them.

Made once per process; all its tenants resolve names and connect through it. Owns no connection. Does not know which
servers are connected.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator

from konnectivity import tls
from konnectivity.grpc import http2_client
from konnectivity.grpc.transport import Channel, Destination
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity_server.peers.address_book import AddressBook, PeerAddress

RESOLVE_TIMEOUT_S = 5.0
RESOLVE_INTERVAL_S = 5.0

Found = list[PeerAddress] | Exception


class PeerNetwork:
    """Resolver and connector of peer servers.

    Attributes:
        book: what the tenants of the process know about addresses.
        news: set when a name leads elsewhere, and replaced by another event then.

    Args:
        client_tls: shows this server's certificate, and checks those of the peer servers; None: all hosts are paths of
            unix sockets, without TLS.
        look_up: returns the addresses of a name, or why there are none; None: as the system resolves it.

    """

    def __init__(
        self,
        client_tls: tls.ClientTls | None,
        look_up: Callable[[str, int], Awaitable[Found]] | None = None,
    ) -> None:
        self._tls = client_tls
        self._look_up = look_up or _addresses
        self.book = AddressBook(asyncio.get_running_loop().time)
        self._turn = asyncio.Lock()
        self._found: dict[tuple[str, int], Found] = {}
        self.news = asyncio.Event()

    def loops(self) -> Iterator[tuple[Callable[[], Awaitable[None]], str]]:
        """Yield the work that lasts as long as the process, and the kind of its task."""
        yield self.keep_names, "names of peers"
        if self._tls is not None:
            yield self._tls.run, "TLS files of peers"

    async def keep_names(self) -> None:
        """Look up the names that were asked for, again and again, until cancelled."""
        while True:
            await asyncio.sleep(RESOLVE_INTERVAL_S)
            changed = [await self._renewed(*each) for each in list(self._found)]
            if any(changed):
                self.news.set()
                self.news = asyncio.Event()

    async def _renewed(self, host: str, port: int) -> bool:
        """Look up a name, and return whether it leads elsewhere; an error changes nothing."""
        found = await self._look_up(host, port)
        if isinstance(found, Exception) or found == self._found[host, port]:
            return False
        self._found[host, port] = found
        return True

    async def resolve(self, host: str, port: int) -> list[PeerAddress]:
        """Return the addresses of a host, which may be the path of a unix socket.

        Raises:
            OSError: the name cannot be resolved now.
            ValueError: no resolver takes the name.

        """
        if host.startswith("/"):
            return [PeerAddress(host, port, host)]
        async with self._turn:
            if (host, port) not in self._found:
                self._found[host, port] = await self._look_up(host, port)
        found = self._found[host, port]
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


async def _addresses(host: str, port: int) -> Found:
    """Return the addresses of a name, or why there are none."""
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        return error
    return sorted({PeerAddress(host, port, str(sockaddr[0])) for *_, sockaddr in found})
