"""The only tenant of a server without --tenants: its options, memory and limits are those of the process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

from konnectivity_server.api import server_ports
from konnectivity_server.api.shared_answers import SharedAnswers
from konnectivity_server.peers.server_set import network_of
from konnectivity_server.tenants.tenant import TenantServer
from konnectivity_server.tenants.tenant_parts import TenantParts

if TYPE_CHECKING:
    from konnectivity.http1.http_server import HttpServer
    from konnectivity.tunnel.memory_budget import MemoryBudget
    from konnectivity_server.audit.audit_log import AuditLog
    from konnectivity_server.peer_limits import ServerLimits
    from konnectivity_server.server_listeners import ServerListeners
    from konnectivity_server.server_options import ServerOptions
    from konnectivity_server.tracing.dial_tracing import DialTracing
    from konnectivity_server.workers.worker import Worker


class OneTenant:
    """Tenancy of a server that serves one cluster. Implements `tenancy.Tenancy`.

    Args:
        options: options of the server.
        server_id: id that agents and other servers are told.
        tasks: group in which the tenant's tasks run.
        memory: memory budget of the process.
        limits: limits of the process.
        listeners: listeners of the process.
        worker: the worker that this process is; None: the server has one process.

    Raises:
        KubeError: there is no access to the Kubernetes API, or its extra is not installed.
        TlsError: certificates, keys or CAs cannot be used.

    """

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
        self._tasks = tasks
        self._listeners = listeners
        self._worker = worker
        self._network = network_of(options, worker)
        self.tenant = TenantServer(
            options, TenantParts(server_id, tasks, memory, limits, listeners.tls, worker, self._network)
        )

    async def start(self, audit: AuditLog | None, tracing: DialTracing | None) -> None:
        """Start the tenant, and open the listeners for it."""
        tenant = self.tenant
        tenant.start(audit, tracing)
        if tenant.peer_services and self._worker is not None:
            await self._listeners.open_siblings(tenant.peer_services, self._worker.dials)
        if tenant.peer_services and self._options.peer_port:
            await self._listeners.open_peers(tenant.peer_services)
        await self._listeners.open_agents(tenant.agent_services)
        await self._listeners.open_frontends(tenant.frontend_services, tenant.connect_protocol)
        await tenant.open_forward()

    async def serve_ports(self) -> HttpServer:
        """Open the health and the admin port."""
        return await server_ports.serve(self.tenant.view, SharedAnswers(self._tasks), self._options, self._worker)

    def loops(self) -> Iterator[tuple[Callable[[], Awaitable[None]], str]]:
        """Yield the work that lasts as long as the process, and the kind of its task."""
        yield from ((each.run, "TLS files") for each in self._listeners.tls.values())
        if self._network is not None:
            yield from self._network.loops()

    @property
    def unfinished(self) -> int:
        """Return the number of open connections and pending dials, through agents and through other servers."""
        return self.tenant.unfinished

    @property
    def idle(self) -> bool:
        """Return whether no connection or dial is unfinished, and every byte of the finished ones is written."""
        return not (self.unfinished or self.tenant.unwritten)

    def leave(self) -> None:
        """Report not ready, and make no more probes."""
        self.tenant.leave()

    def drain(self) -> None:
        """Tell agents and servers to dial elsewhere; dials are served on."""
        self.tenant.drain()

    async def close(self, reason: str) -> None:
        """End what belongs to the tenant alone; the listeners close its connections."""
        self.tenant.stop_probes()

    async def stop(self) -> None:
        """End the tenant's tasks."""
        await self.tenant.stop()
