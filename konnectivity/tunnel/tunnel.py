"""Many links on one message stream: packets in -> links, links -> packets out in fair turns.

A tunnel has two ends. The **dialing** end asks for connections (the server towards an agent, a client towards a
server); the **serving** end opens them (an agent, or the server towards a client). `Tunnel` is what both share;
`dialing` and `serving` hold the rest. The reader of the stream never waits on one connection.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from konnectivity import wire
from konnectivity.grpc.message_stream import Buffer, MessageStream, StreamReceiver
from konnectivity.grpc.metadata import Metadata
from konnectivity.grpc.status import OK, Status
from konnectivity.http2.abuse_limits import TokenBucket
from konnectivity.metrics.tunnel_stats import TunnelStats
from konnectivity.runtime import logs
from konnectivity.tunnel import sides
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.extension import Extension
from konnectivity.tunnel.flow_control import FlowControl
from konnectivity.tunnel.memory_budget import MemoryBudget
from konnectivity.tunnel.scheduler import Scheduler
from konnectivity.tunnel.states import EXTENDED, Table
from konnectivity.wire import Packet, packet_types

log = logs.get(__name__)
peer_log = logs.get_peer_log(__name__)
# Level 6 shows packets one by one, for a person: of a peer, and of all, not more than somebody can read.
packet_log = logs.get_peer_log(__name__, logs.LineRate(per_peer=2_000, per_message=10_000))

HOLD_S = 2.0  # established wire: how long one connection over its budget may hold the shared stream
_HOLD_CHECK_S = 0.1
_ASSUMED_ROUND_TRIP_S = 0.001
_MEASURE_S = 1.0  # between two measurements of the round trip, while there is something to do
UNKNOWN_PER_S = 1000  # packets for connections that there are not, which are answered; a burst of as many, too
_LINE_WINDOW = 64 * 1024 * 1024  # extension: credit bounds each connection, so the shared line need not


@dataclass(slots=True)
class TunnelOptions:
    """What the tunnels of one program share. Times in seconds."""

    ledger: MemoryBudget = field(default_factory=MemoryBudget)
    traffic: TunnelStats = field(default_factory=TunnelStats)
    hold_s: float | None = HOLD_S  # None: hold for as long as it takes (a stream with one connection on it)
    extension: bool = True
    log_connections: bool = True
    clock: Callable[[], float] = monotonic
    reached: Counter[str] = field(default_factory=Counter)  # how often which limit was, by name


class Tunnel(StreamReceiver):
    """One end of one tunnel: what dialing and serving ends share.

    Args:
        stream: the message stream; the tunnel becomes its receiver.
        options: shared settings and counters.
        table: the established wire's dialect of this end.
        own_side: `ResetSide` of this program.
        far_side: of what is behind our endpoints.

    """

    dialing: bool

    def __init__(
        self, stream: MessageStream, options: TunnelOptions, table: Table, own_side: int, far_side: int
    ) -> None:
        self.stream = stream
        self.options = options
        self.ledger = options.ledger
        self.connections: dict[int, Connection] = {}
        self.closed = False
        self.draining = False  # the peer said DRAIN
        self.buffered = 0  # bytes of its connections that wait here
        self._measured_at = 0.0
        self.extension: Extension | None = None
        self.log_fields: dict[str, str] = {}  # for the log: what the far end is
        self._loop = asyncio.get_running_loop()
        self._clock = options.clock
        self.windows = FlowControl(self.ledger, self.connections, self._loop.time)
        self._traffic = options.traffic
        self._table = table
        self._own_side = own_side
        self._far_side = far_side
        self._scheduler = Scheduler()
        self._unknown = TokenBucket(UNKNOWN_PER_S, UNKNOWN_PER_S, self._loop.time)
        self._timers: dict[Connection, asyncio.TimerHandle] = {}
        self._holders: dict[Connection, asyncio.TimerHandle] = {}
        self._traffic.streams += 1
        self._traffic.streams_seen += 1

    def negotiated(self, capabilities: Extension | None) -> None:
        """The peer's metadata is here: speak the extension if it offers it and we do."""
        if capabilities is not None and self.options.extension:
            self.extension = capabilities
            self._table = EXTENDED
            self.stream.widen(_LINE_WINDOW)
            self.measure()

    def measure(self) -> None:
        """Ask the peer for a sign of life, and count how long it takes."""
        self._measured_at = self._loop.time()
        self.stream.measure(self._traffic.round_trips.observe)

    @property
    def buffers_full(self) -> bool:
        """Whether its connections have used up the buffer memory of one tunnel."""
        return self.buffered >= self.ledger.tunnel_budget

    @property
    def exhausted(self) -> bool:
        """Whether another tunnel should be asked for the next connection."""
        return self.buffers_full

    def open_connection(self, connect_id: int) -> Connection:
        """A connection is established: its link, not yet attached to an endpoint."""
        credit = self.extension.window if self.extension is not None else None
        link = Connection(connect_id, self, self._table, self.dialing, credit, self._far_side, self._own_side)
        self.windows.opened(link)
        self._measure_again()
        self.connections[connect_id] = link
        self._traffic.opened += 1
        return link

    def send_drain(self) -> None:
        """Tell the peer to dial elsewhere from now on."""
        self.send_control(wire.drain())

    # ---- Line: called by links ------------------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        scheduler = self._scheduler  # not `bool(scheduler)`: one call less for each message
        return True if scheduler.fresh or scheduler.busy else self.stream.congested

    @property
    def round_trip_s(self) -> float:
        """Who asks wants to know it of today: it is measured again if the last time is a while ago."""
        self._measure_again()
        return self.stream.least_round_trip_s or _ASSUMED_ROUND_TRIP_S

    def send_data(self, connect_id: int, data: Buffer) -> None:
        size = len(data)
        traffic = self._traffic
        traffic.sent_bytes += size
        traffic.sent_data += 1
        self.stream.send(wire.data_head(connect_id, size), data)

    def send_control(self, packet: bytes) -> None:
        self._traffic.sent_control[wire.kind_of(packet)] += 1
        if log.v(6) and wire.kind_of(packet) != packet_types.CREDIT:
            self._log_packet("Packet sent", wire.decode(packet))
        self.stream.send(packet)

    def book(self, size: int) -> None:
        self.buffered += size
        self.ledger.used += size

    def activate(self, link: Connection) -> None:
        self._scheduler.add(link)
        self._pump()

    def hold(self, link: Connection) -> None:
        if link in self._holders:
            return
        if not self._holders:
            self.stream.hold()
            self._traffic.holding += 1
        self._traffic.held += 1
        until = None if self.options.hold_s is None else self._loop.time() + self.options.hold_s
        self._holders[link] = self._loop.call_later(_HOLD_CHECK_S, self._check_hold, link, until)

    def unhold(self, link: Connection) -> None:
        if link not in self._holders:
            return
        self._holders.pop(link).cancel()
        if not self._holders:
            self.stream.release()
            self._traffic.holding -= 1

    def stall(self, link: Connection, begins: bool) -> None:
        now = self._loop.time()
        if begins:
            link.stalled_at = now
            self._traffic.stalled += 1
        else:
            self._traffic.stalled -= 1
            self._traffic.stall_seconds.observe(now - link.stalled_at)

    def starve(self, link: Connection, begins: bool) -> None:
        now = self._loop.time()
        if begins:
            link.starved_at = now
            self._traffic.starved += 1
        else:
            self._traffic.starved -= 1
            self._traffic.starved_seconds += now - link.starved_at

    def expire(self, link: Connection, timeout_s: float) -> None:
        self._cancel_timer(link)
        self._timers[link] = self._loop.call_later(timeout_s, self._expired, link, timeout_s, self._progress(link))

    def connection_closed(self, link: Connection) -> None:
        self._cancel_timer(link)
        self.unhold(link)
        if self.connections.get(link.connect_id) is link:
            del self.connections[link.connect_id]
        seconds = self._loop.time() - link.opened_at
        side = sides.name_of(link.blamed)
        self._traffic.connection_closed(link.cause, side, seconds)
        if link.on_close is not None:
            link.on_close(link)
        if self.options.log_connections and log.v(2):
            log.info(
                "Connection closed",
                **({"from": link.origin} if link.origin else {}),
                destination=link.destination,
                **self.log_fields,
                connection=link.connect_id,
                sent=link.sent,
                received=link.received,
                seconds=round(seconds, 3),
                cause=link.cause,
                side=side,
                reason=link.reason or "both sides ended",
            )

    # ---- StreamReceiver -------------------------------------------------------------------------------------------

    def call_accepted(self, metadata: Metadata) -> None:
        self.negotiated(Extension.of(metadata))

    def message_received(self, message: memoryview) -> None:
        data = wire.decode_data(message)
        if data is not None:
            connect_id, payload = data
            link = self.connections.get(connect_id)
            if link is None:
                self._data_for_nobody(connect_id)
            elif payload:
                traffic = self._traffic
                traffic.received_bytes += len(payload)
                traffic.received_data += 1
                link.peer_data(payload)
            return
        try:
            packet = wire.decode(message)
        except wire.PacketError as error:
            self._traffic.bad_packets += 1
            if log.v(2):
                peer = self.stream.peer
                peer_log.info(peer.source, "Bad packet", peer=peer.address, reason=error)
            return
        if packet is not None:
            self._traffic.received_control[packet.type] += 1
            self._packet(packet)

    def stream_drained(self) -> None:
        self._pump()

    def stream_closed(self, status: Status) -> None:
        self.closed = True
        self._traffic.streams -= 1
        if not status.ok:
            self._traffic.stream_failed(status.code.name)
        for link in list(self.connections.values()):
            link.tunnel_lost(str(status))
        self.connections.clear()

    def close(self, status: Status = OK) -> None:
        """End the stream and with it every connection on it."""
        if not self.closed:
            self.stream.finish(status)

    def server_count_changed(self, count: int) -> None:
        """The peer said how many servers there are. For derived classes to override."""
        return

    def peer_ready(self, ready: bool) -> None:
        """The peer said whether it has agents. For derived classes to override."""
        return

    def peer_draining(self) -> None:
        """The peer said DRAIN. For derived classes to override."""
        return

    # ---- inside ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def _role_packet(self, packet: Packet) -> None:
        """A packet that only one role understands: DIAL_*."""

    @abstractmethod
    def _close_unknown(self, connect_id: int, data: bool) -> bytes | None:
        """Established wire: the answer to DATA (else: to a close) for a connection that does not exist."""

    def _packet(self, packet: Packet) -> None:
        kind = packet.type
        if log.v(6) and kind != packet_types.CREDIT:
            self._log_packet("Packet received", packet)
        if kind == packet_types.DATA:  # in a layout the fast decoder does not know
            link = self.connections.get(packet.data.connectID)
            if link is None:
                self._data_for_nobody(packet.data.connectID)
            elif packet.data.data:
                self._traffic.received_bytes += len(packet.data.data)
                link.peer_data(memoryview(packet.data.data))
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
        if packet.type == packet_types.CLOSE_REQ:
            connect_id, error, expected = packet.closeRequest.connectID, "", not self.dialing
        else:
            connect_id, error, expected = packet.closeResponse.connectID, packet.closeResponse.error, self.dialing
        if not expected:
            return
        link = self.connections.get(connect_id)
        if link is not None:
            if self.extension is None:
                link.peer_close(error)
            else:
                link.peer_reset(error or "closed by the peer")
        elif not self.dialing and self._may_answer():
            answer = self._close_unknown(connect_id, data=False)
            if answer is not None:
                self.send_control(answer)

    def _extension_packet(self, packet: Packet) -> None:
        """For a connection that is over these are late, and mean nothing any more."""
        kind = packet.type
        if kind == packet_types.CREDIT:
            link = self.connections.get(packet.credit.connectID)
            if link is not None:
                link.peer_credit(packet.credit.bytes)
        elif kind == packet_types.DATA_END:
            link = self.connections.get(packet.dataEnd.connectID)
            if link is not None:
                link.peer_end(packet.dataEnd.total)
        elif kind == packet_types.RESET:
            link = self.connections.get(packet.reset.connectID)
            if link is not None:
                link.peer_reset(packet.reset.reason, packet.reset.side)
        elif kind == packet_types.STOP:
            link = self.connections.get(packet.stop.connectID)
            if link is not None:
                link.peer_stop(packet.stop.reason)
        elif kind == packet_types.SERVER_COUNT:
            self.server_count_changed(packet.serverCount.count)
        elif kind == packet_types.READY:
            self.peer_ready(packet.ready.ready)

    def _data_for_nobody(self, connect_id: int) -> None:
        """DATA for a connection that is over, or never was: say so; it touches nobody else."""
        self._traffic.unknown_connections += 1
        if not self._may_answer():
            return
        if self.extension is not None:
            self.send_control(wire.reset(connect_id, self._own_side, "unknown connection", 0, 0))
            return
        answer = self._close_unknown(connect_id, data=True)
        if answer is not None:
            self.send_control(answer)

    def _may_answer(self) -> bool:
        """Whether the peer is told that a connection is unknown: if it goes on and on, only now and then."""
        if self._unknown.take():
            return True
        self.options.reached["unknown_connections"] += 1
        return False

    def _log_packet(self, message: str, packet: Packet | None) -> None:
        text = wire.describe(packet) if packet is not None else "unknown"
        peer = self.stream.peer
        packet_log.info(peer.source, message, peer=peer.address, **self.log_fields, packet=text)

    def _pump(self) -> None:
        scheduler, stream = self._scheduler, self.stream
        while scheduler and not stream.congested:
            scheduler.turn()

    def _measure_again(self) -> None:
        if self._loop.time() - self._measured_at > _MEASURE_S and self.extension is not None:
            self.measure()

    def _check_hold(self, link: Connection, until: float | None) -> None:
        if link.relieved():
            self.unhold(link)
        elif until is not None and self._loop.time() >= until:
            self._traffic.reset_over_budget += 1
            link.cause = "budget"
            link.expired(f"reset: over its buffer budget for {self.options.hold_s:g} s, and the peer knows no credit")
        else:
            self._holders[link] = self._loop.call_later(_HOLD_CHECK_S, self._check_hold, link, until)

    def _progress(self, link: Connection) -> tuple[int, int]:
        return link.sent, link.received if not link.gone else 0

    def _expired(self, link: Connection, timeout_s: float, before: tuple[int, int]) -> None:
        now = self._progress(link)
        if now == before:
            del self._timers[link]
            link.expired()
        else:
            self._timers[link] = self._loop.call_later(timeout_s, self._expired, link, timeout_s, now)

    def _cancel_timer(self, link: Connection) -> None:
        timer = self._timers.pop(link, None)
        if timer is not None:
            timer.cancel()
