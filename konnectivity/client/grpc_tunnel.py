"""Client tunnel over gRPC.

Owns the HTTP/2 connections to the server. Dials share the newest one: it is made by the first dial, and anew after a
loss, or when the server takes no more calls on it.
"""

from __future__ import annotations

import asyncio

from konnectivity.client.client_dial_tunnel import ClientDialTunnel
from konnectivity.client.client_tunnel import ClientTunnel
from konnectivity.client.frontend_address import FrontendAddress, Streams
from konnectivity.errors import DialError, DialFailure
from konnectivity.grpc.http2_client import Http2ClientTransport
from konnectivity.grpc.status import RpcError
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.net import hop_timings
from konnectivity.net.hop_timings import HopTimings
from konnectivity.tunnel.tunnel_options import TunnelOptions

CLOSE_TIMEOUT_S = 1.0


class GrpcTunnel(ClientTunnel):
    """Client tunnel in the mode "grpc": one HTTP/2 connection to the server, one stream for each dial."""

    def __init__(self, frontend: FrontendAddress) -> None:
        super().__init__(frontend)
        self._transport: Http2ClientTransport | None = None
        self._transports: list[Http2ClientTransport] = []  # all that may be open
        self._connecting = asyncio.Lock()
        self._gone = asyncio.Event()  # set when a connection has closed
        self._options = TunnelOptions(hold_s=None, log_connections=False)

    async def _dial(self, address: str, hops: HopTimings) -> Streams:
        """Dial; once more, on a new connection, if the server ended the shared one before it began the dial."""
        transport = await self._connected(hops)
        stream = self._call(transport, address)
        try:
            return await _answer(stream, hops)
        except DialError:
            if not stream.not_begun or transport.goaway is None:
                raise
        return await _answer(self._call(await self._connected(hops), address), hops)

    def _call(self, transport: Http2ClientTransport, address: str) -> ClientDialTunnel:
        try:
            return ClientDialTunnel(transport, self._options, address, self._frontend.token)
        except RpcError as error:
            raise DialError(DialFailure.TUNNEL_LOST, str(error)) from error

    async def _connected(self, hops: HopTimings) -> Http2ClientTransport:
        async with self._connecting:
            if self._transport is None or self._transport.closed or self._transport.goaway is not None:
                self._transport = None  # if this dial cannot connect, the next one tries again
                transport = Http2ClientTransport(TransportOptions(), self._frontend.authority, self._gone.set)
                await self._frontend.start(transport, hops)
                if self._closed:
                    transport.abort("the tunnel was closed")
                    raise DialError(DialFailure.TUNNEL_LOST, "the tunnel was closed")
                self._transport = transport
                self._transports = [*self._open(), transport]
            return self._transport

    def _open(self) -> list[Http2ClientTransport]:
        return [each for each in self._transports if not each.closed]

    async def _close(self) -> None:
        for each in self._open():
            each.close("the client is done")
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):  # wait for the end of TLS from the server
                while self._open():
                    self._gone.clear()
                    await self._gone.wait()
        except TimeoutError:
            for each in self._open():
                each.abort("the server does not say goodbye")


async def _answer(stream: ClientDialTunnel, hops: HopTimings) -> Streams:
    """Ask for the dial and return its connection. However the wait ends without one, the call ends with it."""
    try:
        stream.ask(stream)  # at once: a server of the reference sends its response headers with its first packet
        streams = await stream.connected
        hops.done(hop_timings.DIAL)
        return streams
    except BaseException:
        stream.stream.abort()
        raise
