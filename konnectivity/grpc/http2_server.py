"""Server of the native gRPC transport: a listener, its connections, and the admission of their requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from konnectivity.grpc import metadata as call_metadata
from konnectivity.grpc.budgets.header_budget import ConnectionHeaders
from konnectivity.grpc.http2_call import Http2Call
from konnectivity.grpc.http2_transport import CLOSE_TIMEOUT_S, Http2Transport
from konnectivity.grpc.message_stream import Service
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import Code, RpcError
from konnectivity.grpc.transport import Address
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.http2 import events
from konnectivity.net.socket_listeners import Listener, SourceLimits, admit_tcp, listen_tcp, listen_unix
from konnectivity.net.unix_socket import BoundPath
from konnectivity.tls import ServerTls
from konnectivity.untrusted.untrusted_text import cut

MAX_SHOWN_PATH = 256  # bytes of an unknown method's path in the answer
MAX_SHOWN_TIMEOUT = 32  # characters of a malformed grpc-timeout in the answer
_IDLE = "no call for too long"

Fields = dict[str, str]


class Http2ServerTransport(Http2Transport):
    """Connection that a client made.

    Args:
        options: settings of this end.
        services: handler of the calls, by path.
        on_connected: called once, when the connection is there, TLS included. The event loop never tells a transport
            that its TLS handshake failed: an owner that keeps transports learns of them here.
        on_closed: called once after that, when the connection is gone.

    """

    def __init__(
        self,
        options: TransportOptions,
        services: Mapping[str, Service],
        on_connected: Callable[[Http2ServerTransport], object] | None = None,
        on_closed: Callable[[Http2ServerTransport], object] | None = None,
    ) -> None:
        super().__init__(client=False, options=options)
        self._services = services
        self._on_connected = on_connected
        self._on_closed = on_closed
        self._headers = ConnectionHeaders(options.header_bytes, options.header_budget)
        self._handshake: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._idle_since = options.clock()

    def call_ended(self, stream_id: int, call: Http2Call) -> None:
        """Forget a call that has ended, and return the memory of its header fields."""
        self._headers.release(call.header_bytes)
        super().call_ended(stream_id, call)
        if not self._calls:
            self._idle_since = self.options.clock()

    # ---- Http2Transport -------------------------------------------------------------------------------------------

    def _connected(self) -> None:
        if self._on_connected is not None:
            self._on_connected(self)
        self._handshake = self.loop.call_later(self.options.handshake_timeout_s, self._handshake_expired)
        if self.options.idle_timeout_s:
            self._idle = self.loop.call_later(self.options.idle_timeout_s, self._idle_due)

    def _disconnected(self) -> None:
        for timer in (self._handshake, self._idle):
            if timer is not None:
                timer.cancel()
        if self._on_closed is not None:
            self._on_closed(self)

    def _settings_received(self) -> None:
        if self._handshake is not None:
            self._handshake.cancel()
            self._handshake = None
        self._keep_alive()

    def _headers_received(self, event: events.HeadersReceived) -> None:
        call = self._calls.get(event.stream_id)
        if call is not None:  # trailers of the request
            call.remote_ended()
            return
        fields = dict(event.headers)
        if not fields.get("content-type", "").startswith("application/grpc"):
            text = "this port speaks gRPC: content-type application/grpc is needed\n"
            self._answer_plainly(event.stream_id, "415", text)
        elif fields[":method"] != "POST":
            self._answer_plainly(event.stream_id, "405", "gRPC calls use POST\n")
        else:
            self._request_received(event, fields)

    # ---- admission ------------------------------------------------------------------------------------------------

    def _request_received(self, event: events.HeadersReceived, fields: Fields) -> None:
        """Start a call, or refuse it with a status."""
        stream = self.writer.http2.streams.get(event.stream_id)
        if stream is None:  # opened and closed again in the same read
            return
        path = fields[":path"]
        metadata = Metadata(event.headers, self.options.metadata_names)
        try:
            service, timeout_s = self._admitted(fields)
            reserved = self._reserve_headers(metadata.size)
        except RpcError as error:
            Http2Call(self, stream, path, metadata).finish(error.status)
            return
        call = Http2Call(self, stream, path, metadata, header_bytes=reserved)
        self._calls[event.stream_id] = call
        try:
            call.receiver = service(call)
        except RpcError as error:
            call.finish(error.status)
            return
        if timeout_s is not None:
            call.start_deadline(timeout_s)
        if event.end_stream:
            call.remote_ended()

    def _admitted(self, fields: Fields) -> tuple[Service, float | None]:
        """Return the service of a request and its time limit in seconds, if it has one.

        Raises:
            RpcError: there is no such service, or the time limit is malformed.

        """
        service = self._services.get(fields[":path"])
        if service is None:
            raise RpcError(Code.UNIMPLEMENTED, f"unknown method {cut(fields[':path'], MAX_SHOWN_PATH)}")
        if "grpc-timeout" not in fields:
            return service, None
        timeout_s = call_metadata.parse_timeout(fields["grpc-timeout"])
        if timeout_s is None:
            shown = fields["grpc-timeout"][:MAX_SHOWN_TIMEOUT]
            raise RpcError(Code.INTERNAL, f"malformed grpc-timeout {shown!r}")
        return service, timeout_s

    def _reserve_headers(self, size: int) -> int:
        """Reserve memory for the header fields of a call, and return their size.

        Raises:
            RpcError: the connection, or all connections together, keep too much.

        """
        limit = self._headers.reserve(size)
        if limit:
            self.options.reached[limit] += 1
            raise RpcError(Code.RESOURCE_EXHAUSTED, "too many bytes of header fields are held for open calls")
        return size

    def _answer_plainly(self, stream_id: int, status: str, text: str) -> None:
        """Answer a request that is not gRPC in plain HTTP."""
        body = text.encode()
        headers = [
            (":status", status),
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", str(len(body))),
        ]
        stream = self.writer.http2.streams.get(stream_id)
        self.writer.send_headers(stream_id, headers)
        if stream is not None:
            self.writer.send(stream, body)
        self.writer.end_stream(stream_id)

    # ---- timers ---------------------------------------------------------------------------------------------------

    def _handshake_expired(self) -> None:
        self.options.reached["handshake"] += 1
        self.abort("no HTTP/2 preface and SETTINGS in time")

    def _idle_due(self) -> None:
        """Close the connection if it has had no call for the idle timeout; else look again when that may be so."""
        idle_s = self.options.clock() - self._idle_since if not self._calls else 0.0
        left = self.options.idle_timeout_s - idle_s
        if left > 0:
            self._idle = self.loop.call_later(left, self._idle_due)
        else:
            self.options.reached["idle_connection"] += 1
            # The GOAWAY refuses calls that are in flight, and the client repeats them on its next connection.
            self.go_away(_IDLE)
            self._idle = self.loop.call_later(CLOSE_TIMEOUT_S, self.close, _IDLE)


class Http2Server:
    """Services of one listener, and the connections to them. Implements `transport.GrpcServer`.

    A listener that is shared with another protocol makes its transports with `new_transport`.

    Args:
        services: handler of the calls, by path.
        options: settings of each connection.

    """

    def __init__(self, services: Mapping[str, Service], options: TransportOptions) -> None:
        self.port = 0
        self.path: BoundPath | None = None
        self._services = services
        self._options = options
        self._listener: Listener | None = None
        self._transports: dict[Http2ServerTransport, None] = {}  # in the order in which they were accepted
        self._all_closed = asyncio.Event()
        self._all_closed.set()

    def new_transport(self) -> Http2ServerTransport:
        """Return a transport for a connection that is being accepted."""
        return Http2ServerTransport(self._options, self._services, self._connected, self._closed)

    async def listen_tcp(
        self, what: str, host: str, port: int, server_tls: ServerTls | None, sources: SourceLimits | None
    ) -> None:
        """Listen on TCP."""
        context = None if server_tls is None else server_tls.context
        if sources is not None:
            self._listener = await admit_tcp(what, host, port, context, self.new_transport, sources)
            return
        listener = await listen_tcp(what, host, port, context, self.new_transport)
        self.port = listener.sockets[0].getsockname()[1]
        self._listener = listener

    async def listen_unix(self, what: str, path: str, replace: bool) -> None:
        """Listen on a unix socket."""
        listener = await listen_unix(what, path, replace, self.new_transport)
        self.path = listener.path
        self._listener = listener

    def stop_listening(self) -> None:
        """Accept no new connections; the open ones continue."""
        if self._listener is not None:
            self._listener.close()

    @property
    def unsent(self) -> int:
        """Return the number of bytes that wait for the sockets of all connections, or for window of their peers."""
        return sum(transport.unsent for transport in self._transports)

    async def close(self, reason: str) -> None:
        """Close the listener, and the connections within the next second (see `wait_closed`)."""
        self.stop_listening()
        for transport in list(self._transports):
            transport.close(reason)
        await asyncio.sleep(0)

    async def wait_closed(self) -> None:
        """Wait until every connection is closed."""
        await self._all_closed.wait()

    def _connected(self, transport: Http2ServerTransport) -> None:
        self._transports[transport] = None
        self._all_closed.clear()

    def _closed(self, transport: Http2ServerTransport) -> None:
        self._transports.pop(transport, None)
        if not self._transports:
            self._all_closed.set()


async def serve(
    what: str,
    services: Mapping[str, Service],
    address: Address,
    server_tls: ServerTls | None,
    options: TransportOptions,
    sources: SourceLimits | None = None,
    replace: bool = True,
) -> Http2Server:
    """Listen on TCP or on a unix socket; see `transport.Serve`.

    Raises:
        ListenError: the listener cannot be opened, and the reason.

    """
    server = Http2Server(services, options)
    if isinstance(address, str):
        await server.listen_unix(what, address, replace)
    else:
        await server.listen_tcp(what, *address, server_tls, sources)
    return server
