"""Connections of peer servers and of other workers: each is handed to the tenant that its first call names.

From then on a connection has the services, limits and log of that tenant alone, as those of its agents have. Owns the
connections whose first call is not read yet, or names no tenant that is served: the call is answered with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn, cast

from konnectivity.grpc.http2_server import Http2Server
from konnectivity.grpc.message_stream import MessageStream
from konnectivity.grpc.status import Code, RpcError
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.runtime.logs import log_scope
from konnectivity_server.peers.first_call import FirstCall
from konnectivity_server.peers.peer_protocol import PATH, TENANT
from konnectivity_server.tenants.tenant_end import TenantEnd

NO_TENANT = "this server has --tenants, and the peer server names no tenant: give both servers the same directory"
SEVERAL = "the peer server names several tenants in one call"
UNKNOWN = "this server does not serve the tenant, or has not read its files yet"


class TenantPeers:
    """Connections of peer servers to a server of many tenants.

    Args:
        find: returns the end of a tenant's peer servers by the tenant's name; None: the tenant is not served.
        options: settings of the connections that no tenant has.

    """

    def __init__(self, find: Callable[[str], TenantEnd | None], options: TransportOptions) -> None:
        self._find = find
        self._options = options
        self._others = Http2Server({PATH: self._refuse}, options)
        self._closing = False
        self._unread: dict[UnreadPeer, None] = {}  # connections whose first call is not read yet

    def new_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""
        return UnreadPeer(self, self._options)

    def arrived(self, connection: UnreadPeer) -> None:
        """Note a connection whose first call is not read yet."""
        self._unread[connection] = None

    def left(self, connection: UnreadPeer) -> None:
        """Forget a connection that is lost, or has an owner."""
        self._unread.pop(connection, None)

    def owner_of(self, tenants: list[str]) -> asyncio.BaseProtocol:
        """Return the protocol of the connection of a peer server whose first call names tenants."""
        end = self._find(tenants[0]) if len(tenants) == 1 else None
        protocol = end.protocol() if end is not None else None
        if end is None or protocol is None:
            return self._others.new_transport()
        log_scope.scope.set(end.scope)
        return protocol

    async def close(self, reason: str) -> None:
        """Close the connections that no tenant has, and refuse those that come from now on."""
        self._closing = True
        for each in list(self._unread):
            each.abort()
        await self._others.close(reason)

    def _refuse(self, stream: MessageStream) -> NoReturn:
        """Answer a call with the reason why no tenant has it."""
        if self._closing:
            raise RpcError(Code.UNAVAILABLE, "the server is shutting down")
        names = stream.metadata.get_all(TENANT)
        if len(names) == 1:
            raise RpcError(Code.NOT_FOUND, UNKNOWN)
        raise RpcError(Code.FAILED_PRECONDITION, SEVERAL if names else NO_TENANT)


class UnreadPeer(asyncio.Protocol):
    """Protocol of a connection until its first call is read.

    Args:
        owner: owner of the connections.
        options: limits, of which the time of the handshake is that until the first call.

    """

    def __init__(self, owner: TenantPeers, options: TransportOptions) -> None:
        self._owner = owner
        self._first = FirstCall(options.limits, options.clock)
        self._timeout_s = options.handshake_timeout_s
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first call, and close the connection if there is none in time."""
        self._transport = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self.abort)
        self._owner.arrived(self)

    def data_received(self, data: bytes) -> None:
        """Hand the connection to the tenant that its first call names."""
        tenants = self._first.feed(data)
        transport = self._transport
        if tenants is None or transport is None:
            return
        self._leave()
        protocol = cast("asyncio.Protocol", self._owner.owner_of(tenants))
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(self._first.data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._leave()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _leave(self) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._owner.left(self)
