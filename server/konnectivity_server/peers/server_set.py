"""The set of servers that this one belongs to: their number, and the tunnels from and to the other servers.

Owns the peer servers, the service for them and the lease counter. Does not know what agents are told, nor how the
peer service is listened for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import TYPE_CHECKING

from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.runtime import logs
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity.tunnel.serving import Opener
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.workers.worker import Worker

if TYPE_CHECKING:
    from konnectivity.kube.api_client import KubeClient
    from konnectivity.kube.lease_counter import LeaseCounter
    from konnectivity_server.peers.peer_network import PeerNetwork
    from konnectivity_server.peers.peer_servers import PeerServers
    from konnectivity_server.peers.peer_service import PeerService

log = logs.get(__name__)

Loop = tuple[Callable[[], Awaitable[None]], str]  # work that lasts as long as the server, and the kind of its task


def network_of(options: ServerOptions, worker: Worker | None) -> PeerNetwork | None:
    """Return the network of the other servers, and of the other workers; None if there are none.

    Raises:
        TlsError: the certificate, key or CA for other servers cannot be used.

    """
    if not options.uses_peers and worker is None:
        return None
    from konnectivity.tls import ClientTls
    from konnectivity_server.peers.peer_network import PeerNetwork

    certificate, key, ca = options.peer_files
    return PeerNetwork(ClientTls(ca, certificate, key, ("h2",)) if options.uses_peers else None)


class ServerSet:
    """Servers of one set, this one included.

    Args:
        options: options of this server.
        server_id: id of this server.
        memory: memory budget that the tunnels to other servers share.
        opener: opens what other servers dial, through the agents of this one.
        on_suspect: called with the tunnel to a server that stopped answering.
        agent_trouble: returns why no agent of this server can be used, or None.
        on_count: called with the number of servers when it changed.
        worker: the worker that this process is; None: the server has one process.
        network: network of the other servers; None: there are none.
        transport: settings of each connection to another server.
        tenant: name of the tenant that the tunnels are for; empty: the server serves one cluster.

    """

    def __init__(
        self,
        options: ServerOptions,
        server_id: str,
        memory: MemoryBudget,
        opener: Opener,
        on_suspect: Callable[[DialingTunnel], object],
        agent_trouble: Callable[[], str | None],
        on_count: Callable[[int], object],
        worker: Worker | None = None,
        network: PeerNetwork | None = None,
        transport: TransportOptions | None = None,
        tenant: str = "",
    ) -> None:
        self.peers: PeerServers | None = None  # tunnels to other servers
        self.service: PeerService | None = None  # tunnels from other servers
        self.peer_tunnels = TunnelOptions(memory=memory)
        self.lease_counter: LeaseCounter | None = None
        self._options = options
        self._tenant = tenant
        self._on_count = on_count
        self._configured = options.server_count * (1 if worker is None else worker.count)
        self._announced = self._configured
        if network is not None:
            from konnectivity_server.peers.peer_servers import PeerServers  # late: most servers have no peers
            from konnectivity_server.peers.peer_service import PeerService

            incoming = TunnelOptions(memory=memory, log_connections=False)
            self.service = PeerService(
                opener, incoming, server_id, lambda: agent_trouble() is None, self._incoming_changed, tenant
            )
            self.peers = PeerServers(
                options.peer_hosts + ([] if worker is None else worker.siblings),
                network,
                server_id,
                self.peer_tunnels,
                options.heartbeat_interval,
                self._count_may_have_changed,
                on_suspect,
                transport,
                tenant,
            )

    @property
    def count(self) -> int:
        """Number of servers: the configured number or, if more are seen, that of the leases or of the peers."""
        count = self._configured
        if self.lease_counter is not None:
            count = max(count, self.lease_counter.count)
        if self.peers is not None and self.service is not None:
            count = max(count, 1 + len(self.peers.tunnels.keys() | self.service.server_ids))
        return count

    @property
    def usable(self) -> bool:
        """Return whether another server takes dials."""
        return self.peers is not None and self.peers.usable

    @property
    def unfinished(self) -> int:
        """Return the number of open connections and pending dials that go through another server."""
        return 0 if self.peers is None else self.peers.unfinished

    @property
    def unsent(self) -> int:
        """Return the number of bytes that wait for the sockets of tunnels to other servers, or for their windows."""
        return 0 if self.peers is None else self.peers.unsent

    def pick_peer(self, tried: Collection[DialingTunnel]) -> DialingTunnel | None:
        """Return a tunnel to a server that may have an agent for a dial, and was not tried; None if there is none."""
        return None if self.peers is None else self.peers.pick(tried)

    def count_leases(self, client: KubeClient) -> None:
        """Count the servers by their leases, too. The counting itself is one of `loops`."""
        from konnectivity.kube.labels import parse_selector
        from konnectivity.kube.lease_counter import LeaseCounter

        selector = parse_selector(self._options.lease_label)
        self.lease_counter = LeaseCounter(client, self._options.lease_namespace, selector, self._count_may_have_changed)

    def loops(self) -> Iterator[Loop]:
        """Yield the work that the caller runs for as long as the server runs."""
        if self.lease_counter is not None:
            yield self.lease_counter.run, "lease counter"
        if self.peers is not None:
            yield self.peers.run, "peers"

    def agents_changed(self) -> None:
        """Tell the other servers whether this one has agents that answer, if that is news."""
        if self.service is not None:
            self.service.announce()

    def drain(self) -> None:
        """Tell the other servers to dial elsewhere."""
        if self.service is not None:
            self.service.drain()

    def _incoming_changed(self) -> None:
        """Look for the server that connected, or for the successor of one that is gone."""
        if self.peers is not None:
            self.peers.look_again()
        self._count_may_have_changed()

    def _count_may_have_changed(self) -> None:
        count = self.count
        if count != self._announced:
            if not self._tenant:  # a thousand tenants have this news at the same time: the address book has told it
                log.info("Number of servers changed", count=count, before=self._announced)
            self._announced = count
            self._on_count(count)
