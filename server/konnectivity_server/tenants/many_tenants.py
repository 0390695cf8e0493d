"""Tenancy of a server with --tenants: the tenants of a directory behind listeners of many TLS server names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

from konnectivity_server.api.shared_answers import SharedAnswers
from konnectivity_server.tenants import tenant_ports
from konnectivity_server.tenants.tenant_end import EndProtocol
from konnectivity_server.tenants.tenant_set import TenantSet

if TYPE_CHECKING:
    from konnectivity.http1.http_server import HttpServer
    from konnectivity.tunnel.memory_budget import MemoryBudget
    from konnectivity_server.audit.audit_log import AuditLog
    from konnectivity_server.peer_limits import ServerLimits
    from konnectivity_server.server_listeners import ServerListeners
    from konnectivity_server.server_options import ServerOptions
    from konnectivity_server.tracing.dial_tracing import DialTracing


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
    ) -> None:
        self._options = options
        self._tasks = tasks
        self._memory = memory
        self._limits = limits
        self._listeners = listeners
        self._leaving = False
        self.tenants = TenantSet(options, server_id, tasks, memory, limits)

    async def start(self, audit: AuditLog | None, tracing: DialTracing | None) -> None:
        """Serve the tenants of the directory, and open the listeners for them."""
        await self.tenants.load(audit, tracing)
        agents, frontends = self.tenants.find_agents, self.tenants.find_frontends
        if self.tenants.one_port:
            await self._listeners.open_named("shared", agents, EndProtocol)
            return
        await self._listeners.open_named("agents", agents, EndProtocol)
        if self._options.tcp_frontend:
            await self._listeners.open_named("frontends", frontends, EndProtocol)

    async def serve_ports(self) -> HttpServer:
        """Open the health and the admin port."""
        process = tenant_ports.ProcessView(self._options, self._memory, self._limits, self._not_ready)
        return await tenant_ports.serve(self.tenants, process, SharedAnswers(self._tasks))

    def _not_ready(self) -> str | None:
        return "the server is shutting down" if self._leaving else None

    def loops(self) -> Iterator[tuple[Callable[[], Awaitable[None]], str]]:
        """Yield the work that lasts as long as the process, and the kind of its task."""
        yield self.tenants.run, "tenants"

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
        """Tell the agents of all tenants to dial elsewhere; dials are served on."""
        self.tenants.drain()

    async def close(self, reason: str) -> None:
        """Close every connection of every tenant, and end its tasks."""
        await self.tenants.close(reason)

    async def stop(self) -> None:
        """Do nothing more: a tenant's tasks end with its connections."""
