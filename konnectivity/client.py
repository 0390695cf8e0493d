"""asyncio client: reach "host:port" through a proxy server, in each of the four ways it can be asked.

    async with connect("unix:/run/konnectivity.sock", mode="http-connect") as tunnel:
        reader, writer = await tunnel.dial("10.0.0.7:10250")

`mode` is "grpc" or "http-connect"; the address is "unix:/path" or "/path" (cleartext) or "host:port" (TLS, with `tls`).
What goes wrong before the connection stands is a `konnectivity.errors.DialError`, whose `failure` says of which kind;
a connection that breaks later raises `TunnelLost` from the reader.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import quote

from konnectivity.errors import NO_AGENT, DialError, DialFailure, TunnelLost
from konnectivity.grpc.http2_transport import Http2Transport, TransportOptions
from konnectivity.grpc.status import RpcError, Status
from konnectivity.http1.message_heads import status_line_of
from konnectivity.net import addresses
from konnectivity.net.error_texts import words_of
from konnectivity.net.happy_eyeballs import ConnectError, connect_any
from konnectivity.tls import client_context
from konnectivity.tunnel import hop_timings, sides
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.connection_transport import streams_of
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.hop_timings import HopTimings
from konnectivity.tunnel.tunnel import TunnelOptions
from konnectivity.untrusted.untrusted_text import cut

__all__ = ["ClientTunnel", "DialError", "DialFailure", "Mode", "TunnelLost", "connect", "tls_context"]

Mode = Literal["grpc", "http-connect"]
MODES: tuple[Mode, ...] = ("grpc", "http-connect")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

DIAL_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 1.0
MAX_ANSWER = 64 * 1024  # bytes of an HTTP answer's head, and of its text
_PATH = "/ProxyService/Proxy"
_MISUNDERSTOOD = (DialFailure.TUNNEL_LOST, DialFailure.PROTOCOL)
_SPEAK_TLS = "the connection was not encrypted, and a server's TCP frontend speaks TLS: pass tls=tls_context(...)"


class ClientTunnel(ABC):
    """A way to the nodes; made by `connect`."""

    def __init__(self, frontend: _Frontend) -> None:
        self._frontend = frontend
        self._left = False  # `close` was called

    async def dial(self, address: str, timeout_s: float = DIAL_TIMEOUT_S, hops: HopTimings | None = None) -> Streams:
        """Connect to `address` ("host:port", "[v6]:port"), resolved by the agent.

        Args:
            timeout_s: longest time that the dial takes, in seconds.
            hops: is told when each hop is done.

        Raises:
            DialError: with the failure's kind and text.
            ValueError: the address is no text, or the timeout no number of seconds.

        """
        _check_text("address", address)
        _check_timeout(timeout_s)
        if self._left:
            raise DialError(DialFailure.TUNNEL_LOST, "the tunnel was closed")
        try:
            addresses.parse("tcp", address)
        except ValueError as error:
            raise DialError(DialFailure.ADDRESS, str(error)) from None
        try:
            async with asyncio.timeout(timeout_s):
                return await self._dial_explained(address, hops or HopTimings())
        except TimeoutError as error:
            raise DialError(DialFailure.TIMEOUT, f"no answer to the dial within {timeout_s:g} s") from error
        except OSError as error:
            if isinstance(error, DialError):
                raise
            text = f"cannot reach the proxy server: {error if isinstance(error, ConnectError) else words_of(error)}"
            raise DialError(DialFailure.TUNNEL_LOST, text) from error

    async def _dial_explained(self, address: str, taken: HopTimings) -> Streams:
        """Dial; a frontend that does not understand cleartext may want TLS."""
        try:
            return await self._dial(address, taken)
        except DialError as error:
            if self._frontend.unencrypted and error.failure in _MISUNDERSTOOD:
                raise DialError(error.failure, f"{error}; {_SPEAK_TLS}") from error
            raise

    @abstractmethod
    async def _dial(self, address: str, taken: HopTimings) -> Streams: ...

    async def close(self) -> None:
        """Close what the dials share. Connections of a gRPC tunnel end with it, and no dial succeeds any more."""
        self._left = True
        await self._close()

    @abstractmethod
    async def _close(self) -> None: ...


@asynccontextmanager
async def connect(
    address: str, mode: Mode = "http-connect", tls: ssl.SSLContext | None = None, server_name: str | None = None
) -> AsyncIterator[ClientTunnel]:
    """Use the proxy server's frontend at `address`. It is reached at the first dial.

    Args:
        address: "unix:/path", "/path" or "host:port".
        mode: what the frontend speaks, "grpc" or "http-connect".
        tls: client context for TCP (`tls_context` makes one); not for unix sockets.
        server_name: name the server's certificate must carry, if it is not the host.

    Raises:
        ValueError: the address, the mode or the context is none.

    """
    _check_text("address", address)
    if tls is not None and not isinstance(tls, ssl.SSLContext):
        raise ValueError(f"tls must be a context of tls_context(...), not {tls!r}")
    if mode not in MODES:
        raise ValueError(f"mode {mode!r}: must be {' or '.join(MODES)}")
    tunnel: ClientTunnel = (ConnectTunnel if mode == "http-connect" else GrpcTunnel)(
        _Frontend(address, tls, server_name)
    )
    try:
        yield tunnel
    finally:
        await tunnel.close()


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise ValueError(f'{what} must be a text such as "10.0.0.7:10250", not {value!r}')


def _check_timeout(seconds: object) -> None:
    if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ValueError(f"timeout_s must be a number of seconds, 0 or more, not {seconds!r}")


def tls_context(ca: str, certificate: str, key: str, mode: Mode) -> ssl.SSLContext:
    """Context for a frontend's TLS, from PEM files."""
    return client_context(ca, certificate, key, alpn=("h2",) if mode == "grpc" else ("http/1.1",))


