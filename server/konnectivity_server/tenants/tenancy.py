"""Tenancy: the interface of the one tenant, or the many tenants, that a server's process serves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from konnectivity.http1.http_server import HttpServer
    from konnectivity.tunnel.memory_budget import MemoryBudget
    from konnectivity_server.audit.audit_log import AuditLog
    from konnectivity_server.peer_limits import ServerLimits
    from konnectivity_server.server_listeners import ServerListeners
    from konnectivity_server.server_options import ServerOptions
    from konnectivity_server.tracing.dial_tracing import DialTracing
    from konnectivity_server.workers.worker import Worker


class Tenancy(Protocol):
    """Tenants of one process, from `start` to `stop`."""

    async def start(self, audit: AuditLog | None, tracing: DialTracing | None) -> None:
        """Start the tenants, and open the listeners for them.

        Raises:
            ListenError: a listener cannot be opened.
            StartError: a file cannot be used.

        """

    async def serve_ports(self) -> HttpServer:
        """Open the health and the admin port."""

    def loops(self) -> Iterable[tuple[Callable[[], Awaitable[None]], str]]:
        """Return the work that lasts as long as the process, and the kind of its task."""

    @property
    def unfinished(self) -> int:
        """Return the number of open connections and pending dials."""

    @property
    def idle(self) -> bool:
        """Return whether no connection or dial is unfinished, and every byte of the finished ones is written."""

    def leave(self) -> None:
        """Report not ready, and make no more probes."""

    def drain(self) -> None:
        """Tell agents and servers to dial elsewhere; dials are served on."""

    async def close(self, reason: str) -> None:
        """Close the connections that the listeners do not know."""

    async def stop(self) -> None:
        """End the tenants' tasks."""


def tenancy_of(
    options: ServerOptions,
    server_id: str,
    tasks: asyncio.TaskGroup,
    memory: MemoryBudget,
    limits: ServerLimits,
    listeners: ServerListeners,
    worker: Worker | None,
) -> Tenancy:
    """Return the tenants that the options of a server name."""
    if options.tenants:
        from konnectivity_server.tenants.many_tenants import ManyTenants

        return ManyTenants(options, server_id, tasks, memory, limits, listeners, worker)
    from konnectivity_server.tenants.one_tenant import OneTenant

    return OneTenant(options, server_id, tasks, memory, limits, listeners, worker)
