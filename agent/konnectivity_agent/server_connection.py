"""One connection to one server: made, greeted, watched, and ended. Knows nothing of others, nor of trying again."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from konnectivity import tls
from konnectivity.grpc.http2_transport import Http2Transport, TransportOptions
from konnectivity.grpc.message_stream import Channel
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.http1 import forward_proxy
from konnectivity.http1.forward_proxy import Proxy
from konnectivity.net.error_texts import words_of
from konnectivity.net.happy_eyeballs import connect_any
from konnectivity.runtime import logs
from konnectivity.tunnel import sides
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.heartbeat import Heartbeat, HeartbeatVerdict
from konnectivity.tunnel.serving import Opener, ServingTunnel
from konnectivity.tunnel.tunnel import TunnelOptions
from konnectivity.untrusted.file_content import read_file
from konnectivity.untrusted.numbers import parse_decimal
from konnectivity.untrusted.server_bounds import MAX_SERVER_COUNT, MAX_SERVER_ID
from konnectivity_agent.pool_plan import DialAddress

log = logs.get(__name__)

PATH = "/AgentService/Connect"
CONNECT_TIMEOUT_S = 20.0  # TLS and the server's answer; in all, each
TCP_TIMEOUT_S = 5.0  # an address that does not answer is one that is gone: another try may reach its successor
SUSPECT_AFTER_S = 2.0  # a ping without an answer: then the agent looks for another server, and this one does not count
FIRST_WINDOW = 512 * 1024  # established wire: what a server may send beyond what was passed on
_MAX_INT = 2**63 - 1  # of the reference's counts
ESTABLISHED_HEARTBEAT_S = 31.0  # a server of the established kind ends connections that ping every 30 s or more often


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """Who the agent says it is."""

    agent_id: str
    identifiers: str = ""
    token_path: str = ""

    def metadata(self) -> dict[str, str]:
        """Request headers. The token is read anew for each connection.

        Raises:
            OSError: the token file cannot be read.
            ValueError: it holds no token.

        """
        headers = {"agentID": self.agent_id, "agentIdentifiers": self.identifiers}
        if self.token_path:
            headers["authorization"] = f"Bearer {_token(self.token_path)}"
        return headers


@dataclass(frozen=True, slots=True)
class ServerConnectionSettings:
    """How to connect: the same for every server."""

    tls: tls.ClientTls
    files: tuple[str, str, str]  # CA, certificate, key: for grpcio, which reads them itself
    implementation: str
    keepalive_time_s: float
    heartbeat_s: float
    # Host and port of each server that is reached through a forward proxy. Not for grpcio.
    proxies: Mapping[tuple[str, int], Proxy] = field(default_factory=dict)


class EstablishedTunnel(ServingTunnel):
    """The agent's end; tells the uplink when it is over."""

    def __init__(self, channel: Channel, options: TunnelOptions, opener: Opener, identity: AgentIdentity) -> None:
        self.over: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        self.on_drain: Callable[[], object] = _nothing  # the server says that it is going
        self.on_count: Callable[[int], object] = lambda count: None  # and how many servers there are
        offer = Extension(options.ledger.initial_window).header() if options.extension else {}
        stream = channel.open_stream(PATH, identity.metadata() | offer, self)
        super().__init__(stream, options, sides.AGENT, sides.TARGET, opener)

    def peer_draining(self) -> None:
        on_drain, self.on_drain = self.on_drain, _nothing  # a server may say it as often as it likes
        on_drain()

    def server_count_changed(self, count: int) -> None:
        self.on_count(count)

    def stream_closed(self, status: Status) -> None:
        super().stream_closed(status)
        self.on_drain = _nothing  # it refers to the uplink, which refers to us
        if not self.over.done():
            self.over.set_result(status)


class ServerConnection:
    """An established tunnel to one server.

    Attributes:
        server_id: what the server calls itself.
        server_count: how many servers there are, as it said when it accepted.
        address: where it was reached.
        instance: which process it is, of those that may call themselves the same; empty: it does not say.

    """

    def __init__(
        self,
        channel: Channel,
        tunnel: EstablishedTunnel,
        answer: Metadata,
        settings: ServerConnectionSettings,
        address: DialAddress,
        on_verdict: Callable[[ServerConnection], object],
    ) -> None:
        self.server_id, self.server_count = server_of(answer)
        self.address = address
        self.instance = tunnel.extension.instance if tunnel.extension is not None else ""
        self.tunnel = tunnel
        self._channel = channel
        self._on_verdict = on_verdict
        tunnel.log_fields = {"server": self.server_id}
        interval_s = settings.heartbeat_s
        if interval_s and tunnel.extension is None:
            interval_s = max(interval_s, ESTABLISHED_HEARTBEAT_S)
        self.heartbeat = Heartbeat(tunnel.stream, tunnel.measure, interval_s, self._judged, SUSPECT_AFTER_S)
        self.heartbeat.start()

    @property
    def alive(self) -> bool:
        """Whether the server answers."""
        return self.heartbeat.verdict is HeartbeatVerdict.ALIVE and not self.tunnel.closed

    @property
    def counts(self) -> bool:
        """Whether it is one of the servers that the agent has: it answers, and did not say that it is going."""
        return self.alive and not self.tunnel.draining

    def superseded_by(self, other: ServerConnection) -> bool:
        """Return whether another tunnel to a server of this id takes the place of this one."""
        return not self.alive or (self.tunnel.draining and self.instance != other.instance)

    def probe(self) -> None:
        """Ask the server for a sign of life now. Not a server of the reference: it ends connections that ping often."""
        if self.tunnel.extension is not None:
            self.heartbeat.probe()

    async def serve(self) -> Status:
        """Until it is over, for whatever reason."""
        try:
            return await self.tunnel.over
        finally:
            self.close()

    def close(self) -> None:
        self.heartbeat.stop()
        self._channel.close("the agent is leaving")

    def _judged(self, verdict: HeartbeatVerdict) -> None:
        if verdict is HeartbeatVerdict.DEAD:
            self.tunnel.stream.abort("the server answers no ping")
            return
        log.warning("Server does not answer" if not self.alive else "Server answers again", server=self.server_id)
        self._on_verdict(self)