class _Frontend:
    """Where a server listens for frontends."""

    def __init__(self, address: str, tls: ssl.SSLContext | None, server_name: str | None) -> None:
        self._path, self._host, self._port = addresses.split_frontend(address)
        self._tls = tls
        self.unencrypted = tls is None and not self._path
        self._server_name = server_name or self._host
        self.authority = quote(self._path, safe="") if self._path else self._server_name

    async def open(self, protocol: asyncio.BaseProtocol, taken: HopTimings) -> None:
        loop = asyncio.get_running_loop()
        if self._path:
            await loop.create_unix_connection(lambda: protocol, self._path)
            taken.done(hop_timings.CONNECT)
            return
        sock = await self._connected(taken)
        await loop.create_connection(lambda: protocol, sock=sock, ssl=self._tls, server_hostname=self._name)
        taken.done(hop_timings.TLS)

    async def streams(self, taken: HopTimings) -> Streams:
        if self._path:
            streams = await asyncio.open_unix_connection(self._path)
            taken.done(hop_timings.CONNECT)
            return streams
        sock = await self._connected(taken)
        streams = await asyncio.open_connection(sock=sock, ssl=self._tls, server_hostname=self._name)
        taken.done(hop_timings.TLS)
        return streams

    @property
    def _name(self) -> str | None:
        return self._server_name if self._tls is not None else None

    async def _connected(self, taken: HopTimings) -> socket.socket:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        sock = await connect_any(found)
        taken.done(hop_timings.CONNECT)
        return sock


