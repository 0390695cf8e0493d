"""The stream seam on grpcio's asyncio API (extra `grpcio`), both roles: slower than `native`, and independent of it.

Owns listeners and connections; `alternative_stream` has the calls on them. grpcio owns sockets, TLS, HTTP/2 and tasks
of its own.
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
from konnectivity.grpc.framing import MAX_MESSAGE_SIZE
from konnectivity.grpc.grpcio_stream import CODES, Call, ClientStream, Context, ServerStream, as_fields
from konnectivity.grpc.message_stream import Peer, Service, StreamReceiver
from konnectivity.grpc.status import Code, RpcError, Status
from konnectivity.net.addresses import is_unspecified
from konnectivity.net.socket_listeners import ListenError, listen_tcp, open_unix
from konnectivity.net.unix_socket import SOCKET_MODE, BoundPath
from konnectivity.runtime import task_guard
from konnectivity.untrusted.file_content import read_file

log = logging.getLogger(__name__)

Address = tuple[str, int] | str  # host and port, or the path of a unix socket
READY = grpc.ChannelConnectivity.READY
KEEPALIVE_TIME_S = 3600.0
KEEPALIVE_TIMEOUT_S = 20.0
CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 5.0
_INT_MAX = 2**31 - 1


class GrpcioServer(grpc.GenericRpcHandler):
    """A listener and the calls on it."""

    def __init__(self, services: Mapping[str, Service], keepalive_time_s: float) -> None:
        self.port = 0  # the one in use
        self.path: BoundPath | None = None  # of a unix socket
        self._services = services
        self._streams: dict[ServerStream, asyncio.Task[object] | None] = {}
        options = [
            *_options(keepalive_time_s),
            ("grpc.so_reuseport", 0),  # a busy port is an error
            ("grpc.http2.max_ping_strikes", 0),  # clients may measure and keep alive as they like
        ]
        self._server = grpc.aio.server(handlers=(self,), options=options)

    def bind(self, target: str, credentials: grpc.ServerCredentials | None) -> None:
        mask = os.umask(0o777 & ~SOCKET_MODE)
        try:
            if credentials is None:
                self.port = self._server.add_insecure_port(target)
            else:
                self.port = self._server.add_secure_port(target, credentials)
        finally:
            os.umask(mask)

    async def start(self) -> None:
        await self._server.start()

    async def close(self) -> None:
        """Close the listener; calls under way end with UNAVAILABLE on both sides."""
        if self.path is not None:
            self.path.remove()
        for stream in self._streams:
            stream.lost(Status(Code.UNAVAILABLE, "the server is shutting down"))
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                handlers = [task for task in self._streams.values() if task is not None]
                await self._server.stop(None)
                if handlers:
                    await asyncio.wait(handlers)
        except TimeoutError:
            log.warning("gRPC calls did not end in %g s", CLOSE_TIMEOUT_S)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """Grpcio asks what to do with a call; None is UNIMPLEMENTED."""
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
    files: tuple[str, str, str] | None,
    keepalive_time_s: float,
    replace: bool = True,
) -> GrpcioServer:
    """Listen on TCP (host empty: all interfaces) or on a unix socket of mode 0770.

    Args:
        what: who the listener is for, for error messages.
        services: path -> what to do with a call.
        address: where.
        files: certificate, key and client CA (empty: clients show no certificate); None: cleartext.
        keepalive_time_s: silence after which the peer is asked whether it is there.
        replace: whether a socket that no server needs is replaced at a unix socket's path.

    Raises:
        ListenError, TlsError: what cannot be opened, and why.

    """
    credentials = None if files is None else _server_credentials(*files)
    server = GrpcioServer(services, keepalive_time_s)
    if isinstance(address, str):
        await _bind_unix(server, what, address, replace)
    else:
        await _bind_tcp(server, what, address, credentials)
    await server.start()
    return server


async def _bind_tcp(
    server: GrpcioServer, what: str, address: tuple[str, int], credentials: grpc.ServerCredentials | None
) -> None:
    probe = await listen_tcp(what, *address, None, asyncio.Protocol)  # grpcio does not say why it cannot listen
    probe.close()
    host, port = address
    try:
        server.bind(_target(("::" if is_unspecified(host) else host, port)), credentials)  # grpcio: both families
    except RuntimeError as error:
        raise ListenError(f"cannot listen on {_printable(address)} for {what}: {error}") from error


async def _bind_unix(server: GrpcioServer, what: str, path: str, replace: bool) -> None:
    """Bind at a name of its own beside `path`, then rename: grpcio removes what it finds at the name it was given."""
    reserved = await open_unix(what, path, replace)
    private = os.path.join(os.path.dirname(path), f".{secrets.token_hex(4)}")
    try:
        server.bind(_target(private), None)
        server.path = reserved.hand_over(private)
    except (RuntimeError, OSError) as error:
        reserved.remove()
        reserved.socket.close()
        raise ListenError(f"cannot listen on {_printable(path)} for {what}: {error}") from error


class GrpcioChannel:
    """One connection of a client. Lost means lost, as with `native`: whoever wants another makes it."""

    def __init__(self, channel: grpc.aio.Channel, peer: Peer, tasks: asyncio.TaskGroup) -> None:
        self.peer = peer
        self.closed = False  # takes no new call
        self._channel = channel
        self._tasks = tasks
        self._streams: dict[asyncio.Task[None], ClientStream] = {}
        self._watcher: asyncio.Task[None] | None = None

    def open_stream(
        self, path: str, metadata: Mapping[str, str], receiver: StreamReceiver, timeout_s: float | None = None
    ) -> ClientStream:
        """Start a call. `ClientStream.response` is done when the server accepted or refused it.

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

    def close(self, reason: str = "") -> None:
        """End the calls under way with UNAVAILABLE, and close the connection."""
        self.closed = True
        for stream in self._streams.values():
            stream.lost(Status(Code.UNAVAILABLE, reason or "the connection was closed"))
        if self._watcher is not None:
            self._watcher.cancel()

    async def watch(self, on_closed: Callable[[GrpcioChannel], None] | None) -> None:
        """From the first moment of the connection to its last."""
        self._watcher = asyncio.current_task()
        try:
            await self._channel.wait_for_state_change(READY)
            self.closed = True
            while self._streams:  # the server goes away: calls under way may end
                await asyncio.wait(self._streams)
        finally:
            self.closed = True
            await self._channel.close()
            if on_closed is not None:
                on_closed(self)


