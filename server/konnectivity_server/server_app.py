"""The proxy server's wiring: from options to services, to the listeners that serve them, and to an orderly end.

Builds each part once, in the order in which the parts need each other, and hands every part the narrow interface that
it uses. Owns the background tasks. Does not know what any part does.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from time import monotonic
from typing import TYPE_CHECKING

from konnectivity import kube
from konnectivity.runtime import lifecycle, logs, task_guard
from konnectivity.tls.certificate_reload import wall_clock
from konnectivity.tunnel.serving import Opener
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_server import readiness, server_probe_options, strategies
from konnectivity_server.agents import agent_service, credential_identity
from konnectivity_server.agents.agent_service import AgentService
from konnectivity_server.agents.agent_tunnel import AgentTunnel
from konnectivity_server.agents.claim_verification import ClaimVerifier
from konnectivity_server.api import server_ports
from konnectivity_server.api.server_view import ServerView, tunnels_of
from konnectivity_server.api.shared_answers import SharedAnswers
from konnectivity_server.api.traffic_samples import Sampler
from konnectivity_server.frontends import grpc_frontend
from konnectivity_server.frontends.connect_frontend import ConnectFrontend
from konnectivity_server.frontends.grpc_frontend import ProxyService
from konnectivity_server.peer_limits import ServerLimits
from konnectivity_server.peers import peer_protocol
from konnectivity_server.peers.server_set import ServerSet
from konnectivity_server.pending_dials import PendingDials
from konnectivity_server.readiness import Readiness
from konnectivity_server.registry import Registry
from konnectivity_server.server_listeners import ServerListeners
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.workers.worker import Worker

if TYPE_CHECKING:
    from konnectivity.kube.api_client import KubeClient
    from konnectivity_server.agents.token_authentication import TokenAuthenticator
    from konnectivity_server.frontends.forward_frontend import ForwardFrontend
    from konnectivity_server.peers.server_lease import ServerLease
    from konnectivity_server.probes.path_prober import PathProber

log = logs.get(__name__)

_IDLE_CHECK_S = 0.1
_QUIET_S = 1.0  # without a connection before a draining server ends: a client that just saw it ready may still dial


class ProxyServer:
    """Proxy server, from `start` to `stop`.

    Args:
        options: options of the server.
        server_id: id that agents and other servers are told.
        tasks: group in which the server's tasks run.
        worker: the worker that this process is; None: the server has one process.

    Raises:
        KubeError: there is no access to the Kubernetes API, or its extra is not installed.
        TlsError: certificates, keys or CAs cannot be used.

    """

    def __init__(
        self, options: ServerOptions, server_id: str, tasks: asyncio.TaskGroup, worker: Worker | None = None
    ) -> None:
        self._options = options
        self._server_id = server_id
        self._tasks = tasks
        self._worker = worker
        self._background: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()
        self._memory = options.memory_budget()
        self._limits = ServerLimits(options, self._memory)
        self._listeners = ServerListeners(options, self._limits, tasks, worker)
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
            server_id,
            self._memory,
            self._opener(relayed=True),
            self._dials.retry_all_of,
            self._agent_trouble,
            lambda count: agent_service.announce_server_count(self._registry, count),
            worker,
        )
        self._prober = self._path_prober()
        needs_path = self._prober is not None and options.ready_when == server_probe_options.PATH
        self._readiness = Readiness(
            self._agent_trouble,
            lambda: self._servers.usable,
            self._prober.data_plane.trouble if self._prober is not None and needs_path else None,
        )
        self._client = self._kube_client()
        self._authenticator = self._token_authenticator()
        self._verifier = self._claim_verifier()
        self._lease = self._server_lease()
        self._agents = AgentService(
            self._registry,
            self._agent_tunnels,
            server_id,
            lambda: self._servers.count,
            tasks,
            options.heartbeat_interval,
            options.max_pending_dials_per_agent,
            self._dials.retry_all_of,
            self._agents_changed,
            self._authenticator,
            self._verifier,
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
        from konnectivity_server.probes.path_prober import make_prober

        return make_prober(options, self._registry, self._memory)

    def _kube_client(self) -> KubeClient | None:
        """Return a client of the Kubernetes API that has asked nothing yet: the API may start later than the server."""
        options = self._options
        if not options.needs_kubernetes:
            return None
        return kube.connect(options.kubeconfig, options.kubeconfig_qps, options.kubeconfig_burst)

    def _token_authenticator(self) -> TokenAuthenticator | None:
        options = self._options
        if self._client is None or not options.reviews_tokens:
            return None
        from konnectivity_server.agents.token_authentication import TokenAuthenticator

        account = (options.agent_namespace, options.agent_service_account)
        log.info("Agents show tokens", account=":".join(account), api=self._client.server)
        return TokenAuthenticator(
            self._client, self._tasks, *account, options.authentication_audience, self._limits.reached
        )

    def _forward_frontend(self) -> ForwardFrontend | None:
        options = self._options
        if not options.uses_forward:
            return None
        from konnectivity_server.frontends.forward_frontend import ForwardFrontend

        closing, reached = self._connect.closing, self._limits.reached
        return ForwardFrontend(options, self._tasks, self._dials.dial, closing, reached, self._client)

    def _claim_verifier(self) -> ClaimVerifier | None:
        mode = self._options.agent_identity
        if mode == credential_identity.CERTIFICATE:
            return ClaimVerifier(mode)
        return ClaimVerifier(mode, self._client) if mode == credential_identity.TOKEN else None

    def _server_lease(self) -> ServerLease | None:
        options = self._options
        if self._client is None or not options.enable_lease_controller:
            return None
        from konnectivity.kube.labels import parse_labels
        from konnectivity_server.peers.server_lease import ServerLease

        self._servers.count_leases(self._client)
        return ServerLease(self._client, self._server_id, options.lease_namespace, parse_labels(options.lease_label))

    def _view(self) -> ServerView:
        traffic, registry, servers = self._agent_tunnels.traffic, self._registry, self._servers
        gauges = {"agents": lambda: len(registry), "connections": lambda: open_connections(registry)}
        return ServerView(
            server_id=self._server_id,
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
            certificates=self._listeners.tls,
            sampler=Sampler(traffic, lambda: tunnels_of(registry, servers.peers), gauges),
            not_ready=self._readiness.trouble,
            peers=servers.peers,
            token_authenticator=self._authenticator,
            claim_verifier=self._verifier,
            server_lease=self._lease,
            prober=self._prober,
            forward=self._forward,
        )

    async def start(self) -> None:
        """Open all listeners.

        Raises:
            ListenError: a listener cannot be opened.
            StartError: the audit log or a unix socket cannot be opened, or tracing lacks its extra.

        """
        try:
            if self._client is not None:
                self._stack.push_async_callback(self._client.close)
            self._read_policy()
            self._open_audit_log()
            self._open_tracing()
            self._start_loops()
            await self._open_peer_listeners()
            for work, kind in self._servers.loops():
                self._run(work, kind)
            await self._listeners.open_agents({agent_service.PATH: self._agents.connect})
            service = ProxyService(self._opener(), self._frontend_tunnels)
            await self._listeners.open_frontends({grpc_frontend.PATH: service.proxy}, self._connect.protocol)
            if self._forward is not None:
                self._stack.callback(self._forward.close)
                await self._forward.open(shared=self._worker is not None)
            self.view.sampler.start()
            self._stack.callback(self.view.sampler.stop)
            answers = SharedAnswers(self._tasks)
            http = await server_ports.serve(self.view, answers, self._options, self._worker)
            self._stack.callback(http.close)
        except BaseException:
            await self.stop()
            raise

    def _read_policy(self) -> None:
        if self._options.frontend_policy:
            from konnectivity_server.policy.policy_file import PolicyFile

            self._dials.judge_by(PolicyFile(self._options.frontend_policy))

    def _open_audit_log(self) -> None:
        if self._options.audit_log:
            from konnectivity_server.audit.audit_log import AuditLog

            audit = AuditLog(self._options.audit_log, self._server_id)
            self._stack.callback(audit.close)  # closed last, so that it records the end of every connection
            self._dials.record_in(audit)

    def _open_tracing(self) -> None:
        options = self._options
        if options.tracing_endpoint:
            from konnectivity_server.tracing import open_tracing

            tracing = open_tracing(options.tracing_endpoint, options.tracing_sample_ratio, self._server_id)
            self._stack.callback(tracing.close)
            self._dials.trace_in(tracing)

    def _start_loops(self) -> None:
        for each in self._listeners.tls.values():
            self._run(each.run, "TLS files")
        if self._lease is not None:
            self._run(self._lease.run, "lease")
        if self._prober is not None and self._client is not None and self._options.probe_node_events:
            from konnectivity_server.probes.node_events import NodeEvents

            events = self._prober.news = NodeEvents(self._client, self._server_id, wall_clock)
            self._run(events.run, "node events")

    async def _open_peer_listeners(self) -> None:
        if self._servers.service is None:
            return
        services = {peer_protocol.PATH: self._servers.service.connect}
        if self._worker is not None:
            await self._listeners.open_siblings(services, self._worker.dials)
        if self._options.peer_port:
            await self._listeners.open_peers(services)

    @property
    def unfinished(self) -> int:
        """Return the number of open connections and pending dials, through agents and through other servers."""
        agents = sum(len(agent.connections) + agent.unanswered for agent in self._registry.all())
        return agents + self._servers.unfinished

    @property
    def idle(self) -> bool:
        """Return whether no connection or dial is unfinished, and every byte of the finished ones is written."""
        unwritten = self._connect.closing.unwritten or self._listeners.unsent or self._servers.unsent
        return not self.unfinished and not unwritten

    def drain(self) -> None:
        """Report not ready, accept no new agents and tell agents and servers to dial elsewhere; dials are served on."""
        self._readiness.leave()
        self._stop_probes()
        self._listeners.drain()
        if self._forward is not None:
            self._forward.drain()
        for agent in self._registry.all():
            agent.send_drain()
        self._servers.drain()

    def _stop_probes(self) -> None:
        if self._prober is not None:
            self._prober.stop()

    async def stop(self) -> None:
        """Close every connection and the listeners, then everything else."""
        self._stop_probes()
        await self._listeners.close("the server is shutting down")
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._connect.closing.abort_unwritten("the server is shutting down")
        await self._stack.aclose()

    def _run(self, work: Callable[[], Awaitable[None]], kind: str) -> None:
        """Run a loop for as long as the server runs."""
        self._background.append(task_guard.start_loop(self._tasks, work, kind))


def open_connections(registry: Registry[AgentTunnel]) -> int:
    """Return the number of open connections through the agents of a registry."""
    return sum(len(agent.connections) for agent in registry.all())


async def run(options: ServerOptions, server_id: str, worker: Worker | None = None) -> int:
    """Serve until the first signal, close everything, and return the exit code."""
    signals = lifecycle.Signals()
    if worker is not None:  # the end of the supervisor counts as a signal
        asyncio.get_running_loop().add_reader(worker.parent_fd, signals.end)
    async with asyncio.TaskGroup() as tasks:
        server = ProxyServer(options, server_id, tasks, worker)
        await server.start()
        log.info("Proxy server started", id=server_id)
        await signals.first.wait()
        await _drain(server, signals, options.graceful_shutdown_timeout)
        await server.stop()
    log.info("Proxy server stopped")
    return 0


async def _drain(server: ProxyServer, signals: lifecycle.Signals, timeout_s: float) -> None:
    """Drain the server until it was idle for a moment, the timeout ends, or a second signal arrives."""
    log.info("Signal received, draining", seconds=timeout_s)
    server.drain()
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            idle_s = 0.0
            while idle_s < _QUIET_S and not signals.second.is_set():
                await asyncio.sleep(_IDLE_CHECK_S)
                idle_s = idle_s + _IDLE_CHECK_S if server.idle else 0.0
    if server.unfinished:
        log.warning("Cutting connections", connections=server.unfinished)
