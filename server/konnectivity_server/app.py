"""`proxy-server`, wired together: options -> listeners, services, and an orderly end."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from konnectivity import kube, lifecycle, logs, tls
from konnectivity.grpc.native import Http2Transport, TransportOptions
from konnectivity.grpc.stream import Service
from konnectivity.http import Response
from konnectivity.listen import Entry, Listener, admit_tcp, listen_unix, remove_socket, serve_unix
from konnectivity.tunnel import TunnelOptions
from konnectivity_server import agents, api, connections, endpoints, identity, peer_service, proxy, strategies
from konnectivity_server.agents import AgentService, AgentTunnel
from konnectivity_server.audit_log import AuditLog
from konnectivity_server.connect import ConnectProtocol
from konnectivity_server.dispatch import Dispatcher
from konnectivity_server.frontend import Doorman
from konnectivity_server.limits import ServerLimits
from konnectivity_server.options import GRPC, HTTP_CONNECT, ServerOptions
from konnectivity_server.place import Place
from konnectivity_server.proxy import ProxyService
from konnectivity_server.registry import Registry
from konnectivity_server.replicas import Replicas
from konnectivity_server.sampling import Sampler
from konnectivity_server.vouching import Voucher

if TYPE_CHECKING:
    from konnectivity_server.authentication import TokenAuthenticator
    from konnectivity_server.leases import LeaseController

log = logs.get(__name__)

_IDLE_CHECK_S = 0.1
_QUIET_S = 1.0  # without a connection before a draining server leaves: who looked at its readiness just before may dial


class Server:
    """One proxy server: `start`, then `stop`. Used by `proxy-server`, the demo and the tests."""

    def __init__(
        self, options: ServerOptions, server_id: str, tasks: asyncio.TaskGroup, place: Place | None = None
    ) -> None:
        self.options = options
        self.place = place  # among the workers of one server
        self.ledger = options.ledger()
        self.limits = ServerLimits(options)
        self.registry: Registry[AgentTunnel] = Registry()
        extension = options.konnectivity_extension
        self.agent_tunnels = TunnelOptions(
            ledger=self.ledger,
            hold_s=options.stream_hold_timeout,
            extension=extension,
            reached=self.limits.reached,
        )
        self.frontend_tunnels = TunnelOptions(
            ledger=self.ledger,
            hold_s=None,
            extension=extension,
            log_connections=False,
            reached=self.limits.reached,
        )
        self.replicas = Replicas(options, server_id, self.ledger, lambda: self.agents.announce(), place)
        self.agents = AgentService(
            self.registry,
            self.agent_tunnels,
            server_id,
            lambda: self.replicas.count,
            tasks,
            options.heartbeat_interval,
            options.max_pending_dials_per_agent,
        )
        self.strategies = strategies.parse(options.proxy_strategies)
        self.dispatcher = Dispatcher(
            self.registry,
            self.strategies,
            options.backend_dial_timeout,
            self.ledger,
            self.agent_tunnels.traffic,
            self.limits.dials,
        )
        self.agents.on_suspect.append(self.dispatcher.suspected)
        self.proxy = ProxyService(self.dispatcher, self.frontend_tunnels)
        self._entry = Entry(
            tasks,
            options.max_connections_per_source,
            options.handshake_timeout,
            shared=place is not None,
            reached=self.limits.reached,
        )
        self.leaving = False
        self.started_at = monotonic()
        self.sampler = Sampler(
            self.agent_tunnels.traffic,
            lambda: connections.tunnels(self),
            {"agents": lambda: len(self.registry), "connections": self._open},
        )
        self.authenticator: TokenAuthenticator | None = None
        self.voucher: Voucher | None = None
        self.tls: dict[str, tls.ServerTls] = {}
        self.leases: LeaseController | None = None
        self._tasks = tasks
        self._background: list[asyncio.Task[None]] = []
        self._agent_listeners: list[Listener] = []
        self._transports: set[Http2Transport] = set()
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Open all listeners.

        Raises:
            ListenError, StartError, TlsError, KubeError: what cannot be opened, and why.
        """
        options = self.options
        self._keep_audit()
        agent_files = (options.cluster_cert, options.cluster_key, options.cluster_ca_cert)
        self.tls = {"agents": self._tls(agent_files, ["h2"])}
        if options.tcp_frontend:
            files = (options.server_cert, options.server_key, options.server_ca_cert)
            self.tls["frontends"] = self._tls(files, self._frontend_alpn())
        if options.uses_peers:
            self.tls["peers"] = self._tls(options.peer_files, ["h2"])
        for each in self.tls.values():
            self._run(each.run(), "TLS files")
        try:
            self._use_kubernetes()
            await self._use_peers()
            await self._listen_agents(self.tls["agents"].context)
            await self._listen_frontends(self.tls["frontends"].context if options.tcp_frontend else None)
            self.sampler.start()
            self._stack.callback(self.sampler.stop)
            self._stack.callback((await endpoints.serve(self)).close)
        except BaseException:
            await self._close()
            raise

    def _keep_audit(self) -> None:
        if self.options.audit_log:
            audit = AuditLog(self.options.audit_log, self.agents.server_id)
            self._stack.callback(audit.close)  # the last of all: whatever ends before is in it
            self.dispatcher.audit = audit

    @property
    def busy(self) -> bool:
        """Whether somebody is being served."""
        return any(agent.links or agent.pending for agent in self.registry.all())

    def _open(self) -> int:
        return sum(len(agent.links) for agent in self.registry.all())

    def answer(self, work: Coroutine[Any, Any, Response]) -> asyncio.Future[Response]:
        """Do what an endpoint wants done that takes a while."""
        return self._tasks.create_task(api.answered(work), name="answer")

    def drain(self) -> None:
        """Not ready from now on, no new agents; agents that understand are told to look elsewhere. Dials go on."""
        self.leaving = True
        for listener in self._agent_listeners:
            listener.close()
        for agent in self.registry.all():
            agent.send_drain()
        self.replicas.drain()

    async def stop(self) -> None:
        """Close the listeners, then every connection."""
        for listener in self._agent_listeners:
            listener.close()
        for transport in list(self._transports):
            transport.close("the server is shutting down")
        await asyncio.sleep(0)
        await self._close()

    async def _close(self) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._stack.aclose()

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do something for as long as the server runs."""
        self._background.append(self._tasks.create_task(work, name=name))

    def _tls(self, files: tuple[str, str, str], alpn: list[str]) -> tls.ServerTls:
        options = self.options
        return tls.ServerTls(*files, alpn, ciphers=options.cipher_suites, min_version=options.tls_min_version)

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
        if options.agent_identity == identity.CERTIFICATE:
            self.voucher = self.agents.voucher = Voucher(options.agent_identity)
        if not options.needs_kubernetes:
            return
        client = kube.connect(options.kubeconfig, options.kubeconfig_qps, options.kubeconfig_burst)
        self._stack.push_async_callback(client.close)
        if options.reviews_tokens:
            from konnectivity_server.authentication import TokenAuthenticator

            account = (options.agent_namespace, options.agent_service_account)
            self.authenticator = TokenAuthenticator(client, *account, options.authentication_audience)
            self.agents.authenticator = self.authenticator
            if options.agent_identity == identity.TOKEN:
                self.voucher = self.agents.voucher = Voucher(options.agent_identity, client)
            log.info("Agents show tokens", account=":".join(account), api=client.server)
        if options.enable_lease_controller:
            from konnectivity.kube.labels import parse_labels
            from konnectivity_server.leases import LeaseController

            labels = parse_labels(options.lease_label)
            self.leases = LeaseController(client, self.agents.server_id, options.lease_namespace, labels)
            self._run(self.leases.run(), "lease")
            self.replicas.count_leases(client, self._run)

    async def _use_peers(self) -> None:
        """Listen for other servers, and look for them."""
        options = self.options
        if not options.uses_peers and self.place is None:
            return
        service = self.replicas.serve(self.dispatcher, lambda: self._no_agent() is None)
        self.agents.on_change.append(service.announce)
        factory = self._transport_factory({peer_service.PATH: service.connect}, self.limits.peers)
        if self.place is not None:
            self._keep(await listen_unix("siblings", self.place.dials, True, factory))
        if options.peer_port:
            address = (options.peer_bind_address, options.peer_port)
            self._keep(await admit_tcp("peers", *address, self.tls["peers"].context, factory, self._entry))
            log.info("Listening for peers", address=f"{address[0] or '*'}:{address[1]}")
        self.replicas.connect(self.dispatcher, self._run)

    def _frontend_alpn(self) -> list[str]:
        return [name for mode, name in ((GRPC, "h2"), (HTTP_CONNECT, "http/1.1")) if mode in self.options.modes]

    async def _listen_agents(self, context: ssl.SSLContext) -> None:
        options = self.options
        services: Mapping[str, Service] = {agents.PATH: self.agents.connect}
        address = (options.agent_bind_address, options.agent_port)
        if options.grpc_implementation == "grpcio":
            files = (options.cluster_cert, options.cluster_key, options.cluster_ca_cert)
            await self._listen_grpcio("agents", services, address, files, options.keepalive_time)
        else:
            factory = self._transport_factory(services, self.limits.agents)
            listener = await admit_tcp("agents", *address, context, factory, self._entry)
            self._agent_listeners.append(listener)
            self._keep(listener)
        log.info("Listening for agents", address=f"{address[0] or '*'}:{address[1]}")

    async def _listen_frontends(self, context: ssl.SSLContext | None) -> None:
        options = self.options
        if GRPC in options.modes and options.grpc_implementation == "grpcio":
            await self._listen_grpcio_frontends()
            return
        factory = self._frontend_factory()
        if options.uds_name:
            if self.place is not None:
                self._keep(await serve_unix(socket.socket(fileno=self.place.frontend_fd), factory))
            else:
                replace = options.delete_existing_uds_file
                self._keep(await listen_unix("frontends", options.uds_name, replace, factory))
                self._stack.callback(remove_socket, options.uds_name)
            log.info("Listening for frontends", socket=options.uds_name, mode=options.mode)
        if context is not None:
            address = (options.server_bind_address, options.server_port)
            self._keep(await admit_tcp("frontends", *address, context, factory, self._entry))
            log.info("Listening for frontends", address=f"{address[0] or '*'}:{address[1]}", mode=options.mode)

    def _frontend_factory(self) -> Callable[[], asyncio.BaseProtocol]:
        grpc = self._transport_factory({proxy.PATH: self.proxy.proxy}, self.limits.frontends)

        def connect(first: bytes = b"") -> ConnectProtocol:
            return ConnectProtocol(self.dispatcher, first, self.limits.connect)

        if self.options.modes == [GRPC]:
            return grpc
        if self.options.modes == [HTTP_CONNECT]:
            return connect
        return lambda: Doorman(grpc, connect, self.limits.connect.head_timeout_s)

    def _transport_factory(
        self, services: Mapping[str, Service], options: TransportOptions
    ) -> Callable[[], Http2Transport]:
        def make() -> Http2Transport:
            transport = Http2Transport(options, services, self._transports.discard)
            self._transports.add(transport)
            return transport

        return make

    async def _listen_grpcio_frontends(self) -> None:
        options = self.options
        services: Mapping[str, Service] = {proxy.PATH: self.proxy.proxy}
        if options.uds_name:
            await self._listen_grpcio("frontends", services, options.uds_name, None, options.frontend_keepalive_time)
            self._stack.callback(remove_socket, options.uds_name)
        if options.tcp_frontend:
            files = (options.server_cert, options.server_key, options.server_ca_cert)
            address = (options.server_bind_address, options.server_port)
            await self._listen_grpcio("frontends", services, address, files, options.frontend_keepalive_time)

    async def _listen_grpcio(
        self,
        what: str,
        services: Mapping[str, Service],
        address: tuple[str, int] | str,
        files: tuple[str, str, str] | None,
        keepalive_time_s: float,
    ) -> None:
        from konnectivity.grpc import alternative  # grpcio is an extra

        replace = self.options.delete_existing_uds_file
        server = await alternative.serve(what, services, address, files, keepalive_time_s, replace=replace)
        self._stack.push_async_callback(server.close)

    def _keep(self, server: Listener) -> None:
        self._stack.callback(server.close)


async def run(options: ServerOptions, server_id: str, place: Place | None = None) -> int:
    """Serve until the first signal; close everything; exit code."""
    signals = lifecycle.Signals()
    if place is not None:  # a supervisor that is gone is a signal, too
        asyncio.get_running_loop().add_reader(place.parent_fd, signals.end)
    async with asyncio.TaskGroup() as tasks:
        server = Server(options, server_id, tasks, place)
        await server.start()
        log.info("Proxy server started", id=server_id)
        await signals.first.wait()
        await _drained(server, signals, options.graceful_shutdown_timeout)
        await server.stop()
    log.info("Proxy server stopped")
    return 0


async def _drained(server: Server, signals: lifecycle.Signals, timeout_s: float) -> None:
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
        log.warning("Cutting connections", connections=sum(len(agent.links) for agent in server.registry.all()))
