"""Outbound direction of one connection: from its local side to its tunnel. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

from konnectivity.tunnel.interfaces import NOBODY, NOWHERE, Buffer, DirectionOwner, LocalSide, TunnelSide

UNLIMITED = 1 << 62
MAX_PAYLOAD: Final = 64 * 1024  # bytes of one DATA packet to a peer that negotiated the extension
REFERENCE_PAYLOAD: Final = 32 * 1024  # bytes of one payload to any other peer: the reference sends no larger ones


class OutboundQueue:
    """Bytes of the local side that wait for credit or for a turn on the stream. Knows nothing of connection states.

    Args:
        owner: the connection.
        connect_id: the connection's number on the tunnel.
        tunnel: the tunnel.
        credit: bytes the peer grants at first; None: the peer knows no credit.

    Attributes:
        credit: bytes that may be sent.
        queued: bytes that wait.
        sent: bytes sent.
        paused: whether the local side is told to deliver no more data.
        ended: whether the local side has ended its output.
        starved: whether the connection has used up its credit.
        starved_at: when it used up its credit, on the tunnel's clock.

    """

    __slots__ = (
        "_connect_id",
        "_local_side",
        "_max_payload",
        "_owner",
        "_queue",
        "_scheduled",
        "_scheduler",
        "_shut",
        "_stopped",
        "_tunnel",
        "credit",
        "ended",
        "paused",
        "queued",
        "sent",
        "starved",
        "starved_at",
    )

    def __init__(self, owner: DirectionOwner, connect_id: int, tunnel: TunnelSide, credit: int | None) -> None:
        self.credit = UNLIMITED if credit is None else credit
        self.queued = 0
        self.sent = 0
        self.paused = False
        self.ended = False
        self.starved = False
        self.starved_at = 0.0
        self._owner = owner
        self._connect_id = connect_id
        self._tunnel = tunnel
        self._scheduler = tunnel.scheduler
        self._local_side: LocalSide = NOWHERE
        self._max_payload = REFERENCE_PAYLOAD if credit is None else MAX_PAYLOAD
        self._queue: deque[Buffer] = deque()
        self._scheduled = False  # waits for its turn
        self._stopped = False  # the peer takes no more: data of the local side is dropped
        self._shut = False  # ended or stopped

    def attach(self, local_side: LocalSide) -> None:
        """Take the local side that is paused and resumed."""
        self._local_side = local_side

    def send(self, data: Buffer) -> bool:
        """Send data of the local side. Return False if data waits: the local side is paused until it is sent."""
        if self._shut:
            return True
        size = len(data)
        if size <= self._max_payload and size < self.credit and not self._queue and self._scheduler.clear:
            self.credit -= size
            self.sent += size
            self._tunnel.send_data(self._connect_id, data)
            return True
        return self._enqueue(data, size)

    def _enqueue(self, data: Buffer, size: int) -> bool:
        self._queue.append(data)
        self.queued += size
        self._tunnel.memory.book(size)
        if not self.paused:
            self.paused = True
            self._local_side.pause()
        if self.credit:
            self._schedule()
        elif not self.starved:
            self._starve()
        return not self.queued

    def take_turn(self, quantum: int) -> bool:
        """Send up to `quantum` queued bytes, as credit allows. Return True to wait for another turn."""
        self._scheduled = False
        self._send_queued(quantum)
        if not self._queue:
            if self.ended:
                if not self._stopped:
                    self._owner.flushed()
            elif self.paused and self.credit > 0:
                self._resume()
            elif self.paused and not self.starved:
                self._starve()
            return False
        if self.credit > 0:
            self._scheduled = True
            return True
        if not self.starved:
            self._starve()
        return False

    def _send_queued(self, quantum: int) -> None:
        queue = self._queue
        while queue and quantum > 0 and self.credit > 0:
            data = queue[0]
            size = min(len(data), quantum, self.credit, self._max_payload)
            if size == len(data):
                queue.popleft()
            else:
                view = memoryview(data)
                data, queue[0] = view[:size], view[size:]
            self.credit -= size
            self.sent += size
            self.queued -= size
            quantum -= size
            self._tunnel.memory.book(-size)
            self._tunnel.send_data(self._connect_id, data)

    def add_credit(self, size: int) -> None:
        """Add `size` bytes of credit from the peer, and send what waits for it."""
        if size <= 0 or self.credit + size > UNLIMITED:
            self._owner.violated(f"credit of {size} bytes")
            return
        self.credit += size
        if self.starved:
            self._feed()
        if self._queue:
            self._schedule()
        elif self.paused:
            self._resume()

    def end(self) -> None:
        """End the output behind everything queued; the owner is told when all of it is sent."""
        self.ended = self._shut = True
        if not self._queue and not self._stopped:
            self._owner.flushed()

    def stop(self) -> None:
        """Drop what waits and whatever the local side still delivers: the peer takes no more."""
        self._drop()
        if self.paused:
            self._resume()  # output is read and dropped, so that the local side can go on reading its input

    def close(self) -> None:
        """Drop what waits and forget the local side: the connection is over."""
        self._drop()
        self.paused = False
        self._local_side, self._owner = NOWHERE, NOBODY
        if self.starved:
            self._feed()

    def _drop(self) -> None:
        self._stopped = self._shut = True
        if self.queued:
            self._tunnel.memory.book(-self.queued)
            self.queued = 0
            self._queue.clear()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._scheduler.add(self)

    def _resume(self) -> None:
        self.paused = False
        self._local_side.resume()

    def _starve(self) -> None:
        self.starved = True
        self.starved_at = self._tunnel.time()
        self._tunnel.traffic.starved += 1

    def _feed(self) -> None:
        self.starved = False
        traffic = self._tunnel.traffic
        traffic.starved -= 1
        traffic.starved_seconds += self._tunnel.time() - self.starved_at