async def connect(
    address: Address,
    files: tuple[str, str, str] | None,
    tasks: asyncio.TaskGroup,
    on_closed: Callable[[GrpcioChannel], None] | None = None,
    keepalive_time_s: float = KEEPALIVE_TIME_S,
) -> GrpcioChannel:
    """Open a connection.

    Args:
        address: host and port, or the path of a unix socket.
        files: CA, certificate and key (both empty: show no certificate); None: cleartext.
        tasks: where the connection and its calls run; it ends when `close` was called or the connection is lost.
        on_closed: called once, when the connection is gone.
        keepalive_time_s: silence after which the peer is asked whether it is there.

    Raises:
        RpcError: UNAVAILABLE, and why.
        TlsError: a file is missing or is not what it should be.

    """
    options = [
        *_options(keepalive_time_s),
        ("grpc.use_local_subchannel_pool", 1),  # else two channels share one connection
        ("grpc.client_idle_timeout_ms", _INT_MAX),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
    ]
    if files is None:
        channel = grpc.aio.insecure_channel(_target(address), options)
    else:
        channel = grpc.aio.secure_channel(_target(address), _client_credentials(*files), options)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await _connected(channel)
    except TimeoutError as error:
        await channel.close()
        text = f"no connection to {_printable(address)} in {CONNECT_TIMEOUT_S:g} s"
        raise RpcError(Code.UNAVAILABLE, text) from error
    except BaseException:
        await channel.close()
        raise
    connection = GrpcioChannel(channel, Peer("unix" if isinstance(address, str) else _printable(address)), tasks)
    task_guard.start(tasks, lambda: connection.watch(on_closed), "gRPC connection")
    await asyncio.sleep(0)  # from here on the watcher owns the channel
    return connection


async def _connected(channel: grpc.aio.Channel) -> None:
    while (state := channel.get_state(try_to_connect=True)) is not READY:
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            call: Call = channel.stream_stream("/")()  # fails at once, and says why
            raise RpcError(Code.UNAVAILABLE, await call.details())
        await channel.wait_for_state_change(state)


def _options(keepalive_time_s: float) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_SIZE),
        ("grpc.keepalive_time_ms", min(_INT_MAX, round(keepalive_time_s * 1000))),
        ("grpc.keepalive_timeout_ms", round(KEEPALIVE_TIMEOUT_S * 1000)),
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
