"""One connection to one server: made, greeted, watched, and ended. Knows nothing of others, nor of trying again."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from konnectivity import forward_proxy, logs, tls
from konnectivity import link as links
from konnectivity.capabilities import Capabilities
from konnectivity.forward_proxy import Proxy
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.native import Http2Transport, TransportOptions
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.grpc.stream import Channel
from konnectivity.heartbeat import Heartbeat, Verdict
from konnectivity.net.error_words import words_of
from konnectivity.numbers import parse_decimal
from konnectivity.serving import Opener, ServingTunnel
from konnectivity.tunnel import TunnelOptions
from konnectivity_agent.plan import Address

log = logs.get(__name__)

PATH = "/AgentService/Connect"
CONNECT_TIMEOUT_S = 20.0  # TCP, TLS and the server's answer
FIRST_WINDOW = 512 * 1024  # established wire: what a server may send beyond what was passed on
ESTABLISHED_HEARTBEAT_S = 31.0  # a server of the established kind ends connections that ping every 30 s or more often


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the agent says it is."""

    agent_id: str
    identifiers: str = ""
    token_path: str = ""

    def metadata(self) -> dict[str, str]:
        """Request headers. The token is read anew for each connection.

        Raises:
            OSError: the token file cannot be read.
        """
        headers = {"agentID": self.agent_id, "agentIdentifiers": self.identifiers}
        if self.token_path:
            headers["authorization"] = f"Bearer {Path(self.token_path).read_text().strip()}"
        return headers


@dataclass(frozen=True, slots=True)
class Settings:
    """How to connect: the same for every server."""

    tls: tls.ClientTls
    files: tuple[str, str, str]  # CA, certificate, key: for grpcio, which reads them itself
    implementation: str
    keepalive_time_s: float
    heartbeat_s: float
    # Host and port of each server that is reached through a forward proxy. Not for grpcio.
    proxies: Mapping[tuple[str, int], Proxy] = field(default_factory=dict)


class Tunnel(ServingTunnel):
    """The agent's end; tells the uplink when it is over."""

    def __init__(self, channel: Channel, options: TunnelOptions, opener: Opener, identity: Identity) -> None:
        self.over: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        self.on_drain: Callable[[], object] = lambda: None  # the server says that it is going
        self.on_count: Callable[[int], object] = lambda count: None  # and how many servers there are
        offer = Capabilities(options.ledger.initial_window).header() if options.extension else {}
        stream = channel.open_stream(PATH, identity.metadata() | offer, self)
        super().__init__(stream, options, links.SIDE_AGENT, links.SIDE_TARGET, opener)

    def peer_draining(self) -> None:
        self.on_drain()

    def server_count_changed(self, count: int) -> None:
        self.on_count(count)

    def stream_closed(self, status: Status) -> None:
        super().stream_closed(status)
        if not self.over.done():
            self.over.set_result(status)


class Uplink:
    """A tunnel that stands."""

    def __init__(
        self, channel: Channel, tunnel: Tunnel, answer: Metadata, settings: Settings, on_change: Callable[[], object]
    ) -> None:
        self.server_id, self.server_count = _server_of(answer)
        self.tunnel = tunnel
        self._channel = channel
        self._on_change = on_change
        tunnel.described = {"server": self.server_id}
        interval_s = settings.heartbeat_s
        if interval_s and tunnel.capabilities is None:
            interval_s = max(interval_s, ESTABLISHED_HEARTBEAT_S)
        self.heartbeat = Heartbeat(tunnel.stream, tunnel.measure, interval_s, self._judged)
        self.heartbeat.start()

    @property
    def alive(self) -> bool:
        """Whether the server answers."""
        return self.heartbeat.verdict is Verdict.ALIVE and not self.tunnel.closed

    async def serve(self) -> Status:
        """Until it is over, for whatever reason."""
        try:
            return await self.tunnel.over
        finally:
            self.close()

    def close(self) -> None:
        self.heartbeat.stop()
        self._channel.close("the agent is leaving")

    def _judged(self, verdict: Verdict) -> None:
        if verdict is Verdict.DEAD:
            self.tunnel.stream.abort("the server answers no ping")
            return
        log.warning("Server does not answer" if not self.alive else "Server answers again", server=self.server_id)
        self._on_change()


async def connect(
    address: Address,
    settings: Settings,
    identity: Identity,
    options: TunnelOptions,
    opener: Opener,
    tasks: asyncio.TaskGroup,
    on_change: Callable[[], object],
) -> Uplink:
    """Make a connection and greet the server.

    Raises:
        OSError, TimeoutError, RpcError, TlsError: it could not be made.
    """
    channel = await _channel(address, settings, tasks)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            tunnel = Tunnel(channel, options, opener, identity)
            answer = await tunnel.stream.accepted()
        return Uplink(channel, tunnel, answer, settings, on_change)
    except BaseException:
        channel.close("the agent is leaving")
        raise


async def _channel(address: Address, settings: Settings, tasks: asyncio.TaskGroup) -> Channel:
    if settings.implementation == "grpcio":
        from konnectivity.grpc import alternative  # grpcio is an extra

        where = (address.host, address.port)
        return await alternative.connect(where, settings.files, tasks, keepalive_time_s=settings.keepalive_time_s)
    options = TransportOptions(stream_window=FIRST_WINDOW, keepalive_time_s=settings.keepalive_time_s)
    way: dict[str, Any] = {"host": address.ip or address.host, "port": address.port}
    if proxy := settings.proxies.get((address.host, address.port)):
        way = {"sock": await forward_proxy.open_socket(proxy, address.host, address.port)}
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        _, transport = await asyncio.get_running_loop().create_connection(
            lambda: Http2Transport(options),
            **way,
            ssl=settings.tls.context(),
            server_hostname=tls.server_name(address.host),
        )
    if transport.alpn != "h2":
        transport.abort()
        raise ConnectionError("the server does not speak HTTP/2 (no ALPN h2): is this its agent port?")
    transport.authority = address.host
    return transport


def why(error: BaseException) -> str:
    """For the log: why a connection could not be made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not accepted: {error.verify_message}"
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {CONNECT_TIMEOUT_S:g} s"
    return str(error) if isinstance(error, RpcError | tls.TlsError) else words_of(error)


def _server_of(metadata: Metadata) -> tuple[str, int]:
    ids = metadata.get_all("serverid")
    counts = metadata.get_all("servercount")
    if len(ids) != 1:
        raise RpcError(Code.UNKNOWN, f"expected one server ID in the context, got {ids}")
    count = parse_decimal(counts[0], most=2**31 - 1) if len(counts) == 1 else None
    if count is None:
        raise RpcError(Code.UNKNOWN, f"expected one server count, got {counts!s:.200}")
    return ids[0], count
