"""Proxy servers as an agent sees them, in memory: they answer its greeting and hold its tunnels.

Owns both ends of every stream. Packets arrive when the test calls `deliver`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from konnectivity import wire
from konnectivity.grpc.message_stream import StreamReceiver
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import RpcError, Status
from konnectivity.tunnel import sides
from konnectivity.tunnel.dialing import DialingTunnel
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.tunnel_options import TunnelOptions
from support.memory_streams import MemoryStream

WINDOW = 64 * 1024


class RemoteCall(MemoryStream):
    """Agent's end of a stream; the greeting is answered, or refused, in the next pass of the event loop."""

    def __init__(self, server: RemoteServer) -> None:
        super().__init__("server")
        self.answer: asyncio.Future[Metadata] = asyncio.get_running_loop().create_future()
        self.pings = 0
        self._server = server

    @property
    def heard_at(self) -> float | None:
        """Return the time that the test gave the server."""
        return self._server.heard_at

    def measure(self, done: object = None) -> None:
        """Count the ping."""
        self.pings += 1

    async def accepted(self) -> Metadata:
        """Wait for the answer of the server."""
        return await self.answer


class RemoteChannel:
    """Connection of an agent to one server."""

    def __init__(self, server: RemoteServer) -> None:
        self.calls: list[RemoteCall] = []
        self.closed = False
        self._server = server

    def open_stream(self, path: str, metadata: Mapping[str, str], receiver: StreamReceiver) -> RemoteCall:
        """Start a call, which the server answers in the next pass of the event loop."""
        call, other = RemoteCall(self._server), MemoryStream("agent")
        call.other, other.other = other, call
        call.receiver = receiver
        other.path, other.metadata = path, Metadata(list(metadata.items()))
        self.calls.append(call)
        asyncio.get_running_loop().call_soon(self._server.greet, call, other)
        return call

    def close(self, reason: str = "") -> None:
        """End all calls."""
        self.closed = True
        for call in self.calls:
            call.abort(reason)


class RemoteServer:
    """Proxy server: a process that answers with an id, a count and, unless it is the reference, an instance.

    Attributes:
        silent: whether it leaves greetings without an answer.
        refusal: refuses greetings; None: they are accepted.
        heard_at: last sign of life that the heartbeats of agents see; None: they do not watch this server.
        tunnels: to agents, in the order of their greetings; closed ones included.

    """

    def __init__(self, server_id: str, count: int = 1, instance: str = "", extension: bool = True) -> None:
        self.server_id = server_id
        self.count = count
        self.extension = Extension(WINDOW, instance or f"instance of {server_id}") if extension else None
        self.silent = False
        self.refusal: RpcError | None = None
        self.heard_at: float | None = None
        self.channels: list[RemoteChannel] = []
        self.tunnels: list[DialingTunnel] = []

    def channel(self) -> RemoteChannel:
        """Return a new connection of an agent."""
        self.channels.append(RemoteChannel(self))
        return self.channels[-1]

    def greet(self, call: RemoteCall, stream: MemoryStream) -> None:
        """Answer the greeting of an agent."""
        if self.silent or call.closed:
            return
        if self.refusal is not None:
            call.answer.set_exception(self.refusal)
            return
        headers = {"serverid": self.server_id, "servercount": str(self.count)}
        answer = Metadata([*headers.items(), *(self.extension.header() if self.extension else {}).items()])
        self.tunnels.append(tunnel_on(stream))
        if call.receiver is not None:
            call.receiver.call_accepted(answer)
        call.answer.set_result(answer)

    @property
    def established(self) -> list[DialingTunnel]:
        """Return the tunnels that are not closed."""
        return [tunnel for tunnel in self.tunnels if not tunnel.closed]

    @property
    def calls(self) -> list[RemoteCall]:
        """Return the agents' ends of all streams."""
        return [call for channel in self.channels for call in channel.calls]

    def announce(self, count: int) -> None:
        """Send a new server count on every tunnel."""
        self.count = count
        for tunnel in self.established:
            tunnel.send_control(wire.server_count(count))
        self.deliver()

    def drain(self) -> None:
        """Tell every agent that this server shuts down."""
        for tunnel in self.established:
            tunnel.send_drain()
        self.deliver()

    def stop(self, status: Status) -> None:
        """End every tunnel."""
        for tunnel in self.established:
            tunnel.close(status)

    def deliver(self) -> None:
        """Deliver every sent packet, in both directions."""
        for call in self.calls:
            while call.deliver() + (call.other.deliver() if not call.other.closed else 0):
                pass


def tunnel_on(stream: MemoryStream) -> DialingTunnel:
    """Return a server's end of the tunnel to an agent; the metadata of the agent's greeting is the stream's."""
    options = TunnelOptions(clock=asyncio.get_running_loop().time)
    tunnel = stream.receiver = DialingTunnel(stream, options, sides.SERVER, sides.CLIENT)
    tunnel.negotiate(Extension.of(stream.metadata))
    return tunnel
