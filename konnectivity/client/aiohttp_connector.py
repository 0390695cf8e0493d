"""Connector for aiohttp whose connections go through a proxy server: `aiohttp.ClientSession(connector=...)`.

aiohttp speaks HTTP and keeps connections; this module makes them. Needs aiohttp, which is no dependency of this package.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from konnectivity.client.client_tunnel import DIAL_TIMEOUT_S, ClientTunnel
from konnectivity.errors import DialError

_SECURE = ("https", "wss")


class TunnelConnector(aiohttp.BaseConnector):
    """Connector of an aiohttp session.

    Args:
        tunnel: the way to destinations, which outlives the connector.
        tls: client context for https:// and wss:// URLs; None: the system's certificates. A request's own `ssl` wins.
        options: of `aiohttp.BaseConnector`.

    """

    def __init__(self, tunnel: ClientTunnel, tls: ssl.SSLContext | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._tunnel = tunnel
        self._tls = tls
        self._make_handler = partial(_KeptHandler, loop=self._loop)

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: Any, timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        url = req.url
        host = url.host or ""
        address = f"[{host}]:{url.port}" if ":" in host else f"{host}:{url.port}"
        longest = min(filter(None, (timeout.connect, timeout.sock_connect, DIAL_TIMEOUT_S)))
        try:
            async with asyncio.timeout(longest):
                _, writer = await self._tunnel.dial(address, longest)
                if url.scheme in _SECURE:
                    await self._secure(writer, self._context_of(req), host)
        except ssl.SSLCertVerificationError as error:
            raise aiohttp.ClientConnectorCertificateError(req.connection_key, error) from error
        except ssl.SSLError as error:
            raise aiohttp.ClientConnectorSSLError(req.connection_key, error) from error
        except DialError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error
        protocol = self._make_handler()
        protocol.writer = writer
        writer.transport.set_protocol(protocol)
        protocol.connection_made(writer.transport)
        return protocol

    def _context_of(self, req: aiohttp.ClientRequest) -> ssl.SSLContext:
        wanted: object = req.ssl
        if isinstance(wanted, ssl.SSLContext):
            return wanted
        if wanted is False:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return context
        return self._tls or ssl.create_default_context()

    @staticmethod
    async def _secure(writer: asyncio.StreamWriter, context: ssl.SSLContext, host: str) -> None:
        try:
            await writer.start_tls(context, server_hostname=host)
        except BaseException:
            writer.transport.abort()
            raise


class _KeptHandler(ResponseHandler):
    """Protocol of aiohttp that keeps the writer of its transport: a writer that nobody keeps closes the transport."""

    writer: asyncio.StreamWriter | None = None
