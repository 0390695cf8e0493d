"""`proxy-server`, wired together: options -> services, the listeners they are served at, and an orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from time import monotonic
from typing import TYPE_CHECKING

from konnectivity import kube
from konnectivity.http1.handlers import Later, Request, Response
from konnectivity.runtime import lifecycle, logs, task_guard
from konnectivity.tunnel.tunnel import TunnelOptions
from konnectivity_server import strategies
from konnectivity_server.agents import agent_service, credential_identity
from konnectivity_server.agents.agent_service import AgentService, AgentTunnel
from konnectivity_server.agents.claim_verification import ClaimVerifier
from konnectivity_server.api import api_routes, connection_list, server_ports
from konnectivity_server.api.shared_answers import SharedAnswers
from konnectivity_server.api.traffic_samples import Sampler
from konnectivity_server.audit.audit_log import AuditLog
from konnectivity_server.dispatcher import Dispatcher
from konnectivity_server.frontends import grpc_frontend
from konnectivity_server.frontends.grpc_frontend import ProxyService
from konnectivity_server.peer_limits import ServerLimits
from konnectivity_server.peers import peer_service
from konnectivity_server.peers.server_set import ServerSet
from konnectivity_server.registry import Registry
from konnectivity_server.server_listeners import ServerListeners
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.workers.worker import Worker

if TYPE_CHECKING:
    from konnectivity_server.agents.token_authentication import TokenAuthenticator
    from konnectivity_server.peers.server_lease import ServerLease

log = logs.get(__name__)

_IDLE_CHECK_S = 0.1
_QUIET_S = 1.0  # without a connection before a draining server leaves: who looked at its readiness just before may dial


class ProxyServer:
    """One proxy server: `start`, then `stop`. Used by `proxy-server`, the demo and the tests.

    Raises:
        TlsError: certificates, keys or CAs that cannot be used, and why.

    """

    def __init__(
        self, options: ServerOptions, server_id: str, tasks: asyncio.TaskGroup, place: Worker | None = None
    ) -> None:
        self.options = options
        self.place = place  # among the workers of one server
        self.ledger = options.ledger()
        self.limits = ServerLimits(options, self.ledger)
        self.listeners = ServerListeners(options, self.limits, tasks, place)
        self.registry: Registry[AgentTunnel] = Registry()
        self.strategies = strategies.parse(options.proxy_strategies)
        self.agent_tunnels = self._tunnels(hold_s=options.stream_hold_timeout, log_connections=True)
        self.frontend_tunnels = self._tunnels(hold_s=None, log_connections=False)
        self.replicas = ServerSet(options, server_id, self.ledger, lambda: self.agents.announce(), place)
        self.agents = AgentService(
            self.registry,
            self.agent_tunnels,
            server_id,
            lambda: self.replicas.count,
            tasks,
            options.heartbeat_interval,
            options.max_pending_dials_per_agent,
        )
        self.dispatcher = Dispatcher(
            self.registry,
            self.strategies,
            options.backend_dial_timeout,
            self.ledger,
            self.agent_tunnels.traffic,
            self.limits.dials,
        )
        self.agents.on_suspect.append(self.dispatcher.suspected)
        self.sampler = Sampler(
            self.agent_tunnels.traffic,
            lambda: connection_list.tunnels(self),
            {"agents": lambda: len(self.registry), "connections": self._open},
        )
        self.authenticator: TokenAuthenticator | None = None
        self.voucher: ClaimVerifier | None = None
        self.leases: ServerLease | None = None
        self.leaving = False
        self.started_at = monotonic()
        self._answers = SharedAnswers(tasks)
        self._tasks = tasks
        self._background: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()

    def _tunnels(self, hold_s: float | None, log_connections: bool) -> TunnelOptions:
        return TunnelOptions(
            ledger=self.ledger,
            hold_s=hold_s,
            extension=self.options.konnectivity_extension,
            log_connections=log_connections,
            reached=self.limits.reached,
        )

    async def start(self) -> None:
        """Open all listeners.

        Raises:
            ListenError, StartError, TlsError, KubeError: what cannot be opened, and why.

        """
        try:
            self._keep_audit()
            for each in self.listeners.tls.values():
                self._run(each.run, "TLS files")
            self._use_kubernetes()
            await self._meet_replicas()
            await self.listeners.open_agents({agent_service.PATH: self.agents.connect})
            service = ProxyService(self.dispatcher, self.frontend_tunnels)
            await self.listeners.open_frontends({grpc_frontend.PATH: service.proxy}, self.dispatcher)
            self.sampler.start()
            self._stack.callback(self.sampler.stop)
            self._stack.callback((await server_ports.serve(self)).close)
        except BaseException:
            await self.stop()
            raise

    def _keep_audit(self) -> None:
        if self.options.audit_log:
            audit = AuditLog(self.options.audit_log, self.agents.server_id)
            self._stack.callback(audit.close)  # the last of all: whatever ends before is in it
            self.dispatcher.audit = audit

    @property
    def busy(self) -> bool:
        """Whether somebody is being served."""
        return any(agent.connections or agent.pending for agent in self.registry.all())

    def _open(self) -> int:
        return sum(len(agent.connections) for agent in self.registry.all())

    def answer(self, request: Request, work: Callable[[], Awaitable[Response]]) -> Later:
        """Start the work of an endpoint whose answer takes a while, unless it is to begin for another request."""
        key = (request.path, request.query)
        return self._answers.get(key, request.arrived, lambda: api_routes.answered(work))

    def drain(self) -> None:
        """Not ready from now on, no new agents; agents that understand are told to look elsewhere. Dials go on."""
        self.leaving = True
        self.listeners.drain()
        for agent in self.registry.all():
            agent.send_drain()
        self.replicas.drain()

    async def stop(self) -> None:
        """Close every connection and the listeners, then the rest."""
        await self.listeners.close("the server is shutting down")
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._stack.aclose()

    def _run(self, work: Callable[[], Awaitable[None]], kind: str) -> None:
        """Run a loop for as long as the server runs."""
        self._background.append(task_guard.start_loop(self._tasks, work, kind))

    def not_ready(self) -> str | None:
        """Why no traffic can pass; None if it can. As ever, the first strategy alone decides."""
        if self.leaving:
            return "the server is shutting down"
        trouble = self._no_agent()
        return None if self.replicas.usable else trouble

    def _no_agent(self) -> str | None:
        """Why no agent of this server can be used; None if one can."""
        first = self.strategies[0]
        if not strategies.size(first, self.registry):
            return "no connection to any proxy agent"
        return None if strategies.answers(first, self.registry) else "no proxy agent answers"

    def _use_kubernetes(self) -> None:
        """Make the client of the Kubernetes API, and who uses it. Nothing is asked yet: the API may come up later."""
        options = self.options
        if options.agent_identity == credential_identity.CERTIFICATE:
            self.voucher = self.agents.voucher = ClaimVerifier(options.agent_identity)
        if not options.needs_kubernetes:
            return
        client = kube.connect(options.kubeconfig, options.kubeconfig_qps, options.kubeconfig_burst)
        self._stack.push_async_callback(client.close)
        if options.reviews_tokens:
            from konnectivity_server.agents.token_authentication import TokenAuthenticator

            account = (options.agent_namespace, options.agent_service_account)
            self.authenticator = TokenAuthenticator(
                client, self._tasks, *account, options.authentication_audience, self.limits.reached
            )
            self.agents.authenticator = self.authenticator
            if options.agent_identity == credential_identity.TOKEN:
                self.voucher = self.agents.voucher = ClaimVerifier(options.agent_identity, client)
            log.info("Agents show tokens", account=":".join(account), api=client.server)
        if options.enable_lease_controller:
            from konnectivity.kube.labels import parse_labels
            from konnectivity_server.peers.server_lease import ServerLease

            labels = parse_labels(options.lease_label)
            self.leases = ServerLease(client, self.agents.server_id, options.lease_namespace, labels)
            self._run(self.leases.run, "lease")
            self.replicas.count_leases(client, self._run)

    async def _meet_replicas(self) -> None:
        """Listen for other servers and workers, and look for them."""
        options = self.options
        if not options.uses_peers and self.place is None:
            return
        service = self.replicas.serve(self.dispatcher, lambda: self._no_agent() is None)
        self.agents.on_change.append(service.announce)
        services = {peer_service.PATH: service.connect}
        if self.place is not None:
            await self.listeners.open_siblings(services, self.place.dials)
        if options.peer_port:
            await self.listeners.open_peers(services)
        self.replicas.connect(self.dispatcher, self._run)


async def run(options: ServerOptions, server_id: str, place: Worker | None = None) -> int:
    """Serve until the first signal; close everything; exit code."""
    signals = lifecycle.Signals()
    if place is not None:  # a supervisor that is gone is a signal, too
        asyncio.get_running_loop().add_reader(place.parent_fd, signals.end)
    async with asyncio.TaskGroup() as tasks:
        server = ProxyServer(options, server_id, tasks, place)
        await server.start()
        log.info("Proxy server started", id=server_id)
        await signals.first.wait()
        await _drained(server, signals, options.graceful_shutdown_timeout)
        await server.stop()
    log.info("Proxy server stopped")
    return 0


async def _drained(server: ProxyServer, signals: lifecycle.Signals, timeout_s: float) -> None:
    """Until nobody was served for a moment, the time is over, or a second signal comes."""
    log.info("Signal received, draining", seconds=timeout_s)
    server.drain()
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            idle_s = 0.0
            while idle_s < _QUIET_S and not signals.second.is_set():
                await asyncio.sleep(_IDLE_CHECK_S)
                idle_s = 0.0 if server.busy else idle_s + _IDLE_CHECK_S
    if server.busy:
        log.warning("Cutting connections", connections=sum(len(agent.connections) for agent in server.registry.all()))
