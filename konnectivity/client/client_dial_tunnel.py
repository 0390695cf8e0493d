"""Tunnel of one dial of a client. The rest of the client is never compiled; this class is where its base is."""

from __future__ import annotations

import asyncio

from konnectivity.client.connection_transport import streams_of
from konnectivity.client.frontend_address import Streams
from konnectivity.errors import NO_AGENT, DialError, DialFailure
from konnectivity.grpc.http2_client import Http2ClientTransport
from konnectivity.grpc.status import Status
from konnectivity.tunnel import sides
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.tunnel_options import TunnelOptions

_PATH = "/ProxyService/Proxy"


class ClientDialTunnel(DialingTunnel):
    """Tunnel of one dial: one call of ProxyService, and the one dial on it.

    Attributes:
        address: target of the dial.
        connected: reader and writer of the connection, or the DialError of the dial.
        not_begun: the server has refused the call before it began the dial.

    """

    protocol = "tcp"
    origin = ""
    is_probe = False

    def __init__(
        self,
        transport: Http2ClientTransport,
        options: TunnelOptions,
        address: str,
        token: str = "",  # empty: shows none  # nosec B107
    ) -> None:
        self.address = address
        self.not_begun = False
        self.connected: asyncio.Future[Streams] = asyncio.get_running_loop().create_future()
        self.connected.add_done_callback(lambda future: future.cancelled() or future.exception())
        shown = {"authorization": f"Bearer {token}"} if token else {}
        stream = transport.open_stream(_PATH, {**options.offer(), **shown}, self)
        super().__init__(stream, options, sides.CLIENT, sides.CLIENT)

    def dial_succeeded(self, connection: Connection) -> bool:
        """Hand the connection to the caller of `dial`, unless it gave up."""
        if self.connected.done():
            return False
        self.connected.set_result(streams_of(connection))
        return True

    def dial_failed(self, error: DialError) -> None:
        """Raise the error in the caller of `dial`, and end the call."""
        if str(error).endswith(NO_AGENT):
            error = DialError(DialFailure.NO_AGENT, NO_AGENT)
        if not self.connected.done():
            self.connected.set_exception(error)
        self.stream.finish()

    def connection_closed(self, connection: Connection) -> None:
        super().connection_closed(connection)
        self.stream.finish()

    def stream_closed(self, status: Status) -> None:
        self.not_begun = status.not_begun
        if not self.connected.done():
            self.connected.set_exception(DialError(DialFailure.TUNNEL_LOST, str(status)))
        super().stream_closed(status)
