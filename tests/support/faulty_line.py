"""TCP relay on loopback with faults on demand: slow, narrow, garbled, cut, silent or refusing, until it is healed.

The relay runs in a thread of its own, like `DelayedLine`. Every fault applies to all connections of the relay,
open and new ones, until `heal`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from support.delayed_line import DelayedLine, End

Direction = Literal["out", "back", "both"]  # from the client that connected to the relay, towards that client, or both

_CHECK_S = 0.02  # seconds between two checks whether held data may be delivered
_CALL_TIMEOUT_S = 5.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Conditions:
    """Faults that are active on the relay."""

    delay_s: float = 0.0  # seconds of delay in one direction
    rate: float = 0.0  # bytes per second in each direction; 0: unlimited
    held: bool = False
    lost: Direction | None = None
    garbled: Direction | None = None  # the next piece only
    refusing: bool = False


class _FaultyEnd(End):
    """One side of a connection that checks the active faults for each piece of data."""

    window = 256 * 1024  # bytes that the buffers of a slow path hold; data is late by as much

    def __init__(self, conditions: Conditions, direction: Direction, ends: set[End]) -> None:
        super().__init__(0.0, ends)
        self._conditions = conditions
        self._direction = direction  # direction of the data received here
        self._last = 0.0  # when the last piece arrives
        self.orphan = False  # the other side has ended, and the fault hides its end

    def arrival(self, size: int) -> float:
        now, conditions = self._loop.time(), self._conditions
        self._last = max(now + conditions.delay_s, self._last)
        if conditions.rate:
            self._last += size / conditions.rate
        return self._last

    def _concerns(self, what: Direction | None) -> bool:
        return what in ("both", self._direction)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._conditions.refusing:
            self.reset()

    def _queue(self, data: bytes) -> None:
        conditions = self._conditions
        if self._concerns(conditions.lost):
            return
        if data and self._concerns(conditions.garbled):
            conditions.garbled = None
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 0x20]) + data[middle + 1 :]
        super()._queue(data)

    def _arrive(self) -> None:
        if not self._conditions.held:
            super()._arrive()
        elif self.transport is not None:
            self._timer = self._loop.call_later(_CHECK_S, self._arrive)

    def connection_lost(self, exc: Exception | None) -> None:
        other = self.other
        if isinstance(other, _FaultyEnd) and (self._conditions.held or self._concerns(self._conditions.lost)):
            self.other, other.orphan = None, True  # the other side does not learn of the end
        super().connection_lost(exc)

    def reset(self) -> None:
        if self.transport is not None:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()


class FaultyLine(DelayedLine):
    """Relay with faults: `with FaultyLine(("127.0.0.1", port)) as line: line.cut()`. Callable from any thread."""

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(target, 0.0)
        self._conditions = Conditions()

    def make_end(self, near: bool) -> End:
        return _FaultyEnd(self._conditions, "out" if near else "back", self._ends)

    @property
    def connections(self) -> int:
        """Return the number of connection ends that the relay holds: two for each connection."""
        return len(self._ends)

    def delay(self, one_way_s: float) -> None:
        self._change(delay_s=one_way_s)

    def throttle(self, bytes_per_s: float) -> None:
        """Limit the rate of each direction of each connection."""
        self._change(rate=bytes_per_s)

    def hold(self) -> None:
        """Deliver nothing until `heal`; data in flight is kept and arrives then."""
        self._change(held=True)

    def lose(self, direction: Direction = "both") -> None:
        """Drop everything that is sent, including the end of a connection, without an error."""
        self._change(lost=direction)

    def garble(self, direction: Direction = "both") -> None:
        """Flip one bit of the next piece of data."""
        self._change(garbled=direction)

    def refuse(self) -> None:
        """Reset new connections."""
        self._change(refusing=True)

    def cut(self, how: Literal["reset", "end"] = "reset") -> None:
        """End every open connection, in both directions, by RST or by FIN."""
        self._call(lambda: self._end_all(how))

    def heal(self) -> None:
        """Remove all faults. A connection of which one side has ended is reset, so that the other side learns of it."""
        self._change(delay_s=0.0, rate=0.0, held=False, lost=None, garbled=None, refusing=False)
        self._call(self._end_orphans)

    def _end_all(self, how: str) -> None:
        for end in self._ends.copy():
            if end.transport is not None and isinstance(end, _FaultyEnd):
                if how == "reset":
                    end.reset()
                else:
                    end.transport.close()

    def _end_orphans(self) -> None:
        for end in self._ends.copy():
            if isinstance(end, _FaultyEnd) and end.orphan:
                end.reset()

    def _change(self, **values: object) -> None:
        def change() -> None:
            for name, value in values.items():
                setattr(self._conditions, name, value)

        self._call(change)

    def _call(self, what: Callable[[], None]) -> None:
        """Run a function in the relay's thread, and wait until it has returned."""
        done = threading.Event()

        def do() -> None:
            what()
            done.set()

        assert self._loop is not None, "the line is not running"
        self._loop.call_soon_threadsafe(do)
        if not done.wait(_CALL_TIMEOUT_S):
            raise RuntimeError("the line does not answer")
