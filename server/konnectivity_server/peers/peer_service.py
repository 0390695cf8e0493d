"""PeerService: what other servers of the set ask for goes through the agents of this one, and never further.

Served on a port of its own, to whoever shows a certificate of the peers' CA.
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
from konnectivity_server.peers.peer_protocol import SERVER_ID

log = logs.get(__name__)


class PeerService:
    """Serves other servers.

    Args:
        opener: opens what other servers dial, through the agents of this one.
        options: of the tunnels.
        server_id: of this server.
        ready: whether agents are here that answer.
        on_change: called when a server comes or goes.

    """

    def __init__(
        self,
        opener: Opener,
        options: TunnelOptions,
        server_id: str,
        ready: Callable[[], bool],
        on_change: Callable[[], object],
    ) -> None:
        self.tunnels: set[PeerIn] = set()
        self.on_change = on_change
        self._opener = opener
        self._options = options
        self._server_id = server_id
        self._ready = ready

    @property
    def server_ids(self) -> set[str]:
        """Who is connected."""
        return {each.server_id for each in self.tunnels}

    def connect(self, stream: MessageStream) -> ServingTunnel:
        """Service of `PATH`.

        Raises:
            RpcError: it is no server of this set.

        """
        ids = stream.metadata.get_all(SERVER_ID)
        if len(ids) != 1 or Extension.of(stream.metadata) is None:
            raise RpcError(Code.FAILED_PRECONDITION, "a peer says its server id, and speaks the extension")
        tunnel = PeerIn(stream, self._options, ids[0], self, self._opener)
        tunnel.accept_call({SERVER_ID: self._server_id})
        self.announce([tunnel])
        if ids[0] != self._server_id:  # not this server, on its way through all addresses of a name
            self.tunnels.add(tunnel)
            self.on_change()
        return tunnel

    def announce(self, to: list[PeerIn] | None = None) -> None:
        """Say whether agents are here, where that was not said yet."""
        ready = self._ready()
        for tunnel in self.tunnels if to is None else to:
            if tunnel.told != ready:
                tunnel.told = ready
                tunnel.send_control(wire.ready(ready))

    def drain(self) -> None:
        """Tell them to dial elsewhere."""
        for tunnel in self.tunnels:
            tunnel.send_drain()


class PeerIn(ServingTunnel):
    """This server's end of a tunnel from another one."""

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
        super().stream_closed(status)
        if self in self._service.tunnels:
            self._service.tunnels.remove(self)
            self._service.on_change()
