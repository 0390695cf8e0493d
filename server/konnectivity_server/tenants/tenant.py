"""Server of one tenant: of a cluster with its agents, frontends and dials, its credentials and its limits.

Builds each part once, in the order in which the parts need each other, and hands every part the narrow interface that
it uses. Owns the tasks of the tenant. Does not know the listeners, nor the other tenants.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from time import monotonic
from typing import TYPE_CHECKING

from konnectivity.grpc.message_stream import Service
from konnectivity.runtime import task_guard
from konnectivity.tls.certificate_reload import wall_clock
from konnectivity.tunnel.serving import Opener
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server import readiness, server_probe_options, strategies
from konnectivity_server.agents import agent_service
from konnectivity_server.agents.agent_service import AgentService
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.api.server_view import ServerView, tunnels_of
from konnectivity_server.api.traffic_samples import Sampler
from konnectivity_server.frontends import grpc_frontend
from konnectivity_server.frontends.connect_frontend import ConnectFrontend, ConnectProtocol
from konnectivity_server.frontends.grpc_frontend import ProxyService
from konnectivity_server.peers import peer_protocol
from konnectivity_server.peers.server_set import ServerSet
from konnectivity_server.pending_dials import PendingDials
from konnectivity_server.readiness import Readiness
from konnectivity_server.registry import Registry
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.tenants.tenant_kubernetes import TenantKubernetes
from konnectivity_server.tenants.tenant_parts import TenantParts

if TYPE_CHECKING:
    from konnectivity_server.audit.audit_log import DialRecorder
    from konnectivity_server.frontends.forward_frontend import ForwardFrontend
    from konnectivity_server.probes.path_prober import PathProber
    from konnectivity_server.tracing.dial_tracing import DialTracing


class TenantServer:
    """Server of one tenant, from `start` to `stop`.

    Args:
        options: options of the tenant.
        parts: parts of the process.

    Raises:
        KubeError: there is no access to the Kubernetes API, or its extra is not installed.

    """

    def __init__(self, options: ServerOptions, parts: TenantParts) -> None:
        self._options = options
        self._parts = parts
        self._background: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()
        self._memory = parts.memory
        self._limits = parts.limits
        self._registry: Registry[AgentTunnel] = Registry()
        self._strategies = strategies.parse(options.proxy_strategies)
        self._agent_tunnels = self._tunnels(hold_s=options.stream_hold_timeout, log_connections=True)
        self._frontend_tunnels = self._tunnels(hold_s=None, log_connections=False)
        self._dials = PendingDials(
            self._registry,
            self._strategies,
            options.backend_dial_timeout,
            self._memory,
            self._agent_tunnels.traffic,
            self._limits.dials,
            lambda tried: self._servers.pick_peer(tried),
        )
        self._connect = ConnectFrontend(self._dials.dial, self._limits.connect)
        self._servers = ServerSet(
            options,
            parts.server_id,
            self._memory,
            self._opener(relayed=True),
            self._dials.retry_all_of,
            self._agent_trouble,
            lambda count: agent_service.announce_server_count(self._registry, count),
            parts.worker,
            parts.network,
            self._limits.to_peers,
            parts.name,
        )
        self._prober = self._path_prober()
        needs_path = self._prober is not None and options.ready_when == server_probe_options.PATH
        self._readiness = Readiness(
            self._agent_trouble,
            lambda: self._servers.usable,
            self._prober.data_plane.trouble if self._prober is not None and needs_path else None,
        )
        self._kubernetes = TenantKubernetes(options, parts, self._servers)
        self._agents = AgentService(
            self._registry,
            self._agent_tunnels,
            parts.server_id,
            lambda: self._servers.count,
            parts.tasks,
            options.heartbeat_interval,
            options.max_pending_dials_per_agent,
            self._dials.retry_all_of,
            self._agents_changed,
            self._kubernetes.authenticator,
            self._kubernetes.verifier,
        )
        self._forward = self._forward_frontend()
        self.view = self._view()

    def _opener(self, relayed: bool = False) -> Opener:
        """Return an opener that dials through a backend; of this server only if `relayed`."""
        return grpc_frontend.opener_of(functools.partial(self._dials.dial, relayed=relayed))

    def _tunnels(self, hold_s: float | None, log_connections: bool) -> TunnelOptions:
        return TunnelOptions(
            memory=self._memory,
            hold_s=hold_s,
            extension=self._options.konnectivity_extension,
            log_connections=log_connections,
            reached=self._limits.reached,
        )

    def _agent_trouble(self) -> str | None:
        return readiness.agent_trouble(self._strategies, self._registry)

    def _agents_changed(self) -> None:
        self._servers.agents_changed()
        if self._prober is not None:
            self._prober.agents_changed()

    def _path_prober(self) -> PathProber | None:
        options = self._options
        if not options.probe:
            return None
        from konnectivity_server.probes.probe_setup import make_prober

        return make_prober(options, self._registry, self._memory, self._parts.probe_rate)

    def _forward_frontend(self) -> ForwardFrontend | None:
        options = self._options
        if not options.uses_forward:
            return None
        from konnectivity_server.frontends.forward_frontend import ForwardFrontend

        closing, reached = self._connect.closing, self._limits.reached
        return ForwardFrontend(options, self._parts.tasks, self._dials.dial, closing, reached, self._kubernetes.client)

    def _view(self) -> ServerView:
        traffic, registry, servers = self._agent_tunnels.traffic, self._registry, self._servers
        gauges = {"agents": lambda: len(registry), "connections": lambda: open_connections(registry)}
        return ServerView(
            server_id=self._parts.server_id,
            clock=monotonic,
            started_at=monotonic(),
            strategies=self._strategies,
            registry=registry,
            agents=self._agents,
            dials=self._dials,
            connect=self._connect,
            agent_traffic=traffic,
            frontend_traffic=self._frontend_tunnels.traffic,
            peer_traffic=servers.peer_tunnels.traffic,
            memory=self._memory,
            limits=self._limits,
            certificates=self._parts.certificates,
            sampler=Sampler(traffic, lambda: tunnels_of(registry, servers.peers), gauges),
            not_ready=self._readiness.trouble,
            peers=servers.peers,
            token_authenticator=self._kubernetes.authenticator,
            claim_verifier=self._kubernetes.verifier,
            server_lease=self._kubernetes.lease,
            prober=self._prober,
            forward=self._forward,
        )

    # ---- services, by path ----------------------------------------------------------------------------------------

    @property
    def agent_services(self) -> dict[str, Service]:
        """Return the services for agents."""
        return {agent_service.PATH: self._agents.connect}

    @property
    def frontend_services(self) -> dict[str, Service]:
        """Return the services for gRPC frontends."""
        return {grpc_frontend.PATH: ProxyService(self._opener(), self._frontend_tunnels).proxy}

    @property
    def peer_services(self) -> dict[str, Service]:
        """Return the services for peer servers; none if the options name no peers."""
        return {} if self._servers.service is None else {peer_protocol.PATH: self._servers.service.connect}

    def connect_protocol(self, first: bytes = b"") -> ConnectProtocol:
        """Return the protocol of a new HTTP CONNECT client, of whom the bytes `first` were read before."""
        return self._connect.protocol(first)

    # ---- from start to stop ---------------------------------------------------------------------------------------

    def start(self, audit: DialRecorder | None = None, tracing: DialTracing | None = None) -> None:
        """Start the tenant's tasks; its services may be called from now on.

        Args:
            audit: audit log of the tenant's dials.
            tracing: tracing of the tenant's dials.

        Raises:
            StartError: the policy on frontends cannot be used.

        """
        if self._kubernetes.client is not None:
            self._stack.push_async_callback(self._kubernetes.client.close)
        if self._options.frontend_policy:
            from konnectivity_server.policy.policy_file import PolicyFile

            self._dials.judge_by(PolicyFile(self._options.frontend_policy))
        if audit is not None:
            self._dials.record_in(audit)
        if tracing is not None:
            self._dials.trace_in(tracing)
        self._start_loops()
        if self._parts.sampled:
            self.view.sampler.start()
        self._stack.callback(self.view.sampler.stop)

    async def open_forward(self) -> None:
        """Open the listeners of the forward frontend, if the options ask for one.

        Raises:
            ListenError: an address or a path cannot be bound.

        """
        if self._forward is not None:
            self._stack.callback(self._forward.close)
            await self._forward.open(shared=self._parts.worker is not None)

    def _start_loops(self) -> None:
        if self._kubernetes.lease is not None:
            self._run(self._kubernetes.lease.run, "lease")
        if self._prober is not None and self._kubernetes.client is not None and self._options.probe_node_events:
            from konnectivity_server.probes.node_events import NodeEvents

            events = self._prober.news = NodeEvents(self._kubernetes.client, self._parts.server_id, wall_clock)
            self._run(events.run, "node events")
        for work, kind in self._servers.loops():
            self._run(work, kind)

    @property
    def unfinished(self) -> int:
        """Return the number of open connections and pending dials, through agents and through other servers."""
        agents = sum(len(agent.connections) + agent.unanswered for agent in self._registry.all())
        return agents + self._servers.unfinished

    @property
    def unwritten(self) -> bool:
        """Return whether bytes of finished connections wait for clients or other servers to read."""
        return bool(self._connect.closing.unwritten or self._servers.unsent)

    def leave(self) -> None:
        """Report not ready, and make no more probes."""
        self._readiness.leave()
        self.stop_probes()

    def drain(self) -> None:
        """Tell agents and servers to dial elsewhere; dials are served on."""
        if self._forward is not None:
            self._forward.drain()
        for agent in self._registry.all():
            agent.send_drain()
        self._servers.drain()

    def stop_probes(self) -> None:
        """Make no more probes."""
        if self._prober is not None:
            self._prober.stop()

    async def stop(self) -> None:
        """End the tenant's tasks, and what its clients have not read. Its connections are closed before."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._connect.closing.abort_unwritten("the server is shutting down")
        await self._stack.aclose()

    def _run(self, work: Callable[[], Awaitable[None]], kind: str) -> None:
        """Run a loop for as long as the tenant is served."""
        self._background.append(task_guard.start_loop(self._parts.tasks, work, kind))


def open_connections(registry: Registry[AgentTunnel]) -> int:
    """Return the number of open connections through the agents of a registry."""
    return sum(len(agent.connections) for agent in registry.all())
