"""Tenant that is served: its parts, its TLS, and the connections of its agents and frontends.

Owns the connections and the unix socket of the tenant; they end with it. Does not know other tenants.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING

from konnectivity.net.socket_listeners import UnixListener, listen_unix
from konnectivity.net.source_limit import accepting
from konnectivity.runtime.logs import log_scope
from konnectivity.runtime.logs.log_scope import LogScope
from konnectivity.tls import SharedTls
from konnectivity_server.peer_limits import TENANT_SHARE, ServerLimits
from konnectivity_server.port_roles import PortRole, SharedPort
from konnectivity_server.server_options import GRPC, HTTP_CONNECT
from konnectivity_server.tenants.tenant import TenantServer
from konnectivity_server.tenants.tenant_directory import DeclaredTenant
from konnectivity_server.tenants.tenant_end import EndProtocol, TenantEnd
from konnectivity_server.tenants.tenant_parts import ProcessParts, TenantParts
from konnectivity_server.tenants.tenant_tls import TenantTls

if TYPE_CHECKING:
    from konnectivity_server.audit.audit_log import AuditLog, DialRecorder
    from konnectivity_server.tracing.dial_tracing import DialTracing

WATCHED_S = 600.0


class ServedTenant:
    """Tenant that is served, from `start` to `close`.

    Args:
        declared: the tenant as its files declare it.
        process: parts of the process.
        one_port: whether agents and frontends share a port.

    Raises:
        KubeError: there is no access to the Kubernetes API of the tenant.

    """

    def __init__(self, declared: DeclaredTenant, process: ProcessParts, one_port: bool = False) -> None:
        self.name = declared.name
        self.declared = declared
        self.connections = 0  # TCP connections of agents and frontends
        self.options = options = declared.options
        self._scope = LogScope(declared.name)
        self._worker = process.worker
        own = options.given("process_buffer_budget") and options.process_buffer_budget
        memory = process.memory
        share = memory.part(own or memory.process_budget // TENANT_SHARE, options.tunnel_buffer_budget)
        self._limits = ServerLimits(options, share, process.limits, options.max_dial_rate)
        self.tls = {"agents": TenantTls(declared.agents, ["h2"], *self._rules)}
        if declared.frontends is not None:
            self.tls["frontends"] = TenantTls(declared.frontends, self._alpn, *self._rules)
        parts = TenantParts(process.server_id, process.tasks, share, self._limits, self.tls)
        parts.worker, parts.network, parts.name, parts.sampled = process.worker, process.network, declared.name, False
        parts.probe_rate = process.probe_rate
        self.tenant = TenantServer(options, parts)
        self._roles = self._port_roles()
        self._shared: tuple[SharedTls, SharedPort] | None = None
        self.agents = self._end("agents")
        self.frontends = self._end("frontends") if "frontends" in self.tls else None
        if one_port and self.frontends is not None:
            self.agents = self.frontends = self._shared_end()
        self.peers = TenantEnd(self._scope, lambda: True, self._roles["peers"].new_protocol)
        self._unix: UnixListener | None = None
        self._unwatched: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Sample the tenant's traffic until nobody has looked for WATCHED_S: a thousand samplers would take seconds."""
        sampler = self.tenant.view.sampler
        if self._unwatched is not None:
            self._unwatched.cancel()
        elif not sampler.running:
            sampler.start()
        self._unwatched = asyncio.get_running_loop().call_later(WATCHED_S, self._unwatch)

    def _unwatch(self) -> None:
        self._unwatched = None
        self.tenant.view.sampler.drop()

    @property
    def _rules(self) -> tuple[Sequence[str], str]:
        return self.options.cipher_suites, self.options.tls_min_version

    @property
    def _alpn(self) -> list[str]:
        return [name for mode, name in ((GRPC, "h2"), (HTTP_CONNECT, "http/1.1")) if mode in self.options.modes]

    def _port_roles(self) -> dict[str, PortRole]:
        """Return the roles of the tenant's clients by name."""
        modes, limits, tenant = self.options.modes, self._limits, self.tenant
        frontends = PortRole(
            "frontends",
            tenant.frontend_services if GRPC in modes else {},
            limits.frontends,
            tenant.connect_protocol if HTTP_CONNECT in modes else None,
            limits.connect.head_timeout_s,
        )
        agents = PortRole("agents", tenant.agent_services, limits.agents)
        return {
            "agents": agents,
            "frontends": frontends,
            "peers": PortRole("peers", tenant.peer_services, limits.peers),
        }

    def _end(self, role: str) -> TenantEnd:
        tls = self.tls[role]
        return TenantEnd(self._scope, self._admit, self._roles[role].new_protocol, lambda: tls)

    def _shared_end(self) -> TenantEnd:
        """Return the end of a port on which the authority of a client's certificate tells its role."""
        return TenantEnd(
            self._scope, self._admit, lambda: self._shared_port()[1].new_protocol(), lambda: self._shared_port()[0]
        )

    def _shared_port(self) -> tuple[SharedTls, SharedPort]:
        if self._shared is None:
            limits, alpn = self._limits, list(dict.fromkeys(("h2", *self._alpn)))
            tls = SharedTls(self.tls, alpn, *self._rules)
            roles = [self._roles["agents"], self._roles["frontends"]]
            port = SharedPort(roles, tls.role_of, limits.connect, limits.reached)
            self._shared = tls, port
        return self._shared

    def _admit(self) -> bool:
        """Count a new TCP connection, and return whether the tenant may have it."""
        accepted = accepting.get()
        if accepted is None:  # of the unix socket
            return True
        most = self.options.max_connections
        if most and self.connections >= most:
            self._limits.reached["tenant_connections"] += 1
            return False
        self.connections += 1
        accepted.call_at_end(self._left)
        return True

    def _left(self) -> None:
        self.connections -= 1

    def start(self, audit: AuditLog | None, tracing: DialTracing | None) -> None:
        """Start the tenant's tasks.

        Raises:
            StartError: the policy on frontends cannot be used.

        """
        own = None if audit is None else audit.of_tenant(self.name)
        copy_context().run(self._start, own, tracing)

    def _start(self, audit: DialRecorder | None, tracing: DialTracing | None) -> None:
        """Start the tenant in a context of its own, whose tasks write log lines of the tenant."""
        log_scope.scope.set(self._scope)
        self.tenant.start(audit, tracing)

    async def open_socket(self) -> None:
        """Listen for frontends on the tenant's unix socket, if it has one.

        Raises:
            ListenError: the unix socket cannot be opened.

        """
        path, replace, worker = self.options.uds_name, self.options.delete_existing_uds_file, self._worker
        if worker is not None and not worker.listens_for(self.name):
            return
        if path and self._unix is None:
            replace = replace or (worker is not None and worker.again)
            end = TenantEnd(self._scope, self._admit, self._roles["frontends"].new_protocol)
            self._unix = await listen_unix("frontends", path, replace, lambda: EndProtocol(end))

    def renew_tls(self, declared: DeclaredTenant) -> bool:
        """Use changed TLS files for new connections, and changed admin tokens; return whether TLS differs."""
        renewed = self.tls["agents"].renew(declared.agents)
        if declared.frontends is not None:
            renewed |= self.tls["frontends"].renew(declared.frontends)
        self.declared = declared
        return renewed

    def has_admin_token(self, digest: str) -> bool:
        """Return whether a digest in hex is that of an admin token of the tenant."""
        equal = [hmac.compare_digest(digest, each) for each in self.declared.options.admin_token_sha256]
        return any(equal)

    def tls_failed(self) -> None:
        """Count a change of the files that cannot be used."""
        for each in self.tls.values():
            each.reload_failures += 1

    @property
    def unfinished(self) -> int:
        """Return the number of open connections and pending dials."""
        return self.tenant.unfinished

    @property
    def idle(self) -> bool:
        """Return whether no connection or dial is unfinished, and every byte of the finished ones is written."""
        return not (self.unfinished or self.tenant.unwritten or any(role.http2.unsent for role in self._roles.values()))

    def drain(self) -> None:
        """Report not ready, take no new agents, and tell agents to connect anew; dials are served on."""
        self._roles["agents"].leave()
        self.tenant.leave()
        if self._unix is not None:
            self._unix.path.mark_leaving()
        self.tenant.drain()

    def close_socket(self) -> None:
        """Close the unix socket, so that a successor may open it."""
        if self._unix is not None:
            self._unix.close()
            self._unix = None

    async def close(self, reason: str) -> None:
        """Close every connection of the tenant, then everything else of it."""
        self.close_socket()
        if self._unwatched is not None:
            self._unwatched.cancel()
        for end in (self.agents, self.frontends, self.peers):
            if end is not None:
                end.open = False
        self.tenant.stop_probes()
        for role in self._roles.values():
            await role.http2.close(reason)
        await self.tenant.stop()
