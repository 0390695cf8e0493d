"""Transport of gRPC on grpcio's asyncio API (extra `grpcio`), both roles: slower than the native one, and independent.

Owns listeners and connections; the calls on them are in `grpcio_stream`. grpcio owns sockets, TLS, HTTP/2 and tasks of
its own. It knows neither the limits of `TransportOptions` nor those of source addresses.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Callable, Mapping
from functools import partial

import grpc
import grpc.aio

from konnectivity import tls
from konnectivity.grpc.grpcio_stream import CODES, Call, ClientStream, Context, ServerStream, as_fields
from konnectivity.grpc.message_stream import Peer, Service, StreamReceiver
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.grpc.transport import Address, Destination
from konnectivity.grpc.transport_options import TransportOptions
from konnectivity.net.addresses import is_unspecified
from konnectivity.net.socket_listeners import ListenError, SourceLimits, listen_tcp, open_unix
from konnectivity.net.unix_socket import SOCKET_MODE, BoundPath
from konnectivity.runtime import task_guard
from konnectivity.untrusted.file_content import read_file

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0  # longest timeout in seconds, even if the destination allows more: grpcio connects in one step
READY = grpc.ChannelConnectivity.READY
CLOSE_TIMEOUT_S = 5.0
_INT_MAX = 2**31 - 1


class GrpcioServer(grpc.GenericRpcHandler):
    """Listener, and the calls on its connections. Implements `transport.GrpcServer`.

    Args:
        services: handler of the calls, by path.
        options: settings, of which grpcio knows those of the keepalive.

    """

    def __init__(self, services: Mapping[str, Service], options: TransportOptions) -> None:
        self.port = 0
        self.path: BoundPath | None = None
        self._services = services
        self._streams: dict[ServerStream, asyncio.Task[object] | None] = {}
        arguments = [
            *_arguments(options),
            ("grpc.so_reuseport", 0),  # a busy port is an error
            ("grpc.http2.max_ping_strikes", 0),  # clients may measure and keep alive as they like
        ]
        self._server = grpc.aio.server(handlers=(self,), options=arguments)

    async def listen_tcp(self, what: str, address: tuple[str, int], server_tls: tls.ServerTls | None) -> None:
        """Listen on TCP."""
        credentials = None if server_tls is None else _server_credentials(*server_tls.files)
        probe = await listen_tcp(what, *address, None, asyncio.Protocol)  # grpcio does not report why it cannot listen
        probe.close()
        host, port = address
        try:
            # grpcio listens on both families where the host is "::".
            self._bind(_target(("::" if is_unspecified(host) else host, port)), credentials)
        except RuntimeError as error:
            raise ListenError(f"cannot listen on {_printable(address)} for {what}: {error}") from error

    async def listen_unix(self, what: str, path: str, replace: bool) -> None:
        """Listen on a unix socket, bound beside `path` and then renamed: grpcio removes a file at the name it gets."""
        reserved = await open_unix(what, path, replace)
        private = os.path.join(os.path.dirname(path), f".{secrets.token_hex(4)}")
        try:
            self._bind(_target(private), None)
            self.path = reserved.hand_over(private)
        except (RuntimeError, OSError) as error:
            reserved.remove()
            reserved.socket.close()
            raise ListenError(f"cannot listen on {_printable(path)} for {what}: {error}") from error

    def _bind(self, target: str, credentials: grpc.ServerCredentials | None) -> None:
        mask = os.umask(0o777 & ~SOCKET_MODE)
        try:
            if credentials is None:
                self.port = self._server.add_insecure_port(target)
            else:
                self.port = self._server.add_secure_port(target, credentials)
        finally:
            os.umask(mask)

    async def start(self) -> None:
        """Accept connections."""
        await self._server.start()

    def stop_listening(self) -> None:
        """Do nothing: grpcio cannot stop to listen while its calls continue."""

    @property
    def unsent(self) -> int:
        """Return the number of bytes that grpcio has not taken; what grpcio itself keeps is not known."""
        return sum(stream.queued for stream in self._streams)

    async def close(self, reason: str = "") -> None:
        """Close the listener; open calls end with UNAVAILABLE on both sides."""
        if self.path is not None:
            self.path.remove()
        for stream in self._streams:
            stream.lost(Status(Code.UNAVAILABLE, reason or "the server is shutting down"))
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                handlers = [task for task in self._streams.values() if task is not None]
                await self._server.stop(None)
                if handlers:
                    await asyncio.wait(handlers)
        except TimeoutError:
            log.warning("gRPC calls did not end in %g s", CLOSE_TIMEOUT_S)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """Return grpcio's handler for a call; None ends the call with UNIMPLEMENTED."""
        service = self._services.get(details.method)
        if service is None:
            return None
        return grpc.stream_stream_rpc_method_handler(partial(self._handle, service, details.method))

    async def _handle(self, service: Service, path: str, _: object, context: Context) -> None:
        stream = ServerStream(context, path)
        try:
            stream.receiver = service(stream)
        except RpcError as error:
            stream.closed = True
            await context.abort(CODES[error.status.code], error.status.message)
        self._streams[stream] = asyncio.current_task()
        try:
            await stream.run()
        finally:
            del self._streams[stream]


async def serve(
    what: str,
    services: Mapping[str, Service],
    address: Address,
    server_tls: tls.ServerTls | None,
    options: TransportOptions,
    sources: SourceLimits | None = None,
    replace: bool = True,
) -> GrpcioServer:
    """Listen on TCP or on a unix socket; see `transport.Serve`. `sources` does not apply.

    Raises:
        ListenError, TlsError: the listener cannot be opened, and the reason.

    """
    server = GrpcioServer(services, options)
    if isinstance(address, str):
        await server.listen_unix(what, address, replace)
    else:
        await server.listen_tcp(what, address, server_tls)
    await server.start()
    return server


