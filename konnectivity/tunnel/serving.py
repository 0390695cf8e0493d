"""Serving end of a tunnel: has the connections opened that the far end asks for, and answers its dials.

Owns the dials of the far end that have no answer yet. Does not know how a connection is opened: that is for the
injected opener. Used by the agent towards a server, and by the server towards gRPC frontends and peer servers.
"""

from __future__ import annotations

from collections.abc import Callable

from konnectivity import wire
from konnectivity.errors import NO_MEMORY, DialError
from konnectivity.grpc.message_stream import MessageStream
from konnectivity.grpc.status import Status
from konnectivity.tunnel.bridge import Bridge
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.interfaces import LocalSide
from konnectivity.tunnel.states import REFERENCE_SERVING
from konnectivity.tunnel.tunnel import Tunnel
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity.wire import Packet, packet_types


class IncomingDial:
    """A dial that the far end of a serving tunnel asked for.

    The opener answers the dial once, with `connected` or `failed`. An opener that dials through another tunnel passes
    the incoming dial there as the receiver of the outcome. After `cancelled` is set, an answer has no effect.
    """

    __slots__ = ("address", "cancelled", "on_cancel", "protocol", "random", "tunnel")

    def __init__(self, tunnel: ServingTunnel, random: int, protocol: str, address: str) -> None:
        self.tunnel = tunnel
        self.random = random
        self.protocol = protocol
        self.address = address
        self.cancelled = False
        self.on_cancel: Callable[[], object] | None = None  # set by the opener

    def connected(self, local_side: LocalSide) -> Connection | None:
        """Answer with a connection that has this local side; return None if the far end no longer wants one."""
        self.on_cancel = None
        return None if self.cancelled else self.tunnel.answer(self, local_side)

    def failed(self, text: str) -> None:
        """Answer that there is no connection, and why."""
        self.on_cancel = None
        if not self.cancelled:
            self.tunnel.answer_failure(self, text)

    def cancel(self) -> None:
        """Tell the opener that the far end no longer wants the connection."""
        self.cancelled = True
        cancel, self.on_cancel = self.on_cancel, None
        if cancel is not None:
            cancel()

    def dial_succeeded(self, connection: Connection) -> bool:
        """Answer with a connection of another tunnel, joined to one of this tunnel."""
        own = self.connected(Bridge(connection))
        if own is None:
            return False
        connection.attach(Bridge(own))
        return True

    def dial_failed(self, error: DialError) -> None:
        """Answer with the error of a dial through another tunnel."""
        self.failed(str(error))


Opener = Callable[[IncomingDial], None]


class ServingTunnel(Tunnel):
    """Serving end of one tunnel.

    Args:
        stream: message stream; the tunnel becomes its receiver.
        options: settings and counters that the tunnels of one program share.
        own_side, far_side: side of this program, and of what is behind the local sides of connections.
        opener: called with every dial that is not refused at once.
        single: whether a stream of the reference protocol carries one connection at most, as a frontend's does.

    """

    dialing = False

    def __init__(
        self,
        stream: MessageStream,
        options: TunnelOptions,
        own_side: int,
        far_side: int,
        opener: Opener,
        single: bool = False,
    ) -> None:
        super().__init__(stream, options, REFERENCE_SERVING, own_side, far_side)
        self.opening: dict[int, IncomingDial] = {}
        self._opener = opener
        self._single = single
        self._last_id = 0

    def answer(self, dial: IncomingDial, local_side: LocalSide) -> Connection | None:
        """Answer a dial with a new connection and return it, or None if the dial is over."""
        if self.opening.pop(dial.random, None) is None:
            return None
        self._last_id += 1
        connection = self.open_connection(self._last_id, dial.address)
        connection.attach(local_side)
        self.send_control(wire.dial_rsp(dial.random, connection.connect_id))
        return connection

    def answer_failure(self, dial: IncomingDial, text: str) -> None:
        """Answer a dial with an error, unless the dial is over."""
        if self.opening.pop(dial.random, None) is not None:
            self.send_control(wire.dial_rsp(dial.random, error=text))

    def stream_closed(self, status: Status) -> None:
        """End all connections and cancel all dials."""
        super().stream_closed(status)
        for random in list(self.opening):
            self._cancel(random)

    def _role_packet(self, packet: Packet) -> None:
        if packet.type == packet_types.DIAL_REQ:
            self._open(packet.random, packet.protocol, packet.address)
        elif packet.type == packet_types.DIAL_CLS:
            self._cancel(packet.random)

    def _open(self, random: int, protocol: str, address: str) -> None:
        refusal = self._refusal(random)
        if refusal:
            self.send_control(wire.dial_rsp(random, error=refusal))
            return
        dial = self.opening[random] = IncomingDial(self, random, protocol, address)
        self._opener(dial)

    def _refusal(self, random: int) -> str:
        """Return why a dial is refused at once; empty if the opener may have it."""
        if random in self.opening:
            return "a dial with this id is already under way"
        if self._single and self.extension is None and (self.opening or self._last_id):
            return "this stream already carries a connection: open another"
        if self.options.memory.exhausted or self.memory.full:
            self.options.memory.refuse_dial()
            return NO_MEMORY
        return ""

    def _cancel(self, random: int) -> None:
        dial = self.opening.pop(random, None)
        if dial is not None:
            dial.cancel()

    def _close_unknown(self, connect_id: int, data: bool) -> bytes | None:
        if data and not connect_id:
            return None
        if not self._single:
            text = "unrecognized connectID" if data else "Unknown connectID"
        elif self._last_id:
            text = "mismatched connection IDs" if data else "Unknown connectID"
        else:
            text = "backend not initialized" if data else "backend uninitialized"
        return wire.close_rsp(connect_id, text)
