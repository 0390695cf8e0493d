"""Tenancy of a server with --tenants: the tenants of a directory behind listeners of many TLS server names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING

from konnectivity_server.api.shared_answers import SharedAnswers
from konnectivity_server.peers.server_set import network_of
from konnectivity_server.probes.common_rate import CommonRate
from konnectivity_server.tenants import tenant_ports
from konnectivity_server.tenants.server_names import normal
from konnectivity_server.tenants.tenant_end import EndProtocol, TenantEnd
from konnectivity_server.tenants.tenant_options import peer_names
from konnectivity_server.tenants.tenant_parts import ProcessParts
from konnectivity_server.tenants.tenant_peers import TenantPeers
from konnectivity_server.tenants.tenant_set import TenantSet

if TYPE_CHECKING:
    from konnectivity.http1.http_server import HttpServer
    from konnectivity.tls.named_context import Find
    from konnectivity.tunnel.memory_budget import MemoryBudget
    from konnectivity_server.audit.audit_log import AuditLog
    from konnectivity_server.peer_limits import ServerLimits
    from konnectivity_server.server_listeners import ServerListeners
    from konnectivity_server.server_options import ServerOptions
    from konnectivity_server.tracing.dial_tracing import DialTracing
    from konnectivity_server.workers.worker import Worker


class ManyTenants:
    """Tenancy of a server that serves many clusters. Implements `tenancy.Tenancy`; arguments as of `OneTenant`."""

    def __init__(
        self,
        options: ServerOptions,
        server_id: str,
        tasks: asyncio.TaskGroup,
        memory: MemoryBudget,
        limits: ServerLimits,
        listeners: ServerListeners,
        worker: Worker | None,
    ) -> None:
        self._options = options
        self._listeners = listeners
        self._leaving = False
        network, probe_rate = network_of(options, worker), CommonRate(options.probe_rate, monotonic)
        self._process = ProcessParts(server_id, tasks, memory, limits, network, worker, probe_rate)
        self.tenants = TenantSet(options, self._process)
        self._peers = TenantPeers(self.tenants.find_peers, limits.peers)

    async def start(self, audit: AuditLog | None, tracing: DialTracing | None) -> None:
        """Serve the tenants of the directory, and open the listeners for them."""
        await self.tenants.load(audit, tracing)
        if self._process.worker is not None:
            await self._listeners.open_for_siblings(self._process.worker.dials, self._peers.new_protocol)
        for address, roles in self._options.ports.items():
            if roles == ["peers"]:
                await self._listeners.open_for_peers(address, self._peers.new_protocol)
                continue
            find: Find = self.tenants.find_agents if "agents" in roles else self.tenants.find_frontends
            if "peers" in roles:
                find = self._with_peers(find)
            await self._listeners.open_named(roles, address, find, EndProtocol)

    def _with_peers(self, find: Find) -> Find:
        """Return a search for the end of a server name on a port where some names are those of peer servers."""
        tls, names = self._listeners.tls["peers"], peer_names(self._options)
        peers = TenantEnd(None, lambda: True, self._peers.new_protocol, lambda: tls)
        return lambda name: peers if normal(name) in names else find(name)

    async def serve_ports(self) -> HttpServer:
        """Open the health and the admin port."""
        process, tls = self._process, self._listeners.tls
        view = tenant_ports.ProcessView(self._options, process.memory, process.limits, self._not_ready, tls)
        return await tenant_ports.serve(self.tenants, view, SharedAnswers(process.tasks), process.worker)

    def _not_ready(self) -> str | None:
        return "the server is shutting down" if self._leaving else None

    def loops(self) -> Iterator[tuple[Callable[[], Awaitable[None]], str]]:
        """Yield the work that lasts as long as the process, and the kind of its task."""
        yield self.tenants.run, "tenants"
        yield from ((each.run, "TLS files") for each in self._listeners.tls.values())
        if self._process.network is not None:
            yield from self._process.network.loops()

    @property
    def unfinished(self) -> int:
        """Return the number of open connections and pending dials of all tenants."""
        return self.tenants.unfinished

    @property
    def idle(self) -> bool:
        """Return whether every tenant is idle."""
        return self.tenants.idle

    def leave(self) -> None:
        """Report not ready."""
        self._leaving = True

    def drain(self) -> None:
        """Tell agents and servers of all tenants to dial elsewhere; dials are served on."""
        self.tenants.drain()

    async def close(self, reason: str) -> None:
        """Close every connection of every tenant, and end its tasks."""
        await self._peers.close(reason)
        await self.tenants.close(reason)

    async def stop(self) -> None:
        """Do nothing more: a tenant's tasks end with its connections."""
