"""`konnectivity forward`: the objects of one process, wired together, from the options to the end after a signal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from konnectivity import kube, tls
from konnectivity.client import Mode
from konnectivity.client.byte_pump import BytePump, Streams
from konnectivity.client.frontend_address import check_token
from konnectivity.errors import DialError, DialFailure, StartError
from konnectivity.forward.client_listeners import ClientListeners, credentials_of
from konnectivity.forward.client_session import ProxyClient, SessionSettings
from konnectivity.forward.forward_options import ForwardOptions
from konnectivity.forward.names import direct_dial, name_rules
from konnectivity.forward.names.resolver_setup import resolution_of
from konnectivity.forward.upstream_servers import UpstreamServers
from konnectivity.net import addresses
from konnectivity.net.error_texts import words_of
from konnectivity.net.socket_listeners import Listener
from konnectivity.runtime import lifecycle, logs, task_guard
from konnectivity.runtime.changing_file import ChangingFile
from konnectivity.untrusted.file_content import read_file

if TYPE_CHECKING:
    from konnectivity.forward.names.outbound_proxy import OutboundProxy
    from konnectivity.kube.api_client import KubeClient

log = logs.get(__name__)

IDLE_CHECK_S = 0.2  # while draining
MAX_TOKEN = 16 * 1024  # bytes of its file


class ForwardApp:
    """Forward proxy. Owns its listeners, its clients and its way to the servers.

    Args:
        options: of the program.
        tasks: owns all tasks of the program.

    Raises:
        StartError: the file of credentials or of the token cannot be used.
        TlsError: a certificate, a key or a CA file cannot be used.

    """

    def __init__(self, options: ForwardOptions, tasks: asyncio.TaskGroup) -> None:
        self._options = options
        self._tasks = tasks
        self._tls: tls.ClientTls | None = None
        if options.uses_tls:
            alpn = ("h2",) if options.mode == "grpc" else ("http/1.1",)
            self._tls = tls.ClientTls(options.ca_cert, options.cert, options.key, alpn)
        context = self._tls.context if self._tls is not None else None
        name, token = options.server_name or None, _token_of(options.token_file)
        self.servers = UpstreamServers(options.server, cast("Mode", options.mode), context, name, token)
        names = options.name_settings
        self._kube: KubeClient | None = kube.connect(options.kubeconfig) if names.needs_kubernetes else None
        self.names = resolution_of(names, self._dial, self._kube)
        self._outbound = self._outbound_proxy()
        self.settings = SessionSettings(
            tasks,
            self,
            credentials_of(options.credentials_file),
            options.head_timeout,
            options.idle_timeout,
            options.max_head,
        )
        self._clients = ClientListeners(self.settings, options.max_connections)
        self._listeners: list[Listener] = []

    @property
    def clients(self) -> int:
        """Return the number of open connections of clients."""
        return self._clients.clients

    def _outbound_proxy(self) -> OutboundProxy | None:
        if not self._options.outbound_proxy:
            return None
        from konnectivity.forward.names.outbound_proxy import OutboundProxy

        return OutboundProxy(self._options.outbound_proxy, ",".join(self._options.outbound_no_proxy))

    # ---- ClientDialer ---------------------------------------------------------------------------------------------

    async def connect(self, destination: str, client: ProxyClient) -> Streams:
        """Connect to "host:port"; names and addresses together have the time of one dial.

        Raises:
            DialError: the dial failed.

        """
        try:
            async with asyncio.timeout(self._options.dial_timeout + 1):  # the dial itself ends a second earlier
                return await self._connect(destination)
        except TimeoutError as error:
            raise DialError(DialFailure.TIMEOUT, "no connection in time (--dial-timeout)") from error

    async def join(self, destination: str, client: ProxyClient, accepted: bytes, early: bytes) -> Awaitable[None]:
        """Connect a client to "host:port", and return the end of the connection.

        Raises:
            DialError: the dial failed.

        """
        target = await self.connect(destination, client)
        client.writer.write(accepted)
        return BytePump((client.reader, client.writer), target, early).run()

    async def _connect(self, destination: str) -> Streams:
        host, port = addresses.split(destination)
        if self._outbound is not None and self.names.ways_of(host) != (name_rules.DIRECT,):
            proxy = self._outbound.proxy_of(host, port)
            if proxy is not None:
                return await self._outbound.connect(proxy, host, port, self._dial)
        return await self.names.dial(destination, self._dial, direct_dial.connect)

    async def _dial(self, address: str) -> Streams:
        return await self.servers.dial(address, self._options.dial_timeout)

    # ---- from the start to the end --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the listeners.

        Raises:
            ListenError: an address or a path cannot be bound.

        """
        options = self._options
        if self._tls is not None:
            task_guard.start_loop(self._tasks, self._tls.run, "TLS files")
        await self._clients.open(options.bind_address, options.port, options.uds_name)
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
        self._clients.stop_listening()
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


def _token_of(path: str) -> Callable[[], str] | None:
    """Return what returns the newest token in a file; None without a file."""
    if not path:
        return None
    try:
        return ChangingFile("Token file", path, _read_token, len).newest
    except ValueError as error:
        raise StartError(str(error)) from error


def _read_token(path: str) -> str:
    try:
        return check_token(read_file(path, MAX_TOKEN).decode("ascii", "replace").strip())
    except (OSError, ValueError) as error:
        raise ValueError(f"--token-file: {path}: {words_of(error) if isinstance(error, OSError) else error}") from error
