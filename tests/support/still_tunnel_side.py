"""Tunnel side of a connection in memory: a clock moved by hand, and a record of everything sent."""

from __future__ import annotations

from konnectivity import wire
from konnectivity.metrics.tunnel_stats import TunnelStats
from konnectivity.tunnel import sides
from konnectivity.tunnel.connection import Connection
from konnectivity.tunnel.flow_control import FlowControl
from konnectivity.tunnel.interfaces import Buffer, ExpiringConnection, HeldFlow
from konnectivity.tunnel.memory_budget import MemoryBudget, TunnelMemory
from konnectivity.tunnel.scheduler import Scheduler
from konnectivity.tunnel.states import EXTENDED, Table


class StillTunnelSide:
    """Tunnel side that sends nowhere.

    Attributes:
        now: time in seconds; the test moves it.
        data: payloads of DATA packets sent, with the number of their connection.
        packets: other packets sent.
        held: inbound directions that hold the stream.
        limits: time limits of connections, in seconds.
        connections: open connections.

    """

    def __init__(self, budget: MemoryBudget | None = None, round_trip_s: float = 0.0002) -> None:
        self.now = 100.0
        self.memory = TunnelMemory(budget or MemoryBudget())
        self.scheduler = Scheduler()
        self.traffic = TunnelStats()
        self.round_trip_s = round_trip_s
        self.flow_control = FlowControl(self.memory.budget, self.time, self)
        self.data: list[tuple[int, bytes]] = []
        self.packets: list[wire.Packet] = []
        self.held: set[HeldFlow] = set()
        self.limits: dict[ExpiringConnection, float] = {}
        self.connections: dict[int, Connection] = {}

    def open(
        self,
        credit: int | None = 64 * 1024,
        table: Table = EXTENDED,
        dialing: bool = True,
    ) -> Connection:
        """Return a new connection; it has no local side yet."""
        number = len(self.connections) + 1
        connection = Connection(number, self, table, dialing, credit, sides.CLIENT, sides.SERVER)
        self.connections[number] = connection
        return connection

    def payload(self) -> bytes:
        """Return everything sent in DATA packets, and clear it."""
        payload = b"".join(data for _, data in self.data)
        self.data.clear()
        return payload

    def refreshed_s(self) -> float:
        return self.round_trip_s

    # ---- TunnelSide -----------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self.now

    def send_data(self, connect_id: int, data: Buffer) -> None:
        self.data.append((connect_id, bytes(data)))

    def send_control(self, packet: bytes) -> None:
        decoded = wire.decode(packet)
        assert decoded is not None
        self.packets.append(decoded)

    def hold(self, flow: HeldFlow) -> None:
        self.held.add(flow)

    def unhold(self, flow: HeldFlow) -> None:
        self.held.discard(flow)

    def expire(self, connection: ExpiringConnection, timeout_s: float) -> None:
        self.limits[connection] = timeout_s


class StillLocalSide:
    """Local side that accepts data or keeps it, as the test says.

    Attributes:
        taken: bytes written and taken.
        kept: number of bytes written and not taken.
        blocked: whether it keeps everything it is given.
        news: other calls of the connection, in order.

    """

    def __init__(self) -> None:
        self.taken = b""
        self.kept = 0
        self.blocked = False
        self.news: list[str] = []

    def write(self, data: Buffer) -> bool:
        if self.blocked:
            self.kept += len(data)
        else:
            self.taken += bytes(data)
        return not self.blocked

    def write_eof(self) -> None:
        self.news.append("end")

    def close(self) -> None:
        self.news.append("close")

    def abort(self, reason: str) -> None:
        self.news.append(f"abort: {reason}")

    def buffered(self) -> int:
        return self.kept

    def watch(self, left: int) -> None:
        self.news.append(f"watch {left}")

    def pause(self) -> None:
        self.news.append("pause")

    def resume(self) -> None:
        self.news.append("resume")
