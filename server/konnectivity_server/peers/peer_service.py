"""PeerService: dials of peer servers, through the agents of this server and never through a third one.

Owns the tunnels from peer servers. Served on a port of its own to clients with a certificate of the peers' CA. Does not
know how a dial chooses its agent.
"""

from __future__ import annotations

from collections.abc import Callable

from konnectivity import wire
from konnectivity.grpc.message_stream import MessageStream
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.runtime import logs
from konnectivity.tunnel import sides
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.serving import Opener, ServingTunnel
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.peers import peer_protocol
from konnectivity_server.peers.peer_protocol import SERVER_ID, TENANT

log = logs.get(__name__)


class PeerService:
    """Service for peer servers.

    Args:
        opener: opens the connections that peer servers dial, through the agents of this server.
        options: settings and counters that all tunnels from peer servers share.
        server_id: id of this server.
        ready: returns whether this server has agents that answer.
        on_change: called when a peer server is connected or gone.
        tenant: name of the tenant whose agents are dialled through; empty: the server serves one cluster.

    """

    def __init__(
        self,
        opener: Opener,
        options: TunnelOptions,
        server_id: str,
        ready: Callable[[], bool],
        on_change: Callable[[], object],
        tenant: str = "",
    ) -> None:
        self.tunnels: dict[IncomingPeerTunnel, None] = {}  # in the order in which they were opened
        self._on_change = on_change
        self._opener = opener
        self._options = options
        self._server_id = server_id
        self._ready = ready
        self._tenant = tenant
        self._draining = False

    @property
    def server_ids(self) -> set[str]:
        """Ids of the connected peer servers."""
        return {each.server_id for each in self.tunnels}

    def connect(self, stream: MessageStream) -> ServingTunnel:
        """Serve the stream of a peer server.

        Raises:
            RpcError: the client gives no server id, does not speak the extension, or means another tenant; or this
                server is shutting down.

        """
        self._check_tenant(stream.metadata.get_all(TENANT))
        ids = stream.metadata.get_all(SERVER_ID)
        if len(ids) != 1 or Extension.of(stream.metadata) is None:
            raise RpcError(Code.FAILED_PRECONDITION, "a peer says its server id, and speaks the extension")
        tunnel = IncomingPeerTunnel(stream, self._options, ids[0], self, self._opener)
        tunnel.accept_call(peer_protocol.introduction(self._server_id, self._tenant))
        self.announce([tunnel])
        if ids[0] != self._server_id:  # a server tries all addresses of a name, including its own
            self.tunnels[tunnel] = None
            self._on_change()
        return tunnel

    def _check_tenant(self, names: list[str]) -> None:
        """Refuse a call that does not name exactly the tenant of this service."""
        if names != ([self._tenant] if self._tenant else []):
            text = "this server serves one cluster, without --tenants, and the peer server names a tenant"
            if self._tenant:
                text = "this connection is for one tenant, and the call is for another one, or for none"
            raise RpcError(Code.FAILED_PRECONDITION, text)
        if self._draining:
            raise RpcError(Code.UNAVAILABLE, "the server is shutting down")

    def announce(self, to: list[IncomingPeerTunnel] | None = None) -> None:
        """Tell the peer servers whether this server has agents that answer, unless they know.

        Args:
            to: tunnels of the peer servers to tell; None: all connected ones.

        """
        ready = self._ready()
        for tunnel in self.tunnels if to is None else to:
            if tunnel.told != ready:
                tunnel.told = ready
                tunnel.send_control(wire.ready(ready))

    def peer_closed(self, tunnel: IncomingPeerTunnel) -> None:
        """Remove a tunnel that ended."""
        if tunnel in self.tunnels:
            del self.tunnels[tunnel]
            self._on_change()

    def drain(self) -> None:
        """Tell the peer servers to dial elsewhere, and accept no new tunnels."""
        self._draining = True
        for tunnel in self.tunnels:
            tunnel.send_drain()


class IncomingPeerTunnel(ServingTunnel):
    """Tunnel from one peer server."""

    def __init__(
        self,
        stream: MessageStream,
        options: TunnelOptions,
        server_id: str,
        service: PeerService,
        opener: Opener,
    ) -> None:
        super().__init__(stream, options, sides.SERVER, sides.CLIENT, opener)
        self.server_id = server_id
        self.told: bool | None = None
        self._service = service

    def stream_closed(self, status: Status) -> None:
        """Close every connection, then tell the service."""
        super().stream_closed(status)
        self._service.peer_closed(self)