class GrpcioChannel:
    """Connection of a client. A lost connection is not made again; the owner makes another.

    Attributes:
        closed: whether the connection takes no new call.

    """

    def __init__(self, channel: grpc.aio.Channel, peer: Peer, tasks: asyncio.TaskGroup) -> None:
        self.peer = peer
        self.closed = False
        self._channel = channel
        self._tasks = tasks
        self._streams: dict[asyncio.Task[None], ClientStream] = {}
        self._watcher: asyncio.Task[None] | None = None

    def open_stream(
        self, path: str, metadata: Mapping[str, str], receiver: StreamReceiver, timeout_s: float | None = None
    ) -> ClientStream:
        """Start a call. `ClientStream.accepted` returns when the server has accepted it.

        Raises:
            RpcError: the connection takes no new call.

        """
        if self.closed:
            raise RpcError(Code.UNAVAILABLE, "the connection is closed")
        call: Call = self._channel.stream_stream(path)(metadata=as_fields(metadata.items()), timeout=timeout_s)
        stream = ClientStream(call, self.peer, path, receiver)
        task = task_guard.start(self._tasks, stream.run, "gRPC call")
        self._streams[task] = stream
        task.add_done_callback(stream.over)
        task.add_done_callback(self._streams.pop)
        return stream

    @property
    def unsent(self) -> int:
        """Return the number of bytes that grpcio has not taken; what grpcio itself keeps is not known."""
        return sum(stream.queued for stream in self._streams.values())

    def close(self, reason: str = "") -> None:
        """End the open calls with UNAVAILABLE, and close the connection."""
        self.closed = True
        for stream in self._streams.values():
            stream.lost(Status(Code.UNAVAILABLE, reason or "the connection was closed"))
        if self._watcher is not None:
            self._watcher.cancel()

    async def watch(self, on_closed: Callable[[], object] | None) -> None:
        """Run from the first moment of the connection to its last."""
        self._watcher = asyncio.current_task()
        try:
            await self._channel.wait_for_state_change(READY)
            self.closed = True
            while self._streams:  # the server goes away: open calls may end
                await asyncio.wait(self._streams)
        finally:
            self.closed = True
            await self._channel.close()
            if on_closed is not None:
                on_closed()


async def connect(
    destination: Destination,
    client_tls: tls.ClientTls | None,
    options: TransportOptions,
    tasks: asyncio.TaskGroup,
    on_closed: Callable[[], object] | None = None,
) -> GrpcioChannel:
    """Open a connection; see `transport.Connect`.

    Raises:
        RpcError: UNAVAILABLE, and the reason.
        TlsError: a file is missing or is not what it should be.
        ValueError: the destination opens its own socket, which grpcio cannot use.

    """
    if destination.open_socket is not None:
        raise ValueError("grpcio opens its sockets itself: a forward proxy needs --grpc-implementation=native")
    arguments = [
        *_arguments(options),
        ("grpc.use_local_subchannel_pool", 1),  # otherwise two channels share one connection
        ("grpc.client_idle_timeout_ms", _INT_MAX),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
    ]
    target, shown = _target(destination.address), _printable(destination.address)
    if client_tls is None:
        channel = grpc.aio.insecure_channel(target, arguments)
    else:
        channel = grpc.aio.secure_channel(target, _client_credentials(*client_tls.files), arguments)
    timeout_s = min(destination.handshake_timeout_s or CONNECT_TIMEOUT_S, CONNECT_TIMEOUT_S)
    try:
        async with asyncio.timeout(timeout_s):
            await _connected(channel)
    except TimeoutError as error:
        await channel.close()
        raise RpcError(Code.UNAVAILABLE, f"no connection to {shown} in {timeout_s:g} s") from error
    except BaseException:
        await channel.close()
        raise
    connection = GrpcioChannel(channel, Peer("unix" if isinstance(destination.address, str) else shown), tasks)
    task_guard.start(tasks, lambda: connection.watch(on_closed), "gRPC connection")
    await asyncio.sleep(0)  # from here on the watcher owns the channel
    return connection


async def _connected(channel: grpc.aio.Channel) -> None:
    while (state := channel.get_state(try_to_connect=True)) is not READY:
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            call: Call = channel.stream_stream("/")()  # the call fails at once with the reason
            raise RpcError(Code.UNAVAILABLE, await call.details())
        await channel.wait_for_state_change(state)


def _arguments(options: TransportOptions) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", options.max_message_size),
        ("grpc.keepalive_time_ms", min(_INT_MAX, round(options.keepalive_time_s * 1000))),
        ("grpc.keepalive_timeout_ms", round(options.keepalive_timeout_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),  # no limit
    ]


def _server_credentials(certificate: str, key: str, client_ca: str) -> grpc.ServerCredentials:
    tls.server_context(certificate, key, client_ca, alpn=("h2",))  # says what is wrong with the files
    pair = (read_file(key), read_file(certificate))
    roots = read_file(client_ca) if client_ca else None
    return grpc.ssl_server_credentials([pair], roots, require_client_auth=bool(client_ca))


def _client_credentials(ca: str, certificate: str, key: str) -> grpc.ChannelCredentials:
    tls.client_context(ca, certificate, key, alpn=("h2",))
    pair = (read_file(key), read_file(certificate)) if certificate else (None, None)
    return grpc.ssl_channel_credentials(read_file(ca), *pair)


def _target(address: Address) -> str:
    if isinstance(address, str):
        return f"unix:{address}"
    return _printable(address)


def _printable(address: Address) -> str:
    if isinstance(address, str):
        return f"unix socket {address!r}"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
