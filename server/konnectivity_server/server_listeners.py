"""Listeners of the server: for agents, for frontends, for peer servers and for the other workers.

Owns the listeners, their TLS and every HTTP/2 connection that they accept. Does not know the services it is given.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from konnectivity import tls
from konnectivity.grpc import http2_server
from konnectivity.grpc.http2_server import Http2Server
from konnectivity.grpc.implementations import implementation
from konnectivity.grpc.message_stream import Service
from konnectivity.grpc.transport import GrpcServer
from konnectivity.net.socket_listeners import Listener, SourceLimits, admit_tcp, listen_unix, serve_unix
from konnectivity.net.unix_socket import BoundPath
from konnectivity.runtime import logs
from konnectivity_server.frontends.protocol_detector import ProtocolDetector
from konnectivity_server.peer_limits import ServerLimits
from konnectivity_server.server_options import GRPC, HTTP_CONNECT, ServerOptions
from konnectivity_server.workers.worker import Worker

if TYPE_CHECKING:
    from konnectivity.net.proxied_sources import ProxiedSources

log = logs.get(__name__)

Services = Mapping[str, Service]
MakeConnect = Callable[[bytes], asyncio.Protocol]  # given the bytes that were read from the client before
Files = tuple[str, str, str]  # certificate, key, CA


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
        self._agents: GrpcServer | None = None
        self._servers: list[GrpcServer] = []
        self._path: BoundPath | None = None  # path of the frontends' unix socket, if this process bound it
        self._stack = AsyncExitStack()
        self.tls = {"agents": self._tls(options.agent_files, ["h2"])}
        if options.tcp_frontend:
            protocols = ((GRPC, "h2"), (HTTP_CONNECT, "http/1.1"))
            alpn = [name for mode, name in protocols if mode in options.modes]
            self.tls["frontends"] = self._tls(options.frontend_files, alpn)
        if options.uses_peers:
            self.tls["peers"] = self._tls(options.peer_files, ["h2"])

    def _tls(self, files: Files, alpn: list[str]) -> tls.ServerTls:
        options = self._options
        return tls.ServerTls(*files, alpn, ciphers=options.cipher_suites, min_version=options.tls_min_version)

    async def open_agents(self, services: Services) -> None:
        """Listen for agents."""
        options = self._options
        address = (options.agent_bind_address, options.agent_port)
        self._agents = await self._implementation.serve(
            "agents", services, address, self.tls["agents"], self._limits.agents, self._entry
        )
        self._servers.append(self._agents)
        log.info("Listening for agents", address=_shown(address))

    async def open_siblings(self, services: Services, path: str) -> None:
        """Listen for the other workers of this server, on a unix socket."""
        self._servers.append(await http2_server.serve("siblings", services, path, None, self._limits.peers))

    async def open_peers(self, services: Services) -> None:
        """Listen for peer servers, which connect directly."""
        entry = replace(self._entry, proxied=None)
        address = (self._options.peer_bind_address, self._options.peer_port)
        self._servers.append(
            await http2_server.serve("peers", services, address, self.tls["peers"], self._limits.peers, entry)
        )
        log.info("Listening for peers", address=_shown(address))

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
        factory = self._frontend(services, connect)
        if options.uds_name:
            await self._listen_unix(factory)
            log.info("Listening for frontends", socket=options.uds_name, mode=options.mode)
        if options.tcp_frontend:
            context = self.tls["frontends"].context
            self._keep(await admit_tcp("frontends", *address, context, factory, self._entry))
            log.info("Listening for frontends", address=_shown(address), mode=options.mode)

    async def _serve_frontends(
        self, services: Services, address: tuple[str, int] | str, server_tls: tls.ServerTls | None
    ) -> None:
        replace = self._options.delete_existing_uds_file
        server = await self._implementation.serve(
            "frontends", services, address, server_tls, self._limits.frontends, self._entry, replace
        )
        self._path = self._path or server.path
        self._servers.append(server)

    async def _listen_unix(self, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        options = self._options
        if self._worker is not None:  # the supervisor made the socket, and removes it
            self._keep(await serve_unix(socket.socket(fileno=self._worker.frontend_fd), factory))
            return
        listener = await listen_unix("frontends", options.uds_name, options.delete_existing_uds_file, factory)
        self._path = listener.path
        self._keep(listener)

    def _frontend(self, services: Services, connect: MakeConnect) -> Callable[[], asyncio.BaseProtocol]:
        """Return the maker of a frontend's protocol on a socket that gRPC and HTTP CONNECT may share."""
        server = Http2Server(services, self._limits.frontends)
        self._servers.append(server)
        if self._options.modes == [GRPC]:
            return server.new_transport
        if self._options.modes == [HTTP_CONNECT]:
            return functools.partial(connect, b"")
        timeout_s, loop = self._limits.connect.head_timeout_s, asyncio.get_running_loop()
        return lambda: ProtocolDetector(server.new_transport, connect, timeout_s, loop)

    def _keep(self, listener: Listener) -> None:
        self._stack.callback(listener.close)

    def drain(self) -> None:
        """Accept no new agents, and leave the frontends' unix socket to a successor that asks for it."""
        if self._agents is not None:
            self._agents.stop_listening()
        if self._path is not None:
            self._path.mark_leaving()

    @property
    def unsent(self) -> int:
        """Number of bytes of gRPC that wait for the sockets of agents, frontends and peers, or for their windows."""
        return sum(server.unsent for server in self._servers)

    async def close(self, reason: str) -> None:
        """Close every connection, then the listeners."""
        self.drain()
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
