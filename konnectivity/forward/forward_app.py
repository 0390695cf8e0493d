"""`konnectivity forward`: the objects of one process, wired together, from the options to the end after a signal."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from konnectivity import kube, tls
from konnectivity.client import Mode
from konnectivity.client.byte_pump import Streams
from konnectivity.errors import DialError, DialFailure, StartError
from konnectivity.forward.client_session import ClientSession, SessionSettings
from konnectivity.forward.forward_options import ForwardOptions
from konnectivity.forward.names import direct_dial
from konnectivity.forward.names.name_resolution import NameResolution
from konnectivity.forward.proxy_credentials import ProxyCredentials
from konnectivity.forward.upstream_servers import UpstreamServers
from konnectivity.net import addresses
from konnectivity.net.socket_listeners import Listener, listen_tcp, listen_unix
from konnectivity.net.tcp_keepalive import keep_alive
from konnectivity.runtime import lifecycle, logs, task_guard

if TYPE_CHECKING:
    from konnectivity.forward.names.service_addresses import ServiceAddresses
    from konnectivity.kube.api_client import KubeClient

log = logs.get(__name__)

IDLE_CHECK_S = 0.2  # while draining


class ForwardApp:
    """Forward proxy. Owns its listeners, its clients and its way to the servers.

    Args:
        options: of the program.
        tasks: owns all tasks of the program.

    Raises:
        StartError: the credentials file cannot be used.
        TlsError: a certificate, a key or a CA file cannot be used.

    """

    def __init__(self, options: ForwardOptions, tasks: asyncio.TaskGroup) -> None:
        self.clients = 0
        self._options = options
        self._tasks = tasks
        self._tls: tls.ClientTls | None = None
        self._kube: KubeClient | None = None
        self._services: ServiceAddresses | None = None
        if options.uses_tls:
            alpn = ("h2",) if options.mode == "grpc" else ("http/1.1",)
            self._tls = tls.ClientTls(options.ca_cert, options.cert, options.key, alpn)
        context = self._tls.context if self._tls is not None else None
        self.servers = UpstreamServers(options.server, cast("Mode", options.mode), context, options.server_name or None)
        self.settings = SessionSettings(
            tasks,
            self._connect,
            _credentials(options.credentials_file),
            options.head_timeout,
            options.idle_timeout,
            options.max_head,
        )
        self.names = self._resolution()
        self._listeners: list[Listener] = []

    def _resolution(self) -> NameResolution:
        """Return the resolution of names; what no option asks for is not loaded."""
        options, dns, services, outbound = self._options, None, None, None
        if options.cluster_dns:
            from konnectivity.forward.names.cluster_dns import ClusterDns

            dns = ClusterDns(options.name_servers, self._dial_name_server)
        if options.needs_kubernetes:
            from konnectivity.forward.names.service_addresses import ServiceAddresses

            self._kube = kube.connect(options.kubeconfig)
            services = self._services = ServiceAddresses(self._kube)
        if options.outbound_proxy:
            from konnectivity.forward.names.outbound_proxy import OutboundProxy

            outbound = OutboundProxy(options.outbound_proxy, ",".join(options.outbound_no_proxy))
        return NameResolution(options.name_rules, self._dial, direct_dial.connect, dns, services, outbound)

    async def _dial(self, address: str) -> Streams:
        return await self.servers.dial(address, self._options.dial_timeout)

    async def _dial_name_server(self, address: str) -> Streams:
        """Connect to a name server of the cluster, which may be named by its Service."""
        host, port = addresses.split(address)
        if not addresses.is_address(host) and self._services is not None:
            found = await self._services.addresses(host)
            if not found:
                raise DialError(DialFailure.ENDPOINT, f"there is no Service {host} with an address")
            address = f"[{found[0]}]:{port}" if ":" in found[0] else f"{found[0]}:{port}"
        return await self._dial(address)

    async def _connect(self, destination: str) -> Streams:
        """Connect a client; names and addresses together have the time of one dial."""
        try:
            async with asyncio.timeout(self._options.dial_timeout + 1):  # the dial itself ends a second earlier
                return await self.names.connect(destination)
        except TimeoutError as error:
            raise DialError(DialFailure.TIMEOUT, "no connection in time (--dial-timeout)") from error

    async def start(self) -> None:
        """Open the listeners.

        Raises:
            ListenError: an address or a path cannot be bound.

        """
        options = self._options
        if self._tls is not None:
            task_guard.start_loop(self._tasks, self._tls.run, "TLS files")
        if options.port:
            address = (options.bind_address, options.port)
            self._listeners.append(await listen_tcp("clients", *address, None, self._protocol))
            log.info("Listening for clients", address=f"{options.bind_address or '*'}:{options.port}")
        if options.uds_name:
            self._listeners.append(await listen_unix("clients", options.uds_name, True, self._protocol))
            log.info("Listening for clients", socket=options.uds_name)
        if options.dns_port:
            from konnectivity.forward.names.dns_listener import DnsListener

            dns = DnsListener(self.names, self._tasks, self.settings.reached)
            await dns.open(options.dns_bind_address, options.dns_port)
            self._listeners.append(dns)
        if options.health_port:
            await self._serve_health()

    async def drain(self, timeout_s: float) -> None:
        """Take no new clients; return when the open connections have ended, or after `timeout_s` (0: no timeout)."""
        self._stop_listening()
        self.settings.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s or None):
                while self.clients:
                    await asyncio.sleep(IDLE_CHECK_S)

    async def close(self) -> None:
        """Close the listeners and the way to the servers."""
        self._stop_listening()
        await self.servers.close()
        if self._kube is not None:
            await self._kube.close()

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def _serve_health(self) -> None:
        from konnectivity.forward.forward_metrics import ForwardCollector  # loaded with the port only: it takes memory
        from konnectivity.forward.forward_ports import serve

        options = self._options
        collector = ForwardCollector(lambda: self.clients, self.settings, self.servers, self._tls)
        self._listeners.append(
            await serve(options.health_bind_address, options.health_port, collector, self._not_ready)
        )

    def _not_ready(self) -> str | None:
        """Return why no connection can be made; None if one can be made as far as known."""
        return None if self.servers.last_failure is None else f"no server answers: {self.servers.last_failure}"

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader()
        return asyncio.StreamReaderProtocol(reader, self._accepted)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.clients >= self._options.max_connections:
            self.settings.reached["forward_connections"] += 1
            writer.transport.abort()
            return
        sock = writer.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            keep_alive(sock, sock.family)
        self.clients += 1
        session = ClientSession(reader, writer, self.settings)
        task = task_guard.start(self._tasks, session.run, "forward", failed=writer.transport.abort)
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self.clients -= 1


class _Ended(Exception):
    """Raised to cancel all tasks of the program."""


async def run(options: ForwardOptions) -> int:
    """Run the proxy until it is signalled and return the exit code: a signal drains, a second one ends at once."""
    signals = lifecycle.Signals()
    try:
        async with asyncio.TaskGroup() as tasks:
            app = ForwardApp(options, tasks)
            await app.start()
            log.info("Forward proxy started", servers=list(options.server), mode=options.mode)
            await signals.first.wait()
            log.info("Signal received, draining", clients=app.clients)
            draining = tasks.create_task(app.drain(options.drain_timeout), name="drain")
            hurry = tasks.create_task(signals.second.wait(), name="second signal")
            await asyncio.wait((draining, hurry), return_when=asyncio.FIRST_COMPLETED)
            await app.close()
            raise _Ended
    except* _Ended:
        pass
    log.info("Forward proxy stopped")
    return 0


def _credentials(path: str) -> ProxyCredentials | None:
    if not path:
        return None
    try:
        return ProxyCredentials(path)
    except ValueError as error:
        raise StartError(str(error)) from error