class ConnectTunnel(ClientTunnel):
    """HTTP CONNECT: one connection to the server for each dial."""

    async def _dial(self, address: str, taken: HopTimings) -> Streams:
        reader, writer = await self._frontend.streams(taken)
        try:
            writer.write(f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
            status, text = await _answer(reader)
        except BaseException:
            writer.transport.abort()
            raise
        taken.done(hop_timings.DIAL)
        if status == 200:
            return reader, writer
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
        raise _refusal(status, cut(text))

    async def _close(self) -> None:
        return


async def _answer(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Status and, unless it is 200, text of the server's answer."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n"))[:MAX_ANSWER]
    except asyncio.IncompleteReadError as error:
        raise DialError(DialFailure.TUNNEL_LOST, "the server closed the connection without an answer") from error
    except asyncio.LimitOverrunError as error:
        raise DialError(DialFailure.PROTOCOL, "the server's answer is no HTTP") from error
    line = status_line_of(head)
    if line is None:
        raise DialError(DialFailure.PROTOCOL, f"the server's answer is no HTTP: {head[:60].decode('latin-1')!r}")
    return line.status, "" if line.status == 200 else (await reader.read(MAX_ANSWER)).decode("utf-8", "replace").strip()


def _refusal(status: int, text: str) -> DialError:
    if text.endswith(NO_AGENT):
        return DialError(DialFailure.NO_AGENT, NO_AGENT)
    if text.startswith("Backend dial timeout"):
        return DialError(DialFailure.TIMEOUT, text)
    if text.startswith("Backend context error"):
        return DialError(DialFailure.TUNNEL_LOST, text)
    return DialError(DialFailure.ENDPOINT, text or f"HTTP status {status}")


class GrpcTunnel(ClientTunnel):
    """gRPC: one HTTP/2 connection to the server, one stream for each dial."""

    def __init__(self, frontend: _Frontend) -> None:
        super().__init__(frontend)
        self._transport: Http2Transport | None = None
        self._connecting = asyncio.Lock()
        self._gone = asyncio.Event()
        self._options = TunnelOptions(hold_s=None, log_connections=False)

    async def _dial(self, address: str, taken: HopTimings) -> Streams:
        transport = await self._connected(taken)
        try:
            stream = _DialStream(transport, self._options, self._frontend.authority, address)
            await stream.response
        except RpcError as error:
            raise DialError(DialFailure.TUNNEL_LOST, str(error)) from error
        try:
            stream.ask(stream)
            streams = await stream.connected
            taken.done(hop_timings.DIAL)
            return streams
        except BaseException:
            stream.stream.abort()
            raise

    async def _connected(self, taken: HopTimings) -> Http2Transport:
        async with self._connecting:
            if self._transport is None or self._transport.closed or self._transport.goaway is not None:
                self._gone = asyncio.Event()
                self._transport = None  # what cannot connect is no transport: the next dial tries anew
                transport = Http2Transport(TransportOptions(), on_closed=self._closed)
                await self._frontend.open(transport, taken)
                if self._left:
                    transport.abort("the tunnel was closed")
                    raise DialError(DialFailure.TUNNEL_LOST, "the tunnel was closed")
                self._transport = transport
            return self._transport

    def _closed(self, transport: Http2Transport) -> None:
        if transport is self._transport:
            self._gone.set()

    async def _close(self) -> None:
        transport = self._transport
        if transport is None or transport.closed:
            return
        transport.close("the client is done")
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):  # the server's TLS goodbye
                await self._gone.wait()
        except TimeoutError:
            transport.abort("the server does not say goodbye")


class _DialStream(DialingTunnel):
    """One call of ProxyService, and the one dial on it."""

    protocol = "tcp"
    origin = ""

    def __init__(self, transport: Http2Transport, options: TunnelOptions, authority: str, address: str) -> None:
        self.address = address
        self.connected: asyncio.Future[Streams] = asyncio.get_running_loop().create_future()
        self.connected.add_done_callback(lambda future: future.cancelled() or future.exception())
        offer = Extension(options.ledger.initial_window)
        stream = transport.open_stream(_PATH, offer.header(), self, authority)
        assert stream.response is not None, "a client's stream has one"
        self.response = stream.response
        super().__init__(stream, options, sides.CLIENT, sides.CLIENT)

    def dial_succeeded(self, connection: Connection) -> bool:
        """Hand the connection to the caller of `dial`, unless it gave up."""
        if self.connected.done():
            return False
        self.connected.set_result(streams_of(connection))
        return True

    def dial_failed(self, error: DialError) -> None:
        """Raise the error in the caller of `dial`, and end the call."""
        if str(error).endswith(NO_AGENT):
            error = DialError(DialFailure.NO_AGENT, NO_AGENT)
        if not self.connected.done():
            self.connected.set_exception(error)
        self.stream.finish()

    def connection_closed(self, link: Connection) -> None:
        super().connection_closed(link)
        self.stream.finish()

    def stream_closed(self, status: Status) -> None:
        super().stream_closed(status)
        if not self.connected.done():
            self.connected.set_exception(DialError(DialFailure.TUNNEL_LOST, str(status)))
