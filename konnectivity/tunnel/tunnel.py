"""Tunnel: one message stream shared by many connections, packets in and packets out in fair turns.

A tunnel has two ends. The **dialing** end asks for connections (the server towards an agent, a client towards a
server); the **serving** end opens them (an agent, or the server towards a client). `Tunnel` is the part of both;
`dialing` and `serving` hold the rest. The reader of the stream never waits for one connection.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable

from konnectivity import wire
from konnectivity.grpc.message_stream import Buffer, MessageStream, StreamReceiver
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.round_trip_probe import RoundTripProbe
from konnectivity.grpc.status import OK, Status
from konnectivity.net.token_bucket import TokenBucket
from konnectivity.runtime import logs
from konnectivity.tunnel import sides, tunnel_log
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.flow_control import FlowControl
from konnectivity.tunnel.interfaces import ExpiringConnection, HeldFlow
from konnectivity.tunnel.memory_budget import TunnelMemory
from konnectivity.tunnel.progress_timers import ProgressTimers
from konnectivity.tunnel.scheduler import Scheduler
from konnectivity.tunnel.states import EXTENDED, Table
from konnectivity.tunnel.stream_hold import StreamHold
from konnectivity.tunnel.tunnel_options import TunnelOptions
from konnectivity.wire import Packet, packet_types

log = logs.get(__name__)

ANSWERS_PER_S = 1000  # answers to packets for unknown connections; the burst is of the same size
_STREAM_WINDOW = 64 * 1024 * 1024  # extension: credit bounds each connection, so the shared stream need not

_CONNECTION_PACKETS: dict[int, Callable[[Connection, Packet], None]] = {
    packet_types.CREDIT: lambda connection, credit: connection.outbound.add_credit(credit.size),
    packet_types.DATA_END: lambda connection, end: connection.peer_end(end.total),
    packet_types.RESET: lambda connection, reset: connection.peer_reset(reset.reason, reset.side),
    packet_types.STOP: lambda connection, stop: connection.peer_stop(stop.reason),
}


class Tunnel(StreamReceiver):
    """End of one tunnel: the part that dialing and serving ends share.

    Args:
        stream: the message stream; the tunnel becomes its receiver.
        options: shared settings and counters.
        table: the reference protocol's dialect of this end.
        own_side: side of this program, of `sides`.
        far_side: side that is behind the local sides.

    Attributes:
        connections: open connections, by their number on this tunnel.
        draining: whether the peer said DRAIN.
        extension: the peer's offer; None: the reference protocol is spoken.
        log_fields: fields that name the peer in logs.

    """

    dialing: bool

    def __init__(
        self, stream: MessageStream, options: TunnelOptions, table: Table, own_side: int, far_side: int
    ) -> None:
        self.stream = stream
        self.options = options
        self.connections: dict[int, Connection] = {}
        self.closed = False
        self.draining = False
        self.extension: Extension | None = None
        self.log_fields: dict[str, str] = {}
        self.traffic = options.traffic
        self.memory = TunnelMemory(options.memory)
        self.scheduler = Scheduler()
        self._loop = asyncio.get_running_loop()
        self.time = self._loop.time
        self._clock = options.clock
        self.round_trip = RoundTripProbe(stream, self.time, self.traffic.round_trips)
        self.flow_control = FlowControl(options.memory, self.time, self.round_trip)
        self._hold = StreamHold(stream, self.traffic, options.hold_s, self._loop)
        self._timers = ProgressTimers(self._loop)
        self._table = table
        self._own_side = own_side
        self._far_side = far_side
        self._answers = TokenBucket(ANSWERS_PER_S, ANSWERS_PER_S, self.time)
        self.traffic.streams += 1
        self.traffic.streams_seen += 1

    def accept_call(self, headers: dict[str, str], instance: str = "") -> None:
        """Accept the peer's call with these response headers, and speak the extension if both sides offer it.

        `instance` is the random word of this server's process, if it is to be told.
        """
        offer: Extension | None = None
        answer: dict[str, str] = {}
        if self.options.extension:
            own = Extension(self.options.memory.initial_window, instance)
            offer, answer = own.answer(self.stream.metadata)
        self.stream.accept(headers | answer)
        self.negotiate(offer)

    def negotiate(self, offer: Extension | None) -> None:
        """Speak the extension from now on, if the peer offers it and this side does."""
        if offer is not None and self.options.extension:
            self.extension = offer
            self._table = EXTENDED
            self.stream.widen(_STREAM_WINDOW)
            self.round_trip.enable()

    @property
    def buffers_full(self) -> bool:
        """Return whether the tunnel's connections have used up the buffer memory of one tunnel."""
        return self.memory.full

    @property
    def exhausted(self) -> bool:
        """Return whether another tunnel should be asked for the next connection."""
        return self.memory.full

    def open_connection(self, connect_id: int, destination: str, origin: str = "", counted: bool = True) -> Connection:
        """Return the new connection of an answered dial, not attached to a local side yet.

        `counted` is whether the connection is one of a client, for the counters and the log.
        """
        credit = self.extension.window if self.extension is not None else None
        connection = Connection(
            connect_id, self, self._table, self.dialing, credit, self._far_side, self._own_side, destination, origin
        )
        connection.call_when_closed(self.connection_closed if counted else self.connection_forgotten)
        self.connections[connect_id] = connection
        if counted:
            self.round_trip.refresh()
            self.traffic.opened += 1
        return connection

    def send_drain(self) -> None:
        """Tell the peer to dial elsewhere from now on."""
        self.send_control(wire.drain())

    # ---- TunnelSide -----------------------------------------------------------------------------------------------

    def send_data(self, connect_id: int, data: Buffer) -> None:
        size = len(data)
        traffic = self.traffic
        traffic.sent_bytes += size
        traffic.sent_data += 1
        self.stream.send(wire.data_head(connect_id, size), data)

    def send_control(self, packet: bytes) -> None:
        kind = wire.kind_of(packet)
        self.traffic.sent_control[kind] += 1
        if log.v(6) and kind != packet_types.CREDIT:
            tunnel_log.packet(self, "Packet sent", wire.decode(packet))
        self.stream.send(packet)

    def hold(self, flow: HeldFlow) -> None:
        self._hold.hold(flow)

    def unhold(self, flow: HeldFlow) -> None:
        self._hold.unhold(flow)

    def expire(self, connection: ExpiringConnection, timeout_s: float) -> None:
        self._timers.start(connection, timeout_s)

    def connection_closed(self, connection: Connection) -> None:
        """Forget a connection that is over, and count it."""
        self.connection_forgotten(connection)
        seconds = self.time() - connection.opened_at
        self.traffic.connection_closed(connection.cause, sides.name_of(connection.blamed), seconds)
        if self.options.log_connections and log.v(2):
            tunnel_log.connection_closed(self, connection, seconds)

    def connection_forgotten(self, connection: Connection) -> None:
        """Forget a connection that is over."""
        self._timers.cancel(connection)
        if self.connections.get(connection.connect_id) is connection:
            del self.connections[connection.connect_id]

    # ---- StreamReceiver -------------------------------------------------------------------------------------------

    def call_accepted(self, metadata: Metadata) -> None:
        self.negotiate(Extension.of(metadata))

    def message_received(self, message: memoryview) -> None:
        data = wire.decode_data(message)
        if data is not None:
            connect_id, payload = data
            connection = self.connections.get(connect_id)
            if connection is None:
                self._data_for_nobody(connect_id)
            elif payload:
                traffic = self.traffic
                traffic.received_bytes += len(payload)
                traffic.received_data += 1
                connection.inbound.receive(payload)
            return
        try:
            packet = wire.decode(message)
        except wire.PacketError as error:
            self.traffic.bad_packets += 1
            tunnel_log.bad_packet(self, error)
            return
        if packet is not None:
            self.traffic.received_control[packet.type] += 1
            self._packet(packet)

    def pause_writing(self) -> None:
        self.scheduler.pause()

    def resume_writing(self) -> None:
        self.scheduler.resume()

    def stream_closed(self, status: Status) -> None:
        self.closed = True
        self.traffic.streams -= 1
        if not status.ok:
            self.traffic.stream_failed(status.code.name)
        for connection in list(self.connections.values()):
            connection.tunnel_lost(str(status))
        self.connections.clear()

    def close(self, status: Status = OK) -> None:
        """End the stream and with it every connection on it."""
        if not self.closed:
            self.stream.finish(status)

    def server_count_changed(self, count: int) -> None:
        """Handle SERVER_COUNT; for derived classes to override."""
        return

    def peer_ready(self, ready: bool) -> None:
        """Handle READY: whether the peer has agents; for derived classes to override."""
        return

    def peer_draining(self) -> None:
        """Handle DRAIN; for derived classes to override."""
        return

    # ---- inside ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def _role_packet(self, packet: Packet) -> None:
        """Handle a packet that only one role understands: DIAL_*."""

    @abstractmethod
    def _close_unknown(self, connect_id: int, data: bool) -> bytes | None:
        """Return the reference protocol's answer to DATA (else: a close) for a connection that does not exist."""

    def _packet(self, packet: Packet) -> None:
        kind = packet.type
        if log.v(6) and kind != packet_types.CREDIT:
            tunnel_log.packet(self, "Packet received", packet)
        if kind == packet_types.DATA:  # DATA in a layout that the fast decoder does not know
            connection = self.connections.get(packet.connect_id)
            if connection is None:
                self._data_for_nobody(packet.connect_id)
            elif packet.data:
                self.traffic.received_bytes += len(packet.data)
                connection.inbound.receive(memoryview(packet.data))
        elif kind in (packet_types.CLOSE_REQ, packet_types.CLOSE_RSP):
            self._close_packet(packet)
        elif kind == packet_types.DRAIN:
            self.draining = True
            self.peer_draining()
        elif kind >= packet_types.CREDIT:
            if self.extension is not None:
                self._extension_packet(packet)
        else:
            self._role_packet(packet)

    def _close_packet(self, packet: Packet) -> None:
        if (packet.type == packet_types.CLOSE_RSP) != self.dialing:
            return
        connection = self.connections.get(packet.connect_id)
        if connection is not None:
            if self.extension is None:
                connection.peer_close(packet.error)
            else:
                connection.peer_reset(packet.error or "closed by the peer")
        elif not self.dialing and self._may_answer():
            answer = self._close_unknown(packet.connect_id, data=False)
            if answer is not None:
                self.send_control(answer)

    def _extension_packet(self, packet: Packet) -> None:
        handle = _CONNECTION_PACKETS.get(packet.type)
        if handle is not None:
            connection = self.connections.get(packet.connect_id)
            if connection is not None:  # otherwise the packet is late: the connection has ended
                handle(connection, packet)
        elif packet.type == packet_types.SERVER_COUNT:
            self.server_count_changed(packet.count)
        elif packet.type == packet_types.READY:
            self.peer_ready(packet.ready)

    def _data_for_nobody(self, connect_id: int) -> None:
        """Answer DATA for a connection that is over or never was; no other connection is affected."""
        self.traffic.unknown_connections += 1
        if not self._may_answer():
            return
        if self.extension is not None:
            self.send_control(wire.reset(connect_id, self._own_side, "unknown connection", 0, 0))
            return
        answer = self._close_unknown(connect_id, data=True)
        if answer is not None:
            self.send_control(answer)

    def _may_answer(self) -> bool:
        """Return whether to tell the peer that a connection is unknown: answers are limited to a rate."""
        if self._answers.take():
            return True
        self.options.reached["unknown_connections"] += 1
        return False
