"""Address of a proxy server's frontend: a unix socket, or TCP with or without TLS.

Owns no connection: it makes them. Does not know the requests that are sent on them.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from konnectivity.client.target_writer import TargetWriter
from konnectivity.net import addresses, hop_timings
from konnectivity.net.happy_eyeballs import connect_any
from konnectivity.net.hop_timings import HopTimings

if TYPE_CHECKING:
    from konnectivity.grpc.http2_client import Http2ClientTransport

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class FrontendAddress:
    """Address of a frontend, and how a connection to it is secured.

    Args:
        address: "unix:/path", "/path" or "host:port".
        tls: client context for TCP, or returns the newest one for each connection; None: cleartext.
        server_name: name that the server's certificate must carry; None: the host.
        token: shown with each dial, or returns the newest one; None: none is shown.

    Raises:
        ValueError: the address or the token is malformed.

    """

    def __init__(
        self,
        address: str,
        tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None,
        server_name: str | None,
        token: str | Callable[[], str] | None = None,
    ) -> None:
        self._path, self._host, self._port = addresses.split_frontend(address)
        self._tls = tls
        self._token = check_token(token) if isinstance(token, str) else token
        self._server_name = server_name or self._host
        self.unencrypted = tls is None and not self._path  # over TCP, where servers expect TLS
        self.authority = quote(self._path, safe="") if self._path else self._server_name  # authority of HTTP/2 requests

    @property
    def token(self) -> str:
        """Return the token to show with a dial; empty: none."""
        return (self._token if isinstance(self._token, str) else self._token()) if self._token is not None else ""

    async def start(self, transport: Http2ClientTransport, hops: HopTimings) -> None:
        """Make a connection, and speak HTTP/2 on it by `transport`."""
        from konnectivity.grpc import http2_client  # loaded for this mode only: it takes memory

        if self._path:
            await http2_client.start(transport, await http2_client.open_unix(self._path), None)
            hops.done(hop_timings.CONNECT)
            return
        sock = await self._connected(hops)
        await http2_client.start(transport, sock, self._context(), self._server_name)
        hops.done(hop_timings.TLS)

    async def streams(self, hops: HopTimings) -> Streams:
        """Make a connection and return its reader and writer."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport: asyncio.Transport
        if self._path:
            transport, _ = await loop.create_unix_connection(lambda: protocol, self._path)
            hops.done(hop_timings.CONNECT)
        else:
            sock = await self._connected(hops)
            context, name = self._context(), self._name
            transport, _ = await loop.create_connection(lambda: protocol, sock=sock, ssl=context, server_hostname=name)
            hops.done(hop_timings.TLS)
        return reader, TargetWriter(transport, protocol, reader, loop)

    def _context(self) -> ssl.SSLContext | None:
        return self._tls if self._tls is None or isinstance(self._tls, ssl.SSLContext) else self._tls()

    @property
    def _name(self) -> str | None:
        return self._server_name if self._tls is not None else None

    async def _connected(self, hops: HopTimings) -> socket.socket:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        sock = await connect_any(found)
        hops.done(hop_timings.CONNECT)
        return sock


def check_token(text: str) -> str:
    """Return a token that can be shown.

    Raises:
        ValueError: a token has one line of printable ASCII without spaces.

    """
    if not text or not all("!" <= each <= "~" for each in text):
        raise ValueError("a token has one line of printable ASCII characters without spaces")
    return text
