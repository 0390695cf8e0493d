"""Connector for aiohttp whose connections go through a proxy server: `aiohttp.ClientSession(connector=...)`.

aiohttp speaks HTTP and keeps connections; this module makes them. Needs aiohttp, which is no dependency of this
package.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import cache, partial
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

from konnectivity.client.client_tunnel import DIAL_TIMEOUT_S, ClientTunnel
from konnectivity.client.target_writer import unread_bytes
from konnectivity.errors import DialError, DialFailure

_SECURE = ("https", "wss")


class TunnelConnector(aiohttp.BaseConnector):
    """Connector of an aiohttp session.

    Args:
        tunnel: the way to destinations, which outlives the connector.
        tls: client context for https:// and wss:// URLs; None: the system's certificates. A request's own `ssl` wins.
        **options: of `aiohttp.BaseConnector`.

    """

    def __init__(self, tunnel: ClientTunnel, tls: ssl.SSLContext | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._tunnel = tunnel
        self._tls = tls
        self._make_handler = partial(_KeptHandler, loop=self._loop)

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: Any, timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        if req.proxy:
            raise ValueError("a TunnelConnector dials destinations itself: use no proxy=, and trust_env=False")
        try:
            async with asyncio.timeout(timeout.sock_connect or DIAL_TIMEOUT_S):
                return await self._connect(req, timeout.sock_connect or DIAL_TIMEOUT_S)
        except ssl.SSLCertVerificationError as error:
            raise aiohttp.ClientConnectorCertificateError(req.connection_key, error) from error
        except ssl.SSLError as error:
            raise aiohttp.ClientConnectorSSLError(req.connection_key, error) from error
        except TimeoutError:
            raise  # aiohttp makes an error of its own of it
        except OSError as error:
            if isinstance(error, DialError) and error.failure is DialFailure.TIMEOUT:
                raise TimeoutError(str(error)) from error
            told = OSError(error.errno or 0, str(error))  # aiohttp's text has the second argument
            raise aiohttp.ClientConnectorError(req.connection_key, told) from error

    async def _connect(self, req: aiohttp.ClientRequest, timeout_s: float) -> ResponseHandler:
        """Dial, begin TLS if the URL asks for it, and attach aiohttp's protocol to the connection."""
        host = req.url.raw_host or ""
        reader, writer = await self._tunnel.dial(_joined(host, req.url.port), timeout_s)
        try:
            if req.url.scheme in _SECURE:
                await writer.start_tls(self._context_of(req), server_hostname=(req.server_hostname or host).rstrip("."))
                if isinstance(req.ssl, aiohttp.Fingerprint):
                    req.ssl.check(cast("asyncio.Transport", writer.transport))
            if reader.at_eof() or unread_bytes(reader):
                raise ConnectionAbortedError("the destination ended the connection, or sent data, before the request")
        except BaseException:
            writer.transport.abort()
            raise
        protocol = self._make_handler()
        protocol.writer = writer
        writer.transport.set_protocol(protocol)
        protocol.connection_made(writer.transport)
        return protocol

    def _context_of(self, req: aiohttp.ClientRequest) -> ssl.SSLContext:
        wanted: object = req.ssl
        if isinstance(wanted, ssl.SSLContext):
            return wanted
        if wanted is not True:  # False, or the fingerprint that is compared behind the handshake
            return _context(verified=False)
        return self._tls or _context(verified=True)


@cache
def _context(*, verified: bool) -> ssl.SSLContext:
    """Return the context for requests that name none."""
    context = ssl.create_default_context()
    if not verified:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _joined(host: str, port: int | None) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _KeptHandler(ResponseHandler):
    """Protocol of aiohttp that keeps the writer of its transport: a writer that nobody keeps closes the transport."""

    writer: asyncio.StreamWriter | None = None
