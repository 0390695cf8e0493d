"""Listeners of the server: for agents, for frontends, for peer servers and for the other workers.

Owns the listeners, their TLS and every HTTP/2 connection that they accept. Does not know the services it is given.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from konnectivity import tls
from konnectivity.grpc import http2_server
from konnectivity.grpc.implementations import implementation
from konnectivity.grpc.transport import GrpcServer
from konnectivity.net.socket_listeners import Listener, SourceLimits, admit_tcp, listen_unix, serve_unix
from konnectivity.net.unix_socket import BoundPath
from konnectivity.runtime import logs
from konnectivity_server.peer_limits import ServerLimits
from konnectivity_server.port_roles import MakeConnect, PortRole, Services, SharedPort
from konnectivity_server.server_options import GRPC, HTTP_CONNECT, ServerOptions, port_address
from konnectivity_server.workers.worker import Worker

if TYPE_CHECKING:
    from konnectivity.net.proxied_sources import ProxiedSources
    from konnectivity.tls.named_context import Find

log = logs.get(__name__)

Files = tuple[str, str, str]  # certificate, key, CA
_LISTENING = {
    "agents": "Listening for agents",
    "frontends": "Listening for frontends",
    "peers": "Listening for peers",
}


@dataclass(slots=True)
class _TcpPort:
    """TCP port of the server.

    Attributes:
        names: names of the roles of its clients.
        tls: TLS of a port that several roles share; None: the port has one role.
        roles: the roles that were opened.

    """

    names: Sequence[str]
    tls: tls.SharedTls | None
    roles: list[PortRole] = field(default_factory=list)


class ServerListeners:
    """All listeners of one server. Each `open_` raises ListenError or StartError if it cannot.

    Args:
        worker: the worker that this process is; None: the server has one process.

    Raises:
        TlsError: certificates, keys or CAs that cannot be used, and why.

    """

    def __init__(
        self, options: ServerOptions, limits: ServerLimits, tasks: asyncio.TaskGroup, worker: Worker | None
    ) -> None:
        self._options = options
        self._limits = limits
        self._worker = worker
        self._entry = SourceLimits(
            tasks,
            options.max_connections_per_source,
            options.handshake_timeout,
            shared=worker is not None,
            sparing=frozenset({"agents", "peers"}),
            reached=limits.reached,
            handshake_failures=limits.handshake_failures,
            proxied=_proxied(options, limits),
        )
        self._implementation = implementation(options.grpc_implementation)
        self._servers: list[GrpcServer] = []
        self._leave: dict[str, Callable[[], None]] = {}  # by role: ends the admission of new clients
        self._path: BoundPath | None = None  # path of the frontends' unix socket, if this process bound it
        self._stack = AsyncExitStack()
        self.tls: dict[str, tls.ServerTls] = {}
        if not options.tenants:
            self.tls["agents"] = self._tls(options.agent_files, ["h2"])
        if options.tcp_frontend and not options.tenants:
            protocols = ((GRPC, "h2"), (HTTP_CONNECT, "http/1.1"))
            alpn = [name for mode, name in protocols if mode in options.modes]
            self.tls["frontends"] = self._tls(options.frontend_files, alpn)
        if options.uses_peers:
            self.tls["peers"] = self._tls(options.peer_files, ["h2"])
        ports = {} if options.tenants else options.ports
        self._ports = {address: _TcpPort(roles, self._port_tls(roles)) for address, roles in ports.items()}

    def _tls(self, files: Files, alpn: list[str]) -> tls.ServerTls:
        options = self._options
        return tls.ServerTls(*files, alpn, ciphers=options.cipher_suites, min_version=options.tls_min_version)

    def _port_tls(self, roles: Sequence[str]) -> tls.SharedTls | None:
        """Return the TLS of a port that several roles share."""
        if len(roles) == 1:
            return None
        options, files = self._options, {role: self.tls[role] for role in roles}
        alpn = ["h2", "http/1.1"] if "frontends" in roles and HTTP_CONNECT in options.modes else ["h2"]
        return tls.SharedTls(files, alpn, options.cipher_suites, options.tls_min_version)

    async def open_agents(self, services: Services) -> None:
        """Listen for agents."""
        options, limits = self._options, self._limits
        address = (options.agent_bind_address, options.agent_port)
        if self._implementation.shares_sockets:
            await self._open(address, PortRole("agents", services, limits.agents))
            return
        server = await self._implementation.serve(
            "agents", services, address, self.tls["agents"], limits.agents, self._entry
        )
        self._leave["agents"] = server.stop_listening
        self._servers.append(server)
        log.info("Listening for agents", address=_shown(address))

    async def open_named(
        self, roles: Sequence[str], address: tuple[str, int], find: Find, factory: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        """Listen for clients of several TLS server names.

        Args:
            roles: roles of the clients.
            address: host and port.
            find: returns the end for a server name.
            factory: makes the protocol of a connection, until its end is known.

        """
        from konnectivity.tls.named_context import NamedContext  # late: only servers of many tenants need it

        what = roles[0] if len(roles) == 1 else "shared"
        listener = await admit_tcp(what, *address, NamedContext(find), factory, self._entry)
        self._leave[what] = listener.close
        self._keep(listener)
        log.info("Listening for tenants", clients=what, address=_shown(address))

    async def open_for_peers(self, address: tuple[str, int], factory: Callable[[], asyncio.BaseProtocol]) -> None:
        """Listen for peer servers of several tenants on a port of their own; they connect directly."""
        entry = replace(self._entry, proxied=None)
        listener = await admit_tcp("peers", *address, self.tls["peers"].context, factory, entry)
        self._leave["peers"] = listener.close
        self._keep(listener)
        log.info("Listening for peers", address=_shown(address))

    async def open_siblings(self, services: Services, path: str) -> None:
        """Listen for the other workers of this server, on a unix socket."""
        self._servers.append(await http2_server.serve("siblings", services, path, None, self._limits.peers))

    async def open_for_siblings(self, path: str, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        """Listen for the other workers of this server, for several tenants, on a unix socket."""
        self._keep(await listen_unix("siblings", path, True, factory))

    async def open_peers(self, services: Services) -> None:
        """Listen for peer servers, which connect directly."""
        address = (self._options.peer_bind_address, self._options.peer_port)
        await self._open(address, PortRole("peers", services, self._limits.peers))

    async def open_frontends(self, services: Services, connect: MakeConnect) -> None:
        """Listen for frontends, gRPC or HTTP CONNECT or both, on the sockets that the options name."""
        options = self._options
        address = (options.server_bind_address, options.server_port)
        if GRPC in options.modes and not self._implementation.shares_sockets:
            if options.uds_name:
                await self._serve_frontends(services, options.uds_name, None)
            if options.tcp_frontend:
                await self._serve_frontends(services, address, self.tls["frontends"])
            return
        role = PortRole(
            "frontends",
            services if GRPC in options.modes else {},
            self._limits.frontends,
            connect if HTTP_CONNECT in options.modes else None,
            self._limits.connect.head_timeout_s,
        )
        if options.uds_name:
            await self._listen_unix(role)
        if options.tcp_frontend:
            await self._open(address, role)

    async def _open(self, address: tuple[str, int], role: PortRole) -> None:
        """Add a role to the port at an address, and listen when the port has all its roles."""
        port = self._ports[port_address(*address)]
        port.roles.append(role)
        self._leave[role.name] = role.leave
        if role.http2 not in self._servers:
            self._servers.append(role.http2)
        if len(port.roles) < len(port.names):
            return
        entry = replace(self._entry, proxied=None) if port.names == ["peers"] else self._entry
        if port.tls is None:
            listener = await admit_tcp(role.name, *address, self.tls[role.name].context, role.new_protocol, entry)
            self._leave[role.name] = listener.close
        else:
            limits = self._limits
            shared = SharedPort(port.roles, port.tls.role_of, limits.connect, limits.reached)
            listener = await admit_tcp("shared", *address, port.tls.context, shared.new_protocol, entry)
        self._keep(listener)
        for each in port.roles:
            more = {"mode": self._options.mode} if each.name == "frontends" else {}
            log.info(_LISTENING[each.name], address=_shown(address), **more)

    async def _serve_frontends(
        self, services: Services, address: tuple[str, int] | str, server_tls: tls.ServerTls | None
    ) -> None:
        replace = self._options.delete_existing_uds_file
        server = await self._implementation.serve(
            "frontends", services, address, server_tls, self._limits.frontends, self._entry, replace
        )
        self._path = self._path or server.path
        self._servers.append(server)

    async def _listen_unix(self, role: PortRole) -> None:
        options = self._options
        self._servers.append(role.http2)
        if self._worker is not None:  # the supervisor made the socket, and removes it
            self._keep(await serve_unix(socket.socket(fileno=self._worker.frontend_fd), role.new_protocol))
        else:
            listener = await listen_unix(
                "frontends", options.uds_name, options.delete_existing_uds_file, role.new_protocol
            )
            self._path = listener.path
            self._keep(listener)
        log.info("Listening for frontends", socket=options.uds_name, mode=options.mode)

    def _keep(self, listener: Listener) -> None:
        self._stack.callback(listener.close)

    def drain(self) -> None:
        """Accept no new agents, and leave the frontends' unix socket to a successor that asks for it."""
        self._end_admission("agents")
        if self._path is not None:
            self._path.mark_leaving()

    def _end_admission(self, role: str) -> None:
        if role in self._leave:
            self._leave[role]()

    @property
    def unsent(self) -> int:
        """Number of bytes of gRPC that wait for the sockets of agents, frontends and peers, or for their windows."""
        return sum(server.unsent for server in self._servers)

    async def close(self, reason: str) -> None:
        """Close every connection, then the listeners."""
        self.drain()
        self._end_admission("peers")
        for server in self._servers:
            await server.close(reason)
        await self._stack.aclose()


def _proxied(options: ServerOptions, limits: ServerLimits) -> ProxiedSources | None:
    if options.proxy_protocol == "off":
        return None
    from konnectivity.net.proxied_sources import ProxiedSources, parse_networks  # late: most servers need neither

    trusted = parse_networks(options.proxy_protocol_trusted)
    required = options.proxy_protocol == "required"
    return ProxiedSources(trusted, required, options.handshake_timeout, limits.reached)


def _shown(address: tuple[str, int]) -> str:
    return f"{address[0] or '*'}:{address[1]}"
