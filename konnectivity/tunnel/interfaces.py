"""Interfaces around a proxied connection: its local side, its tunnel side, and what its two directions tell it."""

from __future__ import annotations

from typing import Protocol

from konnectivity.metrics.tunnel_stats import TunnelStats
from konnectivity.tunnel.flow_control import FlowControl
from konnectivity.tunnel.memory_budget import TunnelMemory
from konnectivity.tunnel.scheduler import Scheduler

Buffer = bytes | memoryview

# Seconds without progress while the reader of a connection that ended leaves its last bytes unread. Linux keeps a
# closed socket about as long. A pager that waits for its user does not read for minutes.
UNREAD_TIMEOUT_S = 300.0


class LocalSide(Protocol):
    """Local side of a connection: a client's or target's socket, or a connection of another tunnel."""

    def write(self, data: Buffer) -> bool:
        """Take data. Return False if data had to be buffered: `InboundFlow.local_drained` follows when it has left."""

    def write_eof(self) -> None:
        """End the local side's input behind everything written."""

    def close(self) -> None:
        """Hand over everything written, then close both directions."""

    def abort(self, reason: str) -> None:
        """Close both directions at once, with an error if the local side can be shown one."""

    def buffered(self) -> int:
        """Return the number of bytes taken by `write` that have not left yet."""

    def watch(self, left: int) -> None:
        """Call `InboundFlow.local_progress` when at most `left` bytes are buffered, if the local side can do that."""

    def pause(self) -> None:
        """Deliver no more data to the connection."""

    def resume(self) -> None:
        """Deliver data to the connection again."""


class HeldFlow(Protocol):
    """Inbound direction that holds a shared stream, because its peer knows no credit."""

    def relieved(self) -> bool:
        """Return whether the buffered bytes have fallen well below the connection's budget."""

    def over_budget(self, reason: str) -> None:
        """End the connection: it held the stream for too long."""


class ExpiringConnection(Protocol):
    """Connection with a time limit on progress."""

    def progress(self) -> tuple[int, int]:
        """Return the byte counts that change while the connection makes progress."""

    def expired(self) -> None:
        """End the connection: it made no progress in time."""


class TunnelSide(Protocol):
    """Tunnel side of a connection: the stream that all connections of one tunnel share.

    Attributes:
        memory: account of the bytes buffered for this tunnel's connections.
        flow_control: sizes of the windows of this tunnel's connections.
        scheduler: turns on the stream.
        traffic: counters.

    """

    memory: TunnelMemory
    flow_control: FlowControl
    scheduler: Scheduler
    traffic: TunnelStats

    def time(self) -> float:
        """Return the time in seconds of a clock that never goes back."""

    def send_data(self, connect_id: int, data: Buffer) -> None:
        """Send a DATA packet now."""

    def send_control(self, packet: bytes) -> None:
        """Send a packet other than DATA now."""

    def hold(self, flow: HeldFlow) -> None:
        """Stop reading the stream until `flow` is relieved."""

    def unhold(self, flow: HeldFlow) -> None:
        """Read the stream again, unless another flow holds it."""

    def expire(self, connection: ExpiringConnection, timeout_s: float) -> None:
        """Call `connection.expired` after `timeout_s` seconds without progress; replaces an earlier time limit."""


class DirectionOwner(Protocol):
    """Connection as its two directions see it."""

    def violated(self, reason: str) -> None:
        """End the connection: its peer broke the rules."""

    def expired(self, reason: str, cause: str) -> None:
        """End the connection: a limit of this side was reached. `cause` is the value for metrics."""

    def flushed(self) -> None:
        """Note that the local side has ended its output and every byte of it is sent."""


class _Nowhere:
    """Local side of a connection that has none yet or none any more."""

    def write(self, data: Buffer) -> bool:
        return True

    def write_eof(self) -> None: ...

    def close(self) -> None: ...

    def abort(self, reason: str) -> None: ...

    def buffered(self) -> int:
        return 0

    def watch(self, left: int) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class _Nobody:
    """Owner of the directions of a connection that is over."""

    def violated(self, reason: str) -> None: ...

    def expired(self, reason: str, cause: str) -> None: ...

    def flushed(self) -> None: ...


NOWHERE: LocalSide = _Nowhere()
NOBODY: DirectionOwner = _Nobody()
