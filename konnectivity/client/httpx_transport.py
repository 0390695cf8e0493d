"""Transport for httpx through a proxy server: `httpx.AsyncClient(transport=TunnelTransport(tunnel))`.

httpcore speaks HTTP and keeps connections; this module gives it the network. Owns the pool. Needs httpx, which is no
dependency of this package.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from konnectivity.client.client_tunnel import DIAL_TIMEOUT_S, ClientTunnel
from konnectivity.client.frontend_address import Streams
from konnectivity.client.target_writer import unread_bytes
from konnectivity.errors import DialError, DialFailure
from konnectivity.net import addresses

MAX_CONNECTIONS, MAX_IDLE, IDLE_S = 100, 20, 5.0

# An error of httpcore -> the error of httpx that stands for it, which has the same name.
HTTPX_ERRORS: dict[type[Exception], type[Exception]] = {
    vars(httpcore)[name]: vars(httpx)[name]
    for name in (
        "ConnectError",
        "ConnectTimeout",
        "LocalProtocolError",
        "PoolTimeout",
        "ReadError",
        "ReadTimeout",
        "RemoteProtocolError",
        "UnsupportedProtocol",
        "WriteError",
        "WriteTimeout",
    )
}


class TunnelTransport(httpx.AsyncBaseTransport):
    """Transport of an httpx client.

    Args:
        tunnel: the way to destinations, which outlives the transport.
        tls: client context for https:// URLs; None: the certificates that httpx trusts.

    """

    def __init__(self, tunnel: ClientTunnel, tls: ssl.SSLContext | None = None) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or httpx.create_ssl_context(),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_IDLE,
            keepalive_expiry=IDLE_S,
            network_backend=_TunnelNetwork(tunnel),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the response, whose body is read later."""
        assert isinstance(request.stream, httpx.AsyncByteStream), "an asynchronous client has such a stream"
        url = request.url
        sent = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _errors_of_httpx():
            found = await self._pool.handle_async_request(sent)
        return httpx.Response(
            found.status, headers=found.headers, stream=_ResponseBody(found), extensions=found.extensions
        )

    async def aclose(self) -> None:
        """Close all connections; the tunnel stays open."""
        await self._pool.aclose()


class _ResponseBody(httpx.AsyncByteStream):
    """Body of a response, which returns its connection to the pool at the end."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for data in self._response.aiter_stream():
                yield data

    async def aclose(self) -> None:
        with _errors_of_httpx():
            await self._response.aclose()


class _TunnelNetwork(httpcore.AsyncNetworkBackend):
    """Network of httpcore's pool: dials through the tunnel."""

    def __init__(self, tunnel: ClientTunnel) -> None:
        self._tunnel = tunnel

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        address = addresses.joined(host, port)
        try:
            return _TunnelStream(await self._tunnel.dial(address, DIAL_TIMEOUT_S if timeout is None else timeout))
        except DialError as error:
            late = error.failure is DialFailure.TIMEOUT
            raise (httpcore.ConnectTimeout if late else httpcore.ConnectError)(str(error)) from error

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _TunnelStream(httpcore.AsyncNetworkStream):
    """Connection in the form that httpcore reads and writes."""

    def __init__(self, streams: Streams) -> None:
        self._reader, self._writer = streams

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _errors_of(httpcore.ReadTimeout, httpcore.ReadError):
            async with asyncio.timeout(timeout):
                return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _errors_of(httpcore.WriteTimeout, httpcore.WriteError):
            self._writer.write(buffer)
            async with asyncio.timeout(timeout):
                await self._writer.drain()

    async def aclose(self) -> None:
        self._writer.close()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        with _errors_of(httpcore.ConnectTimeout, httpcore.ConnectError):
            async with asyncio.timeout(timeout):
                await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # of an idle connection: the destination closed it, or sent what nobody asked for
            return self._reader.at_eof() or self._writer.is_closing() or unread_bytes(self._reader) > 0
        return self._writer.get_extra_info(info)


@contextmanager
def _errors_of(late: type[Exception], broken: type[Exception]) -> Iterator[None]:
    """Raise httpcore's errors in place of those of asyncio."""
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except (OSError, RuntimeError) as error:  # of TLS, too; uvloop raises the latter for a transport that is closed
        raise broken(str(error)) from error


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    """Raise httpx's errors in place of those of httpcore."""
    try:
        yield
    except tuple(HTTPX_ERRORS) as error:
        raise HTTPX_ERRORS[type(error)](str(error)) from error
