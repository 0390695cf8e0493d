"""The serving end of a tunnel: opens the connections that the far side asks for.

Used by the agent towards a server, and by the server towards a gRPC frontend. How a connection is opened (a socket, or
a dial through another tunnel) is the injected opener's business.
"""

from __future__ import annotations

from collections.abc import Callable

from konnectivity import wire
from konnectivity.errors import NO_MEMORY
from konnectivity.grpc.message_stream import MessageStream
from konnectivity.grpc.status import Status
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.interfaces import LocalSide
from konnectivity.tunnel.states import ESTABLISHED_SERVING
from konnectivity.tunnel.tunnel import Tunnel, TunnelOptions
from konnectivity.wire import Packet, packet_types


class DialIn:
    """One request of the far side. The opener calls `connected` or `failed`, once; if `cancelled`, they do nothing."""

    __slots__ = ("address", "cancelled", "on_cancel", "protocol", "random", "tunnel")

    def __init__(self, tunnel: ServingTunnel, random: int, protocol: str, address: str) -> None:
        self.tunnel = tunnel
        self.random = random
        self.protocol = protocol
        self.address = address
        self.cancelled = False
        self.on_cancel: Callable[[], object] | None = None

    def connected(self, endpoint: LocalSide) -> Connection | None:
        """The connection stands: answer, and return its link. None: nobody wants it any more; close it."""
        return self.tunnel.answer(self, endpoint)

    def failed(self, text: str) -> None:
        """The connection could not be had."""
        self.tunnel.answer_failure(self, text)


Opener = Callable[[DialIn], None]


class ServingTunnel(Tunnel):
    """See the module.

    Args:
        opener: called for every dial.
        single: established wire: one connection on this stream at most (a frontend's stream).

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
        super().__init__(stream, options, ESTABLISHED_SERVING, own_side, far_side)
        self.opening: dict[int, DialIn] = {}
        self._opener = opener
        self._single = single
        self._last_id = 0

    def answer(self, dial: DialIn, endpoint: LocalSide) -> Connection | None:
        if not self._settle(dial):
            return None
        self._last_id += 1
        link = self.open_connection(self._last_id)
        link.destination = dial.address
        link.endpoint = endpoint
        self.send_control(wire.dial_rsp(dial.random, link.connect_id))
        return link

    def answer_failure(self, dial: DialIn, text: str) -> None:
        if self._settle(dial):
            self.send_control(wire.dial_rsp(dial.random, error=text))

    def _settle(self, dial: DialIn) -> bool:
        """The opener is done with it. False: nobody wants to know."""
        dial.on_cancel = None
        return not dial.cancelled and self.opening.pop(dial.random, None) is not None

    def stream_closed(self, status: Status) -> None:
        super().stream_closed(status)
        for random in list(self.opening):
            self._cancel(random)

    def _role_packet(self, packet: Packet) -> None:
        if packet.type == packet_types.DIAL_REQ:
            request = packet.dialRequest
            self._dial(DialIn(self, request.random, request.protocol, request.address))
        elif packet.type == packet_types.DIAL_CLS:
            self._cancel(packet.closeDial.random)

    def _dial(self, dial: DialIn) -> None:
        if dial.random in self.opening:
            self.send_control(wire.dial_rsp(dial.random, error="a dial with this id is already under way"))
        elif self._single and self.extension is None and (self.opening or self._last_id):
            self.send_control(
                wire.dial_rsp(dial.random, error="this stream already carries a connection: open another")
            )
        elif self.ledger.exhausted or self.buffers_full:
            self.ledger.refused_dials += 1
            self.send_control(wire.dial_rsp(dial.random, error=NO_MEMORY))
        else:
            self.opening[dial.random] = dial
            self._opener(dial)

    def _cancel(self, random: int) -> None:
        dial = self.opening.pop(random, None)
        if dial is not None:
            dial.cancelled = True
            cancel, dial.on_cancel = dial.on_cancel, None
            if cancel is not None:
                cancel()

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
