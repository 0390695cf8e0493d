"""One server: connect to it, hold the stream, connect again when it breaks. Owns the back-off and the tunnel."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from konnectivity import link as links
from konnectivity import logs, tls
from konnectivity.capabilities import Capabilities
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.native import Http2Transport, TransportOptions
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.grpc.stream import Channel
from konnectivity.serving import Opener, ServingTunnel
from konnectivity.tunnel import TunnelOptions

log = logs.get(__name__)

PATH = "/AgentService/Connect"
CONNECT_TIMEOUT_S = 20.0  # TCP, TLS and the server's answer
BACKOFF_FACTOR = 1.5
BACKOFF_JITTER = 0.1
FIRST_WINDOW = 512 * 1024  # established wire: what a server may send beyond what was passed on


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


class Tunnel(ServingTunnel):
    """The agent's end; tells the uplink when it is over."""

    def __init__(self, channel: Channel, options: TunnelOptions, opener: Opener, identity: Identity) -> None:
        self.over: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        offer = Capabilities(options.ledger.initial_window).header() if options.extension else {}
        stream = channel.open_stream(PATH, identity.metadata() | offer, self)
        super().__init__(stream, options, links.SIDE_AGENT, links.SIDE_TARGET, opener)

    def stream_closed(self, status: Status) -> None:
        super().stream_closed(status)
        if not self.over.done():
            self.over.set_result(status)


@dataclass(frozen=True, slots=True)
class Target:
    """Where the server is, and how often to try."""

    host: str
    port: int
    files: tuple[str, str, str]  # CA, certificate, key
    alpn: tuple[str, ...]
    implementation: str
    keepalive_time_s: float
    sync_interval_s: float
    sync_interval_cap_s: float


class Uplink:
    """Keeps one tunnel to one server address."""

    def __init__(
        self,
        target: Target,
        identity: Identity,
        options: TunnelOptions,
        opener: Opener,
        tasks: asyncio.TaskGroup,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._target = target
        self._identity = identity
        self._options = options
        self._opener = opener
        self._tasks = tasks
        self._on_change = on_change
        self.tunnel: Tunnel | None = None
        self.server_id = ""
        self.draining = False

    async def run(self) -> None:
        """Connect, again and again, until cancelled."""
        wait_s = self._target.sync_interval_s
        failing = False
        while True:
            try:
                status = await self._serve()
                log.info("Server connection ended", server=self.server_id, reason=str(status))
                wait_s, failing = self._target.sync_interval_s, False
            except (OSError, RpcError, TimeoutError, tls.TlsError) as error:
                if not failing or log.v(5):  # one line per change of state, not one per try
                    log.warning("Cannot connect to the server, will keep trying", server=self._name, reason=_why(error))
                failing = True
            await asyncio.sleep(wait_s * (1 + random.random() * BACKOFF_JITTER))
            if failing:
                wait_s = min(wait_s * BACKOFF_FACTOR, self._target.sync_interval_cap_s)

    def drain(self) -> None:
        """Tell the server to dial elsewhere."""
        self.draining = True
        if self.tunnel is not None:
            self.tunnel.send_drain()

    @property
    def connections(self) -> int:
        return len(self.tunnel.links) if self.tunnel is not None else 0

    @property
    def _name(self) -> str:
        return f"{self._target.host}:{self._target.port}"

    async def _serve(self) -> Status:
        """One connection from its start to its end.

        Raises:
            OSError, TimeoutError, RpcError: it could not be made.
        """
        channel = await self._connect()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                tunnel = Tunnel(channel, self._options, self._opener, self._identity)
                answer = await tunnel.stream.accepted()
            self.server_id = _server_id(answer)
            tunnel.negotiated(Capabilities.of(answer))
            self.tunnel = tunnel
            if self.draining:
                tunnel.send_drain()
            extension = tunnel.capabilities is not None
            log.info("Connected to server", server=self.server_id, address=self._name, extension=extension)
            self._on_change()
            return await tunnel.over
        finally:
            self.tunnel = None
            channel.close("the agent is leaving")
            self._on_change()

    async def _connect(self) -> Channel:
        target = self._target
        if target.implementation == "grpcio":
            from konnectivity.grpc import alternative  # grpcio is an extra

            address = (target.host, target.port)
            return await alternative.connect(
                address, target.files, self._tasks, keepalive_time_s=target.keepalive_time_s
            )
        context = tls.client_context(*target.files, alpn=target.alpn)
        options = TransportOptions(stream_window=FIRST_WINDOW, keepalive_time_s=target.keepalive_time_s)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, transport = await asyncio.get_running_loop().create_connection(
                lambda: Http2Transport(options),
                target.host,
                target.port,
                ssl=context,
                server_hostname=target.host,
            )
        if transport.alpn != "h2":
            transport.abort()
            raise ConnectionError("the server does not speak HTTP/2 (no ALPN h2): is this its agent port?")
        transport.authority = target.host
        return transport


def _server_id(metadata: Metadata) -> str:
    ids = metadata.get_all("serverid")
    counts = metadata.get_all("servercount")
    if len(ids) != 1:
        raise RpcError(Code.UNKNOWN, f"expected one server ID in the context, got {ids}")
    if len(counts) != 1 or not counts[0].lstrip("-").isdecimal():
        raise RpcError(Code.UNKNOWN, f"expected one server count, got {counts}")
    return ids[0]


def _why(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not accepted: {error.verify_message}"
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {CONNECT_TIMEOUT_S:g} s"
    return str(error)
