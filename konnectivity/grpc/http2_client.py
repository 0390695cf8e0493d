"""Client of the native gRPC transport: opens a connection, starts calls on it, and takes the server's answers."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping

from konnectivity.grpc import metadata as call_metadata
from konnectivity.grpc import status as statuses
from konnectivity.grpc.http2_call import Http2Call
from konnectivity.grpc.http2_transport import Http2Transport
from konnectivity.grpc.message_stream import StreamReceiver
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError
from konnectivity.grpc.transport import Destination
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.http2 import ErrorCode, events
from konnectivity.net.happy_eyeballs import connect_any
from konnectivity.tls import ClientTls, server_name


class Http2ClientTransport(Http2Transport):
    """Connection of a client.

    Args:
        options: settings of this end.
        authority: host name in requests.
        on_closed: called once, when the connection is gone.

    """

    def __init__(
        self, options: TransportOptions, authority: str, on_closed: Callable[[], object] | None = None
    ) -> None:
        super().__init__(client=True, options=options)
        self._authority = authority
        self._on_closed = on_closed
        self._secure = False

    def open_stream(
        self, path: str, metadata: Mapping[str, str], receiver: StreamReceiver, timeout_s: float | None = None
    ) -> Http2Call:
        """Start a call. `Http2Call.accepted` returns when the server has accepted it.

        Raises:
            RpcError: the connection takes no new call.

        """
        if self._transport is None:
            raise RpcError(Code.UNAVAILABLE, self.goaway or "the connection is closed")
        headers = call_metadata.request(path, self._authority, self._secure, metadata, timeout_s)
        http2 = self.writer.http2
        try:
            stream_id = http2.open_stream(headers)
        except ConnectionError as error:
            raise RpcError(Code.UNAVAILABLE, str(error)) from error
        call = Http2Call(self, http2.streams[stream_id], path, Metadata(()), receiver)
        self._calls[stream_id] = call
        if timeout_s is not None:
            call.start_deadline(timeout_s)
        self.writer.flush_soon()
        return call

    def call_ended(self, stream_id: int, call: Http2Call) -> None:
        super().call_ended(stream_id, call)
        self._close_if_useless()

    def event_received(self, event: events.Event) -> None:
        super().event_received(event)
        if isinstance(event, events.GoAwayReceived):
            self._close_if_useless()

    def _close_if_useless(self) -> None:
        """Close a connection that has no call and takes none: the server leaves that to its clients."""
        if self.goaway is not None and not self._calls:
            self.close(self.goaway)

    def _connected(self) -> None:
        assert self._transport is not None, "the transport is here"
        self._secure = self._transport.get_extra_info("ssl_object") is not None
        self._keep_alive()

    def _disconnected(self) -> None:
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is not None:
            on_closed()

    def _headers_received(self, event: events.HeadersReceived) -> None:
        call = self._calls.get(event.stream_id)
        if call is None:
            return
        if event.end_stream:
            self.writer.reset_stream(event.stream_id, ErrorCode.NO_ERROR)
            call.ended(statuses.from_trailers(event.headers))
            return
        fields = dict(event.headers)
        if fields.get(":status") == "200" and fields.get("content-type", "").startswith("application/grpc"):
            call.response_received(Metadata(event.headers))
        else:
            call.refuse(statuses.from_trailers([item for item in event.headers if item[0] != "grpc-status"]))


async def connect(
    destination: Destination,
    client_tls: ClientTls | None,
    options: TransportOptions,
    tasks: asyncio.TaskGroup | None = None,
    on_closed: Callable[[], object] | None = None,
) -> Http2ClientTransport:
    """Open a connection; see `transport.Connect`.

    Raises:
        OSError, TimeoutError, TlsError: the connection could not be made.
        ConnectionError: the server does not speak HTTP/2.

    """
    transport = Http2ClientTransport(options, destination.authority, on_closed)
    async with asyncio.timeout(destination.connect_timeout_s):
        sock = await _socket(destination)
    async with asyncio.timeout(destination.handshake_timeout_s):
        await start(transport, sock, None if client_tls is None else client_tls.context(), destination.authority)
    if client_tls is not None and transport.alpn not in client_tls.alpn:
        transport.abort()
        raise ConnectionError("the server does not speak HTTP/2 (no ALPN h2): is this its gRPC port?")
    return transport


async def start(
    transport: Http2ClientTransport, sock: socket.socket, context: ssl.SSLContext | None, host: str = ""
) -> None:
    """Speak TLS (with a context) and HTTP/2 on a connected socket, which the transport owns from then on.

    Args:
        transport: transport that is not connected yet.
        sock: connected socket; it is closed if TLS fails.
        context: client context; None: cleartext.
        host: name that the server's certificate must have; unused in cleartext.

    Raises:
        OSError: TLS failed, or the connection was lost.

    """
    loop = asyncio.get_running_loop()
    name = server_name(host) if context is not None else None
    try:
        if sock.family == socket.AF_UNIX:
            await loop.create_unix_connection(lambda: transport, sock=sock, ssl=context, server_hostname=name)
        else:
            await loop.create_connection(lambda: transport, sock=sock, ssl=context, server_hostname=name)
    except BaseException:
        sock.close()
        raise


async def _socket(destination: Destination) -> socket.socket:
    """Return a connected socket; a host name is looked up now."""
    if destination.open_socket is not None:
        return await destination.open_socket()
    if isinstance(destination.address, str):
        return await open_unix(destination.address)
    host, port = destination.address
    return await connect_any(await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM))


async def open_unix(path: str) -> socket.socket:
    """Return a socket that is connected to a unix socket.

    Raises:
        OSError: nobody listens there, or the path cannot be reached.

    """
    await asyncio.sleep(0)  # a timeout of 0 s ends the attempt, as it does with TCP
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, path)
    except BaseException:
        sock.close()
        raise
    return sock
