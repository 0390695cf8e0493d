"""Tunnel to one peer server, at this server's end.

Owns the heartbeat. Does not know other peer servers; news goes to the owner of the tunnel.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.grpc.transport import Channel
from konnectivity.tunnel import sides
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.heartbeat import Heartbeat
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.peers import peer_protocol
from konnectivity_server.peers.peer_protocol import SERVER_ID, TENANT

IDLE_CHECK_S = 1.0  # seconds between idle checks of a replaced tunnel


class PeerTunnelOwner(Protocol):
    """Owner of the tunnels to peer servers, which hears their news."""

    def peer_changed(self, tunnel: PeerTunnel) -> None:
        """Handle a peer server that takes dials now, or takes none any more."""

    def peer_suspected(self, tunnel: PeerTunnel) -> None:
        """Handle a peer server that does not answer a ping."""

    def peer_recovered(self, tunnel: PeerTunnel) -> None:
        """Handle a suspected peer server that answers again."""

    def peer_closed(self, tunnel: PeerTunnel, status: Status) -> None:
        """Handle the end of a tunnel, before its connections are closed."""


class PeerTunnel(DialingTunnel):
    """Tunnel to one peer server.

    Args:
        transport: connection to the peer server.
        options: settings and counters that all tunnels to peer servers share.
        server_id: id of this server, told to the peer server.
        heartbeat_s: seconds of silence before a ping; 0: no pings.
        owner: hears news of the peer server.
        tenant: name of the tenant whose dials the tunnel carries; empty: the server serves one cluster.

    """

    def __init__(
        self,
        transport: Channel,
        options: TunnelOptions,
        server_id: str,
        heartbeat_s: float,
        owner: PeerTunnelOwner,
        tenant: str = "",
    ) -> None:
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # done: over, or draining
        self.ready = False  # whether the peer server has agents that answer
        self.server_id = ""
        self.connected_at = options.clock()
        self._owner = owner
        self._tenant = tenant
        self._transport = transport
        metadata = peer_protocol.introduction(server_id, tenant) | options.offer()
        stream = transport.open_stream(peer_protocol.PATH, metadata, self)
        super().__init__(stream, options, sides.SERVER, sides.CLIENT)
        self.accepted = stream.accepted
        self.heartbeat = Heartbeat(
            stream, self.round_trip.measure, heartbeat_s, self, "server", clock=options.clock, crowd=bool(tenant)
        )

    @property
    def suspect(self) -> bool:
        """Return whether the peer server seems to be gone: it does not answer a ping."""
        return not self.heartbeat.alive

    @property
    def usable(self) -> bool:
        """Return whether a dial may go through this tunnel."""
        return self.ready and not (self.suspect or self.draining or self.exhausted or self.closed)

    @property
    def unsent(self) -> int:
        """Number of bytes that wait for the socket, or for window of the peer server."""
        return self._transport.unsent

    async def greeted(self) -> None:
        """Wait for the peer server's answer and take its id from it.

        Raises:
            RpcError: the peer server refuses the call, or is no server of this set.

        """
        answer = await self.accepted()
        ids = answer.get_all(SERVER_ID)
        if len(ids) != 1 or self.extension is None:
            raise RpcError(Code.FAILED_PRECONDITION, "no server of this set answers there")
        if answer.get_all(TENANT) != ([self._tenant] if self._tenant else []):
            raise RpcError(Code.FAILED_PRECONDITION, "the server there answers for another tenant, or for none")
        if self.closed:
            raise RpcError(Code.UNAVAILABLE, "the server there ended the call")
        self.server_id = ids[0]
        self.log_fields = {"server": self.server_id}
        self.heartbeat.start()

    def peer_ready(self, ready: bool) -> None:
        """Note whether the peer server has agents that answer."""
        self.ready = ready
        self._owner.peer_changed(self)

    def peer_draining(self) -> None:
        """Report that the peer server takes no more dials."""
        self._owner.peer_changed(self)
        self._leave()

    def stream_closed(self, status: Status) -> None:
        """End the tunnel: tell the owner, then close every connection and the transport."""
        self.heartbeat.stop()
        self._owner.peer_closed(self, status)
        super().stream_closed(status)
        self._leave()
        self._loop.call_soon(self.hang_up)

    def _leave(self) -> None:
        if not self.left.done():
            self.left.set_result(None)

    def peer_suspected(self) -> None:
        """Report that the peer server does not answer."""
        self._owner.peer_suspected(self)

    def peer_recovered(self) -> None:
        """Report that a suspected peer server answers again."""
        self._owner.peer_recovered(self)

    def hang_up(self) -> None:
        """Close the transport, and with it the tunnel."""
        self._transport.close("the server is done with its peer")

    def close_when_idle(self) -> None:
        """Close the tunnel when its last connection is closed."""
        if self.closed:
            return
        if self.connections or self.pending:
            self._loop.call_later(IDLE_CHECK_S, self.close_when_idle)
        else:
            self.close()
