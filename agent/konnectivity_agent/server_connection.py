"""Connection of an agent to one proxy server: TCP, TLS and HTTP/2, the greeting, and the tunnel.

A `ServerConnection` owns its tunnel, its heartbeat and its transport, and closes all three. Does not know the other
servers, nor when to connect again: it reports to a `ServerConnectionEvents`, which `server_pool` implements.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from konnectivity import tls
from konnectivity.grpc.implementations import Implementation
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import RpcError, Status
from konnectivity.grpc.transport import Channel, Destination
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.http1 import forward_proxy
from konnectivity.http1.forward_proxy import Proxy
from konnectivity.net.error_texts import words_of
from konnectivity.runtime import logs
from konnectivity.tunnel import sides
from konnectivity.tunnel.heartbeat import Heartbeat
from konnectivity.tunnel.serving import Opener, ServingTunnel
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity_agent.pool_plan import DialAddress
from konnectivity_agent.server_greeting import AgentIdentity, read_answer

log = logs.get(__name__)

PATH = "/AgentService/Connect"
CONNECT_TIMEOUT_S = 20.0  # for the TLS handshake, and once more for the answer to the greeting
TCP_TIMEOUT_S = 5.0  # an address that does not answer is probably gone, and another try may reach its successor
SUSPECT_AFTER_S = 2.0  # without an answer to a ping: then the agent searches for a replacement of the server
FIRST_WINDOW = 512 * 1024  # reference protocol: bytes that a server may send beyond what was passed on
REFERENCE_HEARTBEAT_S = 31.0  # the reference ends connections that ping every 30 s or more often
IDLE_CHECK_S = 1.0  # between two looks at whether a replaced tunnel still carries connections


class ServerConnectionEvents(Protocol):
    """Owner of server connections: is told what happens on an established tunnel."""

    def verdict_changed(self, server: ServerConnection) -> None:
        """Take notice that the server stopped answering, or answers again."""

    def server_draining(self, server: ServerConnection) -> None:
        """Take notice that the server shuts down; called once."""

    def server_count_announced(self, server: ServerConnection, count: int) -> None:
        """Take the number of servers that the server announces."""


@dataclass(frozen=True, slots=True)
class ServerConnectionSettings:
    """Settings of the connections to all servers."""

    tls: tls.ClientTls
    grpc: Implementation
    keepalive_time_s: float
    heartbeat_s: float  # 0: no heartbeat
    read_bytes: int  # largest read from a tunnel, in bytes
    proxies: Mapping[tuple[str, int], Proxy] = field(default_factory=dict)  # by host and port; not for grpcio


class _TunnelOwner(Protocol):
    def tunnel_draining(self) -> None: ...

    def tunnel_server_count(self, count: int) -> None: ...


class ServerTunnel(ServingTunnel):
    """Agent's end of the tunnel to one server.

    Attributes:
        ended: is set to the status of the stream at its end.

    """

    def __init__(self, channel: Channel, options: TunnelOptions, opener: Opener, identity: AgentIdentity) -> None:
        self.ended: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        self._owner: _TunnelOwner | None = None
        stream = channel.open_stream(PATH, identity.metadata() | options.offer(), self)
        super().__init__(stream, options, sides.AGENT, sides.TARGET, opener)

    def report_to(self, owner: _TunnelOwner) -> None:
        """Report what the server announces from now on to `owner`, until the stream ends."""
        self._owner = owner

    def peer_draining(self) -> None:
        """Pass the news on."""
        if self._owner is not None:
            self._owner.tunnel_draining()

    def server_count_changed(self, count: int) -> None:
        """Pass the count on."""
        if self._owner is not None:
            self._owner.tunnel_server_count(count)

    def stream_closed(self, status: Status) -> None:
        """End the tunnel, and let go of the owner, which refers to this tunnel."""
        super().stream_closed(status)
        self._owner = None
        if not self.ended.done():
            self.ended.set_result(status)


class ServerConnection:
    """Established tunnel to one server.

    Attributes:
        server_id: name that the server gave itself in its answer.
        server_count: number of servers according to that answer.
        address: where the server was reached.
        instance: random word that identifies the server's process; empty if the server sends none.

    """

    def __init__(
        self,
        channel: Channel,
        tunnel: ServerTunnel,
        answer: Metadata,
        heartbeat_s: float,
        address: DialAddress,
        events: ServerConnectionEvents,
    ) -> None:
        self.server_id, self.server_count = read_answer(answer)
        self.address = address
        self.instance = tunnel.extension.instance if tunnel.extension is not None else ""
        self._tunnel = tunnel
        self._channel = channel
        self._events = events
        self._drain_reported = False
        self._idle_timer: asyncio.TimerHandle | None = None
        tunnel.log_fields = {"server": self.server_id}
        tunnel.report_to(self)
        if heartbeat_s and not self.extension:
            heartbeat_s = max(heartbeat_s, REFERENCE_HEARTBEAT_S)
        self._heartbeat = Heartbeat(
            tunnel.stream, tunnel.round_trip.measure, heartbeat_s, self, "server", SUSPECT_AFTER_S
        )
        self._heartbeat.start()

    @property
    def extension(self) -> bool:
        """Return whether the tunnel speaks the extension of this project."""
        return self._tunnel.extension is not None

    @property
    def alive(self) -> bool:
        """Return whether the server answers."""
        return self._heartbeat.alive and not self._tunnel.closed

    @property
    def draining(self) -> bool:
        """Return whether the server has announced that it shuts down."""
        return self._tunnel.draining

    @property
    def available(self) -> bool:
        """Return whether the server answers and is not draining."""
        return self.alive and not self.draining

    @property
    def connections(self) -> int:
        """Number of open connections to targets on the tunnel."""
        return len(self._tunnel.connections)

    @property
    def unsent(self) -> int:
        """Number of bytes that wait for the socket, or for window of the server."""
        return self._channel.unsent

    def superseded_by(self, other: ServerConnection) -> bool:
        """Return whether a newer connection to a server of the same id takes the place of this connection."""
        return not self.alive or (self.draining and self.instance != other.instance)

    def probe(self) -> None:
        """Ping the server now, unless it is the reference, which ends connections that ping often."""
        if self.extension:
            self._heartbeat.probe()

    def send_drain(self) -> None:
        """Tell the server to dial other agents from now on."""
        self._tunnel.send_drain()

    async def ended(self) -> Status:
        """Wait for the end of the tunnel, close the connection and return the status of the stream."""
        try:
            return await self._tunnel.ended
        finally:
            self.close()

    def close(self) -> None:
        """End the tunnel and close the connection. May be called again."""
        self._heartbeat.stop()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        self._channel.close("the agent is leaving")

    def close_when_idle(self) -> None:
        """Close as soon as no connection to a target is open."""
        self._idle_timer = None
        if self._tunnel.closed:
            return
        if self.connections:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(IDLE_CHECK_S, self.close_when_idle)
        else:
            self.close()

    def tunnel_draining(self) -> None:
        """Report that the server shuts down: once, however often the server announces it."""
        if not self._drain_reported:
            self._drain_reported = True
            self._events.server_draining(self)

    def tunnel_server_count(self, count: int) -> None:
        """Report the number of servers that the server announces."""
        self._events.server_count_announced(self, count)

    def peer_suspected(self) -> None:
        """Report that the server does not answer a ping."""
        log.warning("Server does not answer", server=self.server_id)
        self._events.verdict_changed(self)

    def peer_recovered(self) -> None:
        """Report that the server answers again."""
        log.warning("Server answers again", server=self.server_id)
        self._events.verdict_changed(self)


async def connect(
    address: DialAddress,
    events: ServerConnectionEvents,
    settings: ServerConnectionSettings,
    identity: AgentIdentity,
    options: TunnelOptions,
    opener: Opener,
    tasks: asyncio.TaskGroup,
) -> ServerConnection:
    """Connect to the server at an address, and greet it.

    Args:
        address: where to connect.
        events: is told what happens on the tunnel.
        settings: of all connections.
        identity: of the agent.
        options: of the tunnel.
        opener: opens the connections to targets that the server asks for.
        tasks: owns the tasks of the transport.

    Raises:
        CONNECT_ERRORS: the connection could not be made, or the server refused the agent.

    """
    channel = await _channel(address, settings, tasks)
    return await greet(channel, address, events, settings.heartbeat_s, identity, options, opener)


async def greet(
    channel: Channel,
    address: DialAddress,
    events: ServerConnectionEvents,
    heartbeat_s: float,
    identity: AgentIdentity,
    options: TunnelOptions,
    opener: Opener,
) -> ServerConnection:
    """Greet the server at the other end of `channel`, which is closed if that fails.

    Raises:
        CONNECT_ERRORS: the server refused the agent, or gave no proper answer in time.

    """
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            tunnel = ServerTunnel(channel, options, opener, identity)
            answer = await tunnel.stream.accepted()
        return ServerConnection(channel, tunnel, answer, heartbeat_s, address, events)
    except BaseException:
        channel.close("the agent is leaving")
        raise


async def _channel(address: DialAddress, settings: ServerConnectionSettings, tasks: asyncio.TaskGroup) -> Channel:
    """Return a connection to the server, through a forward proxy if the settings name one for it."""
    proxy = settings.proxies.get((address.host, address.port)) if settings.grpc.opens_sockets else None
    destination = Destination(
        (address.ip or address.host, address.port),
        name=address.host,
        open_socket=None if proxy is None else partial(forward_proxy.open_socket, proxy, address.host, address.port),
        connect_timeout_s=TCP_TIMEOUT_S if proxy is None else None,
        handshake_timeout_s=CONNECT_TIMEOUT_S,
    )
    options = TransportOptions(
        stream_window=FIRST_WINDOW, keepalive_time_s=settings.keepalive_time_s, read_bytes=settings.read_bytes
    )
    return await settings.grpc.connect(destination, settings.tls, options, tasks)


# ValueError: a host that can be no name, or a token file without a token.
CONNECT_ERRORS = (OSError, RpcError, TimeoutError, tls.TlsError, ValueError)


def failure_reason(error: BaseException) -> str:
    """Return, for the log, why a connection could not be made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not accepted: {error.verify_message}"
    if (said := tls.handshake_failures.of_peer(error)) is not None:
        return said
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {CONNECT_TIMEOUT_S:g} s"
    return str(error) if isinstance(error, RpcError | tls.TlsError) else words_of(error)
