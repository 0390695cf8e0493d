"""The set of servers that this one belongs to: how many there are, and the tunnels from and to the others.

Owns the peers, their listener's service and the counting of leases; what agents are told is its caller's business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from konnectivity import tls
from konnectivity.runtime import logs
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity.tunnel.tunnel import TunnelOptions
from konnectivity_server.dispatcher import Dispatcher
from konnectivity_server.peers.peer_servers import PeerServers
from konnectivity_server.peers.peer_service import PeerService
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.workers.worker import Worker

if TYPE_CHECKING:
    from konnectivity.kube.api_client import KubeClient
    from konnectivity.kube.lease_counter import LeaseCounter

log = logs.get(__name__)

Run = Callable[[Callable[[], Awaitable[None]], str], None]  # runs a loop for as long as the server runs


class ServerSet:
    """See the module.

    Args:
        options: of this server.
        server_id: of this server.
        ledger: of its memory.
        on_count: called when the number of servers changed.
        place: of this worker, if it is one.

    """

    def __init__(
        self,
        options: ServerOptions,
        server_id: str,
        ledger: MemoryBudget,
        on_count: Callable[[], object],
        place: Worker | None = None,
    ) -> None:
        self.peers: PeerServers | None = None  # the way to the others
        self.service: PeerService | None = None  # and from them
        self.tunnels = TunnelOptions(ledger=ledger)  # of the way to them
        self.lease_counter: LeaseCounter | None = None
        self._options = options
        self._server_id = server_id
        self._on_count = on_count
        self._place = place
        self._announced = self._least

    @property
    def _least(self) -> int:
        """As the flag says, each with as many workers as this one."""
        return self._options.server_count * (1 if self._place is None else self._place.count)

    @property
    def count(self) -> int:
        """How many servers there are: as the flag says or, if there are more, the leases or the peers."""
        count = self._least
        if self.lease_counter is not None:
            count = max(count, self.lease_counter.count)
        if self.peers is not None and self.service is not None:
            count = max(count, 1 + len(self.peers.tunnels.keys() | self.service.server_ids))
        return count

    @property
    def usable(self) -> bool:
        """Whether another server takes dials."""
        return self.peers is not None and self.peers.usable

    def count_leases(self, client: KubeClient, run: Run) -> None:
        """Count the servers by their leases, from now on."""
        from konnectivity.kube.labels import parse_selector
        from konnectivity.kube.lease_counter import LeaseCounter

        selector = parse_selector(self._options.lease_label)
        self.lease_counter = LeaseCounter(client, self._options.lease_namespace, selector, self._changed)
        run(self.lease_counter.run, "lease counter")

    def serve(self, dispatcher: Dispatcher, ready: Callable[[], bool]) -> PeerService:
        """The service for other servers, through `dispatcher`. `ready`: whether agents are here that answer."""
        incoming = TunnelOptions(ledger=self.tunnels.ledger, log_connections=False)
        self.service = PeerService(dispatcher, incoming, self._server_id, ready, self._changed)
        return self.service

    def connect(self, dispatcher: Dispatcher, run: Run) -> None:
        """Find the others, from now on, and let dials go through them."""
        options = self._options
        certificate, key, ca = options.peer_files
        client_tls = tls.ClientTls(ca, certificate, key, ("h2",)) if options.uses_peers else None
        self.peers = dispatcher.peers = PeerServers(
            options.peer_hosts + ([] if self._place is None else self._place.siblings),
            client_tls,
            self._server_id,
            self.tunnels,
            options.heartbeat_interval,
            self._changed,
            dispatcher.suspected,
        )
        if client_tls is not None:
            run(client_tls.run, "TLS files of peers")
        run(self.peers.run, "peers")

    def drain(self) -> None:
        """Tell the others to dial elsewhere."""
        if self.service is not None:
            self.service.drain()

    def _changed(self) -> None:
        count = self.count
        if count != self._announced:
            log.info("Number of servers changed", count=count, before=self._announced)
            self._announced = count
            self._on_count()
