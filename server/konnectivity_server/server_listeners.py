"""Where the server listens: for agents, for frontends, for peers and for the other workers, native or on grpcio.

Owns the listeners, their TLS and every HTTP/2 connection that came in by them. What is served there it is given.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from konnectivity import tls
from konnectivity.grpc.http2_transport import Http2Transport, TransportOptions
from konnectivity.grpc.message_stream import Service
from konnectivity.net.socket_listeners import Listener, SourceLimits, admit_tcp, listen_unix, serve_unix
from konnectivity.net.unix_socket import BoundPath
from konnectivity.runtime import logs
from konnectivity_server.frontends.protocol_detector import ProtocolDetector
from konnectivity_server.peer_limits import ServerLimits
from konnectivity_server.server_options import GRPC, HTTP_CONNECT, ServerOptions
from konnectivity_server.workers.worker import Worker

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
        )
        self._agents: Listener | None = None
        self._path: BoundPath | None = None  # of the frontends' unix socket, if this process bound it
        self._transports: set[Http2Transport] = set()
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
        options = self._options
        address = (options.agent_bind_address, options.agent_port)
        if options.grpc_implementation == "grpcio":
            await self._serve_grpcio("agents", services, address, options.agent_files, options.keepalive_time)
        else:
            self._agents = await self._admit("agents", address, self._http2(services, self._limits.agents))
        log.info("Listening for agents", address=_shown(address))

    async def open_siblings(self, services: Services, path: str) -> None:
        """For the other workers of this server, on a unix socket."""
        self._keep(await listen_unix("siblings", path, True, self._http2(services, self._limits.peers)))

    async def open_peers(self, services: Services) -> None:
        address = (self._options.peer_bind_address, self._options.peer_port)
        await self._admit("peers", address, self._http2(services, self._limits.peers))
        log.info("Listening for peers", address=_shown(address))

    async def open_frontends(self, services: Services, connect: MakeConnect) -> None:
        """The unix socket and the TCP port, whichever is wanted: gRPC, HTTP CONNECT, or both."""
        options = self._options
        address = (options.server_bind_address, options.server_port)
        if GRPC in options.modes and options.grpc_implementation == "grpcio":
            keepalive_s = options.frontend_keepalive_time
            if options.uds_name:
                await self._serve_grpcio("frontends", services, options.uds_name, None, keepalive_s)
            if options.tcp_frontend:
                await self._serve_grpcio("frontends", services, address, options.frontend_files, keepalive_s)
            return
        factory = self._frontend(services, connect)
        if options.uds_name:
            await self._listen_unix(factory)
            log.info("Listening for frontends", socket=options.uds_name, mode=options.mode)
        if options.tcp_frontend:
            await self._admit("frontends", address, factory)
            log.info("Listening for frontends", address=_shown(address), mode=options.mode)

    async def _listen_unix(self, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        options = self._options
        if self._worker is not None:  # the supervisor made the socket, and removes it
            self._keep(await serve_unix(socket.socket(fileno=self._worker.frontend_fd), factory))
            return
        listener = await listen_unix("frontends", options.uds_name, options.delete_existing_uds_file, factory)
        self._path = listener.path
        self._keep(listener)

    def _frontend(self, services: Services, connect: MakeConnect) -> Callable[[], asyncio.BaseProtocol]:
        grpc = self._http2(services, self._limits.frontends)
        if self._options.modes == [GRPC]:
            return grpc
        if self._options.modes == [HTTP_CONNECT]:
            return functools.partial(connect, b"")
        return lambda: ProtocolDetector(grpc, connect, self._limits.connect.head_timeout_s)

    def _http2(self, services: Services, options: TransportOptions) -> Callable[[], Http2Transport]:
        transports = self._transports
        return lambda: Http2Transport(options, services, transports.discard, transports.add)

    async def _admit(
        self, what: str, address: tuple[str, int], factory: Callable[[], asyncio.BaseProtocol]
    ) -> Listener:
        listener = await admit_tcp(what, *address, self.tls[what].context, factory, self._entry)
        self._keep(listener)
        return listener

    async def _serve_grpcio(
        self, what: str, services: Services, address: tuple[str, int] | str, files: Files | None, keepalive_s: float
    ) -> None:
        from konnectivity.grpc import grpcio_transport  # grpcio is an extra

        replace = self._options.delete_existing_uds_file
        server = await grpcio_transport.serve(what, services, address, files, keepalive_s, replace=replace)
        self._path = self._path or server.path
        self._stack.push_async_callback(server.close)

    def _keep(self, listener: Listener) -> None:
        self._stack.callback(listener.close)

    def drain(self) -> None:
        """Accept no new agents, and leave the frontends' unix socket to a successor that asks for it."""
        if self._agents is not None:
            self._agents.close()
        if self._path is not None:
            self._path.mark_leaving()

    async def close(self, reason: str) -> None:
        """Close every connection, then the listeners."""
        self.drain()
        for transport in list(self._transports):
            transport.close(reason)
        await asyncio.sleep(0)
        await self._stack.aclose()


def _shown(address: tuple[str, int]) -> str:
    return f"{address[0] or '*'}:{address[1]}"