async def connect(
    address: DialAddress,
    settings: ServerConnectionSettings,
    identity: AgentIdentity,
    options: TunnelOptions,
    opener: Opener,
    tasks: asyncio.TaskGroup,
    on_verdict: Callable[[ServerConnection], object],
) -> ServerConnection:
    """Make a connection and greet the server.

    Raises:
        CONNECT_ERRORS: it could not be made.

    """
    channel = await _channel(address, settings, tasks)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            tunnel = EstablishedTunnel(channel, options, opener, identity)
            answer = await tunnel.stream.accepted()
        return ServerConnection(channel, tunnel, answer, settings, address, on_verdict)
    except BaseException:
        channel.close("the agent is leaving")
        raise


async def _channel(address: DialAddress, settings: ServerConnectionSettings, tasks: asyncio.TaskGroup) -> Channel:
    if settings.implementation == "grpcio":
        from konnectivity.grpc import grpcio_transport  # grpcio is an extra

        where = (address.host, address.port)
        return await grpcio_transport.connect(where, settings.files, tasks, keepalive_time_s=settings.keepalive_time_s)
    options = TransportOptions(stream_window=FIRST_WINDOW, keepalive_time_s=settings.keepalive_time_s)
    if proxy := settings.proxies.get((address.host, address.port)):
        sock = await forward_proxy.open_socket(proxy, address.host, address.port)
    else:
        sock = await _tcp(address)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, transport = await asyncio.get_running_loop().create_connection(
                lambda: Http2Transport(options),
                sock=sock,
                ssl=settings.tls.context(),
                server_hostname=tls.server_name(address.host),
            )
    except BaseException:
        sock.close()
        raise
    if transport.alpn not in settings.tls.alpn:
        transport.abort()
        raise ConnectionError("the server does not speak HTTP/2 (no ALPN h2): is this its agent port?")
    transport.authority = address.host
    return transport


async def _tcp(address: DialAddress) -> socket.socket:
    """Return a connected socket. A name that was not looked up before is looked up now."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(TCP_TIMEOUT_S):
        found = await loop.getaddrinfo(address.ip or address.host, address.port, type=socket.SOCK_STREAM)
        return await connect_any(found)


CONNECT_ERRORS = (OSError, RpcError, TimeoutError, tls.TlsError, ValueError)  # ValueError: a host, a file, an answer


def why(error: BaseException) -> str:
    """For the log: why a connection could not be made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not accepted: {error.verify_message}"
    if (said := tls.handshake_failures.of_peer(error)) is not None:
        return said
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {CONNECT_TIMEOUT_S:g} s"
    return str(error) if isinstance(error, RpcError | tls.TlsError) else words_of(error)


def server_of(metadata: Metadata) -> tuple[str, int]:
    """Return the id of a server and the number of servers there are, as it says in its answer.

    Raises:
        RpcError: it says neither, or not in the form it must have.

    """
    ids = metadata.get_all("serverid")
    counts = metadata.get_all("servercount")
    if len(ids) != 1 or len(ids[0]) > MAX_SERVER_ID:
        what = f"{len(ids)} of them" if len(ids) != 1 else f"one of {len(ids[0])} characters"
        raise RpcError(Code.UNKNOWN, f"expected one server ID of at most {MAX_SERVER_ID} characters, got {what}")
    if len(counts) != 1:
        raise RpcError(Code.UNKNOWN, f"expected one server count, got {len(counts)} of them")
    digits = counts[0].removeprefix("-")
    count = parse_decimal(digits, _MAX_INT)
    if count is None:
        raise RpcError(Code.UNKNOWN, f"expected one server count, got {counts[0][:40]!r}")
    return ids[0], min(count, MAX_SERVER_COUNT) if digits == counts[0] else -count


def _token(path: str) -> str:
    """Return the token in a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: there is no token in it, or something else.

    """
    try:
        words = read_file(path).decode("ascii").split()
    except UnicodeDecodeError as error:
        raise ValueError(f"token file {path!r} is no ASCII text") from error
    if len(words) != 1:
        raise ValueError(
            f"token file {path!r} is empty" if not words else f"token file {path!r} has more than one word"
        )
    return words[0]


def _nothing() -> None:
    """Do nothing: nobody is to be told."""
